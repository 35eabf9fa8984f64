"""The accidents that other systems had with orders, each by name (reliability 1.2), and that ours has not."""

from __future__ import annotations

import pytest

from gateway_proxy.bus.messages import CancelArgs, Contract, ModifyArgs, NoArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.risk import RiskSettings
from tests.gateway_proxy.core.order_world import START_NS, OrderWorld, bracket, single

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


# ---------------------------------------------------------------- what could happen to us


def test_bytes_of_a_dead_session_that_execute_after_the_fence_are_an_alarm():
    """The expiry should have killed them; if IB executes them all the same, they are cancelled and trading halts."""
    world = OrderWorld().start()
    world.gateway.drop_orders = 1
    world.ask("order.place", single())
    world.advance(30.0)
    absent = world.state("p1")

    world.gateway.late_bytes.append(world.placements()[0])
    world.gateway.execute_late_bytes()
    world.run()

    assert absent == "not_placed"
    assert "late" in world.blotter.halted
    assert world.gateway.orders[world.order_ids("p1")[0]].status == "Cancelled"
    assert world.answer(world.ask("order.place", single("new"))) == "refused"


def test_bytes_of_a_dead_session_keep_an_order_unknown_until_it_has_expired():
    """Two equal sweeps are not enough while the Gateway may still hold the order back."""
    world = OrderWorld(settings=OrderSettings(entry_good_for_s=120.0)).start()
    world.gateway.drop_orders = 1
    world.ask("order.bracket", bracket())
    world.disconnect()
    world.connect()

    world.advance(60.0)
    early = world.state("b1")
    world.advance(70.0)

    assert (early, world.state("b1")) == ("unknown", "not_placed")


def test_a_broken_link_makes_earlier_sweeps_worthless():
    """Absence needs two sweeps over one link."""
    world = OrderWorld(settings=OrderSettings(entry_good_for_s=0.0, absence_wait_s=0.0)).start()
    world.gateway.drop_orders = 1
    world.ask("order.place", single())
    for _ in range(4):
        world.disconnect()
        world.connect()
        world.advance(3.0)

    assert world.state("p1") == "unknown"
    world.advance(5.0)
    assert world.state("p1") == "not_placed"


def test_a_sweep_that_gets_no_answer_proves_nothing():
    """A mute Gateway has not said that the order is absent."""
    world = OrderWorld().start()
    world.gateway.drop_orders = 1
    world.ask("order.place", single())
    world.gateway.mute = True

    world.advance(300.0)

    assert world.state("p1") == "unknown"
    assert any(one.event == "order sweep got no answer" for one in world.logs)


def test_duplicate_and_reordered_messages_change_nothing():
    """IB repeats itself and overtakes itself; fills are counted once and nothing is journaled twice."""
    world = filled(OrderWorld().start())
    rows, messages = len(world.journal), len(world.published)
    held = world.gateway.orders[world.order_ids("b1")[0]]
    held.status, held.filled = "Submitted", 0.0

    for _ in range(3):
        world.feed(world.gateway.open_order(held))
        world.feed(world.gateway.status(held))
        world.feed(world.gateway.executions[0])

    assert world.state("b1") == "filled"
    assert (len(world.journal), len(world.published)) == (rows, messages)


def test_a_correction_of_an_execution_replaces_it():
    """Same stem, next number: the quantity is not added; a late copy of the first does not come back."""
    from dataclasses import replace

    world = OrderWorld().start()
    world.ask("order.place", single(quantity=10))
    world.gateway.fill(world.order_ids("p1")[0], 4)
    world.run()
    first = world.gateway.executions[0]
    correction = replace(first, exec_id=first.exec_id[:-2] + "02", quantity=3.0, price=9.9)

    world.feed(correction)
    world.feed(first)

    leg = world.blotter.register.orders["p1"].entry
    assert (leg.executed, leg.average_price) == (3.0, 9.9)
    assert world.blotter.register.traded["scalp", "DU1", "SPY", False] == 3.0
    assert [fill.quantity for fill in world.fills()] == [4, 3]


def test_a_commission_is_told_once_with_its_fill():
    """It comes later, keyed by the execution; repetitions after a restart are silent."""
    world = filled(OrderWorld().start())
    exec_id = world.gateway.executions[0].exec_id

    world.feed(ev.CommissionReceived(exec_id, 1.05, "USD", None))
    world.crash()
    world.start()
    world.feed(ev.CommissionReceived(exec_id, 1.05, "USD", None))
    world.feed(ev.CommissionReceived("0001.unknown.01", 1.05, "USD", None))

    assert [fill.commission for fill in world.fills()] == [None, 1.05]
    assert [fill.commission for fill in world.blotter.fills()] == [1.05]


def test_more_executions_than_ordered_halt_trading():
    """It cannot be; if it is, somebody must look."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.fill(world.order_ids("p1")[0], 2)
    world.gateway.fill(world.order_ids("p1")[0], 2)
    world.run()

    assert "filled 4 of 2" in world.blotter.halted


def test_a_status_overtaken_by_the_cancel_is_not_a_resurrection():
    """Shown open after its end, it is looked up; only a sweep that shows it alive makes it a ghost."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    held = world.gateway.orders[world.order_ids("p1")[0]]
    stale = world.gateway.open_order(held)
    world.gateway.end(held.ticket.order_id)
    world.run()

    world.feed(stale)
    innocent = (world.state("p1"), world.blotter.halted)
    held.status = "Submitted"
    world.feed(stale)

    assert innocent == ("cancelled", "")
    assert "late" in world.blotter.halted


def test_orders_of_a_lost_journal_are_recognised_and_lock_trading():
    """Their reference says that they are ours; without the journal nobody knows what they belong to."""
    world = placed(OrderWorld().start())
    world.journal.clear()
    world.crash()

    world.start()

    assert "does not know" in world.blotter.halted
    assert world.blotter.foreign_count == 3
    assert min(world.blotter.register.ids.take(1)) > 3


def test_a_silent_engine_has_its_unfilled_entries_taken_back():
    """Only engines that used to send heartbeats; exits stay, other engines are not touched."""
    world = filled(OrderWorld(settings=OrderSettings(dead_man_s=30.0)).start(), "filled")
    placed(world, "open")
    world.ask("order.place", single("other", engine="notebook"))
    world.blotter.receive_heartbeat("scalp", world.now)
    world.advance(25.0)
    alive = world.state("open")
    world.blotter.receive_heartbeat("scalp", world.now)
    world.advance(29.0)
    still = world.state("open")

    world.advance(2.0)

    assert (alive, still, world.state("open")) == ("working", "working", "cancelled")
    assert [world.state("filled", leg) for leg in LEGS[1:]] == ["working", "working"]
    assert world.state("other") == "working"


def test_a_broken_journal_stops_orders_and_not_cancels():
    """Disk full: the order is not written and says so; what works can still be cancelled."""
    world = OrderWorld().start()
    world.ask("order.place", single("open"))

    request = broken_journal(world, "order.place", single("new"))
    refused = world.ask("order.place", single("after"))
    cancelled = world.ask("order.cancel", CancelArgs("open"))

    assert world.answer(request) in ("expired", "journal_unavailable")
    assert world.state("new") == "expired_unsent"
    assert (world.answer(refused), world.answer(cancelled)) == ("journal_unavailable", "cancelled")
    assert len(world.placements()) == 1


def broken_journal(world: OrderWorld, op: str, args: object) -> int:
    """Ask while the very first append of the turn fails; the batch goes back to the blotter unperformed."""
    from gateway_proxy.bus.messages import Request
    from tests.gateway_proxy.core.order_world import SPY

    world.requests += 1
    world.blotter.receive_request("client", Request(world.requests, op, args), world.now, world.wall_ns, resolved=SPY)
    batch = world.blotter.effects()
    assert any(isinstance(one, fx.Append) for one in batch)
    world.blotter.journal_failed(batch, world.now)
    world.run()
    return world.requests


def test_a_journal_that_breaks_at_the_permission_to_write_leaves_the_order_unsent():
    """The write stands behind the record that failed, so it did not happen; the answer is definitive."""
    world = OrderWorld().start()
    world.pacing_open = False
    request = world.ask("order.bracket", bracket())
    [job] = world.held_jobs
    world.blotter.granted(job.job_id, world.now, world.wall_ns)
    batch = world.blotter.effects()

    world.blotter.journal_failed(batch, world.now)
    world.run()

    assert [type(one).__name__ for one in batch][:2] == ["Append", "Send"]
    assert world.answer(request) == "expired"
    assert world.placements() == []


def test_the_clock_of_the_wall_decides_expiry_over_restarts():
    """Times in the journal are wall time: a new process has a new monotonic clock."""
    world = OrderWorld(settings=OrderSettings(entry_good_for_s=0.0, absence_wait_s=60.0)).start()
    world.gateway.drop_orders = 1
    world.ask("order.place", single())
    world.crash()
    world.start()

    world.advance(50.0)
    early = world.state("p1")
    world.advance(30.0)

    assert (early, world.state("p1")) == ("unknown", "not_placed")
    assert world.journal[0]["wall_ns"] > START_NS


def test_the_echo_of_a_cancel_asks_for_nothing_unless_its_status_stays_away():
    """202 follows every cancel, also OCA's; only an echo without a status is looked up."""
    world = placed(OrderWorld().start())
    stop = world.order_ids("b1")[2]
    calls = len(world.gateway.calls)
    world.ask("order.cancel", CancelArgs("b1"))
    world.advance(3.0)
    plain = len(world.gateway.calls) - calls
    placed(world, "b2")
    world.gateway.silent = True
    stop = world.order_ids("b2")[2]
    world.gateway.end(stop)
    world.gateway.silent = False

    world.feed(ev.ErrorReceived(stop, 202, "Order Canceled - reason:"))
    waited = world.state("b2", "stop_loss")
    world.advance(1.5)

    assert plain == 1
    assert (waited, world.state("b2", "stop_loss")) == ("working", "cancelled")


def test_foreign_orders_count_in_the_worst_case():
    """A human's open orders on the same account use up the caps of the account."""
    world = OrderWorld(risk=RiskSettings(max_position=10.0)).start()
    ticket = fx.OrderTicket(500, Contract("SPY", con_id=756733), "DU1", "BUY", 9, "LMT", 5.0, None, "GTC", "mine")
    world.gateway.receive(fx.PlaceOrders((ticket,)))
    world.run()

    answers = [world.answer(world.ask("order.place", single(f"p{n}", quantity=n))) for n in (2, 1)]

    assert answers == ["refused", "accepted"]


def test_a_fork_is_recorded_once_however_often_ib_names_it():
    """Both orders go on sending statuses; the alarm is one record, one message."""
    world = placed(OrderWorld().start())
    held = world.gateway.orders[world.order_ids("b1")[0]]
    first = world.gateway.status(held)
    held.perm_id += 500
    world.gateway.mute = True
    world.feed(world.gateway.status(held))
    rows = len(world.journal)

    for _ in range(3):
        world.feed(first)
        world.feed(world.gateway.status(held))

    assert len(world.journal) == rows
    assert world.state("b1") == "duplicate_live"


def test_a_stop_that_cannot_be_replaced_halts_trading():
    """Two repairs that IB refuses are enough; then a human must look."""
    world = filled(OrderWorld().start())
    world.gateway.end(world.order_ids("b1")[2])
    world.run()
    for _ in range(12):
        world.gateway.refuse_next = (201, "no")
        world.advance(0.5)

    assert "without a stop; 2 repairs failed" in world.blotter.halted
    assert len(world.placements()) == 3


def test_an_answer_that_could_not_be_made_durable_is_not_given_as_yes():
    """The order works at IB, the record of it failed: unknown, with the reference to ask for."""
    world = OrderWorld().start()
    world.gateway.silent = True
    request = world.ask("order.place", single())
    held = world.gateway.orders[world.order_ids("p1")[0]]
    world.blotter.receive_upstream(world.gateway.open_order(held), world.now, world.wall_ns)
    batch = world.blotter.effects()

    world.blotter.journal_failed(batch, world.now)
    world.run()

    assert world.answer(request) == "unknown_outcome"
    assert world.blotter.summary()["journal_down"] is True


def test_a_change_that_pacing_never_lets_go_is_answered_and_leaves_the_order():
    """Neither the cancel nor the move was sent; both say so, and both can be asked for again."""
    world = placed(OrderWorld().start())
    world.ask("order.place", single())
    world.pacing_open = False
    cancel = world.ask("order.cancel", CancelArgs("b1"))
    move = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))
    for job in world.held_jobs:
        world.blotter.expired(job.job_id, world.now)
    world.run()
    world.pacing_open = True

    again = [world.ask("order.cancel", CancelArgs("b1")), world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))]

    assert (world.answer(cancel), world.answer(move)) == ("refused", "rejected")
    assert "not sent" in str(world.reply(cancel).error)
    assert "pacing held it too long" in world.reply(move).body["reason"]
    assert [world.answer(one) for one in again] == ["cancelled", "accepted"]


def test_a_move_that_is_granted_after_the_gate_closed_is_not_written():
    """The session is asked again at the last line, as for orders."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.pacing_open = False
    move = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))
    world.blotter.gate(ready=False, reason="probe is late")

    world.grant_held()

    assert world.answer(move) == "rejected"
    assert "probe is late" in world.reply(move).body["reason"]
    assert len(world.placements()) == 1


def test_an_order_that_ib_completed_while_we_were_away_has_its_true_end():
    """Completed orders tell rejections, cancels and fills apart, without ids: matched by permId or reference."""
    world = OrderWorld().start()
    world.gateway.silent = True
    for name in ("rejected", "cancelled", "filled"):
        world.ask("order.place", single(name))
    ids = {name: world.order_ids(name)[0] for name in ("rejected", "cancelled", "filled")}
    world.gateway.end(ids["rejected"], "Inactive")
    world.gateway.end(ids["cancelled"])
    world.gateway.fill(ids["filled"])
    world.crash()
    world.gateway.silent = False

    world.start()

    assert {name: world.state(name) for name in ids} == {
        "rejected": "rejected",
        "cancelled": "cancelled",
        "filled": "filled",
    }
    assert sum(fill.quantity for fill in world.fills()) == 2


def test_the_counters_of_orders_in_and_out_stop_trading_when_they_disagree():
    """Orders written <= intents <= authorised, at every write (the Knight control)."""
    world = OrderWorld().start()
    world.blotter.placement.written = 1

    request = world.ask("order.place", single())

    assert world.answer(request) == "expired"
    assert "orders out exceed orders in" in world.blotter.halted
    assert world.placements() == []


def test_a_guard_waits_for_a_ready_session():
    """While the gate is closed no attempt is wasted; the stop is placed when it opens."""
    world = filled(OrderWorld().start())
    world.gateway.end(world.order_ids("b1")[2])
    world.run()
    world.blotter.gate(ready=False, reason="1100")
    world.advance(10.0)
    closed = len(world.placements())

    world.blotter.gate(ready=True, reason="")
    world.advance(2.0)

    assert (closed, len(world.placements())) == (1, 2)
