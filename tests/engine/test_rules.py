"""Strikes, size, prices, exits and guards at their edges: each answers with a number or with a reason."""

from __future__ import annotations

import msgspec
import pytest

from engine.brackets import Bracket, BracketRules, PriceGrid, bracket
from engine.exits import ExitRules, time_is_up
from engine.guards import GuardRules, Guards
from engine.sizing import SizingRules, size
from engine.strikes import Pick, StrikeRules, pick
from gateway_proxy import Chain
from tests.engine.conftest import OPEN_NS, at, chain_body


def chain(price: float = 600.0, **changes: object) -> Chain:
    return msgspec.convert({"symbol": "SPY", **chain_body(price, **changes)}, Chain)


def row(strike: float, **changes: object) -> dict[str, object]:
    base = {"strike": strike, "right": "C", "con_id": int(strike), "bid": 2.0, "ask": 2.1, "volume": 10.0}
    return {**base, **changes}


def picked(*rows: dict[str, object], price: float = 600.0, **rules: float) -> Pick | str:
    return pick(chain(price, rows=list(rows)), "C", StrikeRules(**rules))  # type: ignore[arg-type]


# ---------------------------------------------------------------- strikes


def test_busiest_option_near_the_money_is_taken():
    """Volume decides within the width; what lies outside does not count."""
    chosen = picked(row(590, volume=9e9), row(599), row(600, volume=20.0), row(601), row(610))

    assert isinstance(chosen, Pick) and chosen.contract.strike == 600.0
    assert (chosen.contract.sec_type, chosen.contract.right, chosen.multiplier) == ("OPT", "C", 100.0)


def test_equal_volume_goes_to_the_narrower_spread_then_the_nearer_then_the_lower_strike():
    """The same chain always gives the same option, whatever the order of its rows."""
    narrow = picked(row(599), row(600), row(601, ask=2.05))
    nearer = picked(row(599), row(601), row(600), price=600.4)
    lower = picked(row(601), row(599), price=600.0)

    assert [one.contract.strike for one in (narrow, nearer, lower) if isinstance(one, Pick)] == [601.0, 600.0, 599.0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bid": None}, "no quote"),
        ({"bid": -1.0, "ask": -1.0}, "no quote"),
        ({"bid": float("nan")}, "no quote"),
        ({"bid": 2.2}, "crossed"),
        ({"bid": 0.01, "ask": 0.02}, "below"),
        ({"bid": 1.0, "ask": 2.0}, "spread"),
        ({"volume": None}, "volume unknown"),
        ({"volume": 0.0}, "volume"),
        ({"con_id": 0}, "not confirmed"),
    ],
)
def test_option_that_cannot_be_traded_has_a_reason(changes, reason):
    """A value IB did not give counts against the option; one bad strike leaves the good ones."""
    only = picked(row(600, **changes))
    beside = picked(row(600, **changes), row(601))

    assert isinstance(only, str) and reason in only
    assert isinstance(beside, Pick) and beside.contract.strike == 601.0


def test_chain_without_calls_price_or_clear_strikes_is_refused():
    """Empty, priceless, and adjusted contracts that double a strike."""
    assert "no calls" in str(picked())
    assert "no price" in str(picked(row(600), price=0.0))
    assert "twice" in str(picked(row(600), row(600, con_id=7)))
    assert "multiplier" in str(pick(chain(multiplier="?"), "C", StrikeRules()))


# ---------------------------------------------------------------- prices and size


def test_bracket_stands_on_the_grid_with_its_exits_apart():
    """Entry and take-profit up, stop down."""
    penny = PriceGrid.of_option("SPY", 0.01)
    nickel = PriceGrid.of_option("AAPL", 0.01)

    assert bracket(2.0, 2.1, BracketRules(0.2, 0.1), penny) == Bracket(2.1, 2.52, 1.89)
    assert bracket(2.87, 2.97, BracketRules(0.2, 0.1), nickel) == Bracket(2.97, 3.6, 2.67)
    assert bracket(3.02, 3.11, BracketRules(0.2, 0.1), nickel) == Bracket(3.15, 3.8, 2.83)
    assert bracket(0.05, 0.05, BracketRules(0.001, 0.001), penny) == Bracket(0.05, 0.06, 0.04)


def test_tick_sums_do_not_leave_the_grid():
    """0.1 + 0.2 is not 0.3 in binary; on the grid it is."""
    grid = PriceGrid.of((0, 0.01), (3, 0.05))

    assert (grid.up(0.1 + 0.2), grid.down(0.30000000000000004), grid.down(2.999), grid.up(3.01)) == (
        0.3,
        0.3,
        2.99,
        3.05,
    )
    assert grid.next_above(2.99) == 3.0


@pytest.mark.parametrize(("bid", "ask"), [(0.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (1.0, float("inf")), (-1, -1)])
def test_quote_that_is_none_gives_no_prices(bid, ask):
    """No order without a market."""
    assert "no usable quote" in str(bracket(bid, ask, BracketRules(), PriceGrid.of_option("SPY", 0.01)))


def test_option_too_cheap_for_a_stop_is_refused():
    """A stop needs a tick below the entry that is still a price."""
    assert "no room" in str(bracket(0.01, 0.01, BracketRules(), PriceGrid.of_option("SPY", 0.01)))


def test_grid_with_falling_edges_is_refused():
    """A wrong market rule is a fault of the caller."""
    for bands in (((1.0, 0.01),), ((0.0, 0.0),), ((0.0, 0.01), (0.0, 0.05))):
        with pytest.raises(ValueError, match="rising edges"):
            PriceGrid.of(*bands)


def sized(equity: float | None = 100_000.0, funds: float | None = 50_000.0, **changes: float) -> object:
    facts = {"entry": 2.0, "stop_distance": 0.2, "multiplier": 100.0, **changes}
    rules = SizingRules(risk=0.01, max_quantity=100, max_cost=0.10)
    return size(net_liquidation=equity, available_funds=funds, rules=rules, **facts)


def test_size_follows_the_tightest_limit():
    """1 % of 100,000 at 20 a contract is 50; 10 % of it in premium at 200 each is 50 too; the funds may be less."""
    assert sized().quantity == 50  # type: ignore[attr-defined]
    assert (sized(funds=600.0).quantity, sized(funds=600.0).limited_by) == (3, "funds")  # type: ignore[attr-defined]
    assert sized(stop_distance=1.0).limited_by == "risk"  # type: ignore[attr-defined]
    assert sized(equity=10_000_000.0, funds=None).limited_by == "max_quantity"  # type: ignore[attr-defined]


def test_account_below_the_minimum_risk_does_not_trade():
    """Less than one contract is none, with the reason."""
    assert "risk limit" in str(sized(equity=1500.0))
    assert "not known" in str(sized(equity=None))
    assert "below the minimum" in str(sized(equity=-5.0))
    assert "no size" in str(sized(stop_distance=0.0))
    assert "funds limit" in str(sized(funds=10.0))


# ---------------------------------------------------------------- exits


def test_time_ends_entries_positions_and_days():
    """Entry after 2 bars, position after 30, everything 5 minutes before the close."""
    rules = ExitRules(entry_bars=2, max_bars=30, flat_minutes_before_close=5.0)

    assert time_is_up(rules, at(1), 60, OPEN_NS, None) is None
    assert "not filled" in str(time_is_up(rules, at(2), 60, OPEN_NS, None))
    assert time_is_up(rules, at(29), 60, OPEN_NS, OPEN_NS) is None
    assert "held for 30" in str(time_is_up(rules, at(30), 60, OPEN_NS, OPEN_NS))
    assert "session ends" in str(time_is_up(rules, at(384), 60, at(380).bar_start_ns, at(380).bar_start_ns))


# ---------------------------------------------------------------- guards


def guards(**rules: object) -> Guards:
    made = Guards(GuardRules(**rules))  # type: ignore[arg-type]
    made.session_is(at(0).session)
    made.account_is(100_000.0, 0.0)
    return made


def verdict(made: Guards, minute: int = 60, symbol: str = "SPY", since_gap: int = 100) -> str:
    stop = made.against(symbol, at(minute), 60, since_gap, 100)
    return stop.guard if stop else ""


def test_hours_keep_entries_away_from_open_and_close():
    """Not in the first and last minutes, not outside the session."""
    made = guards(no_entry_first_minutes=5.0, no_entry_last_minutes=15.0)

    assert [verdict(made, minute) for minute in (-10, 0, 10, 374, 375, 400)] == [
        "hours",
        "hours",
        "",
        "",
        "hours",
        "hours",
    ]


def test_counts_limit_open_trades_and_trades_of_a_session():
    """At one time, per session, per symbol; a void trade does not count."""
    made = guards(max_open=2, max_trades=3, max_trades_per_symbol=2, cool_down_bars=0)
    made.trade_started("SPY", "a")
    made.trade_started("QQQ", "b")
    full = verdict(made, symbol="AAPL")
    made.trade_void("QQQ", "b")
    made.trade_ended("SPY", at(10).bar_start_ns, cool_down=True)
    free = verdict(made)
    made.trade_started("SPY", "c")
    made.trade_ended("SPY", at(20).bar_start_ns, cool_down=True)

    assert (full, free, verdict(made), verdict(made, symbol="QQQ")) == ("max_open", "", "max_trades", "")


def test_exit_far_ahead_belongs_to_a_market_that_began_anew():
    """A simulator that was restarted is back at its first minute; nobody cools down until the old one is reached."""
    made = guards(cool_down_bars=5)
    made.exit_seen("SPY", at(60).bar_start_ns)

    assert (verdict(made, 59), verdict(made, 20)) == ("cool_down", "")


def test_cool_down_runs_from_the_exit_also_after_a_restart():
    """Fills that the proxy tells at start-up set it again."""
    made = guards(cool_down_bars=5)
    made.exit_seen("SPY", at(60).bar_start_ns)

    assert [verdict(made, minute) for minute in (61, 65, 66)] == ["cool_down", "cool_down", ""]
    assert verdict(made, 61, "QQQ") == ""


def test_missing_bars_stop_entries_until_enough_follow():
    """Indicators over a hole lie."""
    made = guards(gap_free_bars=30)

    assert (verdict(made, since_gap=29), verdict(made, since_gap=30)) == ("gap", "")


def test_daily_loss_counts_the_worse_of_account_and_own_trades():
    """Either may be late; the limit is a part of the day's first equity and holds until the next session."""
    made = guards(daily_loss=0.02)
    made.booked(-1500.0)
    before = verdict(made)
    made.booked(-600.0)
    made.booked(5000.0)

    assert (before, verdict(made)) == ("", "daily_loss")
    made.session_is(at(0).session + 1)
    assert verdict(made) == ""


def test_loss_known_at_start_up_holds_for_the_running_session():
    """A restart does not forgive."""
    made = Guards(GuardRules(daily_loss=0.02))
    made.account_is(100_000.0, -3000.0)
    made.session_is(at(0).session)

    assert verdict(made) == "daily_loss"
