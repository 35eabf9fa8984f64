"""The blocking client against a real server over ipc."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from gateway_proxy.bus.client import Client
from gateway_proxy.bus.messages import Bar, Contract, Message
from gateway_proxy.bus.sequence import Gap, Restarted
from gateway_proxy.bus.server import BusSettings
from gateway_proxy.errors import (
    BadMessage,
    BreakerOpen,
    ContractUnknown,
    ProxyUnreachable,
    TooLarge,
    UnknownOperation,
    UnknownOutcome,
)
from tests.gateway_proxy.bus.conftest import RunningBus, eventually

BAR = {"start_ns": 60_000_000_000, "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 10.0}
PLACED = {"client_order_id": "a-1", "state": "accepted", "order_ids": [7], "simulated": True}


def test_bars_come_back_as_typed_rows(bus, client):
    """The answer to `bars` is a list of Bar, and the proxy saw typed, checked arguments."""
    bus.answers["bars"] = lambda request: {"bars": [BAR, {**BAR, "start_ns": 120_000_000_000, "complete": False}]}

    bars = client.bars("SPY", "1 min", count=2)

    assert [bar.complete for bar in bars] == [True, False]
    assert bars[0] == Bar(60_000_000_000, 1.0, 2.0, 0.5, 1.5, 10.0)
    assert bus.seen[-1].args.size == "1min"
    assert bus.seen[-1].expires_in_s == pytest.approx(4.5, abs=0.5)


def test_refusal_arrives_as_the_exception_that_the_proxy_raised(bus, client):
    """Code, text, retry time and verdict survive the bus."""

    def refuse(request):
        raise BreakerOpen("historical breaker is open", retry_in_s=12.5, verdict="gateway_silent")

    bus.answers["bars"] = refuse

    with pytest.raises(BreakerOpen, match="historical breaker") as caught:
        client.bars("SPY")

    assert (caught.value.retry_in_s, caught.value.verdict) == (12.5, "gateway_silent")


def test_silent_proxy_is_an_error_and_never_an_empty_list(bus, client):
    """No answer in time raises ProxyUnreachable; the next question is answered, and not by the late reply."""
    with pytest.raises(ProxyUnreachable, match="no answer within"):
        client.bars("SPY", timeout_s=0.2)

    late_peer, late = bus.peers[-1], bus.seen[-1]
    bus.call(bus.server.reply, late_peer, late.id, body={"bars": [BAR]})
    bus.answers["status"] = lambda request: {"state": "ready"}

    assert client.status() == {"state": "ready"}


def test_order_without_an_answer_has_an_unknown_outcome(bus, client):
    """After the bytes left, silence is `unknown` with the reference to ask by, never a failure."""
    with pytest.raises(UnknownOutcome, match="order.status") as caught:
        client.place("SPY", "BUY", 1, limit_price=10.0, ref="a-1", timeout_s=0.2)

    assert caught.value.ref == "a-1"
    assert [request.op for request in bus.seen] == ["order.place"]


def test_order_carries_the_engine_name_and_its_reference(bus, client):
    """The client's name is the engine; the reply is typed."""
    bus.answers["order.bracket"] = lambda request: PLACED

    reply = client.bracket("SPY", "BUY", 2, limit_price=10.0, take_profit=11.0, stop_loss=9.0, ref="a-1")

    asked = bus.seen[-1].args
    assert (asked.engine, asked.client_order_id, asked.quantity) == ("tester", "a-1", 2)
    assert (reply.state, reply.order_ids, reply.simulated) == ("accepted", (7,), True)


@pytest.mark.parametrize(
    ("quantity", "limit_price"), [(-1, 10.0), (0, 10.0), (1, float("nan")), (1, float("inf")), (1.5, 10.0), (1, -2.0)]
)
def test_impossible_order_is_refused_before_anybody_sees_it(bus, client, quantity, limit_price):
    """NaN, negative and fractional numbers are refused at the boundary; the proxy's core is never asked."""
    with pytest.raises(BadMessage, match="quantity|limit_price"):
        client.bracket("SPY", "BUY", quantity, limit_price=limit_price, take_profit=11.0, stop_loss=9.0)

    assert bus.seen == []


def test_unknown_operation_names_the_ones_there_are(bus, client):
    """A misspelt op is told what it was close to."""
    with pytest.raises(UnknownOperation, match="did you mean 'status'"):
        client.request("statsu")


def test_no_proxy_says_where_it_looked_and_how_to_start_one(tmp_path):
    """A missing connection file names its path and the command."""
    with pytest.raises(ProxyUnreachable, match="connection.json does not exist.*make run"):
        Client.connect(tmp_path, timeout_s=0.1)


def test_dead_proxy_that_left_its_file_is_named_as_gone(bus, runtime_dir, tmp_path):
    """A connection file whose process died says so instead of just timing out."""
    text = (runtime_dir / "connection.json").read_text().replace("sock", "gone")
    import os
    import re

    (tmp_path / "connection.json").write_text(re.sub(r'"pid": \d+', f'"pid": {_dead_pid()}', text))
    assert os.path.exists(tmp_path)

    with pytest.raises(ProxyUnreachable, match="which is gone"):
        Client.connect(tmp_path, timeout_s=0.2)


def _dead_pid() -> int:
    import subprocess

    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_second_thread_is_stopped_by_an_assertion(client):
    """ZeroMQ sockets are not thread-safe, so using one Client from two threads must not go unnoticed."""
    raised: list[BaseException] = []

    def use() -> None:
        try:
            client.status()
        except AssertionError as error:
            raised.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert "one Client per thread" in str(raised[0])


def test_oversized_question_is_refused_before_sending(client):
    """The client knows the limit itself, so nothing is disconnected."""
    with pytest.raises(TooLarge, match="the limit is"):
        client.report("engine", "scalp", {"text": "x" * (1 << 20)})


def test_contracts_of_three_makes_mean_the_same(bus, client):
    """A symbol, our Contract and an ib_async-like object reach the proxy as one contract."""

    class Option:
        symbol, secType, exchange, currency = "SPY", "OPT", "SMART", "USD"
        lastTradeDateOrContractMonth, strike, right, multiplier = "20260618", 600.0, "CALL", "100"
        tradingClass, conId = "SPY", 0

    bus.answers["contract"] = lambda request: {"contract": {"symbol": "SPY", "con_id": 1}}
    ours = Contract("SPY", "OPT", last_trade_date="20260618", strike=600.0, right="C", multiplier="100")

    assert client.qualify("SPY", ours, Option()) == [Contract("SPY", con_id=1)] * 3

    asked = [request.args.contract for request in bus.seen]
    assert asked[0] == "SPY"
    assert asked[1].key == asked[2].key == "SPY.20260618.C.600"


def test_stranger_contract_type_is_refused_by_name(client):
    """Something that is no contract never reaches the wire."""
    with pytest.raises(BadMessage, match="got int"):
        client.bars(42)


def test_unknown_symbol_is_its_own_error(bus, client):
    """Not an empty list of contracts."""

    def refuse(request):
        raise ContractUnknown("no security definition for 'XXXX'")

    bus.answers["contract"] = refuse

    with pytest.raises(ContractUnknown):
        client.qualify("XXXX")


# ---------------------------------------------------------------- listening


def test_subscriber_gets_a_welcome_and_then_the_stream(bus, client):
    """The welcome carries the last value; what follows has no gap."""
    bus.publish("bars/SPY/1min/", "bar", BAR)
    client.subscribe("bars/SPY/1min/")
    welcome = client.receive(5.0)
    bus.publish("bars/SPY/1min/", "bar", {**BAR, "close": 1.6})
    bar = client.receive(5.0)

    assert isinstance(welcome, Message) and isinstance(bar, Message)
    assert (welcome.kind, welcome.seq, welcome.body["snapshot"]["close"]) == ("welcome", 1, 1.5)
    assert (bar.kind, bar.seq, bar.body["close"]) == ("bar", 2, 1.6)


def test_subscribing_is_asking_and_leaving_is_told(bus, runtime_dir):
    """The proxy hears of the first subscriber and of the last one leaving, not of those between."""
    with Client.connect(runtime_dir) as first, Client.connect(runtime_dir) as second:
        first.subscribe("bars/SPY/1min/")
        assert first.receive(5.0)
        second.subscribe("bars/SPY/1min/")
        assert second.receive(5.0)

    eventually(lambda: ("bars/SPY/1min/", False) in bus.subscriptions)
    assert [event for event in bus.subscriptions if event[0].startswith("bars")] == [
        ("bars/SPY/1min/", True),
        ("bars/SPY/1min/", False),
    ]


def test_stream_survives_a_restart_of_the_proxy_and_says_so(runtime_dir):
    """A new life of the proxy on the same directory: Restarted, a welcome, and on."""
    old = RunningBus(runtime_dir, "epoch-1")
    with Client.connect(runtime_dir, request_timeout_s=5.0) as client:
        client.subscribe("bars/SPY/1min/")
        assert client.receive(5.0)
        old.stop()
        new = RunningBus(runtime_dir, "epoch-2")
        new.answers["status"] = lambda request: {"state": "ready"}

        heard = [client.receive(5.0), client.receive(5.0)]
        status = client.status()
        new.stop()

    assert heard[0] == Restarted("epoch-1", "epoch-2")
    assert isinstance(heard[1], Message) and heard[1].kind == "welcome"
    assert status == {"state": "ready"}


def test_restart_on_other_ports_is_followed(runtime_dir):
    """With ports chosen by the system every life has other addresses; connection.json tells."""
    settings = BusSettings(transport="tcp", market_port=0, request_port=0, trade_port=0, heartbeat_s=0.05)
    old = RunningBus(runtime_dir, "epoch-1", settings)
    with Client.connect(runtime_dir, request_timeout_s=5.0) as client:
        client.subscribe("health/gateway/")
        assert client.receive(5.0)
        old.stop()
        new = RunningBus(runtime_dir, "epoch-2", settings)

        assert client.receive(10.0) == Restarted("epoch-1", "epoch-2")

        new.stop()


def test_ipv6_loopback_works_too(runtime_dir):
    """Addresses in brackets are read by every socket of the client."""
    ports = {"market_port": 0, "request_port": 0, "trade_port": 0}
    bus = RunningBus(runtime_dir, settings=BusSettings(transport="tcp", host="::1", heartbeat_s=0.05, **ports))  # type: ignore[arg-type]
    bus.answers["status"] = lambda request: {"state": "ready"}
    with Client.connect(runtime_dir) as client:
        client.subscribe("health/gateway/")

        assert client.status() == {"state": "ready"}
        assert client.receive(5.0)

    bus.stop()


def test_ipv4_loopback_is_announced_as_plain_ipv4(runtime_dir):
    """Clients in other languages read 127.0.0.1, not an IPv6 form of it."""
    bus = RunningBus(runtime_dir, settings=BusSettings(transport="tcp", market_port=0, request_port=0, trade_port=0))

    assert bus.server.connection is not None
    assert all(at.startswith("tcp://127.0.0.1:") for at in bus.server.connection.endpoints.values())

    bus.stop()


def test_question_under_way_is_asked_again_after_a_restart(runtime_dir):
    """Reading is harmless, so a restart in the middle costs time, not an error."""
    old = RunningBus(runtime_dir, "epoch-1")
    new: list[RunningBus] = []

    def restart() -> None:
        eventually(lambda: old.seen)
        old.stop()
        new.append(RunningBus(runtime_dir, "epoch-2"))
        new[0].answers["status"] = lambda request: {"state": "ready"}

    restarting = threading.Thread(target=restart)
    with Client.connect(runtime_dir, request_timeout_s=10.0) as client:
        restarting.start()

        assert client.status() == {"state": "ready"}

    restarting.join()
    new[0].stop()


def test_reader_that_fell_behind_is_told_what_it_missed(runtime_dir):
    """Frames beyond its small queue are dropped, and the gap is named; received + missed = published."""
    bus = RunningBus(runtime_dir, settings=BusSettings(heartbeat_s=0.05, sndhwm=10))
    with Client.connect(runtime_dir) as client:
        stream = client.stream("quote/SPY/", maxlen=10)
        welcome = next(stream)

        for number in range(3000):
            bus.publish("quote/SPY/", "quote", {"symbol": "SPY", "bid": number, "note": "x" * 2000})
        received, missed = 0, 0
        deadline = time.monotonic() + 20
        while received + missed < 3000 and time.monotonic() < deadline:
            heard = next(stream)
            if isinstance(heard, Gap):
                missed += heard.missed
            elif isinstance(heard, Message) and heard.kind == "quote":
                received += 1
        stream.close()
    bus.stop()

    assert isinstance(welcome, Message) and welcome.kind == "welcome"
    assert missed > 0
    assert received + missed == 3000


def test_silence_of_the_proxy_ends_a_stream_with_the_truth(runtime_dir):
    """A stream without heartbeats raises; it never just stays quiet."""
    bus = RunningBus(runtime_dir)
    with Client.connect(runtime_dir) as client:
        stream = client.stream("health/gateway/", silence_s=0.5)
        next(stream)
        bus.stop()

        with pytest.raises(ProxyUnreachable, match="not even a heartbeat"):
            next(stream)


def test_client_works_inside_a_running_event_loop(bus, client):
    """As in a notebook: nothing of ours needs, starts or blocks on an event loop."""
    import asyncio

    bus.answers["status"] = lambda request: {"state": "ready"}

    async def notebook() -> object:
        return client.status()

    assert asyncio.run(notebook()) == {"state": "ready"}


def test_peer_is_known_by_the_kernel(bus, client):
    """Over ipc every request comes with uid, gid and pid of its sender."""
    import os

    bus.answers["status"] = lambda request: {}
    client.status()

    assert bus.peers[-1].peer.split(":")[1:] == [str(os.getuid()), str(os.getgid()), str(os.getpid())]


def test_runtime_dir_can_come_from_the_environment(bus, runtime_dir: Path, monkeypatch):
    """GATEWAY_PROXY_RUNTIME names the directory for programs that are told nothing else."""
    monkeypatch.setenv("GATEWAY_PROXY_RUNTIME", str(runtime_dir))
    bus.answers["status"] = lambda request: {"state": "ready"}

    with Client.connect(timeout_s=2.0) as client:
        assert client.status() == {"state": "ready"}
