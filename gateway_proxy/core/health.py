"""How healthy the Gateway session is: one state machine, its causes, and when to dial, probe and drop. Pure.

disconnected -> connecting -> synchronizing -> ready <-> degraded; halted waits for a human. An open socket proves
nothing (rule book 0, rule 6): `ready` needs an answered round trip, and any byte of an answer counts as a sign of life.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Gt

from gateway_proxy.core import effects as fx
from gateway_proxy.core.farms import FARM_OF_CLASS, FarmMap
from gateway_proxy.core.verdict import Verdict


class GatewayState(StrEnum):
    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    SYNCHRONIZING = "synchronizing"
    READY = "ready"
    DEGRADED = "degraded"
    HALTED = "halted"


class Turn(StrEnum):
    """What can happen to the session."""

    DIAL = "dial"
    FAILED = "failed"
    OPENED = "opened"
    SYNCHRONIZED = "synchronized"
    TROUBLE = "trouble"
    CLEARED = "cleared"
    CLOSED = "closed"
    GIVE_UP = "give_up"


S, T = GatewayState, Turn
TRANSITIONS: Final[dict[tuple[GatewayState, Turn], GatewayState]] = {
    (S.DISCONNECTED, T.DIAL): S.CONNECTING,
    (S.CONNECTING, T.FAILED): S.DISCONNECTED,
    (S.CONNECTING, T.OPENED): S.SYNCHRONIZING,
    (S.SYNCHRONIZING, T.SYNCHRONIZED): S.READY,
    (S.READY, T.TROUBLE): S.DEGRADED,
    (S.DEGRADED, T.CLEARED): S.READY,
    (S.SYNCHRONIZING, T.CLOSED): S.DISCONNECTED,
    (S.READY, T.CLOSED): S.DISCONNECTED,
    (S.DEGRADED, T.CLOSED): S.DISCONNECTED,
    (S.DISCONNECTED, T.GIVE_UP): S.HALTED,
    (S.CONNECTING, T.GIVE_UP): S.HALTED,
    (S.SYNCHRONIZING, T.GIVE_UP): S.HALTED,
    (S.READY, T.GIVE_UP): S.HALTED,
    (S.DEGRADED, T.GIVE_UP): S.HALTED,
}

#: What must have been answered before the session is ready.
SYNCHRONIZATION: Final = ("time", "positions", "account", "orders")
#: A session that speaks but leaves a round trip unanswered for this many times `drop_after_s` is dropped as well.
_UNANSWERED_FACTOR: Final = 3
#: IB says the program cannot work with us at all: retrying is useless (rule book 6, 503).
_FATAL_CODES: Final = frozenset({503})
_DECODE_FAILURES_MAX: Final = 20
FLAPS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """When to probe, when to give up on a silent session. Seconds of real time; the shell scales them by the clock."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # A Gateway that stops right after an answer is noticed when the next question is late: interval + time-out is the
    # worst case, 2.5 s, which leaves half a second of the promised 3 s to a busy machine.
    probe_interval_s: Annotated[float, Gt(0)] = 1.5  # from one reqCurrentTime answer to the next question
    probe_timeout_s: Annotated[float, Gt(0)] = 1.0  # unanswered for this long: degraded
    drop_after_s: Annotated[float, Gt(0)] = 10.0  # silent for this long: the connection is dropped and opened again
    synchronize_timeout_s: Annotated[float, Gt(0)] = 20.0  # from the handshake to ready
    id_in_use_retry_s: Annotated[float, Gt(0)] = 15.0  # longest pause while error 326 says our id is in use
    flap_window_s: Annotated[float, Gt(0)] = 60.0  # troubled FLAPS_MAX times in this time: flapping
    calm_s: Annotated[float, Gt(0)] = 5.0  # a flapping session is ready again only after so much peace
    lag_limit_s: Annotated[float, Gt(0)] = 1.0  # a loop that came this late was blocked


@dataclass(slots=True)
class Outage:
    """The time without a ready session, as one: dialling in vain changes the state again and again, but is no news."""

    since: float
    reason: str = ""
    dials: int = 0

    def is_news(self, reason: str) -> bool:
        """Whether the session failed for a reason that has not been told; remembers it."""
        was, self.reason = self.reason, reason
        return reason != was


class GatewayHealth:
    """The session's state with since-when and why."""

    def __init__(self, settings: HealthSettings, retry_s: float, retry_max_s: float, now: float) -> None:
        self._settings = settings
        self._retry_first_s, self._retry_max_s = retry_s, retry_max_s
        self.farms = FarmMap()
        self.state = GatewayState.DISCONNECTED
        self.reason = "not dialled yet"
        self.since = now
        self.outage: Outage | None = Outage(now)
        self.verdict = Verdict.GATEWAY_DOWN
        self.server_version = 0
        self.accounts: tuple[str, ...] = ()
        self.rtt_s: float | None = None
        self.last_heard: float | None = None
        self.lag_s = 0.0
        self._dial_at: float | None = now
        self._retry_s = retry_s
        self._probe_at: float | None = None
        self._probe_sent: float | None = None
        self._is_late = False
        self._id_in_use = False
        self._history_silent = False
        self._troubles: deque[float] = deque(maxlen=FLAPS_MAX)
        self._calm_at: float | None = None
        self._pending: set[str] = set()
        self._opened_at: float | None = None
        self._decode_failures = 0
        self._changed = True
        self._effects: list[fx.Effect] = []
        self._wants_probe = False

    # ------------------------------------------------------------ the session

    def session_opened(self, server_version: int, accounts: tuple[str, ...], now: float) -> None:
        self.server_version, self.accounts = server_version, accounts
        self._pending = set(SYNCHRONIZATION)
        self._opened_at = self.last_heard = now
        self._probe_sent, self._probe_at, self._decode_failures = None, now, 0
        self._turn(Turn.OPENED, "handshake done; reading positions, account and orders", Verdict.OK, now)

    def session_failed(self, reason: str, refused: bool, now: float) -> None:
        if self.state is GatewayState.HALTED:
            return
        verdict = Verdict.CLIENT_ID_IN_USE if self._id_in_use else Verdict.GATEWAY_SILENT
        if self._id_in_use:
            # We could not change the orders of another id, so ours is kept: a dead session frees it within minutes.
            reason = f"{reason} (error 326: the id is in use; dialling on with the same one)"
        self._turn(Turn.FAILED, reason, Verdict.GATEWAY_DOWN if refused else verdict, now)
        self._redial(now)

    def session_closed(self, reason: str, now: float) -> None:
        self.farms.session_opened()
        self._probe_at = self._probe_sent = self._opened_at = None
        self._turn(Turn.CLOSED, reason, Verdict.SESSION_LOST, now)
        self._redial(now)

    def _redial(self, now: float) -> None:
        most_s = self._settings.id_in_use_retry_s if self._id_in_use else self._retry_max_s
        self._dial_at = now + min(self._retry_s, most_s)
        self._retry_s = min(2 * self._retry_s, most_s)

    def synchronized(self, part: str, now: float) -> None:
        """One of SYNCHRONIZATION was answered."""
        self._pending.discard(part)
        if not self._pending and self.state is GatewayState.SYNCHRONIZING:
            self._retry_s = self._retry_first_s
            self._turn(Turn.SYNCHRONIZED, "", Verdict.OK, now)
            self._judge(now)

    # ------------------------------------------------------------ signs of life and trouble

    def heard(self, now: float) -> None:
        """Any message of the Gateway."""
        self.last_heard = now

    def probe_queued(self) -> None:
        """It waits for its turn behind orders; nobody is silent before it has left."""
        self._probe_at = None

    def probe_sent(self, now: float) -> None:
        self._probe_sent, self._probe_at, self._is_late = now, None, False

    def probe_refused(self, now: float) -> None:
        """The queue has no room even for a probe: try again later."""
        self._probe_at = now + self._settings.probe_interval_s

    def probe_answered(self, now: float) -> float:
        """Returns the round trip in seconds."""
        round_trip = now - self._probe_sent if self._probe_sent is not None else 0.0
        if self._probe_sent is not None:
            self.rtt_s = round_trip
        self._probe_sent = None
        self._probe_at = now + self._settings.probe_interval_s
        self.synchronized("time", now)
        self._judge(now)
        return round_trip

    def connectivity(self, code: int, text: str, now: float) -> bool:
        """One error message without a request id. True when it changed what we believe."""
        if self.state is GatewayState.HALTED:
            return False
        if code in _FATAL_CODES:
            self._effects.append(fx.Disconnect(f"IB error {code}"))
            self._turn(Turn.GIVE_UP, f"IB error {code}: {text}", Verdict.REJECTED, now)
            return True
        if code == 326:
            self._id_in_use = True
            return True
        changed = self.farms.receive(code, text, now)
        if changed:
            self._changed = self._changed or not self.is_flapping(now)
            self._judge(now)
        return changed

    def decode_failed(self, text: str, now: float) -> None:
        self._decode_failures += 1
        self._effects.append(fx.Log("warning", "undecodable frame", {"text": text, "count": self._decode_failures}))
        if self._decode_failures == _DECODE_FAILURES_MAX and self._opened_at is not None:
            self._effects.append(
                fx.Disconnect(f"{_DECODE_FAILURES_MAX} frames could not be decoded; the session is suspect")
            )

    def loop_lagged(self, lag_s: float, now: float) -> None:
        """The shell's own measure of how late its loop is, in real seconds."""
        self.lag_s = lag_s
        self._judge(now)

    def history_silent(self, is_silent: bool, now: float) -> None:
        """Whether historical requests go unanswered although the Gateway speaks."""
        self._history_silent = is_silent
        self._judge(now)

    def changed(self) -> None:
        """Something that is published beside the state has changed."""
        self._changed = True

    def _judge(self, now: float) -> None:
        """Degraded or ready: look at everything known and say why."""
        if self.state not in (GatewayState.READY, GatewayState.DEGRADED):
            return
        verdict, reason = self._trouble(now)
        if verdict is None:
            if self.state is GatewayState.DEGRADED and not self._must_calm_down(now):
                self._turn(Turn.CLEARED, "", Verdict.OK, now)
            return
        self._calm_at = None
        if self.state is GatewayState.READY:
            self._troubles.append(now)
            self._turn(Turn.TROUBLE, reason, verdict, now)
        elif verdict is not self.verdict or (reason != self.reason and not self.is_flapping(now)):
            self.reason, self.verdict, self._changed = reason, verdict, True

    def is_flapping(self, now: float) -> bool:
        """Troubled several times within a short while: then one more time is no news."""
        return len(self._troubles) == FLAPS_MAX and now < self._troubles[0] + self._settings.flap_window_s

    def _must_calm_down(self, now: float) -> bool:
        """After a flap too many the end is believed only when it has lasted (a storm of 1100 and 1102)."""
        if not self.is_flapping(now):
            return False
        if self._calm_at is None:
            self._calm_at = now + self._settings.calm_s
        return now < self._calm_at

    def _trouble(self, now: float) -> tuple[Verdict | None, str]:
        if self.lag_s > self._settings.lag_limit_s:
            return Verdict.PROXY_STALLED, f"our own loop was blocked for {self.lag_s:.1f} s"
        if self.is_mute(now):
            return Verdict.GATEWAY_SILENT, "the Gateway does not answer reqCurrentTime"
        if self.farms.link_lost_at is not None:
            return Verdict.UPSTREAM_LOST, "the Gateway lost its link to IB (1100)"
        if down := self.farms.down():
            return Verdict.FARM_DOWN, f"farm down: {', '.join(down)}"
        if self._history_silent:
            return Verdict.HISTORY_SILENT, "the Gateway answers, but historical requests do not"
        return None, ""

    def is_mute(self, now: float) -> bool:
        """A round trip has been unanswered for longer than its time-out."""
        return self._probe_sent is not None and now >= self._probe_sent + self._settings.probe_timeout_s

    def why_silent(self, request_class: str, since: float, now: float) -> Verdict:
        """The cause of a request's time-out, from what the session showed since it was sent (rule book 10.5)."""
        verdict, _ = self._trouble(now)
        if verdict in (Verdict.PROXY_STALLED, Verdict.GATEWAY_SILENT, Verdict.UPSTREAM_LOST):
            return verdict
        if self.farms.link_was_lost(since):
            return Verdict.UPSTREAM_LOST
        if self.farms.was_down(FARM_OF_CLASS.get(request_class, ""), since):
            return Verdict.FARM_DOWN
        if request_class.startswith("history") and self.rtt_s is not None:
            return Verdict.HISTORY_SILENT
        return Verdict.GATEWAY_SILENT

    @property
    def may_open_orders(self) -> tuple[bool, str]:
        """Whether opening orders may go out now, and if not, why. A broken farm touches no order."""
        if self.state not in (GatewayState.READY, GatewayState.DEGRADED):
            return False, f"the Gateway session is {self.state.value}: {self.reason}"
        if self.farms.link_lost_at is not None:
            return False, "the Gateway lost its link to IB (1100); orders sent now may execute much later"
        if self.verdict in (Verdict.GATEWAY_SILENT, Verdict.PROXY_STALLED):
            return False, self.reason
        return True, ""

    # ------------------------------------------------------------ time

    def next_timer(self) -> float | None:
        times = [self._dial_at if self.state is GatewayState.DISCONNECTED else None, self._probe_at]
        if self._probe_sent is not None:
            late_at = self._probe_sent + self._settings.probe_timeout_s
            times.append(self._drops_at(self._probe_sent) if self._is_late else late_at)
        if self.state is GatewayState.SYNCHRONIZING and self._opened_at is not None:
            times.append(self._opened_at + self._settings.synchronize_timeout_s)
        times.append(self._calm_at)
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self.state is GatewayState.DISCONNECTED and self._dial_at is not None and self._dial_at <= now:
            self._dial_at, self._id_in_use = None, False
            self._turn(Turn.DIAL, "dialling", self.verdict, now)
            self._effects.append(fx.Connect())
        if self._probe_at is not None and self._probe_at <= now:
            self._probe_at, self._wants_probe = None, True
        if self._probe_sent is not None and now >= self._probe_sent + self._settings.probe_timeout_s:
            self._is_late = True
            self._judge(now)
            if now >= self._drops_at(self._probe_sent):
                reason = f"reqCurrentTime unanswered for {now - self._probe_sent:.1f} s"
                self._probe_sent = None
                self._effects.append(fx.Disconnect(reason))
        if self._calm_at is not None and self._calm_at <= now:
            self._judge(now)
            self._calm_at = None
        self._drop_if_never_synchronized(now)

    def _drops_at(self, probe_sent: float) -> float:
        """Silence ends a session; one that still speaks but does not answer gets longer, it may only be slow."""
        drop_s = self._settings.drop_after_s
        return min(max(probe_sent, self.last_heard or 0.0) + drop_s, probe_sent + _UNANSWERED_FACTOR * drop_s)

    def _drop_if_never_synchronized(self, now: float) -> None:
        if self.state is not GatewayState.SYNCHRONIZING or self._opened_at is None:
            return
        if now >= self._opened_at + self._settings.synchronize_timeout_s:
            self._opened_at = None
            missing = ", ".join(sorted(self._pending))
            self._effects.append(fx.Disconnect(f"the Gateway never answered: {missing}"))

    def take_probe(self) -> bool:
        """True once whenever a round trip is due; the wiring then sends it."""
        wanted, self._wants_probe = self._wants_probe, False
        return wanted

    def take_change(self) -> bool:
        """True once after anything that readers of `health/gateway/` should hear of."""
        changed, self._changed = self._changed, False
        return changed

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    def _turn(self, turn: Turn, reason: str, verdict: Verdict, now: float) -> None:
        """One step of the table. Raises AssertionError for a step that is not in it, and changes nothing."""
        target = TRANSITIONS.get((self.state, turn))
        if target is None:
            raise AssertionError(f"the session cannot {turn.value} while {self.state.value}")
        fields = {"from": self.state.value, "to": target.value, "reason": reason, "verdict": verdict.value}
        self._effects.append(fx.Log(self._level(target, reason, now), "gateway state", fields))
        self.state, self.reason, self.verdict, self.since, self._changed = target, reason, verdict, now, True

    def _level(self, target: GatewayState, reason: str, now: float) -> Literal["debug", "info", "warning"]:
        """How loudly a state is told. An outage tells each of its reasons once, however often we dial."""
        if target is GatewayState.READY:
            self.outage = None
            return "info"
        if target is GatewayState.DEGRADED:
            return "warning"
        self.outage = self.outage or Outage(now)
        if target is GatewayState.CONNECTING:
            self.outage.dials += 1
            return "debug"
        if target is GatewayState.SYNCHRONIZING:
            return "info"
        return "warning" if self.outage.is_news(reason) else "debug"

    def _outage_body(self, wall: Any) -> dict[str, Any] | None:
        if self.outage is None:
            return None
        return {"since_ns": wall(self.outage.since), "reason": self.outage.reason, "dials": self.outage.dials}

    def body(self, wall: Any) -> dict[str, Any]:
        """The facts of `health/gateway/` that this machine owns; `wall(t)` turns our time into nanoseconds."""
        return {
            "state": self.state.value,
            "since_ns": wall(self.since),
            "reason": self.reason,
            "verdict": self.verdict.value,
            "connected": self.state not in (GatewayState.DISCONNECTED, GatewayState.CONNECTING, GatewayState.HALTED),
            "server_version": self.server_version,
            "outage": self._outage_body(wall),
            "rtt_ms": None if self.rtt_s is None else round(self.rtt_s * 1e3, 3),
            "farms": self.farms.rows(wall),
            "loop_lag_ms": round(self.lag_s * 1e3, 1),
        }
