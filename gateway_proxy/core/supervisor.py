"""When to start, restart, give up on and stop the processes of one machine. Pure: the launcher does what it says.

A process is started when all that it comes after are ready, restarted with a growing pause when it dies, and stopped
in reverse order; one that used to say that it is alive and falls silent is killed, which a restart follows. Two deaths
end everything: one that a restart cannot mend, such as a wrong configuration, and one too many without a stable run
between.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

#: The launcher's exit code when a process ended with one of HOPELESS_EXITS.
EXIT_CONFIG = 2
#: Ends that a restart cannot mend: 2 wrong configuration, 4 another proxy runs there, 64 the monitor's wrong usage.
HOPELESS_EXITS = frozenset({2, 4, 64})
#: How long a SIGKILL may take before the process is left to the system (it waits for a disk or a debugger).
KILL_S = 1.0
#: How often the clock is looked at while somebody's silence is watched, and how late such a look may come: after a
#: longer gap everything stood still, a machine that slept or a launcher that was stopped, and nobody was silent.
LOOK_S = 1.0
LATE_S = 1.0

PositiveSeconds = Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True)
class LauncherSettings:
    """What the launcher starts and how patient it is; real seconds."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    proxy: bool = True  # False when something else (systemd, a terminal) runs the proxy
    engines: tuple[str, ...] | None = None  # names to start; left out: every [engines.<name>]
    monitor: bool = True  # plain health lines between the others'
    ready_timeout_s: PositiveSeconds = 60.0  # a process that is not ready by then is killed and started again
    restart_s: PositiveSeconds = 0.5  # pause before the first restart; doubles with every further one
    restart_max_s: PositiveSeconds = 30.0  # the longest pause
    stable_s: PositiveSeconds = 60.0  # after this long ready, the pause starts again from restart_s
    restarts_max: Annotated[int, Ge(1)] = 8  # without a stable run between them; the next death stops everything
    stop_s: PositiveSeconds = 3.0  # the whole stop; what still lives then is killed
    hang_s: Annotated[float, Ge(0)] = 60.0  # what once said that it lives and is silent for so long is killed; 0: never


class Phase(enum.Enum):
    WAITING = "waiting"  # for those it comes after
    STARTING = "starting"  # runs, not ready yet
    READY = "ready"
    PAUSED = "paused"  # died; will be restarted
    STOPPING = "stopping"  # asked to end
    ENDED = "ended"  # will not be started again


class Trigger(enum.Enum):
    START = "start"
    READY = "ready"
    EXIT = "exit"
    STOP = "stop"
    GIVE_UP = "give up"


TRANSITIONS: dict[tuple[Phase, Trigger], Phase] = {
    (Phase.WAITING, Trigger.START): Phase.STARTING,
    (Phase.WAITING, Trigger.STOP): Phase.ENDED,
    (Phase.STARTING, Trigger.READY): Phase.READY,
    (Phase.STARTING, Trigger.EXIT): Phase.PAUSED,
    (Phase.STARTING, Trigger.STOP): Phase.STOPPING,
    (Phase.READY, Trigger.READY): Phase.READY,
    (Phase.READY, Trigger.EXIT): Phase.PAUSED,
    (Phase.READY, Trigger.STOP): Phase.STOPPING,
    (Phase.PAUSED, Trigger.START): Phase.STARTING,
    (Phase.PAUSED, Trigger.STOP): Phase.ENDED,
    (Phase.PAUSED, Trigger.GIVE_UP): Phase.ENDED,
    (Phase.STOPPING, Trigger.READY): Phase.STOPPING,
    (Phase.STOPPING, Trigger.EXIT): Phase.ENDED,
    (Phase.STOPPING, Trigger.STOP): Phase.STOPPING,
    (Phase.ENDED, Trigger.STOP): Phase.ENDED,
    # What could not be killed in time was left behind, and may still speak and end.
    (Phase.ENDED, Trigger.READY): Phase.ENDED,
    (Phase.ENDED, Trigger.EXIT): Phase.ENDED,
}


@dataclass(frozen=True, slots=True)
class Start:
    """Start the process now; `restarts` so far."""

    name: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the process to end (SIGTERM)."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process without asking (SIGKILL)."""

    name: str


@dataclass(frozen=True, slots=True)
class Say:
    """A sentence for the person at the terminal; `about` is a process or "" for all."""

    about: str
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing runs any more; the launcher ends with this exit code."""

    exit_code: int


Effect = Start | Terminate | Kill | Say | Finish


@dataclass(frozen=True, slots=True)
class Program:
    """What to supervise: its name, and the names that must be ready before its first start."""

    name: str
    after: tuple[str, ...] = ()


@dataclass(slots=True)
class _Process:
    program: Program
    stage: int
    phase: Phase = Phase.WAITING
    due: float | None = None  # when handle_timer looks at it: ready time-out, end of the pause, or silence
    ready_at: float | None = None
    started_at: float = 0.0
    restarts: int = 0
    restarts_in_a_row: int = 0

    @property
    def is_alive(self) -> bool:
        return self.phase in (Phase.STARTING, Phase.READY, Phase.STOPPING)


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process as seen from outside; `uptime_s` is 0 while it does not run."""

    name: str
    phase: Phase
    restarts: int
    uptime_s: float


@dataclass(slots=True)
class Supervisor:
    """Feed it starts, readiness, deaths and the wish to stop; perform its effects in order; call its timer."""

    programs: Iterable[Program]
    settings: LauncherSettings = LauncherSettings()
    _processes: dict[str, _Process] = field(default_factory=dict, init=False)
    _effects: list[Effect] = field(default_factory=list, init=False)
    _exit_code: int | None = field(default=None, init=False)
    _stop_began: float = field(default=0.0, init=False)
    _stopping_stage: int | None = field(default=None, init=False)
    _stage_due: float | None = field(default=None, init=False)
    _killing: bool = field(default=False, init=False)
    _looked_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        for program in self.programs:
            unknown = [name for name in program.after if name not in self._processes]
            if unknown or program.name in self._processes:
                raise ValueError(f"{program.name}: named twice, or listed before {', '.join(unknown)}")
            stage = 1 + max((self._processes[name].stage for name in program.after), default=-1)
            self._processes[program.name] = _Process(program, stage)

    # ---------------------------------------------------------------- what happened

    def receive_begin(self, now: float) -> None:
        """Go: start everything that comes after nothing."""
        self._start_those_whose_turn_it_is(now)

    def receive_ready(self, name: str, now: float) -> None:
        """The process told that it does its work."""
        process = self._processes[name]
        if process.phase is Phase.STARTING:
            self._say(name, f"ready after {now - process.started_at:.1f} s")
            process.due, process.ready_at = None, now
        self._step(process, Trigger.READY)
        self._start_those_whose_turn_it_is(now)

    def receive_alive(self, name: str, now: float) -> None:
        """The process told that its loop turns; from the first time on it must go on saying so."""
        process = self._processes[name]
        if process.phase is Phase.READY and self.settings.hang_s:
            process.due = now + self.settings.hang_s
            if self._looked_at is None:
                self._looked_at = now

    def receive_exit(self, name: str, code: int, now: float) -> None:
        """The process ended; `code` as Python's: negative is the signal that killed it."""
        process = self._processes[name]
        was_stopping = process.phase in (Phase.STOPPING, Phase.ENDED)
        was_stable = process.ready_at is not None and now - process.ready_at >= self.settings.stable_s
        self._step(process, Trigger.EXIT)
        process.due = process.ready_at = None
        if was_stopping:
            self._stop_next_stage(now)
        elif code in HOPELESS_EXITS:
            self._say(name, "cannot run like this (see its lines above): stopping everything", warning=True)
            self._step(process, Trigger.GIVE_UP)
            self._stop(EXIT_CONFIG, now)
        else:
            self._plan_restart(process, code, 0 if was_stable else process.restarts_in_a_row, now)

    def receive_start_failed(self, name: str, reason: str, now: float) -> None:
        """The process could not even be started; counts as a death at once."""
        self._say(name, f"could not be started: {reason}", warning=True)
        self.receive_exit(name, 1, now)

    def receive_stop(self, now: float) -> None:
        """The person or the system wants the end. A second time: at once, by SIGKILL."""
        if self._exit_code is None:
            self._say("", "stopping")
            self._stop(0, now)
        else:
            self._kill_all()

    # ---------------------------------------------------------------- what to do

    def effects(self) -> list[Effect]:
        """What the launcher must do now, in order; empties the list."""
        taken, self._effects = self._effects, []
        return taken

    def next_timer(self) -> float | None:
        """When to call handle_timer if nothing happens before."""
        if self._exit_code is not None:
            return self._stage_due
        times = [process.due for process in self._processes.values() if process.due is not None]
        if self._looked_at is not None:
            times.append(self._looked_at + LOOK_S)
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Ends of pauses, readiness time-outs and the deadlines of a stop."""
        if self._stage_due is not None and now >= self._stage_due:
            self._stage_overdue(now)
        self._look_at_the_clock(now)
        for process in self._processes.values():
            if process.due is None or now < process.due or self._exit_code is not None:
                continue
            process.due = None
            if process.phase is Phase.PAUSED:
                process.restarts += 1
                process.restarts_in_a_row += 1
                self._start(process, now)
            elif process.phase is Phase.STARTING:
                self._kill(process, f"not ready after {self.settings.ready_timeout_s:.0f} s")
            else:
                self._kill(process, f"silent for {self.settings.hang_s:.0f} s")

    def states(self, now: float) -> list[ProcessState]:
        """Every process in starting order, for reports."""
        return [
            ProcessState(name, process.phase, process.restarts, now - process.started_at if process.is_alive else 0.0)
            for name, process in self._processes.items()
        ]

    # ---------------------------------------------------------------- rules

    def _step(self, process: _Process, trigger: Trigger) -> None:
        target = TRANSITIONS.get((process.phase, trigger))
        if target is None:
            raise AssertionError(f"{process.program.name}: {trigger.value} while {process.phase.value}")
        process.phase = target

    def _say(self, about: str, text: str, *, warning: bool = False) -> None:
        self._effects.append(Say(about, text, warning))

    def _look_at_the_clock(self, now: float) -> None:
        """After a gap in our own looks, everybody who is watched gets the whole time again."""
        watched = [one for one in self._processes.values() if one.phase is Phase.READY and one.due is not None]
        if self._looked_at is not None and now > self._looked_at + LOOK_S + LATE_S:
            for process in watched:
                process.due = now + self.settings.hang_s
        self._looked_at = now if watched else None

    def _kill(self, process: _Process, why: str) -> None:
        self._say(process.program.name, f"{why}: killed", warning=True)
        self._effects.append(Kill(process.program.name))

    def _start(self, process: _Process, now: float) -> None:
        self._step(process, Trigger.START)
        process.started_at = now
        process.due = now + self.settings.ready_timeout_s
        self._effects.append(Start(process.program.name, process.restarts))

    def _start_those_whose_turn_it_is(self, now: float) -> None:
        if self._exit_code is not None:
            return
        for process in self._processes.values():
            ready = all(self._processes[name].phase is Phase.READY for name in process.program.after)
            if process.phase is Phase.WAITING and ready:
                self._start(process, now)

    def _plan_restart(self, process: _Process, code: int, restarts_in_a_row: int, now: float) -> None:
        name, settings = process.program.name, self.settings
        process.restarts_in_a_row = restarts_in_a_row
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if restarts_in_a_row >= settings.restarts_max:
            text = f"{how}, {restarts_in_a_row} restarts did not help (see its lines above): stopping everything"
            self._say(name, text, warning=True)
            self._step(process, Trigger.GIVE_UP)
            self._stop(1, now)
            return
        pause_s = min(settings.restart_s * 2**restarts_in_a_row, settings.restart_max_s)
        process.due = now + pause_s
        self._say(name, f"{how}; restart in {pause_s:g} s", warning=True)

    # ---------------------------------------------------------------- the end, the last started first

    def _stop(self, exit_code: int, now: float) -> None:
        if self._exit_code is None:
            self._exit_code, self._stop_began = exit_code, now
            self._stop_next_stage(now)

    def _top_stage(self) -> int:
        """The highest stage that still lives; -1 when nothing does."""
        return max((process.stage for process in self._processes.values() if process.is_alive), default=-1)

    def _stop_next_stage(self, now: float) -> None:
        """Terminates the highest stage that lives; finishes when none does.

        Each stage gets an equal share of the whole time, so that a stuck engine cannot use up the proxy's.
        """
        top = self._top_stage()
        for process in self._processes.values():
            if process.phase in (Phase.WAITING, Phase.PAUSED):
                self._step(process, Trigger.STOP)
            elif process.stage == top and process.phase in (Phase.STARTING, Phase.READY):
                self._step(process, Trigger.STOP)
                self._effects.append(Terminate(process.program.name))
        if top == self._stopping_stage:
            return
        self._stopping_stage, self._killing = top, False
        if top < 0:
            assert self._exit_code is not None
            self._stage_due = None
            self._effects.append(Finish(self._exit_code))
        else:
            stages = 1 + max(process.stage for process in self._processes.values())
            self._stage_due = self._stop_began + self.settings.stop_s * (stages - top) / stages

    def _stage_overdue(self, now: float) -> None:
        """First kills what is left of the stage; what even that does not end is left to the system."""
        top = self._top_stage()
        for process in self._processes.values():
            if process.stage != top or not process.is_alive:
                continue
            if self._killing:
                self._say(process.program.name, "cannot be killed: left behind", warning=True)
                self._step(process, Trigger.EXIT)
            else:
                self._say(process.program.name, "did not stop in time: killed", warning=True)
                self._effects.append(Kill(process.program.name))
        if self._killing:
            self._stop_next_stage(now)
        else:
            self._killing, self._stage_due = True, now + KILL_S

    def _kill_all(self) -> None:
        for process in self._processes.values():
            if process.is_alive:
                self._step(process, Trigger.STOP)
                self._effects.append(Kill(process.program.name))
