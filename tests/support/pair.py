"""A simulator and a proxy as real processes, on free ports and in a directory of their own, at the speed of life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_proxy import Client, ProxyError
from gateway_sim.control import send_command
from tests.support.stack import ROOT, free_port

PATIENCE_S = 40.0
MARKET_START = "2026-06-15 11:00"
CONFIG = """
[gateway]
port = {port}
client_id = 7
retry_s = 0.25
retry_max_s = 2.0
[trading]
mode = "{mode}"
account = "DU1234567"
[bus]
runtime_dir = "{runtime}"
[logs]
level = "info"
[simulator]
enabled = false
{more}
"""


class Pair:
    """`directory` must have a short path. Every process that it started ends with `close`."""

    def __init__(
        self, directory: Path, *, mode: str = "paper", more: str = "", start: str = MARKET_START,
        speed: float = 1.0, scenario: Path | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.runtime = directory / "run"
        self.ledger_file = directory / "ledger.jsonl"
        self.port, self.control = free_port(), free_port()
        self.market_start, self.speed, self.scenario = start, speed, scenario
        more += f"\n[clock]\nspeed = {speed}\n" if speed != 1.0 else ""
        self.config = directory / "pair.toml"
        self.config.write_text(CONFIG.format(port=self.port, runtime=self.runtime, mode=mode, more=more))
        self.environment = {name: value for name, value in os.environ.items() if name != "GATEWAY_PROXY_RUNTIME"}
        self.simulator: subprocess.Popen[str] | None = None
        self.proxy: subprocess.Popen[str] | None = None
        self._spawned: list[subprocess.Popen[str]] = []

    # ------------------------------------------------------------ processes

    def start(self) -> Pair:
        self.start_simulator()
        self.start_proxy()
        return self

    def start_simulator(self) -> float:
        """Returns the moment at which it listens."""
        options = ["--port", str(self.port), "--control", str(self.control), "--ledger", str(self.ledger_file)]
        options += ["--start", self.market_start, "--speed", f"{self.speed:g}", "--skip-closed"]
        options += ["--scenario", str(self.scenario)] if self.scenario is not None else []
        self.simulator = self.spawn("-m", "gateway_sim", *options)
        assert self.simulator.stdout is not None
        line = self.simulator.stdout.readline()
        assert "listening" in line, line
        return time.monotonic()

    def start_proxy(self) -> None:
        with (self.directory / "proxy.log").open("a") as log:
            self.proxy = self.spawn("-m", "gateway_proxy", "--config", str(self.config), output=log)

    def spawn(self, *command: str, output: Any = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=self.environment, text=True,
            stdout=output or subprocess.PIPE, stderr=output or subprocess.DEVNULL,
        )  # fmt: skip
        self._spawned.append(process)
        return process

    def kill_simulator(self) -> float:
        """SIGKILL; returns when."""
        assert self.simulator is not None
        self.simulator.kill()
        at = time.monotonic()
        self.simulator.wait()
        return at

    def close(self) -> None:
        for process in self._spawned:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(PATIENCE_S)
            if process.stdout is not None:
                process.stdout.close()

    # ------------------------------------------------------------ questions

    def client(self) -> Client:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return Client.connect(self.runtime, name="test", timeout_s=10.0)
            except ProxyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def inject(self, name: str, lasts: str | None = None, **parameters: object) -> None:
        words = [f"for={lasts}"] if lasts else []
        words += [f"{key}={value}" for key, value in parameters.items()]
        answer = send_command("127.0.0.1", self.control, " ".join(["inject", name, *words]))
        assert answer.startswith("ok"), answer

    def doctor(self) -> dict[str, Any]:
        """The report of `gateway-proxy doctor --json`."""
        command = [sys.executable, "-m", "gateway_proxy", "doctor", "--config", str(self.config),
                   "--runtime", str(self.runtime), "--json"]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60)
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def ledger(self, event: str) -> list[dict[str, Any]]:
        lines = self.ledger_file.read_text().splitlines() if self.ledger_file.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [entry for entry in entries if entry["event"] == event]

    def wait_until(self, holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> float:
        """Polls every 10 ms; returns when it first held."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if holds():
                return time.monotonic()
            time.sleep(0.01)
        log = (self.directory / "proxy.log").read_text()[-3000:]
        raise AssertionError(f"not within {patience_s:.0f} s: {what}\n{log}")
