"""Each rule of the table at its limit and one beyond it, through the scheduler."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_proxy.core.rules import (
    Until,
    depth_limit,
    message_ceilings,
    rule_table,
)
from gateway_proxy.core.scheduler import Lane, PacingSettings, RequestClass
from tests.support.pacing import ROOMY, Rig

C = RequestClass
SMALL = [C.HISTORY_SMALL, C.HISTORY_TICKS, C.HEAD_STAMP, C.REALTIME_BARS]


# ---------------------------------------------------------------- windows

WINDOWS = [
    *[(kind, {}, 60, 601.0) for kind in SMALL],
    *[(kind, {"series": "SPY TRADES"}, 5, 3.0) for kind in SMALL],
    *[(kind, {"identical": "SPY 5s"}, 1, 16.0) for kind in [*SMALL, C.HISTORY_LARGE]],
    (C.SNAPSHOT, {}, 100, 1.1),
    (C.SYMBOLS, {}, 1, 1.1),
    (C.TICK_BY_TICK, {"instrument": "SPY"}, 1, 16.0),
    (C.WHAT_IF, {}, 1, 61.0),
]


@pytest.mark.parametrize(("kind", "key", "limit", "span_s"), WINDOWS)
def test_window_lets_its_limit_through_and_the_next_one_after_window_and_margin(
    kind: RequestClass, key: dict[str, str], limit: int, span_s: float
) -> None:
    """The limit goes at once; one more goes exactly when the window and its margin have passed since the first."""
    rig = Rig(replace(ROOMY, message_spread_s=0.01, large_open_start=20))
    lined_up = [rig.push(kind, Lane.ORDER, **key) for _ in range(limit)]
    for job in lined_up:
        rig.step()
        rig.scheduler.release(job.job_id, rig.now)

    extra = rig.push(kind, Lane.ORDER, **key)
    rig.run(span_s - 0.001)

    assert [rig.when(job) for job in lined_up] == [0.0] * limit
    assert rig.when(extra) is None
    rig.run(span_s)
    assert rig.when(extra) == span_s


@pytest.mark.parametrize(("weight", "granted"), [(1, 60), (2, 30)])
def test_bid_ask_counts_twice_in_the_budget(weight: int, granted: int) -> None:
    """60 units are 60 plain requests or 30 of BID_ASK (rule book 1.1)."""
    rig = Rig()
    for _ in range(61):
        rig.push(C.HISTORY_SMALL, Lane.ORDER, weight=weight)

    rig.run(600.9, rig.answer_grant)

    assert len(rig.sent) == granted


def test_bid_ask_counts_twice_in_the_two_second_rule() -> None:
    """Fewer than six units for one series: two requests of weight 2, not three."""
    rig = Rig()
    jobs = [rig.push(C.HISTORY_SMALL, series="SPY BID_ASK", weight=2) for _ in range(3)]

    rig.run(3.0)

    assert [rig.when(job) for job in jobs] == [0.0, 0.0, 3.0]


def test_one_budget_serves_all_small_classes() -> None:
    """Head stamps, ticks and new real-time bars draw on the 60 of small bars (rule book 0, number 4)."""
    rig = Rig()
    for number in range(61):
        rig.push(SMALL[number % 4], Lane.ORDER)

    rig.run(600.9, rig.answer_grant)

    assert len(rig.sent) == 60


@pytest.mark.parametrize("strict", [False, True])
def test_bars_of_a_minute_join_the_budget_in_strict_mode_only(strict: bool) -> None:
    """60 large requests and then a small one: strict mode holds it, the documented rules do not."""
    rig = Rig(replace(ROOMY, strict_history=strict))
    for number in range(60):
        rig.push(C.HISTORY_LARGE, series=f"S{number}", identical=f"I{number}")
    rig.run(30.0, rig.answer_grant)

    small = rig.push(C.HISTORY_SMALL)
    rig.run(40.0)

    assert len(rig.sent) == (60 if strict else 61)
    assert rig.scheduler.explain(rig.job(C.HISTORY_LARGE), rig.now).held_by == ("history_window" if strict else "")
    assert (rig.when(small) is None) == strict


def test_backfill_uses_the_budget_in_tenths_and_leaves_none_of_it() -> None:
    """Six per minute: in ten minutes all 60 are used, and an urgent request finds room meanwhile."""
    rig = Rig()
    for _ in range(100):
        rig.push(C.HISTORY_SMALL, Lane.BACKFILL)

    rig.run(300.0, rig.answer_grant)
    urgent = rig.push(C.HISTORY_SMALL)
    rig.run(600.9, rig.answer_grant)

    assert rig.when(urgent) == 300.0
    assert len(rig.sent) == 60


# ---------------------------------------------------------------- message rate


@pytest.mark.parametrize(
    ("lane", "ceiling"),
    list(zip(Lane, (50, 48, 38, 36, 36, 36), strict=True)),
)
def test_each_lane_may_bring_the_message_rate_to_its_ceiling(lane: Lane, ceiling: int) -> None:
    """Of 50 messages a second, 10 are kept for orders, 2 for probes and 2 for what protects."""
    rig = Rig(PacingSettings(market_data_lines=100))
    for _ in range(60):
        rig.push(C.SESSION, lane)

    rig.run(1.099)

    assert message_ceilings(rig.settings)[lane] == ceiling
    assert len(rig.sent) == ceiling


@pytest.mark.parametrize(("lines", "rate"), [(10, 5), (100, 50), (200, 100), (10_000, 5_000)])
def test_message_rate_is_half_the_lines(lines: int, rate: int) -> None:
    """Lines / 2 per second, and every lane gets something of it, even of the smallest rate."""
    ceilings = message_ceilings(PacingSettings(market_data_lines=lines))

    assert ceilings[Lane.PROTECTIVE] == rate
    assert list(ceilings) == sorted(ceilings, reverse=True)
    assert min(ceilings) >= 1


def test_order_goes_at_once_when_data_have_used_their_share() -> None:
    """The reserve is there: ten order messages pass while data wait for the window."""
    rig = Rig(PacingSettings())
    for _ in range(500):
        rig.push(C.CONTRACT)
    rig.run(0.9, rig.answer_grant)

    orders = [rig.push(C.ORDER, Lane.ORDER) for _ in range(10)]
    rig.step()

    assert [rig.when(order) for order in orders] == [0.9] * 10


def test_bracket_counts_every_line_it_writes() -> None:
    """A cancel and fifteen brackets are 46 messages; the sixteenth would be beyond the 48 of its lane."""
    rig = Rig(PacingSettings())
    brackets = [rig.push(C.ORDER, Lane.ORDER, messages=3) for _ in range(17)]
    cancel = rig.push(C.CANCEL, Lane.PROTECTIVE)

    rig.step()

    assert [rig.when(bracket) is not None for bracket in brackets] == [True] * 15 + [False] * 2
    assert rig.when(cancel) == 0.0


def test_data_messages_are_spread() -> None:
    """Never more than a few at once, so that no order finds a burst in the socket before it."""
    rig = Rig(PacingSettings())
    for _ in range(40):
        rig.push(C.SECDEF)

    rig.run(2.0)

    at_once = [sum(1 for at, _ in rig.sent if at == moment) for moment in {at for at, _ in rig.sent}]
    assert max(at_once) == 4
    assert len(rig.sent) == 40


# ---------------------------------------------------------------- open things

OPEN = [
    (C.HISTORY_SMALL, 50),
    (C.HISTORY_LARGE, 20),
    (C.HISTORY_TICKS, 50),
    (C.HEAD_STAMP, 50),
    (C.CONTRACT, 20),
    (C.SNAPSHOT, 100),
    (C.QUOTE, 100),
    (C.REALTIME_BARS, 60),
    (C.TICK_BY_TICK, 5),
    (C.DEPTH, 3),
    (C.SCANNER, 10),
    (C.ACCOUNT_SUMMARY, 2),
]


@pytest.mark.parametrize(("kind", "limit"), OPEN)
def test_open_requests_stop_at_their_limit_until_one_is_given_back(kind: RequestClass, limit: int) -> None:
    """The limit goes, one more waits for ever, and goes as soon as one of the others has ended."""
    rig = Rig(PacingSettings(market_data_lines=100, large_open_start=20))
    jobs = [rig.push(kind, Lane.ORDER) for _ in range(limit + 1)]

    rig.run(500.0)

    assert [rig.when(job) is not None for job in jobs] == [True] * limit + [False]
    rig.scheduler.release(jobs[0].job_id, rig.now)
    rig.run(700.0)
    assert rig.when(jobs[-1]) is not None


def held_open(rig: Rig, kind: RequestClass) -> float:
    """The fullest of the rules on open things that concern the class."""
    slots = {rule.name for rule in rule_table(rig.settings) if rule.until is not Until.WINDOW}
    views = rig.scheduler.explain(rig.job(kind), rig.now).rules
    return max(view.used for view in views if view.rule in slots)


@pytest.mark.parametrize("kind", [C.QUOTE, C.REALTIME_BARS, C.TICK_BY_TICK, C.DEPTH, C.SCANNER, C.ACCOUNT_SUMMARY])
def test_answered_stream_keeps_its_place_until_released(kind: RequestClass) -> None:
    """The first answer frees nothing of a stream."""
    rig = Rig()
    stream = rig.push(kind)
    rig.step()

    rig.answer(stream)

    assert held_open(rig, kind) == 1
    rig.scheduler.release(stream.job_id, rig.now)
    assert held_open(rig, kind) == 0


def test_keep_up_to_date_holds_slot_and_line_but_not_the_adaptive_place() -> None:
    """One of the 50 slots and one line for its life (rule book 1.7); its backfill is over when it is answered."""
    rig = Rig()
    series = rig.push(C.HISTORY_LARGE, Lane.STREAM, stream=True)
    rig.step()
    rig.answer(series)

    used = {row["rule"]: row["used"] for row in rig.scheduler.stats(rig.now)["rules"]}

    assert (used["history_open"], used["lines"], used["history_large_open"]) == (1, 1, 0)
    rig.scheduler.release(series.job_id, rig.now)
    used = {row["rule"]: row["used"] for row in rig.scheduler.stats(rig.now)["rules"]}
    assert (used["history_open"], used["lines"]) == (0, 0)


def test_stream_that_failed_to_open_holds_nothing() -> None:
    """An error instead of a first answer gives everything back without a release."""
    rig = Rig()
    stream = rig.push(C.QUOTE)
    rig.step()

    rig.answer(stream, failed=True)

    assert rig.scheduler.stats(rig.now)["owners"]["engine"]["lines"] == 0


def test_lines_have_owners() -> None:
    """Whose lines they are is shown per owner."""
    rig = Rig()
    rig.push(C.QUOTE, owner="alpha", lines=3)
    rig.push(C.SNAPSHOT, owner="beta")
    rig.step()

    owners = rig.scheduler.stats(rig.now)["owners"]

    assert (owners["alpha"]["lines"], owners["beta"]["lines"]) == (3, 1)


@pytest.mark.parametrize(("lines", "limit"), [(100, 3), (400, 3), (500, 4), (1_000, 9), (10_000, 60)])
def test_depth_grows_with_the_lines(lines: int, limit: int) -> None:
    """3 at 100 lines, one more per 100 above 400, never more than 60."""
    assert depth_limit(lines) == limit


def test_second_flight_of_a_request_without_an_id_waits_for_the_first() -> None:
    """Its answer could not be told apart."""
    rig = Rig()
    first, second = (rig.push(C.SESSION, flight="positions") for _ in range(2))
    rig.step()

    assert rig.when(second) is None
    rig.answer(first)
    rig.step()
    assert rig.when(second) == 0.0


def test_fast_clock_widens_the_margins_and_nothing_else() -> None:
    """At 30 simulated seconds a second, 100 ms on the network are 3 s of the clock; IB's windows stay."""
    rules = {rule.name: rule for rule in rule_table(PacingSettings().at_speed(30.0))}

    assert (rules["message_rate"].window_s, rules["message_rate"].margin_s) == (1.0, 3.0)
    assert (rules["history_window"].window_s, rules["history_window"].margin_s) == (600.0, 30.0)
    assert rules["message_spread"].limit >= 1
    assert PacingSettings().at_speed(1.0) == PacingSettings()
