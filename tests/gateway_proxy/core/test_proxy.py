"""The joined core: what a session ends, the next one restores; what cannot be served is told; nothing spins."""

from __future__ import annotations

from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from tests.gateway_proxy.core.core_world import CoreWorld


def test_reconnect_restores_every_stream_and_nothing_of_the_dead_session_is_sent():
    """Bars, quotes and chains come back without anybody asking; old request ids never appear again."""
    world = CoreWorld().start()
    world.gateway.quotes["AAPL"] = [(1, 200.0)]
    for topic in ("bars/SPY/1min/", "bars/QQQ/1min/", "quote/AAPL/", "chain/SPY/"):
        world.subscribe(topic)
    world.advance(10)
    open_before = len(world.gateway.lines), len(world.gateway.live)
    newest = max(call.req_id for call in world.sent(fx.RequestQuote))

    world.cut()
    calls = len(world.gateway.calls)
    world.advance(60)

    data = fx.RequestHistory | fx.RequestQuote | fx.RequestContract | fx.CancelHistory | fx.CancelQuote
    later = [call for call in world.gateway.calls[calls:] if isinstance(call, data)]
    assert all(call.req_id > newest for call in later)
    assert (len(world.gateway.lines), len(world.gateway.live)) == open_before


def test_error_100_ends_no_request_whatever_id_it_carries():
    """Its id is that of the latest message (rule book 2)."""
    world = CoreWorld().start()
    world.subscribe("quote/SPY/")
    world.advance(1)
    (req_id,) = world.gateway.lines

    world.error(req_id, 100, "Max rate of messages per second has been exceeded:max=50 rec=138 (1)")
    world.advance(5)

    assert len(world.sent(fx.RequestQuote)) == 1
    line = world.core.quotes.get("SPY")
    assert line is not None and line.req_id == req_id


def test_subscriptions_before_the_first_session_are_served_when_it_is_there():
    """Engines may start before the Gateway."""
    world = CoreWorld()
    world.reachable = False
    world.subscribe("bars/SPY/1min/")
    world.subscribe("quote/SPY/")
    world.advance(30)

    world.reachable = True
    world.advance(60)

    assert world.bars() and world.on("quote/SPY/", "quote")


def test_fatal_code_in_the_handshake_halts_without_breaking_a_promise():
    """Whatever the attempt still brings."""
    world = CoreWorld()
    world.advance(0)
    world.error(-1, 503, "The TWS is out of date and must be upgraded.")
    world.hear(ev.SessionOpened(178, ("DU1",), 1))
    world.advance(100)

    assert world.core.health.state.value == "halted"
    assert world.failure(world.ask("bars", contract="SPY")).code == "gateway_unavailable"


def test_message_that_is_about_nothing_known_is_logged_and_changes_nothing():
    """It may be the only trace of what went wrong."""
    world = CoreWorld().start()

    world.error(-1, 1300, "TWS socket port has been reset and this connection is being dropped.")

    assert [log.fields["code"] for log in world.logs if log.event == "gateway notice"][-1] == 1300
    assert world.core.health.state.value == "ready"


def test_order_without_a_session_says_that_the_session_is_missing():
    """Not only that its contract was not found in time."""
    world = CoreWorld().start()
    world.reachable = False
    world.cut("the Gateway closed the connection")
    number = world.trade(
        "order.place",
        client_order_id="a",
        engine="scalp",
        contract="IWM",
        action="BUY",
        quantity=1,
        order_type="LMT",
        limit_price=1.0,
    )

    world.advance(10.0)

    assert "is disconnected" in str(world.failure(number)) and "not sent" in str(world.failure(number))
