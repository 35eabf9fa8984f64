"""The whole chain as `make run` starts it, in a runtime directory of its own and on free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_proxy import Client

ROOT = Path(__file__).parents[2]
_OF_MAKE = ("ARGS", "CONFIG", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
LOCAL = ROOT / "configs" / "local.toml"
#: Generous: three Python processes with numba start at once on a small shared machine.
PATIENCE_S = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """Simulator, proxy, engines and monitor. `directory` must have a short path."""

    def __init__(self, directory: Path, **overrides: str) -> None:
        self.directory = directory
        self.runtime = directory / "run"
        self.ledger_file = directory / "ledger.jsonl"
        self.output = directory / "output.txt"
        # Not what `make test ARGS=…` hands down: the stack may be started by a make of its own.
        inherited = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
        self.environment = {
            **inherited,
            "GATEWAY_PROXY_RUNTIME": str(self.runtime),
            "GATEWAY_PROXY__GATEWAY__PORT": str(free_port()),
            "GATEWAY_PROXY__MONITOR__WEB__ENABLED": "false",
            "GATEWAY_PROXY__MONITOR__HISTORY__ENABLED": "false",
            "GATEWAY_PROXY__SIMULATOR__LEDGER": str(self.ledger_file),
            "TMPDIR": str(directory),
            **{f"GATEWAY_PROXY__{key}": value for key, value in overrides.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._spawned: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts the launcher, as `make run` does."""
        self.process = self.spawn("gateway_proxy.launcher", "--config", str(LOCAL))

    def spawn(self, *module: str) -> subprocess.Popen[bytes]:
        """A Python module in this stack's environment; it writes into the same output."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._spawned.append(process)
        return process

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until(self, holds: Callable[[], Any], what: str) -> Any:
        """The first true value of `holds`. Fails with the output so far when it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if value := holds():
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {PATIENCE_S:.0f} s: {what}\n{self.text[-6000:]}")

    def wait_for_text(self, text: str, times: int = 1) -> None:
        self.wait_until(lambda: self.text.count(text) >= times, f"{times} x {text!r}")

    def client(self) -> Client:
        return Client.connect(self.runtime, name="test", timeout_s=PATIENCE_S)

    def connection(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.runtime / "connection.json").read_bytes())
        return found

    def ledger(self, event: str) -> list[dict[str, Any]]:
        """The simulator's entries of one kind, so far."""
        lines = self.ledger_file.read_text().splitlines() if self.ledger_file.exists() else []
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        return [entry for entry in entries if entry["event"] == event]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A Python module against this stack, to its end."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def pids(self) -> list[int]:
        """The launcher and everything that carries this runtime directory in its environment."""
        mark = f"GATEWAY_PROXY_RUNTIME={self.runtime}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def stop(self) -> int:
        """Ctrl-C: the exit code of the launcher."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """Whatever still lives is killed."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        for process in self._spawned:
            process.wait(PATIENCE_S)
