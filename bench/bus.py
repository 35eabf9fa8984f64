"""The bus against raw ZeroMQ and vn.py's RPC pattern, side by side in one run: `python -m bench.bus`.

What is measured: a bar as an object on one side, until it is an object of the right type on the other, over tcp on
loopback. Raw ZeroMQ carries a ready-made frame of the same size and decodes nothing: it is the ceiling.
vn.py's pattern pickles its BarData (enums, a date with time zone); `plain_object` is the same with bare numbers.
Rounds of all variants are interleaved and medians taken. `lost` counts messages that never came; a rate with losses is
worthless. Throughput: one burst, all queues long enough for it. Latency: 1000 a second, both sides on one clock.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from bench.bus_peers import HWM, PEERS, TOPIC, BarData, PlainBar, make_bar, make_vnpy_bar
from gateway_proxy import Bar, Client, Message, body_as
from gateway_proxy.bus.feed import Feed
from gateway_proxy.bus.runtime import Locator

SILENCE_S = 2.0
Receive = Callable[[], int | None]


@dataclass
class Peer:
    """A sending process and what is connected to it. `receive` gives the sending time of the next bar, None if none."""

    process: subprocess.Popen[str]
    receive: Receive
    ask: Callable[[], Any]
    close: Callable[[], None]

    def publish(self, count: int, rate: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"publish {count} {rate}\n")
        self.process.stdin.flush()


@contextmanager
def running(name: str) -> Iterator[Peer]:
    directory = tempfile.mkdtemp(prefix="bench")
    # Not -m: what __main__ pickles could not be read here.
    program = f"from bench.bus_peers import run; run({name!r}, {directory!r})"
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    endpoints = json.loads(process.stdout.readline())
    peer = CONNECT[name](process, endpoints, Path(directory))
    time.sleep(0.3)  # until the subscription has arrived
    try:
        yield peer
    finally:
        peer.close()
        process.stdin.write("quit\n")
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)


def connect_ours(process: subprocess.Popen[str], endpoints: dict[str, str], directory: Path) -> Peer:
    client = Client.connect(directory, timeout_s=10.0)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    feed = Feed(context, Locator(directory), maxlen=HWM)
    feed.subscribe(TOPIC)

    def receive() -> int | None:
        while (heard := feed.receive(SILENCE_S)) is not None:
            if isinstance(heard, Message) and heard.kind == "bar":
                assert isinstance(body_as(heard, Bar), Bar)
                return heard.sent_ns
        return None

    def close() -> None:
        feed.close()
        context.term()
        client.close()

    return Peer(process, receive, lambda: client.request("status"), close)


def connect_raw(process: subprocess.Popen[str], endpoints: dict[str, str], directory: Path) -> Peer:
    sub, req, close = _plain_sockets(endpoints)

    def receive() -> int | None:
        try:
            return int.from_bytes(sub.recv().partition(b"\n")[2][:8], "little")
        except zmq.Again:
            return None

    def ask() -> bytes:
        req.send(b'{"v":1,"id":1,"op":"status","args":{}}')
        return req.recv()

    return Peer(process, receive, ask, close)


def connect_vnpy(process: subprocess.Popen[str], endpoints: dict[str, str], directory: Path) -> Peer:
    sub, req, close = _plain_sockets(endpoints)

    def receive() -> int | None:
        if not sub.poll(int(SILENCE_S * 1000)):
            return None
        _topic, bar = pickle.loads(sub.recv(zmq.NOBLOCK))
        assert isinstance(bar, BarData | PlainBar)
        return bar.sent_ns

    def ask() -> Any:
        req.send_pyobj(["status", (), {}])
        req.poll(30_000)
        return req.recv_pyobj()[1]

    return Peer(process, receive, ask, close)


def _plain_sockets(
    endpoints: dict[str, str],
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes], Callable[[], None]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sub, req = context.socket(zmq.SUB), context.socket(zmq.REQ)
    sub.setsockopt(zmq.RCVHWM, HWM)
    sub.setsockopt(zmq.RCVTIMEO, int(SILENCE_S * 1000))
    sub.connect(endpoints["market"])
    sub.subscribe("")
    req.connect(endpoints["request"])
    return sub, req, lambda: context.destroy(linger=0)


CONNECT = {
    "ours": connect_ours,
    "raw_pyzmq": connect_raw,
    "vnpy_rpc": connect_vnpy,
    "vnpy_rpc_plain_object": connect_vnpy,
}


def throughput(peer: Peer, count: int) -> tuple[float, int]:
    """(messages a second from the first to the last one received, messages lost)."""
    peer.publish(count, 0)
    received, first_at, last_at = 0, 0.0, 0.0
    while received < count and peer.receive() is not None:
        last_at = time.perf_counter()
        first_at = first_at or last_at
        received += 1
    return (received - 1) / max(last_at - first_at, 1e-9), count - received


def latency(peer: Peer, count: int, rate: float) -> tuple[list[float], int]:
    """(microseconds from the decision to send until decoded, messages lost)."""
    peer.publish(count, rate)
    took: list[float] = []
    while len(took) < count and (sent_ns := peer.receive()) is not None:
        took.append((time.time_ns() - sent_ns) / 1000)
    return took, count - len(took)


def round_trips(peer: Peer, count: int) -> list[float]:
    took = []
    for _ in range(count):
        started = time.perf_counter()
        peer.ask()
        took.append((time.perf_counter() - started) * 1e6)
    return took


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def tell(name: str, value: float, unit: str, of: str, to: str, ratio: float, lost: int) -> None:
    line = {"bench": "bus", "name": name, "variant": of, "value": round(value, 1), "unit": unit}
    print(json.dumps(line | {"ratio_to": to, "ratio": round(ratio, 3), "lost": lost}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=50_000, help="messages of one burst")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one latency round at 1000/s")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in PEERS}
    delays: dict[str, list[float]] = {name: [] for name in PEERS}
    trips: dict[str, list[float]] = {name: [] for name in PEERS}
    lost = dict.fromkeys(PEERS, 0)
    assert make_vnpy_bar(1).close_price == make_bar(1).close, "the sides must carry the same bar"
    for _ in range(options.rounds):
        for name in PEERS:
            with running(name) as peer:
                throughput(peer, 2000)
                rate, missed = throughput(peer, options.count)
                delay, late = latency(peer, int(1000 * options.seconds), 1000.0)
                round_trips(peer, 100)
                rates[name].append(rate)
                delays[name] += delay
                trips[name] += round_trips(peer, 1000)
                lost[name] += missed + late
    _report(rates, delays, trips, lost)


def _report(
    rates: dict[str, list[float]], delays: dict[str, list[float]], trips: dict[str, list[float]], lost: dict[str, int]
) -> None:
    rate = {name: statistics.median(values) for name, values in rates.items()}
    for name in rates:
        for to in ("vnpy_rpc", "raw_pyzmq"):
            tell("bar_published_and_decoded", rate[name], "msg/s", name, to, rate[name] / rate[to], lost[name])
    for percent in (50, 99):
        for what, took in ((f"one_way_p{percent}_at_1k", delays), (f"round_trip_p{percent}", trips)):
            value = {name: percentile(values, percent) for name, values in took.items()}
            for name in value:
                tell(what, value[name], "us", name, "raw_pyzmq", value[name] / value["raw_pyzmq"], lost[name])


if __name__ == "__main__":
    main()
