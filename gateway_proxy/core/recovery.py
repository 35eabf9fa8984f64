"""Recovery: what is tried next when a stream stays dead. A ladder as a table, climbed per stream. Pure.

Re-request the stream -> re-request its class -> a new session with the same client id -> ask IBC for help. A stream
whose companions live is never a reason to climb: it may be halted. Orders are never touched, and a session is dropped
only while no order is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Interval

from gateway_proxy.core import effects as fx
from gateway_proxy.core.verdict import Verdict

IbcCommand = Literal["RECONNECTDATA", "RECONNECTACCOUNT", "RESTART"]


class Rung(StrEnum):
    """What was tried last for a stream."""

    WATCH = "watch"
    STREAM = "stream"
    CLASS = "class"
    SESSION = "session"
    PROGRAM = "program"


class Sign(StrEnum):
    """ALONE: it is dead, others of its class live.   ALL: none of its class lives.   FRESH: data came."""

    ALONE = "alone"
    ALL = "all"
    FRESH = "fresh"


R, S = Rung, Sign
LADDER: Final[dict[tuple[Rung, Sign], Rung]] = {
    (R.WATCH, S.ALONE): R.STREAM,
    (R.WATCH, S.ALL): R.STREAM,
    (R.STREAM, S.ALL): R.CLASS,
    (R.CLASS, S.ALL): R.SESSION,
    (R.SESSION, S.ALL): R.PROGRAM,
    (R.PROGRAM, S.ALL): R.PROGRAM,
    **{(rung, S.ALONE): R.STREAM for rung in (R.STREAM, R.CLASS, R.SESSION, R.PROGRAM)},
    **{(rung, S.FRESH): R.WATCH for rung in Rung},
}

#: What IBC can do about a cause that lasts (rule book 10.5, last column).
CURES: Final[dict[Verdict, IbcCommand]] = {
    Verdict.FARM_DOWN: "RECONNECTDATA",
    Verdict.HISTORY_SILENT: "RECONNECTDATA",
    Verdict.STREAM_DEAD: "RECONNECTDATA",
    Verdict.UPSTREAM_LOST: "RECONNECTACCOUNT",
    Verdict.GATEWAY_SILENT: "RESTART",
}


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """How patiently the ladder is climbed. Seconds of real time; the shell scales them by the clock."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    reconnect_every_s: Annotated[float, Gt(0)] = 600.0  # at most one new session for dead streams in this time
    escalate_after_s: Annotated[float, Gt(0)] = 600.0  # an outage outside the windows that lasts this long is told
    canary_every_s: Annotated[float, Gt(0)] = 300.0  # without other proof, history is tried this often; 0.1x when bad
    canary_symbol: str = "SPY"  # a liquid US stock; "" never tries
    account_stale_s: Annotated[float, Gt(0)] = 600.0  # IB pushes account values every 180 s; later they are asked for
    ibc_host: str = "127.0.0.1"
    ibc_port: Annotated[int, Interval(ge=0, le=65535)] = 0  # IBC's CommandServerPort; 0 never asks IBC
    ibc_commands: tuple[IbcCommand, ...] = ("RECONNECTDATA", "RECONNECTACCOUNT")  # what may be asked of IBC
    ibc_after_s: Annotated[float, Gt(0)] = 300.0  # a cause must have lasted this long
    ibc_every_s: Annotated[float, Ge(60)] = 1_800.0  # at most one command in this time

    def at_speed(self, speed: float) -> RecoverySettings:
        """The same in seconds of a clock that runs `speed` times faster."""
        return replace(
            self,
            reconnect_every_s=self.reconnect_every_s * speed,
            escalate_after_s=self.escalate_after_s * speed,
            canary_every_s=self.canary_every_s * speed,
            account_stale_s=self.account_stale_s * speed,
            ibc_after_s=self.ibc_after_s * speed,
            ibc_every_s=self.ibc_every_s * speed,
        )


class Recovery:
    """Remembers the rung of every dead stream. `is_busy()` says whether an order is under way."""

    def __init__(self, settings: RecoverySettings, is_busy: Callable[[], bool]) -> None:
        self._settings = settings
        self._is_busy = is_busy
        self._rungs: dict[tuple[str, str], Rung] = {}
        self._reconnected_at: float | None = None
        self._commanded_at: float | None = None
        self._effects: list[fx.Effect] = []
        self.reconnects = 0
        self.commands = 0

    def dead(self, kind: str, name: str, *, others_live: bool, now: float) -> Rung:
        """A stream is dead: what to do. STREAM and CLASS are the caller's to do, the rest is done here."""
        before = self.rung(kind, name)
        rung = LADDER[before, Sign.ALONE if others_live else Sign.ALL]
        if rung is Rung.PROGRAM and not self.command(Verdict.STREAM_DEAD, now):
            rung = Rung.SESSION
        if rung is Rung.SESSION and not self._reconnect(name, now):
            rung = Rung.CLASS
        self._rungs[kind, name] = rung
        if rung is not Rung.STREAM:
            self._rungs |= {key: rung for key in self._rungs if key[0] == kind}
        return rung

    def fresh(self, kind: str, name: str) -> None:
        """Live data came."""
        self._rungs.pop((kind, name), None)

    def forget(self, kind: str, name: str) -> None:
        """Nobody wants the stream any more."""
        self._rungs.pop((kind, name), None)

    def rung(self, kind: str, name: str) -> Rung:
        """What was tried last; WATCH for a stream that is not known to be dead."""
        return self._rungs.get((kind, name), Rung.WATCH)

    def rungs(self) -> dict[str, str]:
        """The rung of every stream that is being mended."""
        return {name: rung.value for (_, name), rung in sorted(self._rungs.items())}

    def _reconnect(self, name: str, now: float) -> bool:
        last = self._reconnected_at
        if self._is_busy() or (last is not None and now - last < self._settings.reconnect_every_s):
            return False
        self._reconnected_at = now
        self.reconnects += 1
        self._effects.append(fx.Disconnect(f"no stream like {name} gives data, though all were asked for again"))
        return True

    def command(self, cause: Verdict, now: float) -> bool:
        """Ask IBC for the cure of a lasting cause. False, and nothing asked, when not configured or too soon."""
        settings, word = self._settings, CURES.get(cause)
        last = self._commanded_at
        too_soon = last is not None and now - last < settings.ibc_every_s
        if settings.ibc_port == 0 or word is None or word not in settings.ibc_commands or too_soon:
            return False
        self._commanded_at = now
        self.commands += 1
        self._effects.append(fx.Log("warning", "asking IBC", {"command": word, "cause": cause.value}))
        self._effects.append(fx.CommandGateway(word))
        return True

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done
