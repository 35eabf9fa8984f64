"""The loop of the launcher: feeds the supervisor, performs its effects, re-arms its timer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gateway_proxy import notify
from gateway_proxy.core import supervisor as sv
from gateway_proxy.launcher.child import Child
from gateway_proxy.launcher.printer import Printer
from gateway_proxy.launcher.programs import Command
from gateway_proxy.launcher.reports import Bodies, Reporter

REPORT_S = 2.0
NAME = "launcher"


class Launcher:
    """`run` returns the exit code when nothing lives any more."""

    def __init__(self, commands: Sequence[Command], settings: sv.LauncherSettings, reporter: Reporter | None) -> None:
        self._commands = {command.program.name: command for command in commands}
        self._supervisor = sv.Supervisor([command.program for command in commands], settings)
        self._printer = Printer(sys.stdout, max(len(name) for name in (NAME, *self._commands)))
        self._reporter = reporter
        self._children: dict[str, Child] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._lives_started = 0

    async def run(self) -> int:
        """Starts everything, and goes on until a signal or the supervisor ends it."""
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[int] = self._loop.create_future()
        with tempfile.TemporaryDirectory(prefix="gateway-proxy-") as directory:
            self._directory = Path(directory)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._loop.add_signal_handler(number, self._on_signal)
            reports = asyncio.create_task(self._report())
            self._supervisor.receive_begin(self._loop.time())
            self._advance()
            try:
                return await self._finished
            finally:
                reports.cancel()
                for child in self._children.values():
                    child.send(signal.SIGKILL)
                if self._lives:
                    await asyncio.wait(self._lives, timeout=1.0)
                self._printer.finish()

    def _on_signal(self) -> None:
        notify.stopping()
        self._supervisor.receive_stop(self._loop.time())
        self._advance()

    def _advance(self) -> None:
        """Performs what the supervisor decided, and sets the timer for what it wants to look at next."""
        for effect in self._supervisor.effects():
            self._perform(effect)
        if self._timer is not None:
            self._timer.cancel()
        due = self._supervisor.next_timer()
        self._timer = None if due is None else self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._supervisor.handle_timer(self._loop.time())
        self._advance()

    def _perform(self, effect: sv.Effect) -> None:
        match effect:
            case sv.Say(about, text, warning):
                self._printer.say(NAME, f"{about}: {text}" if about else text, warning=warning)
            case sv.Start(name):
                life = asyncio.create_task(self._live(name, self._new_child(name)), name=name)
                self._lives.add(life)
                life.add_done_callback(self._lives.discard)
            case sv.Terminate(name):
                self._children[name].send(signal.SIGTERM)
            case sv.Kill(name):
                self._children[name].send(signal.SIGKILL)
            case sv.Finish(exit_code):
                if not self._finished.done():
                    self._finished.set_result(exit_code)

    def _new_child(self, name: str) -> Child:
        self._lives_started += 1
        self._children[name] = Child(
            self._commands[name],
            self._directory / f"{self._lives_started}.sock",
            on_line=lambda text: self._printer.say(name, text),
            on_ready=lambda: self._on_ready(name),
            on_alive=lambda: self._on_alive(name),
        )
        return self._children[name]

    async def _live(self, name: str, child: Child) -> None:
        """One life of one program, from start to the report of its end."""
        try:
            code = await child.live()
        except OSError as error:
            self._supervisor.receive_start_failed(name, str(error), self._loop.time())
        else:
            self._supervisor.receive_exit(name, code, self._loop.time())
        self._advance()

    def _on_ready(self, name: str) -> None:
        self._supervisor.receive_ready(name, self._loop.time())
        self._advance()
        states = self._supervisor.states(self._loop.time())
        if all(state.phase is sv.Phase.READY for state in states):
            notify.ready(f"{len(states)} processes ready")

    def _on_alive(self, name: str) -> None:
        self._supervisor.receive_alive(name, self._loop.time())
        self._advance()

    async def _report(self) -> None:
        while self._reporter is not None:
            self._reporter.tell(self._bodies())
            await asyncio.sleep(REPORT_S)

    def _bodies(self) -> Bodies:
        found: Bodies = {}
        for state in self._supervisor.states(self._loop.time()):
            child = self._children.get(state.name)
            found[state.name] = {
                "state": state.phase.value,
                "pid": child.pid if child else None,
                "uptime_s": round(state.uptime_s, 1),
                "restarts": state.restarts,
                "rss_mb": child.rss_mb() if child and child.pid else None,
            }
        return found


def run(commands: Sequence[Command], settings: sv.LauncherSettings, runtime_dir: Path) -> int:
    """Runs the launcher in a loop of its own; returns the exit code."""
    reporter = Reporter(runtime_dir)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            return asyncio.run(Launcher(commands, settings, reporter).run())
        return 1
    finally:
        reporter.tell(None)
