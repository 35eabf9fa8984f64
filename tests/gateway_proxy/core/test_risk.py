"""Limits: each by its name, at its edge, in its scope; the tightest wins and getting out is always possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.bus.messages import AccountValues, Contract, Quote
from gateway_proxy.core.risk import Ask, Book, Guarded, Held, Limits, Open, Risk, RiskSettings, day_result, reduces

SPY = Contract("SPY")
OPTION = Contract("SPY", "OPT", last_trade_date="20260618", strike=600.0, right="C", multiplier="100")
FLAT = AccountValues("DU1", realized_pnl=0.0, unrealized_pnl=0.0)
OPEN = RiskSettings(
    max_quantity=None,
    max_notional=None,
    max_position=None,
    max_open_orders=None,
    max_orders_per_minute=None,
    max_cancels_per_minute=None,
    daily_loss=None,
)
ASK = Ask("scalp", "DU1", SPY, "BUY", 10, "LMT", 100.0, 1.0)


def book(*, open_: tuple[Open, ...] = (), held: tuple[Held, ...] = (), account: AccountValues | None = FLAT) -> Book:
    return Book(open_, held, account, Quote("SPY", bid=99.9, ask=100.0), 0.0)


def refusal(settings: RiskSettings, ask: Ask = ASK, where: Book | None = None) -> str:
    return Risk(settings).refusal(ask, where or book(), now=0.0) or ""


@pytest.mark.parametrize(
    ("limit", "cap", "ok", "too_much"),
    [
        ("max_quantity", 10, ASK, replace(ASK, quantity=11)),
        ("max_notional", 1000.0, ASK, replace(ASK, quantity=11)),
        (
            "max_notional",
            20_000.0,
            replace(ASK, quantity=2, multiplier=100.0),
            replace(ASK, quantity=3, multiplier=100.0),
        ),
        ("max_position", 10.0, ASK, replace(ASK, quantity=11)),
        ("daily_loss", 50.0, replace(ASK, risk=50.0), replace(ASK, risk=50.1)),
    ],
)
def test_a_cap_allows_its_value_and_refuses_more(limit, cap, ok, too_much):
    """At the cap it passes; beyond it the refusal names limit, value and cap."""
    settings = replace(OPEN, **{limit: cap})

    assert refusal(settings, ok) == ""
    assert limit in refusal(settings, too_much)
    assert f"{cap:.10g}" in refusal(settings, too_much)


@pytest.mark.parametrize("limit", ["max_quantity", "max_notional", "max_position"])
@pytest.mark.parametrize("scope", ["engines", "accounts"])
def test_the_tightest_scope_wins_and_is_named(limit, scope):
    """An engine's or an account's cap binds below the global one, and only those it covers."""
    name = "scalp" if scope == "engines" else "DU1"
    tight: Any = {limit: 5}
    scoped: dict[str, Any] = {limit: 50_000, scope: {name: Limits(**tight)}}
    settings = replace(OPEN, **scoped)

    assert name in refusal(settings)
    assert refusal(settings, replace(ASK, engine="other", account="DU2")) == ""


def test_an_engine_cannot_loosen_what_is_capped_for_all():
    """A larger cap of its own does not help."""
    settings = replace(OPEN, max_quantity=5, engines={"scalp": Limits(max_quantity=1000)})

    assert "global" in refusal(settings)


def test_positions_count_everything_that_may_still_fill():
    """Held, working on the same side and asked for: the worst case is what is capped."""
    settings = replace(OPEN, max_position=20.0)
    held = (Held("", "DU1", "SPY", 6.0),)
    working = (Open("other", "DU1", "SPY", "BUY", 4.0),)
    opposite = (Open("other", "DU1", "SPY", "SELL", 4.0),)

    assert refusal(settings, where=book(held=held, open_=working)) == ""
    assert "max_position" in refusal(settings, replace(ASK, quantity=11), book(held=held, open_=working))
    assert "max_position" in refusal(settings, replace(ASK, quantity=15), book(held=held, open_=opposite))


def test_an_engines_position_is_what_it_traded_itself():
    """The account may hold more; the engine's cap looks at the engine."""
    settings = replace(OPEN, engines={"scalp": Limits(max_position=12.0)})
    where = book(held=(Held("", "DU1", "SPY", 500.0), Held("scalp", "DU1", "SPY", 2.0)))

    assert refusal(settings, where=where) == ""
    assert "max_position (engine scalp)" in refusal(settings, replace(ASK, quantity=11), where)


@pytest.mark.parametrize(
    ("held", "action", "quantity", "pending", "answer"),
    [
        (10, "SELL", 10, 0, True),
        (10, "SELL", 11, 0, False),
        (10, "SELL", 6, 5, False),
        (10, "SELL", 5, 5, True),
        (10, "BUY", 1, 0, False),
        (-4, "BUY", 4, 0, True),
        (-4, "BUY", 5, 0, False),
        (0, "SELL", 1, 0, False),
    ],
)
def test_an_order_reduces_only_if_it_cannot_turn_the_position(held, action, quantity, pending, answer):
    """Other orders of the same side count as filled."""
    where = book(held=(Held("", "DU1", "SPY", held),), open_=(Open("x", "DU1", "SPY", action, pending, opening=False),))

    assert reduces(replace(ASK, action=action, quantity=quantity), where) is answer


def test_getting_out_is_never_forbidden_by_a_cap_on_getting_in():
    """Every cap tight, reduce-only, loss reached, no account values: the closing order passes."""
    settings = RiskSettings(max_quantity=1, max_notional=1.0, max_position=1.0, max_open_orders=1, daily_loss=1.0)
    settings = replace(settings, reduce_only=True, allowed_symbols=("QQQ",), allowed_order_types=("STP",))
    where = book(held=(Held("", "DU1", "SPY", 10.0),), account=None, open_=(Open("x", "DU1", "QQQ", "BUY", 9.0),))

    assert refusal(settings, replace(ASK, action="SELL"), where) == ""
    assert "max_quantity" in refusal(settings, ASK, where)


@pytest.mark.parametrize(
    ("changes", "ask", "limit"),
    [
        ({"reduce_only": True}, ASK, "reduce_only"),
        ({"allowed_symbols": ("QQQ",)}, ASK, "allowed_symbols"),
        ({"allowed_sec_types": ("STK",)}, replace(ASK, contract=OPTION), "allowed_sec_types"),
        ({"allowed_actions": ("SELL",)}, ASK, "allowed_actions"),
        ({"allowed_order_types": ("LMT",)}, replace(ASK, order_type="MKT"), "allowed_order_types"),
    ],
)
def test_instruments_sides_and_types_are_listed(changes, ask, limit):
    """What is not on the list is not opened; the refusal shows the list."""
    settings = replace(OPEN, price_collar_fraction=None, **changes)

    assert limit in refusal(settings, ask)
    assert refusal(replace(OPEN, price_collar_fraction=None), replace(ASK)) == ""


@pytest.mark.parametrize(
    ("action", "price", "quote", "age_s", "text"),
    [
        ("BUY", 110.0, Quote("SPY", bid=99.0, ask=100.0), 0.0, ""),
        ("BUY", 110.1, Quote("SPY", bid=99.0, ask=100.0), 0.0, "would exceed 110"),
        ("BUY", 1.0, Quote("SPY", bid=99.0, ask=100.0), 0.0, ""),
        ("SELL", 90.0, Quote("SPY", bid=100.0, ask=101.0), 0.0, ""),
        ("SELL", 89.9, Quote("SPY", bid=100.0, ask=101.0), 0.0, "below 90"),
        ("BUY", 100.0, None, None, "no quote"),
        ("BUY", 100.0, Quote("SPY", bid=99.0, ask=100.0), 16.0, "max_quote_age_s"),
        ("BUY", 100.0, Quote("SPY", bid=99.0), 0.0, "two-sided"),
        ("SELL", 100.0, Quote("SPY", ask=99.0), 0.0, "two-sided"),
    ],
)
def test_the_collar_compares_with_a_fresh_quote_or_refuses(action, price, quote, age_s, text):
    """Only the harmful side counts: paying too much, selling too low; nothing to compare with is a refusal."""
    where = Book((), (), FLAT, quote, age_s)

    reason = refusal(OPEN, replace(ASK, action=action, price=price), where)

    assert text in reason
    assert bool(text) is bool(reason)


def test_rates_are_counted_in_any_sliding_minute():
    """The cap holds in every window of 60 s, not per calendar minute."""
    risk = Risk(replace(OPEN, max_orders_per_minute=2, engines={"slow": Limits(max_orders_per_minute=1)}))
    answers = []
    for now in (0.0, 30.0, 59.9, 60.1, 60.2, 90.1):
        reason = risk.refusal(ASK, book(), now)
        answers.append(reason is None)
        if reason is None:
            risk.entered("scalp", "DU1", now)

    assert answers == [True, True, False, True, False, True]
    assert risk.refusal(ASK, book(), 90.2, counted=True) is None


def test_cancels_have_a_rate_of_their_own():
    """A loop that cancels without end is stopped as well."""
    risk = Risk(replace(OPEN, max_cancels_per_minute=2))
    for now in (0.0, 1.0):
        assert risk.cancel_refusal("scalp", "DU1", now) is None
        risk.cancelled("scalp", "DU1", now)

    assert "max_cancels_per_minute" in (risk.cancel_refusal("scalp", "DU1", 2.0) or "")
    assert risk.cancel_refusal("scalp", "DU1", 61.1) is None


def test_open_orders_count_entries_and_not_exits():
    """A closing order is not one more open order."""
    settings = replace(OPEN, max_open_orders=2)
    closing = Open("x", "DU1", "SPY", "SELL", 1.0, opening=False)
    opening = Open("x", "DU1", "QQQ", "BUY", 1.0)

    assert refusal(settings, where=book(open_=(closing, closing, opening))) == ""
    assert "max_open_orders" in refusal(settings, where=book(open_=(opening, opening)))


def test_the_daily_loss_counts_what_open_orders_can_still_lose():
    """Realised, unrealised, every open stop and the one asked for."""
    settings = replace(OPEN, daily_loss=100.0)
    lost = AccountValues("DU1", realized_pnl=-40.0, unrealized_pnl=-20.0)
    working = (Open("x", "DU1", "QQQ", "BUY", 1.0, risk=30.0),)

    assert refusal(settings, replace(ASK, risk=10.0), book(account=lost, open_=working)) == ""
    assert "daily_loss (global): 101 would exceed 100" in refusal(
        settings, replace(ASK, risk=11.0), book(account=lost, open_=working)
    )
    assert "not arrived" in refusal(settings, where=book(account=None))


@pytest.mark.parametrize(
    ("unrealized", "worst"),
    [(300.0, 111.0), (-20.0, 111.0), (-60.0, 111.0), (-90.0, 141.0)],
)
def test_a_position_counts_as_if_its_stop_were_hit(unrealized, worst):
    """A paper profit hides no risk; a position that stands worse than its stop counts as it stands."""
    settings = replace(OPEN, daily_loss=100.0)
    values = AccountValues("DU1", realized_pnl=-40.0, unrealized_pnl=unrealized)
    where = replace(book(account=values), guarded=(Guarded("x", "DU1", 60.0),))

    assert f"{worst:g} would exceed 100" in refusal(settings, replace(ASK, risk=11.0), where)
    assert (refusal(settings, replace(ASK, risk=0.0), where) == "") == (unrealized > -61.0)


def test_an_engine_answers_for_its_own_losses_only():
    """What another engine or a human lost today counts for the account, not against this engine's cap."""
    settings = replace(OPEN, engines={"scalp": Limits(daily_loss=100.0)})
    risk = Risk(settings)
    risk.day.book("other", -500.0)
    risk.day.book("scalp", -60.0)
    where = replace(book(), guarded=(Guarded("other", "DU1", 70.0), Guarded("scalp", "DU1", 30.0)))

    assert risk.refusal(replace(ASK, risk=10.0), where, 0.0) is None
    assert "daily_loss (engine scalp): 101 would exceed 100" in (
        risk.refusal(replace(ASK, risk=11.0), where, 0.0) or ""
    )
    assert risk.refusal(replace(ASK, engine="other", risk=11.0), where, 0.0) is None


@pytest.mark.parametrize(
    ("account", "result"),
    [
        (None, None),
        (AccountValues("DU1"), None),
        (AccountValues("DU1", realized_pnl=-5.0), -5.0),
        (AccountValues("DU1", realized_pnl=-5.0, unrealized_pnl=2.0), -3.0),
        (AccountValues("DU1", realized_pnl=-5.0, daily_pnl=7.0), 7.0),
    ],
)
def test_the_days_result_is_ibs_own_figure_when_there_is_one(account, result):
    """Otherwise realised plus unrealised; unknown is not zero."""
    assert day_result(account) == result


def test_the_order_efficiency_ratio_stops_a_churning_day():
    """IB asks who sends more than twenty messages per executed order; the first of the day are free."""
    risk = Risk(replace(OPEN, max_efficiency_ratio=20.0, efficiency_free_messages=100))
    risk.day.messages = 99
    early = risk.refusal(ASK, book(), 0.0)
    risk.day.messages = 100
    late = risk.refusal(ASK, book(), 0.0)
    risk.day.executed_orders = 5

    assert early is None
    assert "max_efficiency_ratio" in (late or "")
    assert risk.refusal(ASK, book(), 0.0) is None


def test_a_market_order_without_a_price_cannot_be_valued():
    """A notional cap with nothing to multiply is a refusal, not a pass."""
    settings = replace(OPEN, max_notional=1000.0, allowed_order_types=("MKT",), price_collar_fraction=None)

    assert "no price" in refusal(settings, replace(ASK, order_type="MKT", price=None))
