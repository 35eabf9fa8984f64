"""The processes: one simulator, one proxy, one trader; started, struck and followed until they are ready again.

Proxy and trader are forked from a process that has imported their code already, because a thousand restarts would
otherwise mostly measure Python's start; every tenth proxy is started cold, by its command. A SIGKILL is a SIGKILL.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from gateway_proxy import Client
from tests.chaos.blows import Blow
from tests.chaos.readiness import STUCK_S, until_ready
from tests.support.stack import ROOT

COLD_EVERY: Final = 10
CONFIG: Final = """
[gateway]
port = {port}
retry_s = 0.2
retry_max_s = 1.0
[trading]
mode = "paper"
account = "DU1234567"
[bus]
runtime_dir = "{directory}/run"
[health]
probe_interval_s = 0.5
probe_timeout_s = 0.5
drop_after_s = 3.0
id_in_use_retry_s = 1.0
[orders]
ack_timeout_s = 2.0
entry_good_for_s = 10.0           # what is unknown for longer is proven absent soon
absence_wait_s = 10.0
sweep_spacing_s = 1.0
[risk]
max_position = 1e6
max_notional = 1e9
max_open_orders = 1000
max_orders_per_minute = 100000
max_cancels_per_minute = 100000
daily_loss = 1e9
max_efficiency_ratio = 1e9
[logs]
format = "json"
"""
_FORKS = multiprocessing.get_context("forkserver")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_into(path: Path) -> None:
    """This process's output goes to a file."""
    with path.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _run_proxy(config: Path, output: Path) -> None:
    from gateway_proxy.cli import main

    _write_into(output)
    sys.exit(main(["--config", str(config)]))


def _run_trader(directory: Path, seed: int, settling: bool) -> None:
    from tests.chaos.trader import run

    _write_into(directory / "trader.txt")
    sys.exit(run(directory / "run", directory / "notebook.jsonl", seed, settling=settling))


class Cold:
    """A proxy started by its command, with the same three verbs as a forked one."""

    def __init__(self, config: Path, output: Path) -> None:
        with output.open("ab") as file:
            command = [sys.executable, "-m", "gateway_proxy", "--config", str(config)]
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        self.pid = self._process.pid

    def kill(self) -> None:
        self._process.kill()

    def join(self, timeout: float | None = None) -> None:
        self._process.wait(timeout)


class Arena:
    """`directory` must have a short path: sockets live in it. `close` leaves no process."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.seed = seed
        self.ledger = directory / "ledger.jsonl"
        self.notebook = directory / "notebook.jsonl"
        self.journal = directory / "run" / "journal-paper.sqlite3"
        self.starts = 0
        port, self._control_port = free_port(), free_port()
        self._config = directory / "chaos.toml"
        self._config.write_text(CONFIG.format(port=port, directory=directory))
        _FORKS.set_forkserver_preload(["gateway_proxy.assembly", "gateway_proxy.cli", "tests.chaos.trader"])
        command = ["--port", str(port), "--control", str(self._control_port), "--ledger", str(self.ledger)]
        with (directory / "simulator.txt").open("wb") as output:
            self._simulator = subprocess.Popen(
                [sys.executable, "-m", "gateway_sim", *command, "--seed", str(seed)],
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        self._wait(lambda: self.inject("status"), "the simulator's control port")
        self._proxy = self._start_proxy()
        self.until_ready()
        self._trader = self._start_trader(settling=False)

    # ------------------------------------------------------------ processes

    def _start_proxy(self) -> BaseProcess | Cold:
        self.starts += 1
        output = self.directory / "proxy.txt"
        if self.starts % COLD_EVERY == 0:
            return Cold(self._config, output)
        process = _FORKS.Process(target=_run_proxy, args=(self._config, output), daemon=True)
        process.start()
        return process

    @property
    def started_cold(self) -> bool:
        return self.starts % COLD_EVERY == 0

    def _start_trader(self, *, settling: bool) -> BaseProcess:
        process = _FORKS.Process(target=_run_trader, args=(self.directory, self.seed, settling), daemon=True)
        process.start()
        return process

    def close(self) -> None:
        for process in (self._trader, self._proxy):
            process.kill()
            process.join()
        # Asked to end, so that the ledger's last line is whole.
        self._simulator.terminate()
        try:
            self._simulator.wait(10.0)
        except subprocess.TimeoutExpired:
            self._simulator.kill()
            self._simulator.wait()

    # ------------------------------------------------------------ blows

    def strike(self, blow: Blow, dice: random.Random) -> float | None:
        """Seconds until ready again, from the end of what was done; None if the proxy never was, in STUCK_S."""
        self._until_flowing()
        time.sleep(blow.after_s)
        began = self._perform(blow, dice)
        try:
            self.until_ready()
        except TimeoutError:
            return None
        return time.monotonic() - began

    def _perform(self, blow: Blow, dice: random.Random) -> float:
        """Does it; returns when it was over."""
        match blow.name:
            case "proxy_killed":
                return self._restart_proxy()
            case "proxy_killed_while_recovering":
                self._restart_proxy()
                time.sleep(blow.seconds)
                return self._restart_proxy()
            case "trader_killed":
                return self._restart_trader()
            case "both_killed":
                self._trader.kill()
                self._restart_proxy()
                return self._restart_trader()
            case "proxy_paused" | "gateway_paused" | "trader_paused":
                self._pause(blow.name.removesuffix("_paused"), blow.seconds)
            case _:
                self._trouble_the_line(blow)
        return time.monotonic()

    def _restart_proxy(self) -> float:
        """SIGKILL and a new one at once; the clock starts with the kill."""
        began = time.monotonic()
        self._proxy.kill()
        self._proxy.join()
        self._proxy = self._start_proxy()
        return began

    def _restart_trader(self) -> float:
        began = time.monotonic()
        self._trader.kill()
        self._trader.join()
        self._trader = self._start_trader(settling=False)
        return began

    def _pause(self, whom: str, seconds: float) -> None:
        process = {"proxy": self._proxy, "gateway": self._simulator, "trader": self._trader}[whom]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGCONT)

    def _trouble_the_line(self, blow: Blow) -> None:
        """A fault of the simulator. One without an end of its own is over when the session has been lost."""
        lost = self._disconnects()
        options = "".join(f" {key}={value}" for key, value in blow.options.items())
        lasts = f" for={blow.seconds:.3f}s" if blow.seconds else ""
        self.inject(f"inject {blow.fault}{lasts}{options}")
        if blow.seconds:
            time.sleep(blow.seconds)
        else:
            self._wait(lambda: self._disconnects() > lost, f"the end of the session by {blow.name}", quietly=True)

    def inject(self, line: str) -> str:
        """One command for the simulator's control port; its answer, "" while nobody listens."""
        try:
            with socket.create_connection(("127.0.0.1", self._control_port), timeout=5.0) as control:
                control.sendall(line.encode() + b"\n")
                return control.makefile().readline()
        except OSError:
            return ""

    def _disconnects(self) -> int:
        return self.ledger.read_bytes().count(b'"event":"disconnect"')

    # ------------------------------------------------------------ readiness

    def until_ready(self) -> None:
        until_ready(lambda: Client.connect(self.directory / "run", name="watch", timeout_s=5.0))

    def _until_flowing(self) -> None:
        """The trader has found the proxy and writes again: a blow now meets orders, not a pause."""
        before = self._noted()
        self._wait(lambda: self._noted() > before, "the trader's next line", quietly=True)

    def _noted(self) -> int:
        return self.notebook.stat().st_size if self.notebook.exists() else 0

    @staticmethod
    def _wait(holds: Callable[[], object], what: str, *, quietly: bool = False) -> None:
        deadline = time.monotonic() + (4.0 if quietly else STUCK_S)
        while not holds():
            if time.monotonic() > deadline:
                if quietly:
                    return
                raise TimeoutError(f"not within {STUCK_S:.0f} s: {what}")
            time.sleep(0.005)

    def settle(self) -> bool:
        """The flow ends: every question gets its answer, every order its end. False if something stays open."""
        self._trader.kill()
        self._trader.join()
        self._trader = self._start_trader(settling=True)
        self._trader.join(2 * STUCK_S + 30.0)
        return self._trader.exitcode == 0
