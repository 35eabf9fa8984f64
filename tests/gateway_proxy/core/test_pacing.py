"""What the ledger tells: violations, orders per side, memory of an earlier life, keys and explanations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core.jobs import Keys, Lane, RequestClass
from gateway_proxy.core.pacing import CLOSED_AT_LEAST_S
from gateway_proxy.core.rules import (
    PacingSettings,
    contract_key,
    history_class,
    history_keys,
)
from gateway_proxy.errors import Refused
from tests.support.pacing import Rig

C = RequestClass
SMALL = [C.HISTORY_SMALL, C.HISTORY_TICKS, C.HEAD_STAMP, C.REALTIME_BARS]


# ---------------------------------------------------------------- orders per side


def test_sixteenth_order_on_a_side_is_refused_and_not_kept_waiting() -> None:
    """15 working orders per contract, side and account (rule book 5.2); a late opening order is a wrong one."""
    rig = Rig()
    orders = [rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),)) for _ in range(15)]
    rig.step()

    with pytest.raises(Refused, match=r"15 of 15 in use for SPY\|BUY\|DU1"):
        rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),))
    rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|SELL|DU1", 1),))
    rig.scheduler.release(orders[0].job_id, rig.now)
    rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),))

    assert len(rig.step()) == 2


def test_bracket_takes_two_places_on_its_exit_side() -> None:
    """Seven brackets fill 14 of 15 exits; the eighth is refused; one dead exit order makes room for it."""
    rig = Rig()
    sides = (("SPY|BUY|DU1", 1), ("SPY|SELL|DU1", 2))
    brackets = [rig.push(C.ORDER, Lane.ORDER, messages=3, sides=sides) for _ in range(7)]
    rig.step()

    with pytest.raises(Refused, match="SELL"):
        rig.push(C.ORDER, Lane.ORDER, messages=3, sides=sides)
    rig.scheduler.release(brackets[0].job_id, rig.now, side="SPY|SELL|DU1")
    rig.push(C.ORDER, Lane.ORDER, messages=3, sides=sides)

    assert len(rig.step()) == 1


def test_orders_of_one_push_burst_never_pass_the_limit_together() -> None:
    """Room is checked again when the order goes: those pushed in the same moment wait in the queue."""
    rig = Rig()
    for _ in range(20):
        rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),))

    rig.run(100.0)

    assert len(rig.sent) == 15


def test_answered_order_still_works_and_a_new_connection_does_not_end_it() -> None:
    """Only a release by name frees a side: orders live at IB."""
    rig = Rig()
    for _ in range(15):
        rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),))
    for grant in rig.step():
        rig.answer(grant.job)
    rig.scheduler.reset_session(rig.now)

    with pytest.raises(Refused):
        rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),))


def test_adopted_orders_count_without_being_sent() -> None:
    """Orders of an earlier life take their places, even more of them than the limit."""
    rig = Rig()
    orders = [rig.job(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),)) for _ in range(16)]
    for order in orders * 2:
        rig.scheduler.adopt(order)

    with pytest.raises(Refused, match="16 of 15"):
        rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY|DU1", 1),))
    assert rig.step() == []


def test_order_efficiency_is_shown_and_never_holds() -> None:
    """(submissions + revisions + cancels) / (executed + 1), above 20 is excessive (rule book 5.2)."""
    rig = Rig()
    for kind in (C.ORDER, C.MODIFY, C.CANCEL) * 10:
        rig.push(kind, Lane.ORDER)
    rig.step()
    rig.scheduler.order_executed()

    row = next(row for row in rig.scheduler.stats(rig.now)["rules"] if row["rule"] == "order_efficiency")

    assert (row["used"], row["limit"], row["hard"]) == (15.0, 20.0, False)
    rig.scheduler.new_trading_day()
    assert rig.scheduler.stats(rig.now)["rules"][-1]["used"] == 0.0
    assert len(rig.sent) == 30


def test_job_that_asks_for_more_than_a_limit_is_refused() -> None:
    """It could never go; waiting would be a lie."""
    rig = Rig(PacingSettings(market_data_lines=100))

    with pytest.raises(Refused, match="lines allows 100 at a time, this asks for 101"):
        rig.push(C.QUOTE, lines=101)
    assert rig.scheduler.stats(0.0)["refused"] == 1


# ---------------------------------------------------------------- violations


def test_violation_closes_its_budget_for_what_is_left_of_the_window() -> None:
    """600 s less the age of the oldest request; the classes of the same budget too; others go on (rule book 1.9)."""
    rig = Rig()
    rig.push(C.HISTORY_SMALL)
    rig.step()
    rig.now = 200.0

    until = rig.scheduler.pacing_violation(C.HISTORY_SMALL, rig.now)
    held = [rig.push(kind) for kind in SMALL]
    others = [rig.push(kind) for kind in (C.HISTORY_LARGE, C.CONTRACT, C.QUOTE)]
    rig.run(599.0)

    assert until == 600.0
    assert [rig.when(job) for job in held] == [None] * 4
    assert [rig.when(job) for job in others] == [200.0] * 3
    rig.run(601.0, rig.answer_grant)
    assert {rig.when(job) for job in held} == {600.0}
    assert {grant.held_by for at, grant in rig.sent if at == 600.0} == {"closed"}


def test_violation_closes_at_least_a_minute() -> None:
    """Also when the oldest request is nearly forgotten, and for classes that have no window of their own."""
    rig = Rig()
    rig.push(C.HISTORY_SMALL)
    rig.step()
    rig.now = 590.0

    until = [rig.scheduler.pacing_violation(kind, rig.now) for kind in (C.HISTORY_SMALL, C.SCANNER)]

    assert until == [rig.now + CLOSED_AT_LEAST_S] * 2


def test_violation_without_a_request_of_ours_closes_for_a_whole_window() -> None:
    """Then somebody else, or an earlier life of ours, used the budget at a time we do not know."""
    assert Rig().scheduler.pacing_violation(C.HISTORY_SMALL, 0.0) == 600.0


def test_login_wide_logs_survive_a_restart() -> None:
    """IB remembers what an earlier life sent: the new one starts with that log, aged by the time it was away."""
    before = Rig()
    before.push(C.HISTORY_SMALL, identical="SPY 5s", series="SPY TRADES")
    before.push(C.QUOTE)
    before.step()
    remembered = json.loads(json.dumps(before.scheduler.remembered(3.0)))

    after = Rig(now=1_000.0)
    after.scheduler.recall(remembered, away_s=4.0, now=1_000.0)
    again = after.push(C.HISTORY_SMALL, identical="SPY 5s", series="SPY TRADES")
    after.run(2_000.0)

    assert after.when(again) == 1_000.0 - 7.0 + 16.0
    used = {row["rule"]: row["used"] for row in after.scheduler.stats(1_000.0)["rules"]}
    assert used["lines"] == 0


def test_class_closed_twice_keeps_the_later_end_and_opens_on_demand() -> None:
    """A shorter closure never shortens a longer one; `open_class` ends it early."""
    rig = Rig()
    rig.scheduler.close_class(C.QUOTE, 50.0)
    rig.scheduler.close_class(C.QUOTE, 20.0)
    quote = rig.push(C.QUOTE)

    rig.run(30.0)

    assert rig.when(quote) is None
    rig.scheduler.open_class(C.QUOTE)
    rig.step()
    assert rig.when(quote) == 30.0


def test_error_100_pauses_data_and_no_order() -> None:
    """The third strike would end the session, so data wait; orders, cancels and probes have their own share."""
    rig = Rig()
    until = rig.scheduler.message_violation(rig.now)
    data = rig.push(C.CONTRACT)
    urgent = [rig.push(C.ORDER, Lane.ORDER), rig.push(C.CANCEL, Lane.PROTECTIVE), rig.push(C.PROBE, Lane.PROBE)]

    rig.run(until)

    assert [rig.when(job) for job in urgent] == [0.0] * 3
    assert rig.when(data) == until == 2.0


# ---------------------------------------------------------------- keys and explanations


SPY = Contract("SPY")


def test_bars_of_thirty_seconds_or_less_are_small() -> None:
    """The border of the hard rules (rule book 1.2)."""
    classes = [history_class(size) for size in ("1s", "30s", "1min", "1d")]

    assert classes == [C.HISTORY_SMALL, C.HISTORY_SMALL, C.HISTORY_LARGE, C.HISTORY_LARGE]


def test_small_bars_collide_by_the_narrow_key_and_large_ones_by_the_full_key() -> None:
    """What counts as identical: rule book 1.1, below the table."""
    narrow = [history_keys(SPY, "5s", "TRADES", True, duration) for duration in ("1800 S", "3600 S")]
    full = [history_keys(SPY, "1min", "TRADES", True, duration) for duration in ("1 D", "2 D")]

    assert narrow[0].identical == narrow[1].identical
    assert full[0].identical != full[1].identical
    assert full[0].series == full[1].series == narrow[0].series
    assert history_keys(SPY, "5s", "BID_ASK", True).weight == 2
    assert contract_key(SPY) != contract_key(replace(SPY, exchange="ARCA"))


def test_explanation_names_every_rule_and_the_latest_one_holds() -> None:
    """A request that collides with three rules: the one that frees last is named, with its time."""
    rig = Rig()
    keys = Keys(series="SPY TRADES", identical="SPY 5s")
    for number in range(5):
        rig.push(C.HISTORY_SMALL, keys=replace(keys, identical=f"{number}"))
    rig.push(C.HISTORY_SMALL, keys=keys)
    rig.run(4.0)

    explanation = rig.scheduler.explain(rig.job(C.HISTORY_SMALL, keys=keys), rig.now)

    assert (explanation.held_by, explanation.goes_at) == ("history_identical", 3.0 + 16.0)
    assert {"message_rate", "history_window", "history_series"} <= {view.rule for view in explanation.rules}


def test_explanation_counts_those_ahead() -> None:
    """With 90 queued before it, the request is foretold for the second refill, not for the first."""
    rig = Rig()
    for _ in range(150):
        rig.push(C.HISTORY_SMALL)
    rig.run(100.0, rig.answer_grant)

    explanation = rig.scheduler.explain(rig.job(C.HISTORY_SMALL), rig.now)
    last = rig.push(C.HISTORY_SMALL)
    rig.run(2_000.0, rig.answer_grant)

    assert explanation.ahead == 90
    assert explanation.goes_at < 602.0
    assert rig.when(last) == pytest.approx(explanation.expected_at, abs=0.5)


def test_explanation_is_plain_json_in_seconds_from_now() -> None:
    """No clock of ours and no infinity leaves the process."""
    rig = Rig(PacingSettings(), now=1_000.0)
    for _ in range(3):
        rig.push(C.DEPTH)
    rig.push(C.SYMBOLS)
    rig.step()

    never = rig.scheduler.explain(rig.job(C.DEPTH), 1_000.5).body(1_000.5)
    soon = rig.scheduler.explain(rig.job(C.SYMBOLS), 1_000.5).body(1_000.5)

    assert json.loads(json.dumps([never, soon], allow_nan=False)) == [never, soon]
    assert (never["goes_in_s"], never["held_by"]) == (None, "depth_open")
    assert (soon["goes_in_s"], soon["expected_in_s"], soon["held_by"]) == (0.6, 0.6, "symbols")
