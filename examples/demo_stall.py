"""`make demo-stall`: the old bot's pattern and the same work over the proxy, side by side, on one simulated Gateway.

Both fetch 60 one-minute bars of SPY, QQQ and AAPL in every cycle. At the end the simulator's ledger tells who was
answered, and `doctor` names the cause from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
CONFIG = """
[gateway]
port = {port}
client_id = 7
[bus]
runtime_dir = "{runtime}"
[logs]
level = "error"
"""
LEFT, RIGHT = "old bot ", "proxy   "


def through_proxy(runtime: str, cycles: int, pause_s: float) -> None:
    """The same three symbols and pause, asked of the proxy. Runs in a process of its own."""
    from gateway_proxy import Client, ProxyError

    for cycle in range(1, cycles + 1):
        for symbol in ("SPY", "QQQ", "AAPL"):
            began = time.monotonic()
            try:
                with Client.connect(runtime, name="demo") as client:
                    outcome = f"{len(client.bars(symbol, '1min', count=60, fresh=True))} bars"
            except ProxyError as error:
                outcome = f"{type(error).__name__}: {error}"
            print(f"cycle {cycle} {symbol}: {outcome} after {time.monotonic() - began:.2f} s", flush=True)
        if cycle < cycles:
            time.sleep(pause_s)


def start(*command: str, quiet: bool = False) -> subprocess.Popen[str]:
    output = subprocess.DEVNULL if quiet else subprocess.PIPE
    return subprocess.Popen([sys.executable, *command], stdout=output, stderr=subprocess.DEVNULL, text=True)


def show(name: str, lines: IO[str]) -> threading.Thread:
    def copy() -> None:
        for line in lines:
            print(f"{name}| {line.rstrip()}", flush=True)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(runtime: Path) -> None:
    from gateway_proxy import Client, ProxyError

    for _ in range(200):
        try:
            with Client.connect(runtime, name="demo", timeout_s=1.0) as client:
                if client.status()["state"] == "ready":
                    return
        except ProxyError:
            pass
        time.sleep(0.1)
    raise SystemExit("demo-stall: the proxy did not get ready within 20 s")


def tell_ledger(ledger: Path) -> None:
    """Requests and answers per client, as the simulated Gateway saw them."""
    asked: dict[tuple[int, str], int] = {}
    for line in ledger.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] in ("request", "answer") and entry.get("kind") == "reqHistoricalData":
            key = entry["client_id"], entry["event"]
            asked[key] = asked.get(key, 0) + 1
    for client_id, name in ((31, "old bot"), (7, "proxy")):
        requests, answers = asked.get((client_id, "request"), 0), asked.get((client_id, "answer"), 0)
        print(f"ledger  | {name}: {requests} historical requests received, {answers} answered")


def run(cycles: int, pause_s: float, timeout_s: float) -> None:
    with tempfile.TemporaryDirectory(prefix="demo-stall") as directory:
        runtime, ledger, port = Path(directory) / "run", Path(directory) / "ledger.jsonl", free_port()
        config = Path(directory) / "demo.toml"
        config.write_text(CONFIG.format(port=port, runtime=runtime))
        simulator = start("-m", "gateway_sim", "--port", str(port), "--skip-closed", "--ledger", str(ledger))
        assert simulator.stdout is not None
        simulator.stdout.readline()
        proxy = start("-m", "gateway_proxy", "--config", str(config), quiet=True)
        wait_until_ready(runtime)
        options = ["--cycles", str(cycles), "--pause", str(pause_s)]
        old = start(str(HERE / "old_bot.py"), "--port", str(port), "--timeout", str(timeout_s), *options)
        new = start(str(HERE / "demo_stall.py"), "--through", str(runtime), *options)
        assert old.stdout is not None and new.stdout is not None
        readers = [show(LEFT, old.stdout), show(RIGHT, new.stdout)]
        new.wait()
        doctor = ["-m", "gateway_proxy", "doctor", "--config", str(config), "--runtime", str(runtime)]
        for line in subprocess.run(
            [sys.executable, *doctor], capture_output=True, text=True, check=False
        ).stdout.splitlines():
            print(f"doctor  | {line}")
        old.wait()
        for reader in readers:
            reader.join()
        tell_ledger(ledger)
        for process in (proxy, simulator):
            process.terminate()
            process.wait(timeout=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=4)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between cycles")
    parser.add_argument(
        "--timeout", type=float, default=4.0, help="the old bot's patience; the library's default is 60"
    )
    parser.add_argument("--through", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.pop("GATEWAY_PROXY_RUNTIME", None)
    if options.through:
        through_proxy(options.through, options.cycles, options.pause)
    else:
        run(options.cycles, options.pause, options.timeout)


if __name__ == "__main__":
    main()
