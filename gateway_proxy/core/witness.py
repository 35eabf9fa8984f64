"""The witness: remembers what the session showed lately and states it as symptoms. Pure; bounded memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway_proxy.bus.topics import BAR_SECONDS
from gateway_proxy.core.bars import StreamState
from gateway_proxy.core.desk import Outcome
from gateway_proxy.core.health import GatewayState
from gateway_proxy.core.parts import Parts
from gateway_proxy.core.scheduler import RequestClass
from gateway_proxy.core.symptoms import Ending, Notice, Symptoms
from gateway_proxy.core.verdict import Verdict

NOTICES_KEPT: Final = 200
ENDINGS_KEPT: Final = 100
LATELY_S: Final = 120.0
#: Unread bytes at this many beats in a row, never fewer than before, are a pile and not a burst.
GROWING_BEATS: Final = 4
_SILENT: Final = frozenset(
    {Verdict.GATEWAY_SILENT, Verdict.HISTORY_SILENT, Verdict.FARM_DOWN, Verdict.UPSTREAM_LOST, Verdict.PROXY_STALLED}
)
_HISTORY: Final = (RequestClass.HISTORY_SMALL, RequestClass.HISTORY_LARGE)
_SECDEF: Final = (RequestClass.CONTRACT, RequestClass.SECDEF)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the shell measures of itself at every beat. Lag in real seconds."""

    lag_s: float
    unread_bytes: int
    unsent_bytes: int
    owner_reads: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    at: float
    request_class: RequestClass
    about: str
    ending: Ending


class Witness:
    """Feed it notices, endings and vitals; ask it for symptoms."""

    def __init__(self, slow_s: float) -> None:
        self._slow_s = slow_s
        self._notices: deque[tuple[float, int, str, bool]] = deque(maxlen=NOTICES_KEPT)
        self._endings: deque[_Seen] = deque(maxlen=ENDINGS_KEPT)
        self._vitals: Vitals | None = None
        self._unread: deque[int] = deque(maxlen=GROWING_BEATS)
        self.port_refused: bool | None = None
        self.handshake_rejected: bool | None = None

    def notice(self, code: int, text: str, of_request: bool, now: float) -> None:
        self._notices.append((now, code, text[:200], of_request))

    def ended(self, request_class: RequestClass, outcome: Outcome, now: float) -> None:
        ending = self._ending(outcome)
        if ending is not None:
            self._endings.append(_Seen(now, request_class, outcome.about, ending))

    def _ending(self, outcome: Outcome) -> Ending | None:
        if outcome.verdict is Verdict.OK:
            return Ending.SLOW if outcome.timeline.gateway_ms >= self._slow_s * 1e3 else Ending.OK
        if outcome.verdict is Verdict.NO_DATA:
            return Ending.EMPTY
        if outcome.verdict in _SILENT:
            return Ending.TIMEOUT
        return Ending.REFUSED if outcome.code else None

    def vitals(self, vitals: Vitals) -> None:
        self._vitals = vitals
        self._unread.append(vitals.unread_bytes)

    def session_opened(self) -> None:
        self.port_refused = self.handshake_rejected = None
        self._unread.clear()

    def _unread_grows(self) -> bool:
        held = list(self._unread)
        return len(held) == GROWING_BEATS and held[0] > 0 and all(a <= b for a, b in zip(held, held[1:], strict=False))

    def _newest(self, classes: tuple[RequestClass, ...], now: float, other_than: str | None = None) -> _Seen | None:
        for seen in reversed(self._endings):
            if now - seen.at > LATELY_S:
                return None
            if seen.request_class in classes and seen.about != other_than:
                return seen
        return None

    def symptoms(self, core: Parts, now: float) -> Symptoms:
        """Everything known now; what only a second client can know stays None."""
        health, vitals = core.health, self._vitals
        is_open = health.state in (GatewayState.SYNCHRONIZING, GatewayState.READY, GatewayState.DEGRADED)
        history = self._newest(_HISTORY, now)
        other = self._newest(_HISTORY, now, history.about) if history else None
        secdef = self._newest(_SECDEF, now)
        rules = {rule["rule"]: rule["used"] for rule in core.scheduler.stats(now)["rules"]}
        lines = core.quotes.lines().values()
        return Symptoms(
            socket=is_open,
            port_refused=self.port_refused,
            handshake_rejected=self.handshake_rejected,
            unread_bytes=vitals.unread_bytes if vitals else None,
            unread_grows=self._unread_grows(),
            unsent_bytes=vitals.unsent_bytes if vitals else None,
            loop_lag_s=vitals.lag_s if vitals else None,
            owner_reads=vitals.owner_reads if vitals else None,
            main=self._round_trip(core, now) if is_open else None,
            history=history.ending if history else None,
            history_other=other.ending if other else None,
            secdef=secdef.ending if secdef else None,
            ticks_flow=any(line.updated_at is not None and now - line.updated_at < 30.0 for line in lines) or None,
            weighted_requests=int(rules.get("history_window", 0) + rules.get("history_watch", 0)),
            messages_per_s=float(rules.get("message_rate", 0)),
            newest_bar_age_s=_newest_bar_age(core, now),
            delayed=any(line.quote.delayed for line in lines),
            notices=tuple(
                Notice(round(now - at, 1), code, text, of_request)
                for at, code, text, of_request in self._notices
                if now - at <= LATELY_S
            ),
        )

    @staticmethod
    def _round_trip(core: Parts, now: float) -> Ending | None:
        if core.health.is_mute(now):
            return Ending.TIMEOUT
        return Ending.OK if core.health.rtt_s is not None else None


def _newest_bar_age(core: Parts, now: float) -> float | None:
    """Age of the end of the newest bar over all live streams of open markets, market seconds."""
    ages = [
        (core.time.wall_ns(now) - bar.start_ns) / 1e9 - BAR_SECONDS[stream.size]
        for stream in core.bars.streams()
        if stream.state is StreamState.LIVE
        and (bar := stream.series.growing or stream.series.last_finished) is not None
        and core.in_session(stream.key, now)
    ]
    return round(min(ages), 1) if ages else None
