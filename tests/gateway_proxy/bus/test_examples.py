"""The examples run against a real bus, as a newcomer would run them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_proxy.bus.conftest import RunningBus, eventually
from tests.gateway_proxy.bus.test_client import BAR, PLACED

EXAMPLES = Path(__file__).parents[3] / "examples"
NODE = EXAMPLES / "node"


@pytest.fixture
def answering(bus: RunningBus) -> Iterator[RunningBus]:
    """A proxy that knows three bars and one chain, and publishes a bar to whoever subscribed."""
    bus.answers |= {
        "status": lambda request: {"state": "ready"},
        "bars": lambda request: {"bars": [BAR] * min(request.args.count, 3)},
        "chain": lambda request: {"symbol": "SPY", "expiry": "20260618", "underlying_price": 600.0, "rows": []},
        "order.bracket": lambda request: PLACED,
    }
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.02):
            if ("bars/SPY/1min/", True) in bus.subscriptions:
                bus.publish("bars/SPY/1min/", "bar", {**BAR, "close": 7.25})

    publisher = threading.Thread(target=publish)
    publisher.start()
    yield bus
    stop.set()
    publisher.join()


def start(command: list[str], runtime_dir: Path, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "GATEWAY_PROXY_RUNTIME": str(runtime_dir), "PYTHONPATH": str(EXAMPLES.parent)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


def test_python_tool_prints_bars_and_follows_them(answering, runtime_dir):
    """Status, history, then the stream, until it is stopped."""
    tool = start([sys.executable, str(EXAMPLES / "last_bars.py"), "SPY"], runtime_dir)
    assert tool.stdout is not None

    lines = [tool.stdout.readline() for _ in range(6)]

    assert lines[:4] == ["ready\n", *["60 1.5 finished\n"] * 3]
    assert lines[4].split()[1] == "7.25"
    tool.kill()
    tool.communicate()
    eventually(lambda: ("bars/SPY/1min/", False) in answering.subscriptions)


def test_raw_python_gets_everything_without_our_code(answering, runtime_dir):
    """Bars, a chain, status and an order over plain REQ sockets; the file imports nothing of ours and is short."""
    text = (EXAMPLES / "raw_request.py").read_text()
    program = start([sys.executable, str(EXAMPLES / "raw_request.py")], runtime_dir)

    said, _ = program.communicate(timeout=30)

    assert program.returncode == 0
    assert "gateway_proxy" not in text.replace("GATEWAY_PROXY_RUNTIME", "") and len(text.splitlines()) <= 32
    assert said.splitlines()[0] == "{'state': 'ready'}"
    assert "'underlying_price': 600.0" in said and "'accepted'" in said


@pytest.mark.skipif(
    not (shutil.which("node") and (NODE / "node_modules").is_dir()), reason="npm install in examples/node"
)
def test_node_program_reads_bars_and_status(answering, runtime_dir):
    """Another language, its own ZeroMQ binding, the same bytes."""
    program = start(["node", "client.mjs", "SPY", "2"], runtime_dir, cwd=NODE)

    said, _ = program.communicate(timeout=30)

    lines = said.splitlines()
    assert program.returncode == 0
    assert lines[:4] == ["status ready", "bar 1.5", "bar 1.5", "bar 1.5"]
    assert lines[-1].startswith("bar ") and lines[-1].endswith("7.25")
