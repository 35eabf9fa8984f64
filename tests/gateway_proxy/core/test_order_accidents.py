"""The accidents that other systems had with orders, each by name (reliability 1.2), and that ours has not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway_proxy.bus.messages import CancelArgs, Contract, ModifyArgs, NoArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.risk import RiskSettings
from tests.gateway_proxy.core.order_world import SPY, OrderWorld, bracket, single

LEGS = ("entry", "take_profit", "stop_loss")


def placed(world: OrderWorld, name: str = "b1") -> OrderWorld:
    assert world.answer(world.ask("order.bracket", bracket(name))) == "accepted"
    return world


def filled(world: OrderWorld, name: str = "b1") -> OrderWorld:
    placed(world, name)
    world.gateway.fill(world.order_ids(name)[0])
    world.run()
    return world


@pytest.mark.parametrize("code", [399, 404, 2109, 2137, 10311, 10349, 2104, 99999])
def test_a1_a_notice_on_a_live_order_is_not_its_end(code):
    """10349 was shown as cancelled and the bot placed 15 orders; here it lives and a repetition is recognised."""
    world = placed(OrderWorld().start())

    world.feed(ev.ErrorReceived(world.order_ids("b1")[0], code, "Order TIF was set to DAY based on order preset."))

    assert world.state("b1") == "working"
    assert world.answer(world.ask("order.bracket", bracket())) == "accepted"
    assert len(world.placements()) == 1


def test_a2_order_ids_never_fall_back_with_ibs_counter():
    """The nightly restart loses orders and hands out their ids again; ours only go up, over restarts too."""
    world = placed(OrderWorld().start())
    world.disconnect()
    world.gateway.orders.clear()
    world.gateway.next_order_id = 1
    world.now += 60
    world.crash()
    world.start()

    world.advance(200.0)
    world.quote(10.0)
    world.ask("order.bracket", bracket("b2"))

    assert world.state("b1") == "cancelled"
    assert min(world.order_ids("b2")) > max(world.order_ids("b1"))


def test_a3_an_order_dropped_in_silence_is_found_missing_and_told_once():
    """No status, no error, ever: unknown at the deadline, not placed after two sweeps, and never a second order."""
    world = OrderWorld().start()
    world.gateway.drop_orders = 1
    request = world.ask("order.bracket", bracket())

    world.advance(20.0)

    assert world.answer(request) == "unknown"
    assert [world.state("b1", leg) for leg in LEGS] == ["not_placed"] * 3
    assert world.answer(world.ask("order.bracket", bracket())) == "not_placed"
    states = [one.body.state for one in world.published if one.kind == "order"]
    assert states.count("not_placed") == 1
    assert len(world.placements()) == 1


def test_a4_fills_count_while_the_connection_to_ib_is_flagged_broken():
    """A closed gate stops orders and nothing else."""
    world = placed(OrderWorld().start())
    world.blotter.gate(ready=False, reason="1100")

    world.gateway.fill(world.order_ids("b1")[0])
    world.run()

    assert world.state("b1") == "filled"
    assert [fill.quantity for fill in world.fills()] == [2]


def test_a5_three_days_without_a_session_refuse_every_order_aloud_and_end_by_themselves():
    """Each refusal is told and says why; when the session is back nobody has to do anything."""
    world = OrderWorld().start()
    world.disconnect()
    world.advance(3 * 86400.0)
    refused = [world.answer(world.ask("order.place", single(f"p{n}"))) for n in range(3)]
    told = [one for one in world.logs if one.event == "order refused" and "no session" in one.fields["reason"]]

    world.connect()
    world.quote(10.0)
    later = world.answer(world.ask("order.place", single("later")))

    assert refused == ["refused"] * 3
    assert [one.level for one in told] == ["warning"] * 3
    assert later == "accepted"


def test_a6_two_live_orders_under_one_id_are_cancelled_and_halt_trading():
    """A modification over a shaky link forked an order; both are ended by id and nothing new opens."""
    world = placed(OrderWorld().start())
    order_id = world.order_ids("b1")[0]
    held = world.gateway.orders[order_id]
    held.perm_id += 500

    world.feed(world.gateway.open_order(held))

    assert "duplicate_live" in world.blotter.halted
    assert fx.CancelOrder(order_id) in world.gateway.calls
    assert world.answer(world.ask("order.place", single())) == "refused"


def test_a6_no_modification_while_the_session_is_not_ready():
    """In-place changes need a firm link."""
    world = filled(OrderWorld().start())
    world.blotter.gate(ready=False, reason="probe is late")

    request = world.ask("order.modify", ModifyArgs("b1", "stop_loss", stop_price=9.5))

    assert world.answer(request) == "refused"


def test_a7_a_half_open_socket_takes_bytes_but_gets_no_second_order():
    """Everything written into the dead session is unknown; after the reconnect IB is asked, nothing is repeated."""
    world = OrderWorld().start()
    world.gateway.mute = True
    request = world.ask("order.bracket", bracket())
    world.advance(5.0)
    again = world.ask("order.bracket", bracket())
    other = world.ask("order.place", single("other"))
    world.disconnect()
    world.gateway.mute = False
    world.connect()
    world.advance(200.0)

    assert [world.answer(one) for one in (request, again, other)] == ["unknown", "unknown", "refused"]
    assert "unknown fate" in str(world.reply(other).error)
    assert world.state("b1") == "not_placed"
    assert len(world.placements()) == 1


def test_a8_an_order_in_a_lost_session_is_not_forgotten():
    """Dropped in the reconnect window: the engine hears unknown at once and the truth later."""
    world = OrderWorld().start()
    world.gateway.silent = True
    request = world.ask("order.bracket", bracket())
    world.disconnect()
    told_at_once = world.answer(request)
    world.gateway.silent = False
    world.connect()

    assert told_at_once == "unknown"
    assert [world.state("b1", leg) for leg in LEGS] == ["working"] * 3


def test_a9_exits_that_fill_after_a_restart_belong_to_their_bracket():
    """The new process knows which order a stop belongs to, also when the fill came while it was down."""
    world = filled(OrderWorld().start())
    world.disconnect()
    world.gateway.fill(world.order_ids("b1")[2], price=9.0)
    world.crash()
    world.start()

    assert [world.state("b1", leg) for leg in LEGS] == ["filled", "cancelled", "filled"]
    assert [(fill.leg, fill.quantity) for fill in world.fills()] == [("entry", 2), ("stop_loss", 2)]
    assert world.blotter.halted == ""


def test_a10_a_position_that_our_fills_do_not_explain_locks_trading():
    """Longer away than the executions reach: we know that we do not know, and size nothing on it."""
    world = filled(OrderWorld().start())
    world.disconnect()
    world.gateway.fill(world.order_ids("b1")[2])
    world.gateway.executions.pop()
    world.gateway.orders[world.order_ids("b1")[2]].filled = 0
    world.gateway.positions = dict  # type: ignore[method-assign]
    world.crash()
    world.start()
    early = world.ask("order.place", single("early", contract=Contract("SPY")))

    world.advance(6.0)

    assert world.answer(early) == "refused"
    assert "SPY -2" in world.blotter.halted
    world.ask("resume", NoArgs())
    assert world.answer(world.ask("order.place", single("later"))) == "accepted"


def test_a10_a_position_mismatch_is_adopted_where_the_settings_say_so():
    """Somebody trades the same account by hand: told in the log, counted, not an alarm."""
    world = OrderWorld(settings=OrderSettings(position_mismatch="adopt")).start()
    world.gateway.positions = lambda: {Contract("QQQ"): 7.0}  # type: ignore[method-assign]
    world.disconnect()
    world.connect()

    world.advance(10.0)

    assert world.blotter.halted == ""
    assert world.blotter.is_synchronized
    assert [one.event for one in world.logs if one.level == "warning"] == ["positions adopted"]


@pytest.mark.parametrize("code", [200, 201, 203, 321, 460])
def test_a11_a_refusal_is_understood_at_once(code):
    """Not after five minutes of waiting, and without a timer having to run."""
    world = OrderWorld().start()
    world.gateway.refuse_next = (code, "no")

    request = world.ask("order.place", single())

    assert world.answer(request) == "rejected"


@pytest.mark.parametrize(("code", "text"), [(10147, "not found"), (10148, "state: Filled"), (161, "not cancellable")])
def test_a11_an_error_on_a_cancel_means_look(code, text):
    """10147 is also sent after a fill; the order ends by what the sweep shows."""
    world = placed(OrderWorld().start())
    entry = world.order_ids("b1")[0]
    world.gateway.silent = True
    world.gateway.fill(entry)
    world.gateway.silent = False

    world.feed(ev.ErrorReceived(entry, code, text))

    assert world.state("b1") == "filled"
    assert [world.state("b1", leg) for leg in LEGS[1:]] == ["working", "working"]


def test_a12_a_fill_after_a_confirmed_cancel_is_a_fill():
    """The race is lost, the position is real, and that is no ghost."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.ask("order.cancel", CancelArgs("p1"))
    was = world.state("p1")

    world.gateway.fill(world.order_ids("p1")[0])
    world.run()

    assert (was, world.state("p1")) == ("cancelled", "filled")
    assert sum(fill.quantity for fill in world.fills()) == 2
    assert world.blotter.halted == ""


def test_a13_executions_alone_fill_an_order():
    """orderStatus may never come."""
    world = placed(OrderWorld().start())

    world.gateway.fill(world.order_ids("b1")[0], status=False)
    world.run()

    assert world.state("b1") == "filled"


def test_a14_an_entry_that_lost_a_child_is_cancelled():
    """A bracket without its stop must not fill."""
    world = placed(OrderWorld().start())

    world.gateway.end(world.order_ids("b1")[2])
    world.run()

    assert world.state("b1") == "cancelled"


def test_a14_a_position_that_lost_its_stop_gets_a_new_one():
    """Within seconds, once, in the same OCA group; the profit exit then ends it."""
    world = filled(OrderWorld().start())

    world.gateway.end(world.order_ids("b1")[2])
    world.run()
    world.advance(2.0)

    [guard] = world.placements()[1].tickets
    assert (guard.order_type, guard.stop_price, guard.quantity, guard.action) == ("STP", 9.0, 2, "SELL")
    assert guard.oca_group == world.placements()[0].tickets[2].oca_group
    world.advance(30.0)
    assert len(world.placements()) == 2
    world.gateway.fill(world.order_ids("b1")[1])
    world.run()
    assert world.blotter.open_count == 0


def test_a14_an_exit_that_fills_is_not_mistaken_for_a_lost_stop():
    """OCA cancels the stop a moment before the fill of its sibling is told."""
    world = filled(OrderWorld().start())
    profit, stop = world.order_ids("b1")[1:]
    world.gateway.end(stop)
    world.run()

    world.gateway.fill(profit)
    world.run()
    world.advance(5.0)

    assert len(world.placements()) == 1


def test_a15_foreign_orders_are_seen_and_never_touched():
    """Stops of another program or of a human are none of our business."""
    world = OrderWorld().start()
    ticket = fx.OrderTicket(500, Contract("QQQ"), "DU1", "SELL", 1, "STP", None, 300.0, "GTC", "mine")
    world.gateway.receive(fx.PlaceOrders((ticket,)))
    world.run()
    world.disconnect()
    world.connect()
    world.advance(120.0)

    assert world.blotter.foreign_count == 1
    assert not [one for one in world.gateway.calls if isinstance(one, fx.CancelOrder)]
    assert world.gateway.orders[500].status == "Submitted"


@pytest.mark.parametrize("order_type", ["LMT", "MKT"])
def test_a16_a17_nothing_is_opened_on_a_feed_that_went_silent(order_type):
    """Another session took the data, or the farm says OK and sends nothing: no error comes, the quote just ages."""
    world = OrderWorld(risk=RiskSettings(allowed_order_types=("LMT", "MKT"))).start()
    world.advance(60.0)

    price = None if order_type == "MKT" else 10.0
    request = world.ask("order.place", single(order_type=order_type, limit_price=price))
    world.advance(10.0)

    assert world.answer(request) == "refused"
    assert re.search("quote|no price", str(world.reply(request).error))
    assert world.placements() == []


def test_a18_an_order_is_not_priced_on_an_old_quote():
    """The quote of yesterday evening does not count; the request waits for a new one."""
    world = OrderWorld().start()
    world.now += 3600
    request = world.ask("order.place", single(limit_price=50.0))
    waited = not world.answered(request)

    world.quote(10.0)

    assert waited
    assert world.answer(request) == "refused"
    assert "price_collar" in str(world.reply(request).error)


def test_a19_a_runaway_engine_is_stopped_by_the_rate_and_can_still_cancel():
    """Ten thousand orders a second end at the cap; the cap is per engine, cancels have their own."""
    world = OrderWorld(risk=RiskSettings(max_orders_per_minute=5)).start()
    answers = [world.answer(world.ask("order.place", single(f"p{n}", quantity=1))) for n in range(50)]
    refused = str(world.replies[-1].error)

    cancelled = world.answer(world.ask("order.cancel", CancelArgs("p0")))
    world.advance(61.0)
    world.quote(10.0)
    later = world.answer(world.ask("order.place", single("later", quantity=1)))

    assert answers == ["accepted"] * 5 + ["refused"] * 45
    assert "max_orders_per_minute" in refused
    assert (cancelled, later) == ("cancelled", "accepted")


def test_a20_a_late_acceptance_is_taken_as_such():
    """Unknown first, then the open order arrives: working, one order."""
    world = OrderWorld().start()
    world.gateway.silent = True
    world.gateway.mute = True
    request = world.ask("order.place", single())
    world.advance(4.5)
    world.gateway.mute = False
    world.gateway.receive(world.placements()[0])

    world.advance(10.0)

    assert world.answer(request) == "unknown"
    assert world.state("p1") == "working"
    assert len(world.placements()) == 1


def test_a21_order_ids_stay_inside_what_ib_can_parse():
    """At the end of the range the order is refused with advice, not sent with a number IB cannot read."""
    world = OrderWorld().start()
    world.feed(ev.NextOrderId(1_499_999_999))

    request = world.ask("order.bracket", bracket())

    assert world.answer(request) == "refused"
    assert "reset the API order ids" in str(world.reply(request).error)


def test_a22_a_half_day_closes_when_the_contract_says_so():
    """The hours come with the contract from IB; there is no 16:00 of ours, and daylight saving is the time zone's."""
    hours = "20260615:0030-20260615:0110;20260616:0930-20260616:1600"
    half_day = replace(SPY, time_zone="America/New_York", liquid_hours=hours)
    world = OrderWorld().start()
    before = world.answer(world.ask("order.place", single("before"), half_day))

    world.advance(120.0)
    world.quote(10.0)
    after = world.ask("order.place", single("after"), half_day)

    assert before == "accepted"
    assert world.answer(after) == "refused"
    assert "outside its liquid hours" in str(world.reply(after).error)


@pytest.mark.parametrize(("code", "text"), [(504, "Not connected"), (512, "Order sending error - broken pipe")])
def test_a24_a_gateway_that_exited_under_an_order_ends_nothing(code, text):
    """The error is heard, the order is unknown, the proxy goes on, and the truth comes with the next session."""
    world = OrderWorld().start()
    world.gateway.mute = True
    request = world.ask("order.place", single())
    world.feed(ev.ErrorReceived(world.order_ids("p1")[0], code, text))
    world.disconnect()
    world.gateway.mute = False

    world.connect()
    world.advance(200.0)
    world.quote(10.0)

    assert world.answer(request) == "unknown"
    assert world.state("p1") == "not_placed"
    assert world.answer(world.ask("order.place", single("p2"))) == "accepted"
    assert len(world.placements()) == 2
