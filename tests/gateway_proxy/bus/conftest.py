"""A real bus server in a thread of its own, with answers that each test chooses."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.bus.client import Client
from gateway_proxy.bus.messages import Request
from gateway_proxy.bus.server import BusServer, BusSettings
from gateway_proxy.bus.server import Client as Peer
from gateway_proxy.errors import ProxyError

Answer = Callable[[Request], Any]


class RunningBus:
    """One life of a proxy that only has a bus. `answers[op]` gives the body of a reply, or raises its error.

    An op without an answer is never replied to.
    """

    def __init__(self, directory: Path, epoch: str = "epoch-1", settings: BusSettings | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[Request] = []
        self.peers: list[Peer] = []
        self.subscriptions: list[tuple[str, bool]] = []
        self.snapshots: dict[str, Any] = {}
        self.server = BusServer(
            directory,
            settings or BusSettings(heartbeat_s=0.05),
            epoch,
            on_request=self._answer,
            on_trade=self._answer,
            on_subscription=lambda topic, subscribed: self.subscriptions.append((topic, subscribed)),
            snapshot_of=lambda topic: self.snapshots.get(topic),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bus server")
        self._thread.start()
        try:
            self.call(self.server.start)
        except BaseException:
            self.stop()
            raise

    def call(self, what: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Run something in the server's loop and give back what it returns or raises."""

        async def perform() -> Any:
            return what(*args, **named)

        return asyncio.run_coroutine_threadsafe(perform(), self._loop).result(10)

    def publish(self, topic: str, kind: str, body: Any) -> None:
        self.call(self.server.publish, topic, kind, body)

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self.call(self.server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _answer(self, peer: Peer, request: Request) -> None:
        self.seen.append(request)
        self.peers.append(peer)
        if request.op not in self.answers:
            return
        try:
            self.server.reply(peer, request.id, body=self.answers[request.op](request))
        except ProxyError as error:
            self.server.reply(peer, request.id, error=error)


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """Short, because a Unix socket path holds 107 bytes and pytest's own directories are long."""
    directory = Path(tempfile.mkdtemp(prefix="bus"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def bus(runtime_dir: Path) -> Iterator[RunningBus]:
    running = RunningBus(runtime_dir)
    yield running
    running.stop()


@pytest.fixture
def client(bus: RunningBus, runtime_dir: Path) -> Iterator[Client]:
    with Client.connect(runtime_dir, name="tester", request_timeout_s=5.0) as connected:
        yield connected


def eventually(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """The first true value of `condition`; fails the test if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")
