"""An order placed behind 500 queued contract requests: how long until its bytes leave, on plain ib_async and on ours.

    python -m bench.orders_behind_data          one JSON line per figure

Real processes, one simulator, and between it and each client a line that notes when an order passes. Measured from the
call that places the order. ib_async queues what exceeds its 45 messages a second in order; the proxy has lanes. Ours
includes the journal's fdatasync and the hop over the bus; the last lines say what those two cost alone.

Two proxies take the orders in turn: one has its journal on the disk, the other in memory, where a sync costs nothing.
What they differ by is the disk's, the rest is the code's and that of the processors it shares. For both there is a
second figure, of orders placed in the moment in which another 500 requests arrive at the proxy. The queues are kept
full: whatever was answered is asked for anew before the next order, and each order's queue is counted.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ib_async
import orjson
import zmq

from bench.orders_behind_data_peers import TimedLine
from bench.upstream import free_port, running
from gateway_proxy import Client, ProxyError

#: ib_async's bursts can break the message rate on a busy machine; it is to be compared, not to be cut off for that.
LENIENT = """
[limits]
messages = "record"
"""
CONTRACTS = 500
#: The queue that every order must find, at least: what is answered while it is on its way is not replaced yet.
FULL = CONTRACTS - 50
ORDERS = 150
BURSTS = 30
#: Where Linux keeps files in memory; there an fdatasync has nothing to wait for.
MEMORY = Path("/dev/shm")
#: Bytes that a sync of the disk alone writes over, one page at a time.
RESERVED = 4 << 20
PAGE = 4096
CONFIG = """
[gateway]
port = {port}
client_id = {client_id}
[trading]
mode = "paper"
[bus]
runtime_dir = "{runtime}"
[journal]
path = "{journal}"
[risk]
max_orders_per_minute = 10000
max_cancels_per_minute = 10000
max_efficiency_ratio = 1e9
[logs]
level = "error"
"""


def option_keys() -> list[tuple[str, float]]:
    """Options whose existence does not matter: each is a contract request of its own."""
    return [(right, 400.0 + strike) for right in "CP" for strike in range(CONTRACTS // 2)]


def through_ib_async(line: TimedLine) -> list[float]:
    """Seconds until each order left, one burst of contract requests before each."""

    async def once(number: int) -> float:
        gateway = ib_async.IB()
        await gateway.connectAsync("127.0.0.1", line.port, clientId=20 + number)
        [spy] = await gateway.qualifyContractsAsync(ib_async.Stock("SPY", "SMART", "USD"))
        assert isinstance(spy, ib_async.Contract)
        waiting = [
            asyncio.ensure_future(
                gateway.reqContractDetailsAsync(ib_async.Option("SPY", "20260619", strike, right, "SMART"))
            )
            for right, strike in option_keys()
        ]
        await asyncio.sleep(0.05)
        before, began = len(line.orders), time.time()
        gateway.placeOrder(spy, ib_async.LimitOrder("BUY", 1, 500.0 + number))
        while len(line.orders) == before:
            await asyncio.sleep(0.01)
        for each in waiting:
            each.cancel()
        gateway.disconnect()
        return line.orders[before] - began

    return [asyncio.run(once(number)) for number in range(2)]


class Flood:
    """A program that wants very many contracts and has up to 500 requests of them waiting in the proxy."""

    def __init__(self, runtime: Path, line: TimedLine) -> None:
        found = json.loads((runtime / "connection.json").read_bytes())
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.connect(found["endpoints"]["request"])
        self._line = line
        self._sent_before = len(line.contracts)
        self._asked = 0
        self.ask(CONTRACTS)

    @property
    def queued(self) -> int:
        """Requests that have not left for the Gateway."""
        return self._asked - (len(self._line.contracts) - self._sent_before)

    def ask(self, count: int) -> None:
        """So many options more, each of which is a contract request of its own; whether they exist does not matter."""
        for _ in range(count):
            self._asked += 1
            self._send(f"SPY.20260619.C.{400 + self._asked / 10:g}")

    def burst(self) -> None:
        """Five hundred programs ask at once for what is queued already."""
        for _ in range(CONTRACTS):
            self._send(f"SPY.20260619.C.{400 + self._asked / 10:g}")

    def _send(self, contract: str) -> None:
        body: dict[str, Any] = {"v": 1, "id": self._asked, "op": "contract", "args": {"contract": contract}}
        self._socket.send(orjson.dumps(body | {"expires_ms": 60_000}))


@dataclass
class Taken:
    """Seconds until each order left behind a full queue, and in a burst on top of it."""

    behind: list[float] = field(default_factory=list)
    bursting: list[float] = field(default_factory=list)
    shortest_queue: int = CONTRACTS


class Proxy:
    """One proxy on a timed line, a client that places and cancels orders, and the flood they are placed behind."""

    def __init__(self, line: TimedLine, runtime: Path, client: Client) -> None:
        self._line, self._client = line, client
        self._price = round(float(client.quote("SPY").bid or 600.0) * 0.99, 2)
        self._flood = Flood(runtime, line)
        self._orders = 0
        self.taken = Taken()

    def place(self, *, bursting: bool) -> None:
        """One order behind the full queue, or in a burst on top of it."""
        taken = self.taken
        self._flood.ask(CONTRACTS - self._flood.queued)
        time.sleep(0.1)
        if bursting:
            self._flood.burst()
        (taken.bursting if bursting else taken.behind).append(self._order_s())
        taken.shortest_queue = min(taken.shortest_queue, self._flood.queued)
        assert taken.shortest_queue >= FULL, f"only {taken.shortest_queue} contract requests were still queued"

    def _order_s(self) -> float:
        """Seconds until one order has left. It is cancelled: IB holds 15 per contract and side."""
        self._orders += 1
        ref, before, began = f"bench-{self._orders}", len(self._line.orders), time.time()
        reply = self._client.place("SPY", "BUY", 1, limit_price=self._price, ref=ref, engine="bench")
        assert reply.state == "accepted", reply
        self._client.cancel(ref)
        return self._line.orders[before] - began


def through_the_proxies(gateway_port: int, journals: dict[str, Path]) -> tuple[dict[str, Taken], list[float]]:
    """What was taken by the proxy of each journal's directory, and the disk's syncs in the same moments."""
    with ExitStack() as stack:
        proxies: dict[str, Proxy] = {}
        for client_id, (name, directory) in enumerate(journals.items(), start=7):
            line, runtime, config = TimedLine(gateway_port), directory / "run", directory / "proxy.toml"
            journal = directory / "journal.sqlite3"
            config.write_text(CONFIG.format(port=line.port, client_id=client_id, runtime=runtime, journal=journal))
            runtime.mkdir(mode=0o700)
            stack.enter_context(running("gateway_proxy", "--config", str(config), wait_for=None))
            proxies[name] = Proxy(line, runtime, stack.enter_context(connected(runtime)))
        disk = stack.enter_context(Disk(journals["disk"]))
        syncs = []
        for number, proxy in itertools.product(range(ORDERS + BURSTS), proxies.values()):
            proxy.place(bursting=number >= ORDERS)
            syncs.append(disk.sync_s())
    return {name: proxy.taken for name, proxy in proxies.items()}, syncs


def connected(runtime: Path) -> Client:
    deadline = time.monotonic() + 30.0
    while True:
        try:
            client = Client.connect(runtime, name="bench", timeout_s=10.0)
            if client.status()["state"] == "ready":
                return client
            client.close()
        except ProxyError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("the proxy did not become ready")
        time.sleep(0.1)


def hop_s(runs: int = 300) -> float:
    """A REQ-ROUTER round trip in this process and thread, the median."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, request = context.socket(zmq.ROUTER), context.socket(zmq.REQ)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    request.connect(f"tcp://127.0.0.1:{port}")
    taken = []
    for _ in range(runs):
        began = time.monotonic()
        request.send(b"x" * 200)
        router.send_multipart(router.recv_multipart())
        request.recv()
        taken.append(time.monotonic() - began)
    context.destroy(linger=0)
    return statistics.median(taken)


class Disk:
    """What durability costs by itself: a page written over in a file that is there already, as the journal's log is."""

    def __init__(self, directory: Path) -> None:
        self._file = (directory / "sync").open("w+b", buffering=0)
        self._file.write(bytes(RESERVED))
        os.fsync(self._file.fileno())
        self._at = 0

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sync_s(self) -> float:
        """The disk has its moods, and an order waits for it."""
        self._at = (self._at + PAGE) % RESERVED
        began = time.monotonic()
        os.pwrite(self._file.fileno(), b"x" * PAGE, self._at)
        os.fdatasync(self._file.fileno())
        return time.monotonic() - began


def worst(taken: list[float]) -> float:
    """The 99th percentile; of fewer than a hundred values the worst."""
    return sorted(taken)[int(len(taken) * 0.99)]


def told(name: str, taken: list[float], plain: list[float], **facts: int) -> None:
    """One figure of ours beside ib_async's."""
    p50, p99 = statistics.median(taken), worst(taken)
    ratios = {"p50_times_sooner": statistics.median(plain) / p50, "p99_times_sooner": statistics.median(plain) / p99}
    rounded = {label: round(ratio) for label, ratio in ratios.items()}
    emit(name=name, p50_ms=round(p50 * 1e3, 2), p99_ms=round(p99 * 1e3, 2), orders=len(taken), **facts, **rounded)


def emit(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def main() -> None:
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        places = {"disk": Path("/tmp")} | ({"memory": MEMORY} if MEMORY.is_dir() else {})
        journals = {
            name: Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gp-", dir=place)))
            for name, place in places.items()
        }
        directory, port = journals["disk"], free_port()
        scenario = directory / "lenient.toml"
        scenario.write_text(LENIENT)
        options: tuple[str, ...] = ("--port", str(port), "--start", "2026-06-15 11:00")
        options += ("--ledger", str(directory / "ledger.jsonl"), "--scenario", str(scenario))
        simulator = stack.enter_context(running("gateway_sim", *options, wait_for=None))
        assert simulator.stdout is not None and "listening" in simulator.stdout.readline()
        plain = through_ib_async(TimedLine(port))
        ours, syncs = through_the_proxies(port, journals)
    emit(name=f"order behind {CONTRACTS} contract requests, ib_async", waited_s=round(statistics.median(plain), 3))
    for place, taken in ours.items():
        shortest = taken.shortest_queue
        told(f"order behind {CONTRACTS} requests, journal: {place}", taken.behind, plain, shortest_queue=shortest)
        told(f"order in a burst of {CONTRACTS} more, journal: {place}", taken.bursting, plain, shortest_queue=shortest)
    emit(name="REQ-ROUTER hop", ms=round(hop_s() * 1e3, 3))
    p50, p99 = statistics.median(syncs), worst(syncs)
    emit(name="fdatasync after each of them", p50_ms=round(p50 * 1e3, 2), p99_ms=round(p99 * 1e3, 2))


if __name__ == "__main__":
    main()
