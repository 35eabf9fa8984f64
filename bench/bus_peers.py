"""The sending sides of `bench.bus`, each in a process of its own: our server, raw ZeroMQ, vn.py's RPC pattern.

Line protocol on stdin: "publish COUNT RATE" (RATE 0: as fast as it can) and "quit"; "ready ENDPOINTS" on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime as DateTime
from enum import Enum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import zmq

from gateway_proxy.bus.messages import Bar
from gateway_proxy.bus.server import BusServer, BusSettings

TOPIC = "bars/SPY/1min/"
HWM = 1_000_000
#: What one of our market frames of a bar weighs; raw ZeroMQ carries as much.
FRAME_BYTES = 300
BATCH = 100
#: Made beforehand on every side: making bars is not what is measured.
READY_BARS = 1000


class Exchange(Enum):
    SMART = "SMART"


class Interval(Enum):
    MINUTE = "1m"


@dataclass
class BarData:
    """A bar with the fields and types that vn.py's own BarData has; it is this object that vn.py pickles."""

    gateway_name: str
    symbol: str
    exchange: Exchange
    datetime: DateTime
    interval: Interval
    volume: float
    turnover: float
    open_interest: float
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    sent_ns: int = 0
    extra: dict[str, Any] | None = field(default=None, init=False)
    vt_symbol: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.vt_symbol = f"{self.symbol}.{self.exchange.value}"


def make_bar(number: int) -> Bar:
    price = 600.0 + number % 100 * 0.01
    start_ns = 1_767_225_600_000_000_000 + number * 60_000_000_000
    return Bar(start_ns, price, price + 0.2, price - 0.2, price + 0.1, 12345.0, price, 321, True, "live")


@dataclass
class PlainBar:
    """Only what our own bar has: the cheapest object that could be pickled."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    wap: float | None
    count: int | None
    complete: bool
    source: str
    gap: bool
    sent_ns: int = 0


def make_plain_bar(number: int) -> PlainBar:
    bar = make_bar(number)
    return PlainBar(*(getattr(bar, name) for name in Bar.__slots__))


def make_vnpy_bar(number: int) -> BarData:
    bar = make_bar(number)
    began = DateTime.fromtimestamp(bar.start_ns / 1e9, ZoneInfo("America/New_York"))
    return BarData(
        gateway_name="IB",
        symbol="SPY",
        exchange=Exchange.SMART,
        datetime=began,
        interval=Interval.MINUTE,
        volume=bar.volume,
        turnover=0.0,
        open_interest=0.0,
        open_price=bar.open,
        high_price=bar.high,
        low_price=bar.low,
        close_price=bar.close,
    )


async def serve_ours(directory: str) -> None:
    """Our own server, exactly as the proxy uses it, on tcp like the others."""
    settings = BusSettings(transport="tcp", market_port=0, request_port=0, trade_port=0, sndhwm=HWM)
    server = BusServer(Path(directory), settings, "bench")
    server.on_request = lambda client, request: server.reply(client, request.id, body={"state": "ready"})
    server.start()
    assert server.connection is not None
    _say(server.connection.endpoints["market"], server.connection.endpoints["request"])
    bars = [make_bar(number) for number in range(READY_BARS)]
    loop = asyncio.get_running_loop()
    while (order := await loop.run_in_executor(None, _order)) is not None:
        count, rate = order
        due = time.monotonic()
        for at in range(count):
            server.publish(TOPIC, "bar", bars[at % READY_BARS])
            if rate:
                due += 1 / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            elif at % BATCH == BATCH - 1:
                await asyncio.sleep(0)
    server.close()


def serve_raw(_directory: str) -> None:
    """One ready-made frame again and again; only the time of sending is written into it."""
    filler = b"x" * (FRAME_BYTES - 8 - len(TOPIC) - 1)

    def publish(socket: zmq.Socket[bytes], number: int) -> None:
        socket.send(b"%b\n%b%b" % (TOPIC.encode(), time.time_ns().to_bytes(8, "little"), filler))

    _serve_blocking(publish, lambda frame: frame)


def serve_vnpy(make: Callable[[int], BarData | PlainBar]) -> None:
    """vn.py: [topic, object] pickled under a lock; calls are pickled [name, args, kwargs], answers [ok, result]."""
    lock = threading.Lock()
    bars = [make(number) for number in range(READY_BARS)]

    def publish(socket: zmq.Socket[bytes], number: int) -> None:
        told = bars[number % len(bars)]
        told.sent_ns = time.time_ns()
        with lock:
            socket.send_pyobj([TOPIC, told])

    def answer(frame: bytes) -> bytes:
        _name, _args, _kwargs = pickle.loads(frame)
        return pickle.dumps([True, {"state": "ready"}])

    _serve_blocking(publish, answer)


def _serve_blocking(publish: Callable[[zmq.Socket[bytes], int], None], answer: Callable[[bytes], bytes]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    market = context.socket(zmq.PUB)
    market.setsockopt(zmq.SNDHWM, HWM)
    market.setsockopt(zmq.LINGER, 0)
    port = market.bind_to_random_port("tcp://127.0.0.1")
    replies = context.socket(zmq.REP)
    replies.setsockopt(zmq.LINGER, 0)
    replies_port = replies.bind_to_random_port("tcp://127.0.0.1")
    threading.Thread(target=_answer_all, args=(replies, answer), daemon=True).start()
    _say(f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{replies_port}")
    while (order := _order()) is not None:
        count, rate = order
        due = time.monotonic()
        for number in range(count):
            publish(market, number)
            if rate:
                due += 1 / rate
                time.sleep(max(0.0, due - time.monotonic()))


def _answer_all(replies: zmq.Socket[bytes], answer: Callable[[bytes], bytes]) -> None:
    while True:
        replies.send(answer(replies.recv()))


def _say(market: str, request: str) -> None:
    print(json.dumps({"market": market, "request": request}), flush=True)


def _order() -> tuple[int, float] | None:
    words = sys.stdin.readline().split()
    return (int(words[1]), float(words[2])) if words and words[0] == "publish" else None


PEERS: dict[str, Callable[[str], Any]] = {
    "ours": lambda directory: asyncio.run(serve_ours(directory)),
    "raw_pyzmq": serve_raw,
    "vnpy_rpc": lambda directory: serve_vnpy(make_vnpy_bar),
    "vnpy_rpc_plain_object": lambda directory: serve_vnpy(make_plain_bar),
}


def run(name: str, directory: str) -> None:
    PEERS[name](directory)
    # The answering thread of the blocking peers waits for ever, and nothing is left to clean up.
    os._exit(0)
