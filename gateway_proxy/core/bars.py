"""The bar service: one upstream stream per series, however many subscribe; backfilled, live, repaired. Pure.

`bars/<symbol>/<size>/` and the `bars` request read the same store. A stream is opened by the first subscription and
closed a grace after the last one left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import Bar
from gateway_proxy.bus.topics import BAR_SECONDS, BAR_SIZES
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.contracts import ContractDirectory, parse
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.history import duration_for
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.recovery import Recovery, Rung
from gateway_proxy.core.rules import history_class, history_keys
from gateway_proxy.core.scheduler import Lane
from gateway_proxy.core.series import Series
from gateway_proxy.core.verdict import Finding, Verdict, error
from gateway_proxy.errors import ProxyError

_RETRY_FIRST_S: Final = 2.0
_RETRY_MAX_S: Final = 60.0
KIND: Final = "bars"
#: IB sends an update every 5 s; after a longer silence that a bar's end fell into, that bar lacks trades.
_UPDATE_GAP_S: Final = 6.5
_PATIENCE_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class BarSettings:
    """How bar series are kept. Durations in seconds."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    backfill: int = 120  # bars asked for when a series is opened
    keep: int = 2_000  # finished bars kept per series; 350 bytes each, so 0.7 MB for a full series
    grace_s: float = 5.0  # a stream nobody subscribes to stays open this long
    settle_s: float = 7.0  # market time after its end when a bar is finished even if no later one began
    stall_s: float = 30.0  # market time without an update in a session, then it is asked for again
    verify_s: float = 15.0  # market time after an outage by which a stream must have shown that it lives
    timeout_s: float = 20.0  # the Gateway's time to answer a historical request


class StreamState(StrEnum):
    WAITING = "waiting"  # no session, or the contract is being looked up
    BACKFILLING = "backfilling"
    LIVE = "live"
    FAILED = "failed"  # refused by IB; tried again later


@dataclass(slots=True)
class BarStream:
    """One series and its upstream stream."""

    key: str
    size: str
    series: Series
    wanted: bool = True
    state: StreamState = StreamState.WAITING
    req_id: int | None = None
    last_update: float | None = None
    judged_at: float | None = None
    retry_at: float | None = None
    retry_s: float = _RETRY_FIRST_S
    release_at: float | None = None
    failure: ProxyError | None = None
    opened: int = 0
    deaths: int = 0
    in_doubt: bool = False
    missed: bool = False
    prove_by: float | None = None

    @property
    def topic(self) -> str:
        return topics.bars(self.key, self.size)

    @property
    def fault(self) -> str:
        """Why its newest bar may not be the market's; "" when it is."""
        if self.state is not StreamState.LIVE:
            return f"is {self.state.value}"
        return "has not shown life since an outage" if self.in_doubt else ""


class BarService:
    """`in_session(key, now)` says whether the contract's market is open, so that silence at night is not a stall.

    After an outage a stream is believed only when live data came; what its outage swallowed is asked for again.
    `found` is told what the desk cannot know: a stream that is silent, or that could not even be asked for.
    """

    def __init__(
        self,
        desk: Desk,
        directory: ContractDirectory,
        time: MarketTime,
        settings: BarSettings,
        *,
        wake: Callable[[str], None],
        in_session: Callable[[str, float], bool],
        recovery: Recovery,
        found: Callable[[Finding, float], None],
    ) -> None:
        self._recovery = recovery
        self._is_outage = False
        self._desk = desk
        self._directory = directory
        self._time = time
        self._settings = settings
        self._wake = wake
        self._in_session = in_session
        self._found = found
        self._streams: dict[tuple[str, str], BarStream] = {}
        self._effects: list[fx.Effect] = []
        self._is_open = False

    # ------------------------------------------------------------ subscriptions

    def subscribe(self, key: str, size: str, now: float) -> None:
        stream = self._streams.get((key, size))
        if stream is None:
            stream = BarStream(key, size, Series(BAR_SECONDS[size], self._settings.keep))
            self._streams[key, size] = stream
        stream.wanted, stream.release_at = True, None
        self.advance(stream, now)

    def unsubscribe(self, key: str, size: str, now: float) -> None:
        stream = self._streams.get((key, size))
        if stream is not None:
            stream.wanted, stream.release_at = False, now + self._settings.grace_s

    def get(self, key: str, size: str) -> BarStream | None:
        return self._streams.get((key, size))

    def streams(self) -> list[BarStream]:
        return list(self._streams.values())

    def last_close(self, key: str) -> float | None:
        """The newest price any series of this contract knows."""
        held = [stream.series.newest(1) for stream in self._streams.values() if stream.key == key]
        newest = max((bars[-1] for bars in held if bars), key=lambda bar: bar.start_ns, default=None)
        return None if newest is None else newest.close

    def contract_known(self, contract_key: str, now: float) -> None:
        """The directory has an answer that streams may have waited for."""
        for stream in self._streams.values():
            if stream.key == contract_key and stream.state is StreamState.WAITING:
                self.advance(stream, now)

    # ------------------------------------------------------------ opening

    def advance(self, stream: BarStream, now: float) -> None:
        """Do the next step towards a live stream; nothing if it is under way or must wait."""
        if not self._is_open or not stream.wanted or stream.req_id is not None:
            return
        if stream.retry_at is not None and stream.retry_at > now:
            return
        try:
            details = self._directory.find(parse(stream.key), "proxy", now, lane=Lane.STREAM)
            if details is not None:
                self._open(stream, details, now)
        except ProxyError as failure:
            self._fail(stream, failure, now)
            finding = Finding(
                Verdict(failure.verdict or Verdict.REJECTED), {"topic": stream.topic, "text": str(failure)}
            )
            self._found(finding, now)
            self._tell(stream, finding)

    def _open(self, stream: BarStream, details: ev.ContractDetails, now: float) -> None:
        contract = details.contract
        duration = self._missing(stream, now)
        stream.req_id = self._desk.ask(
            lambda req_id: fx.RequestHistory(
                req_id, contract, duration, BAR_SIZES[stream.size], "TRADES", True, keep_up_to_date=True
            ),
            history_class(stream.size), lane=Lane.STREAM, owner="proxy",
            keys=history_keys(contract, stream.size, "TRADES", True, duration, "live"),
            timeout_s=self._settings.timeout_s, queue_s=None,
            on_end=lambda outcome, at: self._ended(stream, outcome, at),
            on_answer=lambda event, at: self._receive(stream, event, at), now=now,
        )  # fmt: skip
        stream.state, stream.retry_at = StreamState.BACKFILLING, None
        stream.opened += 1

    def _missing(self, stream: BarStream, now: float) -> str:
        """IB's duration for what the series lacks: everything at first, later only what was missed since the last bar.

        The shorter text also keeps a quick re-open from being identical to the first request (rule book 1.1).
        """
        last, bar_s = stream.series.last_finished, BAR_SECONDS[stream.size]
        if last is not None and self._time.is_known:
            missed_s = (self._time.wall_ns(now) - last.start_ns) / 1e9
            seconds = math.ceil(missed_s / bar_s + 2) * bar_s
            if missed_s > 0 and bar_s >= 60 and seconds <= 28_800:
                return f"{seconds} S"
        return duration_for(stream.size, self._settings.backfill, rth=True)

    def _ended(self, stream: BarStream, outcome: Outcome, now: float) -> None:
        stream.req_id = None
        stream.series.interrupt()
        if outcome.verdict is Verdict.SESSION_LOST:
            stream.state = StreamState.WAITING
            return
        text = f"bars {stream.key} {stream.size}: {outcome.text}"
        self._fail(stream, error(outcome.verdict, text), now)
        evidence = {"topic": stream.topic, "code": outcome.code, "text": outcome.text, "timeline": outcome.timeline}
        self._tell(stream, Finding(outcome.verdict, evidence))

    def _tell(self, stream: BarStream, finding: Finding) -> None:
        """On the stream's own topic, for those who wait for its bars."""
        self._effects.append(fx.Publish(stream.topic, "verdict", finding.body()))

    def _fail(self, stream: BarStream, failure: ProxyError, now: float) -> None:
        stream.state, stream.failure = StreamState.FAILED, failure
        stream.retry_at, stream.retry_s = now + stream.retry_s, min(2 * stream.retry_s, _RETRY_MAX_S)
        self._effects.append(
            fx.Log("warning", "bar stream failed", {"topic": stream.topic, "error": str(failure), "code": failure.code})
        )

    # ------------------------------------------------------------ bars

    def _receive(self, stream: BarStream, event: Any, now: float) -> None:
        silent_s = 0.0 if stream.last_update is None else now - stream.last_update
        stream.last_update = stream.judged_at = now
        if isinstance(event, ev.HistoryReceived):
            stream.state, stream.failure = StreamState.LIVE, None
            bars = event.bars
            if stream.series.last_finished is None:
                # IB answers in whole days; the one more is the bar that still grows.
                bars = bars[-self._settings.backfill - 1 :]
            self._publish(stream, stream.series.merge(bars, self._time.wall_ns(now)))
        elif isinstance(event, ev.HistoryUpdated):
            if stream.in_doubt and not self._proves_life(stream, event.bar, silent_s, now):
                return
            stream.deaths = 0
            self._recovery.fresh(KIND, stream.topic)
            stream.retry_s = _RETRY_FIRST_S
            self._publish(stream, stream.series.update(event.bar))

    def _proves_life(self, stream: BarStream, bar: Bar, silent_s: float, now: float) -> bool:
        """An update after an outage. False when a bar ended inside it: that bar lacks trades, so it is asked for."""
        growing = stream.series.growing
        if silent_s > _UPDATE_GAP_S and (growing is None or growing.start_ns != bar.start_ns):
            stream.missed = True
            stream.series.interrupt()
        if self._is_outage:
            return not stream.missed
        if stream.missed:
            self._reopen(stream, now)
            return False
        stream.in_doubt, stream.prove_by = False, None
        return True

    def _publish(self, stream: BarStream, bars: list[Bar]) -> None:
        self._effects += [fx.Publish(stream.topic, "bar", bar) for bar in bars]
        if bars:
            self._wake(f"bars:{stream.key}/{stream.size}")

    # ------------------------------------------------------------ the session

    def session_ready(self, now: float) -> None:
        self._is_open = True
        for stream in self._streams.values():
            stream.retry_at, stream.retry_s = None, _RETRY_FIRST_S
            self.advance(stream, now)

    def session_lost(self) -> None:
        self._is_open = self._is_outage = False

    def reopen_all(self, now: float) -> None:
        """After 1101 the data are lost: ask for every stream again."""
        self._is_outage = False
        for stream in self._streams.values():
            self._reopen(stream, now)

    def outage_began(self) -> None:
        """The link or a farm is gone: nothing more is expected, and what comes is doubted."""
        self._is_outage = True
        for stream in self._streams.values():
            stream.in_doubt, stream.prove_by = stream.state is StreamState.LIVE, None

    def outage_ended(self, now: float) -> None:
        """It is said to be back: every stream has `verify_s` to show it, and is asked for again otherwise."""
        self._is_outage = False
        for stream in self._streams.values():
            if stream.state is StreamState.LIVE:
                stream.in_doubt, stream.prove_by = True, now + self._settings.verify_s

    def _reopen(self, stream: BarStream, now: float) -> None:
        if stream.req_id is not None:
            self._desk.close(stream.req_id, now)
            stream.req_id = None
        stream.series.interrupt()
        stream.state, stream.retry_at = StreamState.WAITING, None
        stream.in_doubt, stream.missed, stream.prove_by = False, False, None
        self.advance(stream, now)

    # ------------------------------------------------------------ time

    def next_timer(self) -> float | None:
        times: list[float] = []
        for stream in self._streams.values():
            if stream.release_at is not None:
                times.append(stream.release_at)
            if stream.retry_at is not None and self._is_open:
                times.append(stream.retry_at)
            if stream.state is StreamState.LIVE and stream.judged_at is not None:
                times.append(self._dies_at(stream))
                settles_at = self._settles_at(stream, stream.judged_at)
                if settles_at is not None and not stream.in_doubt:
                    times.append(settles_at)
        return min(times, default=None)

    def _settles_at(self, stream: BarStream, now: float) -> float | None:
        if not self._time.is_known or BAR_SECONDS[stream.size] >= 86_400:
            return None
        wait_s = stream.series.settles_in_s(self._time.wall_ns(now), self._settings.settle_s)
        # A millisecond later, or rounding could set the timer just before the moment it waits for, again and again.
        return None if wait_s is None else now + wait_s + 0.001

    def handle_timer(self, now: float) -> None:
        for identity, stream in list(self._streams.items()):
            if stream.release_at is not None and stream.release_at <= now:
                if stream.req_id is not None:
                    self._desk.close(stream.req_id, now)
                self._recovery.forget(KIND, stream.topic)
                del self._streams[identity]
                continue
            if stream.retry_at is not None and stream.retry_at <= now:
                stream.retry_at = None
                self.advance(stream, now)
            if stream.state is StreamState.LIVE:
                self._settle(stream, now)
                self._bury(stream, now)

    def _settle(self, stream: BarStream, now: float) -> None:
        """A bar that grew into an outage is not finished: it may lack trades."""
        if self._time.is_known and BAR_SECONDS[stream.size] < 86_400 and not stream.in_doubt:
            self._publish(stream, stream.series.settle(self._time.wall_ns(now), self._settings.settle_s))

    def _dies_at(self, stream: BarStream) -> float:
        """When silence means death. A stream that was asked for in vain gets longer every time."""
        patience = min(2.0 ** max(0, stream.deaths - 1), _PATIENCE_MAX)
        assert stream.judged_at is not None
        dies_at = stream.judged_at + self._settings.stall_s * patience
        return dies_at if stream.prove_by is None else min(dies_at, stream.prove_by)

    def _bury(self, stream: BarStream, now: float) -> None:
        if now < self._dies_at(stream):
            return
        if self._is_outage or not self._in_session(stream.key, now):
            stream.judged_at, stream.prove_by, stream.in_doubt = now, None, self._is_outage
            return
        stream.deaths += 1
        rung = self._recovery.dead(KIND, stream.topic, others_live=self._others_live(stream, now), now=now)
        evidence = {"topic": stream.topic, "silent_s": round(now - (stream.last_update or now), 1), "tried": rung.value}
        self._found(Finding(Verdict.STREAM_DEAD, evidence), now)
        self._tell(stream, Finding(Verdict.STREAM_DEAD, evidence))
        self._effects.append(fx.Log("warning", "bar stream dead", evidence))
        if rung is Rung.SESSION:
            stream.judged_at = now
            return
        for one in list(self._streams.values()) if rung is Rung.CLASS else [stream]:
            self._reopen(one, now)

    def _others_live(self, dead: BarStream, now: float) -> bool:
        """Whether another stream, of a market that is open, still brings live data."""
        return any(
            one is not dead and one.state is StreamState.LIVE and one.deaths == 0 and not one.in_doubt
            and one.judged_at is not None and now - one.judged_at < self._settings.stall_s / 2
            for one in self._streams.values()
        )  # fmt: skip

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    def health(self, now: float) -> list[dict[str, Any]]:
        """Rows of `health/streams/`."""
        return [
            {
                "topic": stream.topic,
                "state": stream.state.value,
                "age_s": None if stream.last_update is None else round(now - stream.last_update, 3),
                "last_ns": bar.start_ns if (bar := stream.series.growing or stream.series.last_finished) else None,
                "bars": len(stream.series),
                "opened": stream.opened,
                "held_by": self._desk.held_by(stream.req_id, now),
                "error": "" if stream.failure is None else str(stream.failure),
            }
            for stream in self._streams.values()
        ]
