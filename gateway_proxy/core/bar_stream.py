"""One series of bars and where it stands upstream: settings, states, and what an answer of history adds. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Protocol

from annotated_types import Ge, Gt, Le

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import Bar
from gateway_proxy.bus.topics import BAR_SECONDS
from gateway_proxy.core.bar_feeds import Feed
from gateway_proxy.core.bar_fold import Fold
from gateway_proxy.core.desk import Outcome
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.history import duration_for
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.series import Series
from gateway_proxy.errors import ProxyError

RETRY_FIRST_S: Final = 2.0


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
    # market data lines that all series together may hold; fewer while quotes and chains need them
    lines_max: Annotated[int, Ge(1), Le(10_000)] = 80
    # a series that has a worse place than it could have is moved when there has been room this long
    switch_after_s: Annotated[float, Gt(0)] = 30.0


class StreamState(StrEnum):
    WAITING = "waiting"  # no session, no place, or the contract is being looked up
    BACKFILLING = "backfilling"
    LIVE = "live"
    FAILED = "failed"  # refused by IB; tried again later


@dataclass(slots=True, eq=False)
class BarStream:
    """One series and its upstream stream. `feed` None: there is no place for it, `waits_for` names the rule."""

    key: str
    size: str
    series: Series
    feed: Feed | None = None
    waits_for: str = ""
    fold: Fold = field(default_factory=Fold)
    lacks: int = 0
    wanted: bool = True
    state: StreamState = StreamState.WAITING
    req_id: int | None = None
    last_update: float | None = None
    judged_at: float | None = None
    retry_at: float | None = None
    retry_s: float = RETRY_FIRST_S
    release_at: float | None = None
    failure: ProxyError | None = None
    told: str = ""  # the failure that was warned of since live data came last
    opened: int = 0
    deaths: int = 0
    in_doubt: bool = False
    missed: bool = False
    prove_by: float | None = None
    past: tuple[Bar, ...] = ()

    @property
    def topic(self) -> str:
        return topics.bars(self.key, self.size)

    @property
    def fault(self) -> str:
        """Why its newest bar may not be the market's; "" when it is."""
        if self.state is not StreamState.LIVE:
            return f"is {self.state.value}"
        return "has not shown life since an outage" if self.in_doubt else ""

    def heard(self, now: float) -> None:
        self.last_update = self.judged_at = now

    def interrupt(self) -> None:
        """The stream broke or is given up: what it was about to say is asked for again."""
        self.series.interrupt()
        self.state, self.retry_at = StreamState.WAITING, None
        self.in_doubt, self.missed, self.prove_by = False, False, None

    def take_answer(self, bars: tuple[Bar, ...], backfill: int, surely_ns: int, now: float) -> list[Bar]:
        """An answer of history, made after `surely_ns`; returns what is new, ready to publish."""
        self.heard(now)
        self.failure = None
        if self.series.last_finished is None:
            # IB answers in whole days; the one more is the bar that still grows.
            bars = bars[-backfill - 1 :]
        fresh = self.series.merge(bars, surely_ns)
        self.learn_past(self.past)
        return fresh

    def learn_past(self, bars: tuple[Bar, ...]) -> None:
        """What the answer to a longer question knows, so that it is asked for once; kept until the series has begun."""
        if self.series.last_finished is None:
            self.past = bars
        else:
            self.series.precede(bars)
            self.past = ()

    def missing(self, backfill: int, time: MarketTime, now: float) -> str:
        """IB's duration for what the series lacks: everything at first, later only what was missed since the last bar.

        The shorter text also keeps a quick re-open from being identical to the first request (rule book 1.1).
        """
        last, bar_s = self.series.last_finished, BAR_SECONDS[self.size]
        if last is not None and time.is_known:
            missed_s = (time.wall_ns(now) - last.start_ns) / 1e9
            seconds = math.ceil(missed_s / bar_s + 2) * bar_s
            if missed_s > 0 and bar_s >= 60 and seconds <= 28_800:
                return f"{seconds} S"
        return duration_for(self.size, backfill, rth=True)


class Keeper(Protocol):
    """What a feed tells the bar service."""

    is_outage: bool

    def publish(self, stream: BarStream, bars: list[Bar]) -> None: ...
    def lives(self, stream: BarStream) -> None: ...
    def ended(self, stream: BarStream, outcome: Outcome, now: float) -> None: ...
    def reopen(self, streams: list[BarStream], now: float) -> None: ...


class BarFeed(Protocol):
    """One way of keeping series live. `open` raises ProxyError when it cannot even be asked for."""

    def open(self, stream: BarStream, details: ContractDetails, now: float) -> None: ...
    def close(self, stream: BarStream, now: float) -> None: ...
    def settle(self, stream: BarStream, now: float) -> None: ...
    def companions(self, stream: BarStream) -> list[BarStream]: ...
    def held_by(self, stream: BarStream, now: float) -> str: ...
