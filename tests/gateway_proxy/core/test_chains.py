"""Option chains: strikes that exist, around the money, with what IB gave of each, and no line kept for nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from gateway_proxy.bus.messages import Quote
from gateway_proxy.core import effects as fx
from gateway_proxy.core.chains import around_the_money, mid_or_last, pick_expiry, sides
from gateway_proxy.core.events import OptionParametersReceived
from gateway_proxy.errors import ContractUnknown, NoData
from tests.gateway_proxy.core.core_world import CoreWorld

TOPIC = "chain/SPY/"


@pytest.fixture
def world() -> CoreWorld:
    return CoreWorld().start()


def strikes(body: dict[str, Any]) -> list[float]:
    return sorted({row["strike"] for row in body["rows"]})


def chain(world: CoreWorld, **args: Any) -> dict[str, Any]:
    number = world.ask("chain", contract="SPY", **args)
    world.advance(10)
    return world.body(number)


def option_lines(world: CoreWorld) -> int:
    return sum(contract.sec_type == "OPT" for contract in world.gateway.lines.values())


def test_chain_has_both_rights_of_the_money_and_its_neighbours_with_every_value(world: CoreWorld):
    """By strike and then right, for the nearest expiry, as of the Gateway's clock."""
    body = chain(world, width=1)

    assert (body["expiry"], body["underlying_price"], body["multiplier"]) == ("20260615", 600.0, "100")
    assert [(row["strike"], row["right"]) for row in body["rows"]] == [
        (strike, right) for strike in (599.0, 600.0, 601.0) for right in ("C", "P")
    ]
    call = body["rows"][2]
    assert (call["bid"], call["ask"], call["volume"], call["open_interest"]) == (1.0, 1.1, 500.0, 70.0)
    assert (call["iv"], call["delta"], call["con_id"]) == (0.2, 0.5, 60001)


def test_put_carries_its_own_open_interest(world: CoreWorld):
    """Ticks 27 and 28 come for both; only the matching one counts."""
    assert chain(world)["rows"][1]["open_interest"] == 80.0


def test_phantom_strike_is_left_out_and_the_next_real_one_takes_its_place(world: CoreWorld):
    """IB lists the union of strikes of all expirations (rule book 4)."""
    world.gateway.phantoms = {600.0, 601.0}

    body = chain(world, width=2)

    assert strikes(body) == [597.0, 598.0, 599.0, 602.0, 603.0]


def test_width_is_respected_where_strikes_are_uneven(world: CoreWorld):
    """Dense below the money and sparse above: both neighbours all the same."""
    world.gateway.strikes = (596.0, 597.0, 598.0, 599.0, 600.0, 610.0, 620.0)

    assert strikes(chain(world, width=2)) == [598.0, 599.0, 600.0, 610.0, 620.0]


def test_edge_of_the_list_gives_what_there_is(world: CoreWorld):
    """Fewer strikes on that side, none invented."""
    assert strikes(chain(world, around=609.8, width=3)) == [607.0, 608.0, 609.0, 610.0]


def test_all_phantoms_are_an_error_and_not_an_empty_chain(world: CoreWorld):
    """The walk outward is bounded."""
    world.gateway.phantoms = set(world.gateway.strikes)

    number = world.ask("chain", contract="SPY")
    world.advance(10)

    assert world.failure(number).code == "contract_unknown"


def test_expiry_that_is_not_listed_names_the_nearest(world: CoreWorld):
    """The trader sees at once what would be right."""
    number = world.ask("chain", contract="SPY", expiry="20260617")
    world.advance(5)

    assert world.failure(number).code == "contract_unknown"
    assert "20260616" in str(world.failure(number))


def test_nearest_expiry_follows_the_gateways_date():
    """What expired yesterday is still listed sometimes."""
    row = OptionParametersReceived(1, "SMART", "SPY", "100", ("20260612", "20260616"), (600.0,))

    assert pick_expiry((row,), "SPY", "nearest", "20260615")[0] == "20260616"
    with pytest.raises(NoData):
        pick_expiry((row,), "SPY", "nearest", "20260617")


def test_adjusted_class_is_not_taken_for_the_symbols_own():
    """2SPY delivers something else."""
    rows = tuple(OptionParametersReceived(1, "SMART", name, "100", ("20260616",), (600.0,)) for name in ("2SPY", "SPY"))

    assert pick_expiry(rows, "SPY", "20260616", "20260615")[1].trading_class == "SPY"
    with pytest.raises(ContractUnknown):
        pick_expiry(rows, "SPY", "20260701", "20260615")


def test_underlying_without_quote_is_priced_by_its_newest_bar(world: CoreWorld):
    """Rather than by yesterday's close."""
    world.gateway.quotes["SPY"] = [(9, 595.0)]
    world.subscribe("bars/SPY/1min/")
    world.advance(1)

    price = chain(world)["underlying_price"]

    stream = world.core.bars.get("SPY", "1min")
    assert stream is not None and price == stream.series.newest(1)[0].close


def test_values_that_never_come_are_null_after_the_settling_time(world: CoreWorld):
    """An illiquid option without volume or greeks does not hold the chain up."""
    world.gateway.option_ticks = [(1, 1.0), (2, 1.1)]

    row = chain(world)["rows"][0]

    assert (row["bid"], row["volume"], row["open_interest"]) == (1.0, None, None)


def test_market_that_says_nothing_is_no_data(world: CoreWorld):
    """Closed, probably; the Gateway itself is well and is not blamed."""
    world.gateway.option_ticks = []

    number = world.ask("chain", contract="SPY")
    world.advance(10)

    assert world.failure(number).code == "no_data"


def test_no_free_line_says_so(world: CoreWorld):
    """All lines are held by others: not the market's silence."""
    for strike in range(590, 606):
        for right in "CP":
            for expiry in ("20260616", "20260619", "20260615"):
                world.subscribe(f"quote/SPY.{expiry}.{right}.{strike}/")
    world.gateway.quotes |= {"QQQ": [(1, 500.0)], "AAPL": [(1, 200.0)]}
    world.subscribe("quote/SPY/")
    world.subscribe("quote/QQQ/")
    world.subscribe("quote/AAPL/")
    world.subscribe("quote/SPY.20260616.C.607/")
    world.advance(60)
    assert len(world.gateway.lines) == 100

    number = world.ask("chain", contract="SPY", around=609.0, width=0)
    world.advance(10)

    assert (world.failure(number).code, world.failure(number).verdict) == ("refused", "lines_full")


def test_lines_of_a_request_are_given_back_a_grace_after_the_answer(world: CoreWorld):
    """Whatever the answer was."""
    for args in ({"width": 2}, {"expiry": "20260617"}, {"width": 1, "expires_in_s": 0.05}):
        number = world.ask("chain", contract="SPY", **args)  # type: ignore[arg-type]
        world.advance(5)
        assert number in world.replies
        world.advance(world.settings.quotes.grace_s + 1)
        assert world.gateway.lines == {}


def test_second_request_of_the_day_asks_only_for_quotes(world: CoreWorld):
    """Expirations, strikes and contracts are known; within the grace even the quotes are."""
    chain(world)
    before = len(world.gateway.calls)
    world.ask("chain", contract="SPY")
    world.advance(1)

    later = [call for call in world.gateway.calls[before:] if not isinstance(call, fx.RequestTime | fx.CancelQuote)]
    assert {type(call) for call in later} <= {fx.RequestQuote}


def test_topic_is_published_in_columns_and_refreshed_while_somebody_listens(world: CoreWorld):
    """And every line is given back afterwards."""
    world.subscribe(TOPIC)
    world.advance(21)

    bodies = world.on(TOPIC, "chain")
    assert 4 <= len(bodies) <= 5
    assert bodies[0]["columns"]["strike"] == [strike for strike in (598.0, 599.0, 600.0, 601.0, 602.0) for _ in "CP"]
    assert option_lines(world) == 10

    world.subscribe(TOPIC, wanted=False)
    world.advance(world.settings.quotes.grace_s + 1)
    assert world.gateway.lines == {}
    world.published.clear()
    world.advance(60)
    assert world.on(TOPIC, "chain") == []


def test_topic_follows_the_money_and_lets_go_of_what_it_left(world: CoreWorld):
    """Ten lines around the new price, not twenty."""
    world.subscribe(TOPIC)
    world.advance(5)
    world.gateway.quotes["SPY"] = [(1, 604.9), (2, 605.1)]
    world.error(-1, 1101, "restored - data lost")

    world.advance(30)

    assert world.on(TOPIC, "chain")[-1]["columns"]["strike"][::2] == [603.0, 604.0, 605.0, 606.0, 607.0]
    assert option_lines(world) == 10


def test_topic_comes_back_after_a_lost_session(world: CoreWorld):
    """Without anybody subscribing again."""
    world.subscribe(TOPIC)
    world.advance(5)
    world.cut()
    world.advance(10)
    world.published.clear()

    world.advance(10)

    assert world.on(TOPIC, "chain")


def test_vague_option_never_reaches_the_gateway(world: CoreWorld):
    """It could hang there (rule book 0, rule 10)."""
    number = world.ask("contract", contract={"symbol": "SPY", "sec_type": "OPT"})

    assert world.failure(number).code == "bad_message"
    assert world.sent(fx.RequestContract) == []


def test_sides_and_middle_by_hand():
    """Up to the money downwards, above it upwards; width on each side of the nearest."""
    assert sides((1.0, 3.0, 2.0, 4.0), 2.4) == ([2.0, 1.0], [3.0, 4.0])
    assert around_the_money({float(n): [] for n in range(5)}, 2.4, 1) == [1.0, 2.0, 3.0]
    assert all(a < b for a, b in pairwise(around_the_money({float(n): [] for n in range(9)}, 4.6, 2)))
    assert mid_or_last(Quote("X", bid=1.0, ask=1.2)) == 1.1
    assert mid_or_last(Quote("X", bid=1.3, ask=1.2, last=1.25)) == 1.25


def test_chain_beyond_the_line_budget_is_refused_whole_and_says_what_it_lacks():
    """Twelve lines may be held: five rows of SPY fit, those of QQQ do not; nothing of QQQ is kept."""
    world = CoreWorld(chain=replace(CoreWorld().settings.chain, lines_max=12)).start()
    world.gateway.quotes["QQQ"] = [(1, 599.9), (2, 600.1)]
    world.subscribe(TOPIC)
    world.advance(5)

    number = world.ask("chain", contract="QQQ", width=2)
    world.advance(10)

    refusal = world.failure(number)
    assert (refusal.code, refusal.verdict) == ("refused", "lines_full")
    assert "needs 10 more" in str(refusal) and "of the 12" in str(refusal)
    assert {contract.symbol for contract in world.gateway.lines.values() if contract.sec_type == "OPT"} == {"SPY"}


def test_many_chains_never_hold_more_lines_than_they_may_and_give_all_back():
    """By health/streams/: bounded while they are subscribed, none after the last one left and the grace passed."""
    world = CoreWorld(chain=replace(CoreWorld().settings.chain, lines_max=25)).start()
    for symbol in ("QQQ", "AAPL"):
        world.gateway.quotes[symbol] = [(1, 599.9), (2, 600.1)]
    topics = [f"chain/{symbol}/" for symbol in ("SPY", "QQQ", "AAPL")]
    for topic in topics:
        world.subscribe(topic)
    held = []
    for _ in range(30):
        world.advance(1)
        held.append(len(world.core.quotes.health(world.now)))
    for topic in topics:
        world.subscribe(topic, False)
    world.advance(world.settings.quotes.grace_s + 1)

    assert 22 <= max(held) <= 25
    assert world.core.quotes.health(world.now) == []
    assert world.gateway.lines == {}


def test_chain_that_somebody_subscribes_to_is_answered_at_once(world: CoreWorld):
    """Even when IB never gave everything: what is missing had its time already."""
    world.gateway.option_ticks = [(1, 1.0), (2, 1.1)]
    world.subscribe(TOPIC)
    world.advance(20)
    asked = len(world.gateway.calls)

    number = world.ask("chain", contract="SPY", width=1)

    body = world.body(number)
    assert len(body["rows"]) == 6
    assert body["timeline"].cache == "hit"
    assert len(world.gateway.calls) == asked


def test_next_day_asks_for_the_option_parameters_again(world: CoreWorld):
    """By the Gateway's clock: once per exchange day, whatever ours says."""
    chain(world)
    chain(world)
    first = len(world.sent(fx.RequestOptionParameters))

    world.advance(14 * 3600)
    body = chain(world)

    assert (first, len(world.sent(fx.RequestOptionParameters))) == (1, 2)
    assert body["expiry"] == "20260616"


def test_option_parameters_of_today_are_remembered_by_the_next_life(world: CoreWorld):
    """Expirations and strikes come from the memory; those of another day are worth nothing."""
    chain(world)
    remembered = msgspec.json.decode(msgspec.json.encode(world.core.remembered_options()))
    of_yesterday = [row | {"date": "20260612"} for row in remembered]

    asked = []
    for memory in (remembered, of_yesterday):
        later = CoreWorld()
        later.core.recall_options(memory)
        later.start()
        assert len(chain(later)["rows"]) == 6
        asked.append(len(later.sent(fx.RequestOptionParameters)))

    assert asked == [0, 1]
