"""An order placed behind 500 queued contract requests: how long until its bytes leave, on plain ib_async and on ours.

    python -m bench.orders_behind_data          one JSON line per figure

Real processes, one simulator, and between it and each client a line that notes when an order passes. Measured from the
call that places the order. ib_async queues what exceeds its 45 messages a second in order; the proxy has lanes. Ours
includes the journal's fdatasync and the hop over the bus; the last lines say what those two cost alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import tempfile
import time
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
ORDERS = 14
CONFIG = """
[gateway]
port = {port}
client_id = 7
[trading]
mode = "paper"
[bus]
runtime_dir = "{runtime}"
[risk]
max_open_orders = 100
max_orders_per_minute = 1000
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
        before, began = len(line.orders), time.monotonic()
        gateway.placeOrder(spy, ib_async.LimitOrder("BUY", 1, 500.0 + number))
        while len(line.orders) == before:
            await asyncio.sleep(0.01)
        for each in waiting:
            each.cancel()
        gateway.disconnect()
        return line.orders[before] - began

    return [asyncio.run(once(number)) for number in range(2)]


def through_the_proxy(line: TimedLine, directory: Path) -> tuple[list[float], list[int]]:
    """Seconds until each order left, and how many contract requests had left by then."""
    config = directory / "proxy.toml"
    config.write_text(CONFIG.format(port=line.port, runtime=directory / "run"))
    latencies, left = [], []
    with running("gateway_proxy", "--config", str(config), wait_for=None), connected(directory / "run") as client:
        price = round(float(client.quote("SPY").bid or 600.0) * 0.99, 2)
        flood(directory / "run", len(line.contracts), line)
        started = len(line.contracts)
        for number in range(ORDERS):
            before, began = len(line.orders), time.monotonic()
            client.place("SPY", "BUY", 1, limit_price=price, ref=f"bench-{number}", engine="bench")
            latencies.append(line.orders[before] - began)
            left.append(len(line.contracts) - started)
            time.sleep(0.1)
    return latencies, left


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


def flood(runtime: Path, before: int, line: TimedLine) -> None:
    """Queue the contract requests and return as soon as the first have left."""
    found = json.loads((runtime / "connection.json").read_bytes())
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = 0
    socket.connect(found["endpoints"]["request"])
    for number, (right, strike) in enumerate(option_keys()):
        contract = f"SPY.20260619.{right}.{strike:g}"
        body: dict[str, Any] = {"v": 1, "id": number, "op": "contract", "args": {"contract": contract}}
        socket.send(orjson.dumps(body | {"expires_ms": 60_000}))
    while len(line.contracts) < before + 10:
        time.sleep(0.001)


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


def sync_s(directory: Path, runs: int = 100) -> float:
    """Appending 500 bytes durably, the median."""
    taken = []
    with (directory / "sync").open("ab", buffering=0) as file:
        for _ in range(runs):
            began = time.monotonic()
            file.write(b"x" * 500)
            os.fdatasync(file.fileno())
            taken.append(time.monotonic() - began)
    return statistics.median(taken)


def emit(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def main() -> None:
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="gp-", dir="/tmp") as name:
        directory, port = Path(name), free_port()
        (directory / "run").mkdir(mode=0o700)
        scenario = directory / "lenient.toml"
        scenario.write_text(LENIENT)
        options: tuple[str, ...] = (
            "--port",
            str(port),
            "--start",
            "2026-06-15 11:00",
            "--ledger",
            str(directory / "ledger.jsonl"),
        )
        options += ("--scenario", str(scenario))
        with running("gateway_sim", *options, wait_for=None) as simulator:
            assert simulator.stdout is not None and "listening" in simulator.stdout.readline()
            plain = through_ib_async(TimedLine(port))
            ours, left = through_the_proxy(TimedLine(port), directory)
        emit(name=f"order behind {CONTRACTS} contract requests, ib_async", waited_s=round(statistics.median(plain), 3))
        emit(
            name=f"order behind {CONTRACTS} contract requests, ours",
            p50_ms=round(statistics.median(ours) * 1e3, 2),
            worst_ms=round(max(ours) * 1e3, 2),
            orders=len(ours),
            contract_requests_left_before_the_last=left[-1],
        )
        emit(name="ib_async / ours", ratio=round(statistics.median(plain) / statistics.median(ours), 1))
        emit(name="REQ-ROUTER hop", ms=round(hop_s() * 1e3, 3))
        emit(name="fdatasync", ms=round(sync_s(directory) * 1e3, 3))


if __name__ == "__main__":
    main()
