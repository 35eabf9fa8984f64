"""IB's request limits as a table of data: what is counted, per what, over how long, and who says so.

Owns the settings of pacing and the table itself. Counts nothing, knows no time.
Sections named in `Rule.source` are those of the rule book.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from math import inf
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from gateway_proxy.core.jobs import (
    Job,
    Keys,
    Lane,
    RequestClass,
    contract_key,
    history_class,
    history_keys,
    side_key,
)

__all__ = [
    "Counts", "Job", "Keys", "Lane", "PacingSettings", "RequestClass", "Rule", "Scope", "Until",
    "contract_key", "counted", "depth_limit", "every_lane", "history_class", "history_keys", "lasts", "lines_taken",
    "message_ceilings", "rule_table", "side_key",
]  # fmt: skip

# ---------------------------------------------------------------- settings


@dataclass(frozen=True, slots=True)
class PacingSettings:
    """The numbers that differ between accounts and tastes; IB's own numbers stand in the table below."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # market data lines of the account: at least 100; the message rate is half of it per second
    market_data_lines: Annotated[int, Ge(10), Le(10_000)] = 100
    # count bars of 1 min and more like small ones (60 per 600 s), for when IB re-imposes it
    strict_history: bool = False
    # seconds added to every window of 2 s and more: the Gateway counts arrivals, not departures
    window_margin_s: Annotated[float, Ge(0), Le(60)] = 1.0
    # the same for windows of one second
    second_margin_s: Annotated[float, Ge(0), Le(1)] = 0.1
    # data messages are spread over steps of this length, so that no order finds a burst before it
    message_spread_s: Annotated[float, Gt(0), Le(1)] = 0.125
    # share of the message rate that only orders, cancels and probes may use
    order_share: Annotated[float, Ge(0.0), Le(0.5)] = 0.2
    # units of the historical budget (60 per 600 s) we allow ourselves
    history_budget: Annotated[int, Ge(1), Le(60)] = 60
    # of the 50 open historical requests, those that live series (and backfill) may keep; the rest is for questions
    history_streams_max: Annotated[int, Ge(1), Le(50)] = 45
    # open requests for bars of 1 min and more: start, least and most of the adaptive limit
    large_open_start: Annotated[int, Ge(1), Le(50)] = 6
    large_open_min: Annotated[int, Ge(1), Le(50)] = 1
    large_open_max: Annotated[int, Ge(1), Le(50)] = 20
    # 95th percentile of their latency above which that limit halves
    large_slow_s: Annotated[float, Gt(0)] = 5.0
    # contract requests in flight; IB paces derivatives inside and may hang on a flood (rule book 4)
    contract_open_max: Annotated[int, Ge(1)] = 20
    # data jobs queued in all, and per owner; beyond that a push is refused
    queue_max: Annotated[int, Ge(1)] = 20_000
    queue_per_owner_max: Annotated[int, Ge(1)] = 2_000
    # orders, cancels and probes queued in all: a room of their own, never filled by data
    urgent_queue_max: Annotated[int, Ge(1)] = 1_000

    def at_speed(self, speed: float) -> PacingSettings:
        """The same for a clock that runs `speed` times faster than the network: margins and answers take real time.

        IB's own windows stay as they are; at high speed the margins make the rates lower, never wrong.
        """
        return replace(
            self,
            window_margin_s=self.window_margin_s * speed,
            second_margin_s=self.second_margin_s * speed,
            large_slow_s=self.large_slow_s * speed,
        )


# ---------------------------------------------------------------- the table


class Scope(StrEnum):
    """Whose limit it is. SESSION limits are free again on a new connection, the others are not."""

    SESSION = "session"
    LOGIN = "login"
    ACCOUNT = "account"


class Counts(StrEnum):
    """What one job adds."""

    ONE = "one"
    MESSAGES = "messages"
    WEIGHT = "weight"
    LINES = "lines"
    SIDES = "sides"


class Until(Enum):
    """When a job gives back what it took."""

    WINDOW = "the window has passed"
    ANSWERED = "the request was answered"
    ENDED = "the stream was cancelled; a request without a stream: it was answered"
    RELEASED = "released by name, whatever was answered"


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit. `ceilings` is the limit per lane (the last ones lower where a share is kept for the urgent lanes).

    key: the field of `Keys` that tells counters apart, "" = one counter.    window_s: 0 for limits on open things.
    hard False: counted and shown, never holds.    refuse True: a job over the limit is refused, not kept waiting.
    """

    name: str
    classes: frozenset[RequestClass]
    ceilings: tuple[float, ...]
    window_s: float
    source: str
    margin_s: float = 0.0
    key: str = ""
    counts: Counts = Counts.ONE
    until: Until = Until.WINDOW
    scope: Scope = Scope.SESSION
    hard: bool = True
    refuse: bool = False

    @property
    def limit(self) -> float:
        """The largest finite ceiling."""
        return max((ceiling for ceiling in self.ceilings if ceiling < inf), default=inf)


C = RequestClass
ALL = frozenset(RequestClass)
#: Everything that draws on the budget of 60 per 600 s: 1.1 and 1.8.
SMALL = frozenset({C.HISTORY_SMALL, C.HISTORY_TICKS, C.HEAD_STAMP, C.REALTIME_BARS})
LARGE = frozenset({C.HISTORY_LARGE})
#: Classes that fall silent together after a pacing violation: 1.9.
FAMILIES: tuple[frozenset[RequestClass], ...] = (SMALL, LARGE)
#: Classes that stay open upstream until they are cancelled, answered or not.
LASTING = frozenset({C.REALTIME_BARS, C.QUOTE, C.TICK_BY_TICK, C.DEPTH, C.ACCOUNT_SUMMARY, C.SCANNER, C.ORDER})
#: A running snapshot and depth are counted as one line each although nobody says they are: 3.2.
TAKES_A_LINE = frozenset({C.QUOTE, C.SNAPSHOT, C.REALTIME_BARS, C.TICK_BY_TICK, C.DEPTH})
HISTORY_OPEN = frozenset({C.HISTORY_SMALL, C.HISTORY_LARGE, C.HISTORY_TICKS, C.HEAD_STAMP})

HISTORY_WINDOW_S = 600.0
BACKFILL_STEPS = 10
HISTORY_SLOTS = 50
ORDER_EFFICIENCY_MAX = 20.0  # rule book 5.2


def every_lane(limit: float) -> tuple[float, ...]:
    return (limit,) * len(Lane)


def message_ceilings(settings: PacingSettings) -> tuple[float, ...]:
    """Messages per second each lane may bring the total to: half the lines, less what more urgent lanes keep."""
    rate = settings.market_data_lines // 2
    few = max(1, rate // 25)
    order = rate - few
    probe = order - max(1, round(rate * settings.order_share))
    data = max(1, probe - few)
    return (rate, order, max(1, probe), data, data, data)


def depth_limit(lines: int) -> int:
    """3 at 100 lines, about one more per 100 above 400, at most 60 (rule book 3.1)."""
    return min(60, 3 + max(0, lines - 400) // 100)


def rule_table(settings: PacingSettings) -> tuple[Rule, ...]:
    """Every limit we keep. Of two keyed rules the one with the wider key stands first (see scheduler: buckets)."""
    return (*_message_rules(settings), *_history_rules(settings), *_stream_rules(settings), *_other_rules(settings))


def _message_rules(settings: PacingSettings) -> tuple[Rule, ...]:
    ceilings = message_ceilings(settings)
    second_s = 1.0 + settings.second_margin_s
    step = max(1, int(ceilings[-1] * settings.message_spread_s / second_s))
    spread = (inf, inf, inf, step, step, step)
    return (
        Rule("message_rate", ALL, ceilings, 1.0, "2", settings.second_margin_s, counts=Counts.MESSAGES),
        Rule("message_spread", ALL, spread, settings.message_spread_s, "2", counts=Counts.MESSAGES),
    )


def _history_rules(settings: PacingSettings) -> tuple[Rule, ...]:
    margin_s = settings.window_margin_s
    budgeted = SMALL | LARGE if settings.strict_history else SMALL
    watched = LARGE - budgeted
    budget, large = every_lane(settings.history_budget), every_lane(settings.large_open_max)
    login, weight = Scope.LOGIN, Counts.WEIGHT
    # Backfill takes the budget in tenths: it uses all of it, yet an urgent request never finds ten minutes sold out.
    step_s = (HISTORY_WINDOW_S + margin_s) / BACKFILL_STEPS
    backfill = (*every_lane(inf)[:-1], max(2, settings.history_budget // BACKFILL_STEPS))
    slots = (*(HISTORY_SLOTS,) * Lane.STREAM, settings.history_streams_max, settings.history_streams_max)
    return (
        Rule("history_window", budgeted, budget, HISTORY_WINDOW_S, "1.1", margin_s, counts=weight, scope=login),
        Rule("history_watch", watched, budget, HISTORY_WINDOW_S, "1.2", counts=weight, scope=login, hard=False),
        Rule("history_backfill", budgeted, backfill, step_s, "none: ours", counts=weight, scope=login),
        Rule("history_series", budgeted, every_lane(5), 2.0, "1.1", margin_s, "series", weight, scope=login),
        Rule("history_identical", SMALL | LARGE, every_lane(1), 15.0, "1.1", margin_s, "identical", scope=login),
        Rule("history_open", HISTORY_OPEN, slots, 0, "1.1", until=Until.ENDED),
        Rule("history_large_open", LARGE, large, 0, "1.9", until=Until.ANSWERED),
    )


def _stream_rules(settings: PacingSettings) -> tuple[Rule, ...]:
    lines, ended = settings.market_data_lines, Until.ENDED
    margin_s, tick = settings.window_margin_s, frozenset({C.TICK_BY_TICK})
    return (
        Rule("lines", TAKES_A_LINE | HISTORY_OPEN, every_lane(lines), 0, "3.1", counts=Counts.LINES, until=ended),
        Rule("snapshots", frozenset({C.SNAPSHOT}), every_lane(100), 1.0, "3.2", settings.second_margin_s),
        Rule("tick_by_tick_open", tick, every_lane(max(1, lines // 20)), 0, "1.8", until=ended),
        Rule("tick_by_tick_instrument", tick, every_lane(1), 15.0, "1.8", margin_s, "instrument"),
        Rule("depth_open", frozenset({C.DEPTH}), every_lane(depth_limit(lines)), 0, "3.1", until=ended),
        Rule("scanner_open", frozenset({C.SCANNER}), every_lane(10), 0, "3.1", until=ended),
    )


def _other_rules(settings: PacingSettings) -> tuple[Rule, ...]:
    summary, contract = frozenset({C.ACCOUNT_SUMMARY}), every_lane(settings.contract_open_max)
    order, account, answered = frozenset({C.ORDER}), Scope.ACCOUNT, Until.ANSWERED
    margin_s, what_if = settings.window_margin_s, frozenset({C.WHAT_IF})
    return (
        Rule("contract_open", frozenset({C.CONTRACT}), contract, 0, "4", until=answered),
        Rule("symbols", frozenset({C.SYMBOLS}), every_lane(1), 1.0, "4", settings.second_margin_s),
        Rule("account_summary_open", summary, every_lane(2), 0, "4", until=Until.ENDED),
        Rule("single_flight", ALL, every_lane(1), 0, "4", key="flight", until=answered),
        Rule("what_if", what_if, every_lane(1), 60.0, "4", margin_s, scope=account),
        Rule(
            "orders_per_side", order, every_lane(15), 0, "5.2", 0.0, "sides", Counts.SIDES, Until.RELEASED, account,
            refuse=True,
        ),
    )  # fmt: skip


def lines_taken(job: Job) -> int:
    """Market data lines the job occupies: keepUpToDate takes one too (rule book 1.7)."""
    if job.keys.lines is not None:
        return job.keys.lines
    return int(job.request_class in TAKES_A_LINE or job.stream)


def lasts(job: Job) -> bool:
    """True when the job keeps slots and lines after its answer, until it is released."""
    return job.stream or job.request_class in LASTING


def counted(rule: Rule, job: Job) -> tuple[tuple[Hashable, int], ...]:
    """(counter key, amount) pairs that `job` adds to `rule`; empty when the rule does not concern it."""
    if rule.counts is Counts.SIDES:
        totals: dict[str, int] = {}
        for side, orders in job.keys.sides:
            totals[side] = totals.get(side, 0) + orders
        return tuple(totals.items())
    key = getattr(job.keys, rule.key) if rule.key else ""
    if rule.key and not key:
        return ()
    if rule.counts is Counts.MESSAGES:
        amount = job.messages
    elif rule.counts is Counts.WEIGHT:
        amount = job.keys.weight
    elif rule.counts is Counts.LINES:
        amount = lines_taken(job)
    else:
        amount = 1
    return ((key, amount),) if amount else ()
