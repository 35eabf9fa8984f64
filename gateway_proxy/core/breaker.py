"""Circuit breakers: stop asking what does not answer, and find out carefully when it does again. Pure.

One breaker per group of request classes. Time-outs and slow answers count; refusals that IB explains and "no data" are
answers and count as successes. While open, a request is told at once when to come back; then exactly one probe goes,
with its own deadline, because a lost probe must not leave the breaker half open for ever (reliability 4.5).
Cancels, orders, probes and session requests have no breaker: nothing here can hold them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from annotated_types import Ge, Gt

from gateway_proxy.core.rules import RequestClass
from gateway_proxy.core.verdict import Verdict
from gateway_proxy.errors import BreakerOpen


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Turn(StrEnum):
    """What can happen to a breaker."""

    FAILURE_LIMIT = "failure_limit"
    RESET_TIMEOUT = "reset_timeout"
    CAUSE_CLEARED = "cause_cleared"
    SUCCESS = "success"
    FAILURE = "failure"


TRANSITIONS: Final[dict[tuple[State, Turn], State]] = {
    (State.CLOSED, Turn.FAILURE_LIMIT): State.OPEN,
    (State.OPEN, Turn.RESET_TIMEOUT): State.HALF_OPEN,
    (State.OPEN, Turn.CAUSE_CLEARED): State.HALF_OPEN,
    (State.OPEN, Turn.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Turn.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Turn.FAILURE): State.OPEN,
}

_C = RequestClass
GROUP_OF: Final[dict[RequestClass, str]] = {
    _C.HISTORY_SMALL: "history",
    _C.HISTORY_LARGE: "history",
    _C.HISTORY_TICKS: "history",
    _C.HEAD_STAMP: "history",
    _C.QUOTE: "market_data",
    _C.SNAPSHOT: "market_data",
    _C.REALTIME_BARS: "market_data",
    _C.TICK_BY_TICK: "market_data",
    _C.DEPTH: "market_data",
    _C.CONTRACT: "secdef",
    _C.SECDEF: "secdef",
    _C.SYMBOLS: "secdef",
    _C.ACCOUNT_SUMMARY: "account",
}
#: Ends that speak against the Gateway. PROXY_STALLED is our own fault and speaks against nobody.
FAILURES: Final = frozenset(
    {Verdict.GATEWAY_SILENT, Verdict.HISTORY_SILENT, Verdict.FARM_DOWN, Verdict.UPSTREAM_LOST, Verdict.PACING}
)
_NO_EVIDENCE: Final = frozenset(
    {Verdict.PROXY_STALLED, Verdict.SESSION_LOST, Verdict.EXPIRED_IN_QUEUE, Verdict.CANCELLED, Verdict.BREAKER_OPEN}
)


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When to stop asking. Seconds of real time; the shell scales them by the clock."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    fail_max: Annotated[int, Ge(1)] = 5  # consecutive time-outs or slow answers before we stop asking
    reset_timeout_s: Annotated[float, Gt(0)] = 10.0  # first pause; doubles with every probe that fails
    reset_timeout_max_s: Annotated[float, Gt(0)] = 300.0  # the longest pause
    probe_timeout_s: Annotated[float, Gt(0)] = 30.0  # a probe that has not ended by then has failed
    slow_s: Annotated[float, Gt(0)] = 15.0  # an answer that took longer counts like none


class Breaker:
    """One group. `admit` before asking, `ended` with what came of it."""

    def __init__(self, name: str, settings: BreakerSettings) -> None:
        self.name = name
        self._settings = settings
        self.state = State.CLOSED
        self.cause = Verdict.OK
        self.failures = 0
        self.openings = 0
        self.since = 0.0
        self._retry_at = 0.0
        self._probe: int | None = None
        self._probe_deadline = 0.0

    def admit(self, now: float) -> None:
        """Raises BreakerOpen while it rests, and for everybody but one probe while it is half open."""
        self._pass_time(now)
        if self.state is State.CLOSED or (self.state is State.HALF_OPEN and self._probe is None):
            return
        retry_at = self._retry_at if self.state is State.OPEN else self._probe_deadline
        raise BreakerOpen(
            f"{self.name} requests rest after {self.failures} failures ({self.cause.value})",
            retry_in_s=round(max(0.1, retry_at - now), 3),
            verdict=Verdict.BREAKER_OPEN.value,
        )

    def asked(self, job_id: int, now: float) -> None:
        """An admitted request was queued; while half open it is the probe."""
        if self.state is State.HALF_OPEN and self._probe is None:
            self._probe, self._probe_deadline = job_id, now + self._settings.probe_timeout_s

    def ended(self, job_id: int, verdict: Verdict, latency_s: float, now: float) -> bool:
        """What came of a request. True when the state changed."""
        before = self.state
        was_probe = job_id == self._probe
        if was_probe:
            self._probe = None
        slow = verdict is Verdict.OK and latency_s >= self._settings.slow_s
        if verdict in FAILURES or slow:
            self._failed(verdict if not slow else Verdict.HISTORY_SILENT, was_probe, now)
        elif verdict not in _NO_EVIDENCE:
            self._succeeded(now)
        return self.state is not before

    def cause_cleared(self, now: float) -> bool:
        """The reason it opened is gone as far as the session shows: try at once. True when the state changed."""
        if self.state is not State.OPEN:
            return False
        self._turn(Turn.CAUSE_CLEARED, now)
        return True

    def next_timer(self) -> float | None:
        if self.state is State.OPEN:
            return self._retry_at
        return self._probe_deadline if self._probe is not None else None

    def handle_timer(self, now: float) -> bool:
        before = self.state
        self._pass_time(now)
        return self.state is not before

    def _pass_time(self, now: float) -> None:
        if self.state is State.OPEN and now >= self._retry_at:
            self._turn(Turn.RESET_TIMEOUT, now)
        elif self.state is State.HALF_OPEN and self._probe is not None and now >= self._probe_deadline:
            self._probe = None
            self._open(Turn.FAILURE, self.cause, now)

    def _failed(self, verdict: Verdict, was_probe: bool, now: float) -> None:
        self.failures += 1
        if self.state is State.CLOSED and self.failures >= self._settings.fail_max:
            self._open(Turn.FAILURE_LIMIT, verdict, now)
        elif self.state is State.HALF_OPEN and was_probe:
            self._open(Turn.FAILURE, verdict, now)

    def _succeeded(self, now: float) -> None:
        self.failures = 0
        if self.state is not State.CLOSED:
            self._turn(Turn.SUCCESS, now)
            self.openings, self.cause = 0, Verdict.OK

    def _open(self, turn: Turn, cause: Verdict, now: float) -> None:
        self._turn(turn, now)
        settings = self._settings
        pause_s = min(settings.reset_timeout_s * 2.0**self.openings, settings.reset_timeout_max_s)
        self.openings += 1
        self.cause = cause
        self._retry_at = now + pause_s * _spread(self.name, self.openings)

    def _turn(self, turn: Turn, now: float) -> None:
        """One step of the table. Raises AssertionError for a step that is not in it, and changes nothing."""
        target = TRANSITIONS.get((self.state, turn))
        if target is None:
            raise AssertionError(f"breaker {self.name} has no step {turn.value} while {self.state.value}")
        self.state, self.since = target, now

    def body(self, now: float) -> dict[str, Any]:
        waiting = self.state is State.OPEN
        return {
            "state": self.state.value,
            "failures": self.failures,
            "retry_in_s": round(max(0.0, self._retry_at - now), 3) if waiting else None,
            "cause": self.cause.value if self.state is not State.CLOSED else "",
        }


def _spread(name: str, openings: int) -> float:
    """0.9 to 1.1, the same for the same breaker and opening: several breakers do not probe in step."""
    mixed = (sum(name.encode()) * 2_654_435_761 + openings * 40_503) % 1_000
    return 0.9 + 0.2 * mixed / 1_000


class Breakers:
    """All groups, found by request class."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._breakers = {name: Breaker(name, settings) for name in dict.fromkeys(GROUP_OF.values())}

    def of(self, request_class: RequestClass) -> Breaker | None:
        """None for classes that nothing may hold: orders, cancels, probes, session requests."""
        group = GROUP_OF.get(request_class)
        return None if group is None else self._breakers[group]

    def all(self) -> list[Breaker]:
        return list(self._breakers.values())

    def next_timer(self) -> float | None:
        return min((at for one in self.all() if (at := one.next_timer()) is not None), default=None)

    def handle_timer(self, now: float) -> bool:
        return any([one.handle_timer(now) for one in self.all()])

    def body(self, now: float) -> dict[str, Any]:
        """The body of `health/breakers/`."""
        return {"breakers": {one.name: one.body(now) for one in self.all()}}
