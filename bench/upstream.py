"""Gateway bytes until an engine has the bar, against ib_async's own in-process callback: `python -m bench.upstream`.

Three readers of the same kind of stream, in interleaved rounds on one machine and one clock:
ib_async (IB object, callback in the same process), a raw pyzmq hop (PUB to SUB, nothing decoded), and the whole way
through the proxy: socket, decoder, core, bus, client, decoded bar. The figure that counts is what proxy and bus *add*
over ib_async, as a multiple of the raw hop. `lost` counts updates that never came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ib_async
import zmq

from gateway_proxy import Bar, Client, Message, body_as

CONFIG = """
[gateway]
port = {port}
client_id = 7
[trading]
mode = "dry-run"
[bus]
runtime_dir = "{runtime}"
[logs]
level = "error"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str, wait_for: str | None = "ready") -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if wait_for is not None:
            assert process.stdout.readline().strip() == wait_for
        yield process
    finally:
        process.kill()
        process.wait()


def through_ib_async(port: int, count: int) -> list[int]:
    """Ages in ns at the moment of ib_async's own callback."""
    ages: list[int] = []

    async def listen() -> None:
        gateway = ib_async.IB()
        await gateway.connectAsync("127.0.0.1", port, clientId=8)
        contract = ib_async.Contract(conId=756733, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
        bars = await gateway.reqHistoricalDataAsync(
            contract, "", "60 S", "1 min", "TRADES", True, formatDate=2, keepUpToDate=True
        )
        done = asyncio.Event()

        def updated(bars: ib_async.BarDataList, _new: bool) -> None:
            ages.append(time.monotonic_ns() - int(bars[-1].volume))
            if len(ages) >= count:
                done.set()

        bars.updateEvent += updated
        await asyncio.wait_for(done.wait(), 60)
        gateway.disconnect()

    asyncio.run(listen())
    return ages


def through_raw_hop(endpoint: str, count: int) -> list[int]:
    context = zmq.Context()
    reader = context.socket(zmq.SUB)
    reader.setsockopt(zmq.RCVTIMEO, 5000)
    reader.subscribe(b"")
    reader.connect(endpoint)
    ages = []
    for _ in range(count):
        sent = int(reader.recv())
        ages.append(time.monotonic_ns() - sent)
    context.destroy(linger=0)
    return ages


def through_proxy(runtime: Path, count: int) -> tuple[list[int], int]:
    """Ages in ns when the engine's side has a decoded bar; and how many messages the sequence numbers say were lost."""
    ages: list[int] = []
    lost = 0
    with Client.connect(runtime, name="bench", timeout_s=10.0) as client:
        client.subscribe("bars/SPY/1min/")
        while len(ages) < count:
            message = client.receive(10.0)
            assert message is not None, "the stream stopped"
            if not isinstance(message, Message):
                lost += getattr(message, "missing", 0) or 0
            elif message.kind == "bar":
                bar = body_as(message, Bar)
                if bar.volume > 1e9:
                    ages.append(time.monotonic_ns() - int(bar.volume))
    return ages, lost


def wait_for_proxy(runtime: Path) -> None:
    deadline = time.monotonic() + 20
    while not (runtime / "connection.json").exists():
        assert time.monotonic() < deadline, "the proxy did not start"
        time.sleep(0.05)
    with Client.connect(runtime, name="bench", timeout_s=10.0) as client:
        while client.status()["state"] != "ready":
            assert time.monotonic() < deadline, "the proxy did not get ready"
            time.sleep(0.05)


def measure(rounds: int, count: int, rate: float) -> dict[str, list[int]]:
    ages: dict[str, list[int]] = {"ib_async callback": [], "raw pyzmq hop": [], "proxy and bus": []}
    lost = 0
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        runtime, port = Path(directory) / "run", free_port()
        config = Path(directory) / "bench.toml"
        config.write_text(CONFIG.format(port=port, runtime=runtime))
        raw_endpoint = f"ipc://{directory}/raw"
        with (
            running("bench.upstream_peers", "gateway", str(port), str(rate)),
            running("bench.upstream_peers", "raw", raw_endpoint, str(rate)),
            running("gateway_proxy", "--config", str(config), wait_for=None),
        ):
            wait_for_proxy(runtime)
            for _ in range(rounds):
                ages["raw pyzmq hop"] += through_raw_hop(raw_endpoint, count)
                ages["ib_async callback"] += through_ib_async(port, count)
                through, missing = through_proxy(runtime, count)
                ages["proxy and bus"] += through
                lost += missing
    report(ages, lost)
    return ages


def report(ages: dict[str, list[int]], lost: int) -> None:
    points = {
        name: (statistics.median(values), sorted(values)[int(len(values) * 0.99)]) for name, values in ages.items()
    }
    for name, (p50, p99) in points.items():
        line = {"bench": "upstream", "name": name, "p50_us": round(p50 / 1e3, 1), "p99_us": round(p99 / 1e3, 1)}
        if name == "proxy and bus":
            line["lost"] = lost
        print(json.dumps(line))
    for at, label in enumerate(("p50", "p99")):
        added = points["proxy and bus"][at] - points["ib_async callback"][at]
        hop = points["raw pyzmq hop"][at]
        figure = {
            "name": f"added by proxy and bus, {label}",
            "value_us": round(added / 1e3, 1),
            "ratio_to": "raw pyzmq hop",
        }
        print(json.dumps({"bench": "upstream"} | figure | {"ratio": round(added / hop, 2)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=500.0, help="bars a second")
    options = parser.parse_args()
    os.environ.pop("GATEWAY_PROXY_RUNTIME", None)
    measure(options.rounds, options.count, options.rate)
    return 0


if __name__ == "__main__":
    sys.exit(main())
