"""What could happen to us besides: late bytes, broken links and journals, repetitions, ghosts, silent engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_proxy.bus.messages import CancelArgs, Contract, ModifyArgs, OrderRefArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core import register
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.risk import RiskSettings
from tests.gateway_proxy.core.model_gateway import Held
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


def test_an_order_of_long_ago_keeps_its_answer(monkeypatch):
    """Memory holds so many orders whole; of older ones the answer is left, and a repetition places nothing anew."""
    monkeypatch.setattr(register, "REMEMBERED_MAX", 2)
    world = OrderWorld().start()
    for name in ("old", "p1", "p2", "p3"):
        world.ask("order.place", single(name))
        world.ask("order.cancel", CancelArgs(name))
    placed = len(world.placements())

    again = world.ask("order.place", single("old"))
    other = world.ask("order.place", single("old", quantity=1))
    status = world.ask("order.status", OrderRefArgs("old"))
    cancel = world.ask("order.cancel", CancelArgs("old"))

    assert "old" not in world.blotter.register.orders
    assert [world.answer(one) for one in (again, other, status, cancel)] == [
        "accepted", "conflict", "cancelled", "refused",
    ]  # fmt: skip
    assert "it ended long ago, cancelled" in str(world.reply(cancel).error)
    assert len(world.placements()) == placed


def test_long_names_that_begin_alike_get_a_stop_each():
    """The proxy's own stops are named after the bracket; 64 characters are allowed, and their ends must count."""
    names = ["x" * 60 + end for end in ("-one", "-two")]
    world = filled(filled(OrderWorld().start(), names[0]), names[1])

    for name in names:
        world.gateway.end(world.order_ids(name)[2])
        world.run()
        world.advance(2.0)

    guards = [order for order in world.blotter.register.orders.values() if order.guards]
    assert sorted(order.guards for order in guards) == names
    assert all(len(order.client_order_id) <= 64 for order in guards)


def test_nobody_else_may_name_an_order_like_a_stop_of_the_proxy():
    """It would count as the stop of a position that has none."""
    world = filled(OrderWorld().start())

    request = world.ask("order.place", single("b1!guard1", action="SELL", order_type="LMT", limit_price=12.0))
    world.gateway.end(world.order_ids("b1")[2])
    world.run()
    world.advance(2.0)

    assert "are the proxy's own" in str(world.reply(request).error)
    assert world.blotter.register.orders["b1!guard1"].guards == "b1"


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


@pytest.mark.parametrize("known", [False, True])
def test_another_clients_order_with_the_same_number_is_not_ours(known):
    """Order ids count per client; a status names no reference, so its client id decides."""
    world = placed(OrderWorld().start())
    order_id = world.order_ids("b1")[0]
    if not known:
        world.crash()
    ticket = fx.OrderTicket(order_id, Contract("QQQ"), "DU1", "SELL", 1, "LMT", 9.0, None, "GTC", "")
    held = Held(ticket, perm_id=77_000, status="Submitted")
    other = replace(world.gateway.open_order(held), client_id=9), replace(world.gateway.status(held), client_id=9)

    for event in other:
        world.blotter.receive_upstream(event, world.now, world.wall_ns)
    world.run()

    assert world.state("b1") == "working"
    assert world.blotter.halted == ""
    assert world.blotter.foreign_count == 1
