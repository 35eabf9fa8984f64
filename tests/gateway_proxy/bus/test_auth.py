"""Keys: who gets in, who does not, and the proof that nobody else does."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from gateway_proxy.bus import auth
from gateway_proxy.bus.async_client import AsyncClient
from gateway_proxy.bus.client import Client
from gateway_proxy.bus.runtime import Connection
from gateway_proxy.bus.server import BusSettings
from gateway_proxy.errors import ConfigError, ProxyUnreachable
from tests.gateway_proxy.bus.conftest import RunningBus, eventually

OPEN = BusSettings(transport="tcp", market_port=0, request_port=0, trade_port=0, heartbeat_s=0.05)


@pytest.fixture
def keys(runtime_dir: Path) -> Path:
    """A server key, a reader `watch` and a trader `scalp`; their secrets beside them."""
    keys = runtime_dir / "keys"
    auth.create_server_key(keys)
    auth.create_client_key(keys, "watch", "read", runtime_dir / "watch.toml")
    auth.create_client_key(keys, "scalp", "trade", runtime_dir / "scalp.toml")
    return keys


def settings_of(keys: Path, host: str = "127.0.0.1") -> BusSettings:
    return replace(OPEN, keys_dir=str(keys), host=host)


def announced(bus: RunningBus) -> Connection:
    assert bus.server.connection is not None
    return bus.server.connection


@pytest.fixture
def guarded(runtime_dir: Path, keys: Path) -> Iterator[RunningBus]:
    bus = RunningBus(runtime_dir, settings=settings_of(keys))
    bus.answers |= {"status": lambda request: {"state": "ready"}, "orders.open": lambda request: {"orders": []}}
    yield bus
    bus.stop()


def test_known_key_gets_in_and_is_known_by_name(guarded, runtime_dir):
    """The key names the client; nothing in a request can."""
    with Client.connect(runtime_dir, keys=runtime_dir / "scalp.toml") as client:
        client.subscribe("health/gateway/")

        assert client.status() == {"state": "ready"}
        assert client.orders() == []
        assert client.receive(5.0)

    assert {peer.peer for peer in guarded.peers} == {"key:scalp"}


def test_reader_cannot_reach_the_trade_socket(guarded, runtime_dir):
    """Its questions are answered, its orders never leave."""
    with Client.connect(runtime_dir, keys=runtime_dir / "watch.toml") as client:
        assert client.status() == {"state": "ready"}

        with pytest.raises(ProxyUnreachable, match="nothing sent"):
            client.place("SPY", "BUY", 1, limit_price=1.0, timeout_s=0.5)

    assert [request.op for request in guarded.seen] == ["status"]


def test_client_without_a_key_is_told_so(guarded, runtime_dir):
    """Not a time-out but the reason."""
    with pytest.raises(ConfigError, match="only admits known keys"):
        Client.connect(runtime_dir, timeout_s=0.5)


async def test_asyncio_client_uses_keys_too(guarded, runtime_dir):
    """The same file, the same name."""
    async with await AsyncClient.connect(runtime_dir, keys=runtime_dir / "scalp.toml") as client:
        assert await client.status() == {"state": "ready"}


def test_canary_finds_nothing_in_a_guarded_bus(guarded):
    """Neither a stranger's key nor no key enters any socket."""
    connection = announced(guarded)
    assert connection.curve_public_key is not None

    assert auth.find_hole(connection.endpoints, connection.curve_public_key) is None


@pytest.mark.parametrize("name", ["market", "request", "trade"])
def test_canary_finds_every_open_door(runtime_dir, name):
    """A bus without keys admits anybody, and the canary says where."""
    bus = RunningBus(runtime_dir, settings=OPEN)
    public = zmq.curve_keypair()[0].decode()

    hole = auth.find_hole({name: announced(bus).endpoints[name]}, public)

    bus.stop()
    assert hole == f"no key was admitted to the {name} socket"


def test_bus_that_fails_open_closes_itself(runtime_dir, keys, monkeypatch):
    """If the gatekeeper lets a stranger in, the sockets close and the loop's exception handler is told."""
    monkeypatch.setattr(auth.Gatekeeper, "_admitted", lambda self, frames: "anybody")
    told: list[Any] = []
    bus = RunningBus(runtime_dir, settings=settings_of(keys))
    bus.call(lambda: asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context)))

    eventually(lambda: told)

    assert isinstance(told[0]["exception"], ConfigError) and "stranger's key" in told[0]["message"]
    assert not (runtime_dir / "connection.json").exists()
    bus.stop()


def test_address_beyond_loopback_is_allowed_with_keys_only(runtime_dir, keys):
    """0.0.0.0 with keys binds."""
    bus = RunningBus(runtime_dir, settings=settings_of(keys, host="0.0.0.0"))

    assert announced(bus).curve_public_key is not None

    bus.stop()


def test_key_files_are_private_and_never_overwritten(runtime_dir, keys):
    """0600 from the first byte; a second key for the same name is refused."""
    files = [keys / "server.toml", keys / "clients" / "watch.toml", runtime_dir / "watch.toml"]

    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    with pytest.raises(ConfigError, match="File exists"):
        auth.create_client_key(keys, "watch", "trade", runtime_dir / "watch.toml")
    with pytest.raises(ConfigError, match="File exists"):
        auth.create_server_key(keys)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("public = 'short'\nsecret = 'short'\nserver = 'short'", "is no key"),
        ("public = 1", "want the entries public secret server"),
        ("nonsense", "cannot read key file"),
    ],
)
def test_broken_key_file_is_named_without_its_content(tmp_path, text, told):
    """The message has the path and what is wanted, never a part of a secret."""
    path = tmp_path / "key.toml"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match=told) as caught:
        auth.ClientKey.load(path)

    assert str(path) in str(caught.value)


def test_key_file_that_others_can_read_is_refused(runtime_dir, keys):
    """A secret that was open is no secret."""
    (runtime_dir / "scalp.toml").chmod(0o644)

    with pytest.raises(ConfigError, match="can be read by others"):
        auth.ClientKey.load(runtime_dir / "scalp.toml")


def test_secrets_do_not_appear_in_pictures_of_keys(runtime_dir, keys):
    """repr is what lands in logs and tracebacks."""
    key = auth.ClientKey.load(runtime_dir / "scalp.toml")

    assert key.secret not in repr(key)
