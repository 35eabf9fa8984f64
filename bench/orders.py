"""Order request until its bytes are at the Gateway, with the journal synced on the way: `python -m bench.orders`.

Three ways to the same place, in interleaved rounds on one machine and one clock: plain ib_async, which places the same
order in its own process and keeps nothing; the floor, one REQ-ROUTER hop and one fdatasync; and the whole way through
the proxy: client, bus, checks, journal (intent and permission, one sync), socket. Every order is acknowledged and
cancelled before the next one. The journal alone is measured beside them: what one order appends.

Where our time goes is told by stage: from the call until the proxy has read the request, until it has decided, until
the journal is synced, and until the bytes are at the Gateway. All ways pause equally long between two orders, because
code that has not run for a while is several times slower: others have had the processor's caches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import ib_async
import zmq

from bench.orders_peers import RECORD
from bench.upstream import free_port, wait_for_proxy
from gateway_proxy import Client
from gateway_proxy.bus.messages import Contract
from gateway_proxy.core.effects import Append, OrderTicket
from gateway_proxy.core.orders import Leg, Order
from gateway_proxy.core.register import intent_body
from gateway_proxy.journal import Journal

ACCOUNT: Final = "DU1234567"
#: Far from the market, so that orders rest and can be cancelled; between two of them, so that no pacing rule waits.
PRICE: Final = 500.0
PAUSE_S: Final = 0.07
STAGES: Final = ("call and hop", "decide", "journal synced", "encode, write, arrive")
WAYS: Final = ("ib_async in process", "hop and fdatasync", "proxy and journal")
CONFIG: Final = """
[gateway]
port = {port}
client_id = 7
[trading]
mode = "paper"
account = "DU1234567"
[bus]
runtime_dir = "{directory}/run"
[risk]
max_orders_per_minute = 100000
max_cancels_per_minute = 100000
max_efficiency_ratio = 1e9
price_collar_fraction = 0.5
[logs]
level = "error"
"""


@contextmanager
def running(*command: str, awaited: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A module as a process, its output piped; waits for its first line if that is `awaited`."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if awaited:
            assert process.stdout.readline(), f"{command} did not start"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Bench:
    """The simulator behind the relay, the proxy before it, and the floor beside them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        os.environ.pop("GATEWAY_PROXY_RUNTIME", None)
        gateway_port, self.port = free_port(), free_port()
        stack.enter_context(running("gateway_sim", "--port", str(gateway_port)))
        self._relay = stack.enter_context(running("bench.orders_peers", "relay", str(self.port), str(gateway_port)))
        config = directory / "bench.toml"
        config.write_text(CONFIG.format(port=self.port, directory=directory))
        self._proxy = stack.enter_context(running("bench.orders_stamped", "--config", str(config), awaited=False))
        endpoint = f"ipc://{directory}/floor"
        stack.enter_context(running("bench.orders_peers", "floor", endpoint, str(directory / "floor.bin")))
        wait_for_proxy(directory / "run")
        self.client = stack.enter_context(Client.connect(directory / "run", name="bench", timeout_s=10.0))
        self.client.subscribe("quote/SPY/")
        self._context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        self._request = stack.enter_context(self._context.socket(zmq.REQ))
        self._request.connect(endpoint)
        self._orders = 0
        self.stages: dict[str, list[int]] = {name: [] for name in STAGES}

    def _arrived_ns(self) -> int:
        assert self._relay.stdout is not None
        return int(self._relay.stdout.readline())

    def through_proxy(self, count: int) -> list[int]:
        took = []
        for _ in range(count):
            self._orders += 1
            ref = f"bench-{self._orders}"
            began = time.monotonic_ns()
            reply = self.client.place("SPY", "BUY", 1, limit_price=PRICE, ref=ref)
            assert reply.state == "accepted", reply
            arrived = self._arrived_ns()
            took.append(arrived - began)
            self._clock(began, arrived)
            self.client.cancel(ref)
            time.sleep(PAUSE_S)
        return took

    def _clock(self, began: int, arrived: int) -> None:
        assert self._proxy.stdout is not None
        times = [began, *map(int, self._proxy.stdout.readline().split()), arrived]
        for name, (start, end) in zip(STAGES, pairwise(times), strict=True):
            self.stages[name].append(end - start)

    def through_ib_async(self, count: int) -> list[int]:
        took: list[int] = []

        async def place() -> None:
            gateway = ib_async.IB()
            await gateway.connectAsync("127.0.0.1", self.port, clientId=8)
            contract = ib_async.Contract(conId=756733, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
            for _ in range(count):
                order = ib_async.LimitOrder("BUY", 1, PRICE, tif="DAY", account=ACCOUNT)
                began = time.monotonic_ns()
                trade = gateway.placeOrder(contract, order)
                while trade.orderStatus.status != "Submitted":
                    await asyncio.sleep(0.001)
                took.append(self._arrived_ns() - began)
                gateway.cancelOrder(order)
                while not trade.isDone():
                    await asyncio.sleep(0.001)
                await asyncio.sleep(PAUSE_S)
            gateway.disconnect()

        asyncio.run(place())
        return took

    def through_floor(self, count: int) -> list[int]:
        took = []
        for _ in range(count):
            began = time.monotonic_ns()
            self._request.send(b"x" * 300)
            took.append(int(self._request.recv()) - began)
            time.sleep(PAUSE_S)
        return took


def journal_appends(directory: Path, number: int, count: int) -> tuple[list[int], list[int]]:
    """What one order costs the journal before its first byte: intent and permission in one transaction.

    And what one plain append with fdatasync costs in the same moments, because a shared disk has its moods.
    """
    ticket = OrderTicket(1, Contract("SPY"), ACCOUNT, "BUY", 1, "LMT", PRICE, None, "DAY", "g1aaaaaaaaaaaaaaaaE")
    body = intent_body(Order("bench", "bench", "0" * 32, (Leg("entry", ticket),), simulated=False))
    took, plain = [], []
    with Journal(directory / f"journal{number}.sqlite3") as journal, open(directory / "plain.bin", "ab") as file:
        for at in range(count):
            began = time.monotonic_ns()
            name = f"bench-{at}"
            journal.append([Append("intent", name, body), Append("sending", name, {"sent_ns": began})], began)
            took.append(time.monotonic_ns() - began)
            began = time.monotonic_ns()
            os.write(file.fileno(), RECORD)
            os.fdatasync(file.fileno())
            plain.append(time.monotonic_ns() - began)
    return took, plain


def percentile(values: list[int], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] / 1e3


def tell(name: str, values: list[int], **ratios: list[int]) -> None:
    """One line: p50 and p99 in microseconds, and both as multiples of what they are compared with."""
    points = {"p50": statistics.median(values) / 1e3, "p99": percentile(values, 99)}
    line: dict[str, object] = {"bench": "orders", "name": name, "n": len(values)}
    line |= {f"{label}_us": round(value, 1) for label, value in points.items()}
    for to, others in ratios.items():
        line[f"p50_ratio_to_{to}"] = round(points["p50"] * 1e3 / statistics.median(others), 2)
        line[f"p99_ratio_to_{to}"] = round(points["p99"] / percentile(others, 99), 2)
    print(json.dumps(line), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=60, help="orders of one way in one round")
    options = parser.parse_args()
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    took: dict[str, list[int]] = {name: [] for name in WAYS}
    journal_took: list[int] = []
    plain_took: list[int] = []
    with tempfile.TemporaryDirectory(prefix="bench") as name, ExitStack() as stack:
        directory = Path(name)
        bench = Bench(directory, stack)
        ways = dict(zip(WAYS, (bench.through_ib_async, bench.through_floor, bench.through_proxy), strict=True))
        bench.through_proxy(3)
        for number in range(options.rounds):
            for way, measure in ways.items():
                took[way] += measure(options.count)
            journaled, plain = journal_appends(directory, number, 4 * options.count)
            journal_took += journaled
            plain_took += plain
    for name in WAYS[:2]:
        tell(f"order to Gateway, {name}", took[name])
    ours, (in_process, floor) = took[WAYS[2]], (took[name] for name in WAYS[:2])
    tell(f"order to Gateway, {WAYS[2]}", ours, ib_async=in_process, hop_and_fdatasync=floor)
    for name, values in bench.stages.items():
        tell(f"stage of ours: {name}", values)
    tell("one plain synced append", plain_took)
    tell("journal of one order", journal_took, one_plain_append=plain_took)
    return 0


if __name__ == "__main__":
    sys.exit(main())
