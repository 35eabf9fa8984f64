"""The quote book: one line per contract, given back when nobody holds it, and never a price of yesterday."""

from __future__ import annotations

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.breaker import BreakerSettings
from tests.gateway_proxy.core.core_world import CoreWorld

TOPIC = "quote/SPY/"


@pytest.fixture
def world() -> CoreWorld:
    return CoreWorld().start()


def line_id(world: CoreWorld) -> int:
    (req_id,) = world.gateway.lines
    return req_id


def tick(world: CoreWorld, tick_type: int, value: float | None) -> None:
    world.hear(ev.TickReceived(line_id(world), tick_type, value))


def test_subscription_opens_one_line_and_publishes_what_came(world: CoreWorld):
    """Bid, ask, last and close of the first ticks in one message."""
    world.subscribe(TOPIC)
    world.advance(1)

    (quote,) = world.on(TOPIC, "quote")
    assert (quote.symbol, quote.bid, quote.ask, quote.last, quote.close) == ("SPY", 599.9, 600.1, 600.0, 595.0)
    assert len(world.sent(fx.RequestQuote)) == 1


def test_many_ticks_are_one_message_in_each_interval(world: CoreWorld):
    """The newest value of each field; readers are not flooded."""
    world.subscribe(TOPIC)
    world.advance(1)
    world.published.clear()

    for step in range(100):
        tick(world, 1, 500.0 + step)
        world.advance(0.01)
    world.advance(1)

    assert 9 <= len(world.on(TOPIC, "quote")) <= 12
    assert world.on(TOPIC, "quote")[-1].bid == 599.0


def test_no_value_takes_the_old_one_away(world: CoreWorld):
    """A side without a quote is null, not what it was."""
    world.subscribe(TOPIC)
    world.advance(1)

    tick(world, 1, None)
    world.advance(1)

    assert world.on(TOPIC, "quote")[-1].bid is None


def test_line_is_shared_and_given_back_a_grace_after_the_last_holder(world: CoreWorld):
    """Topic and request together cost one line."""
    world.subscribe(TOPIC)
    world.ask("quote", contract="SPY")
    world.advance(1)
    assert len(world.gateway.lines) == 1

    world.subscribe(TOPIC, wanted=False)
    world.advance(world.settings.quotes.grace_s - 0.5)
    assert len(world.gateway.lines) == 1
    world.advance(1)

    assert world.gateway.lines == {}
    assert world.core.quotes.lines() == {}


def test_new_subscriber_of_an_open_line_gets_what_is_known(world: CoreWorld):
    """A quiet option may not tick for minutes."""
    number = world.ask("quote", contract="SPY")
    world.advance(1)
    assert world.body(number)["bid"] == 599.9

    world.subscribe(TOPIC)
    world.advance(1)

    assert len(world.on(TOPIC, "quote")) == 1


def test_after_a_lost_session_no_old_price_answers(world: CoreWorld):
    """What the last session said is not the market of this one."""
    world.subscribe(TOPIC)
    world.advance(1)
    world.gateway.quotes["SPY"] = []
    world.cut()
    world.advance(3)

    number = world.ask("quote", contract="SPY", expires_in_s=5)
    world.advance(6)

    assert world.failure(number).code == "gateway_timeout"
    assert len(world.gateway.lines) == 1


def test_after_1101_every_held_line_is_asked_for_again(world: CoreWorld):
    """The data are lost; the lines are given back first."""
    world.subscribe(TOPIC)
    world.subscribe("quote/QQQ/")
    world.advance(1)

    world.error(-1, 1101, "restored - data lost")
    world.advance(1)

    kinds = [type(call) for call in world.gateway.calls if isinstance(call, fx.RequestQuote | fx.CancelQuote)]
    assert kinds == [fx.RequestQuote] * 2 + [fx.CancelQuote] * 2 + [fx.RequestQuote] * 2
    assert len(world.gateway.lines) == 2


def test_one_sided_quote_answers_after_a_while(world: CoreWorld):
    """An option nobody bids for has a quote, with a null in it."""
    world.gateway.quotes["SPY"] = [(1, None), (2, 0.05)]

    number = world.ask("quote", contract="SPY")
    world.advance(world.settings.chain.settle_s + 1)

    assert (world.body(number)["bid"], world.body(number)["ask"]) == (None, 0.05)


def test_line_refused_by_ib_is_told_on_the_topic_and_tried_ever_more_slowly(world: CoreWorld):
    """No subscription to the market data: the listener hears it, IB is not pestered."""
    world.gateway.refuse[fx.RequestQuote] = (354, "Requested market data is not subscribed.")
    world.subscribe(TOPIC)
    world.advance(1)
    assert world.on(TOPIC, "verdict")[0]["verdict"] == "entitlement"

    world.advance(600)
    assert len(world.sent(fx.RequestQuote)) < 10
    world.gateway.refuse.clear()
    world.advance(130)

    assert world.on(TOPIC, "quote")


def test_open_breaker_holds_the_lines_back_and_breaks_nothing():
    """After silent market data the class rests; holders get their line when it is over."""
    world = CoreWorld(breaker=BreakerSettings(fail_max=1, reset_timeout_s=30.0)).start()
    world.gateway.mute.add(fx.RequestQuote)
    world.subscribe(TOPIC)
    world.advance(16)
    world.gateway.mute.clear()

    world.subscribe("quote/QQQ/")
    world.cut()
    world.gateway.quotes["QQQ"] = [(1, 500.0)]
    world.advance(120)

    assert world.on(TOPIC, "quote") and world.on("quote/QQQ/", "quote")


def test_unknown_symbol_is_told_on_its_topic_and_asked_again_later(world: CoreWorld):
    """IB denies valid contracts during its nightly reset."""
    world.subscribe("quote/LATE/")
    world.advance(1)
    assert world.on("quote/LATE/", "verdict")[0]["verdict"] == "contract_unknown"

    world.gateway.stocks["LATE"] = world.gateway.stocks["SPY"]
    world.advance(70)

    assert len(world.gateway.lines) == 1


def test_key_that_is_written_otherwise_is_refused_by_name(world: CoreWorld):
    """Its messages would be published under the other name."""
    world.subscribe("quote/SPY.20260616.C.600.0/")

    assert "'SPY.20260616.C.600'" in world.on("quote/SPY.20260616.C.600.0/", "verdict")[0]["evidence"]["text"]


def test_delayed_data_say_so(world: CoreWorld):
    """As IB announces it for this line."""
    world.subscribe(TOPIC)
    world.advance(1)

    world.hear(ev.MarketDataTypeReceived(line_id(world), 3))
    world.advance(1)

    assert world.on(TOPIC, "quote")[-1].delayed is True
