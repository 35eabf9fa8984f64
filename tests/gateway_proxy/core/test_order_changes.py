"""Cancels and modifications: confirmed, refused, silent, and never at the cost of a guarded position."""

from __future__ import annotations

import contextlib

import pytest

from gateway_proxy.bus.messages import CancelArgs, KillArgs, ModifyArgs, Quote
from gateway_proxy.core import effects as fx
from gateway_proxy.core.submissions import OrderEffect, Watch
from tests.gateway_proxy.core.order_world import Crash, OrderWorld, bracket, single


def test_a_cancel_is_answered_when_ib_confirms_it():
    """Entry and exits end together; the cancel was durable before it was sent."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())

    request = world.ask("order.cancel", CancelArgs("b1"))

    assert world.answer(request) == "cancelled"
    assert [world.state("b1", leg) for leg in ("entry", "take_profit", "stop_loss")] == ["cancelled"] * 3
    sent = next(
        i for i, one in enumerate(world.performed) if isinstance(one, fx.Send) and isinstance(one.call, fx.CancelOrder)
    )
    assert any(isinstance(one, fx.Append) and one.kind == "change" for one in world.performed[:sent])
    assert world.blotter.halted == ""


def test_a_cancel_before_the_write_withdraws_the_order():
    """Nothing is sent, neither the order nor the cancel; both requests are answered."""
    world = OrderWorld().start()
    world.pacing_open = False
    placed = world.ask("order.place", single())

    request = world.ask("order.cancel", CancelArgs("p1"))
    world.grant_held()

    assert world.answer(request) == "expired_unsent"
    assert world.answer(placed) == "expired"
    assert not [one for one in world.gateway.calls if isinstance(one, fx.PlaceOrders | fx.CancelOrder)]


def test_a_silent_cancel_is_unknown_and_may_be_repeated():
    """Cancelling twice is harmless; the second one is sent again."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.mute = True
    first = world.ask("order.cancel", CancelArgs("p1"))
    world.advance(4.5)
    world.gateway.mute = False

    second = world.ask("order.cancel", CancelArgs("p1"))

    assert (world.answer(first), world.answer(second)) == ("unknown", "cancelled")


def test_the_exits_of_a_filled_entry_are_only_cancelled_on_explicit_wish():
    """They guard the position; dropping them is the engine's decision, and is not repaired afterwards."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())
    world.gateway.fill(world.order_ids("b1")[0])
    world.run()

    first = world.ask("order.cancel", CancelArgs("b1"))
    second = world.ask("order.cancel", CancelArgs("b1", exits=True))
    world.advance(5.0)

    assert (world.answer(first), world.answer(second)) == ("refused", "filled")
    assert "exits" in str(world.reply(first).error)
    assert [world.state("b1", leg) for leg in ("take_profit", "stop_loss")] == ["cancelled"] * 2
    assert len(world.placements()) == 1


def test_cancelling_what_does_not_exist_or_has_ended_changes_nothing():
    """Refused, or the final state; no message to IB."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.fill(world.order_ids("p1")[0])
    world.run()
    calls = len(world.gateway.calls)

    answers = [world.answer(world.ask("order.cancel", CancelArgs(name))) for name in ("p1", "never")]

    assert answers == ["filled", "refused"]
    assert len(world.gateway.calls) == calls


def test_a_price_is_moved_in_place_and_confirmed_by_the_open_order():
    """Same order id, same quantity, new stop; the answer waits for IB."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())
    world.gateway.fill(world.order_ids("b1")[0])
    world.run()

    request = world.ask("order.modify", ModifyArgs("b1", leg="stop_loss", stop_price=9.5))

    assert world.answer(request) == "accepted"
    [moved] = world.placements()[1].tickets
    assert (moved.order_id, moved.stop_price, moved.transmit) == (world.order_ids("b1")[2], 9.5, True)
    world.crash()
    assert world.blotter.register.orders["b1"].leg("stop_loss").ticket.stop_price == 9.5


def test_the_move_of_an_entry_waits_for_the_quote_its_price_is_judged_by():
    """The quote of its placement is long given back; like a new order, a move asks for another and waits a little."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.advance(60.0)

    request = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))
    second = world.ask("order.modify", ModifyArgs("p1", limit_price=9.8))
    waited = not world.answered(request)
    world.quote(10.0)
    world.run()

    assert any(isinstance(one, Watch) for one in world.performed)
    assert (waited, world.answer(request)) == (True, "accepted")
    assert "waits for a quote" in str(world.reply(second).error)
    assert world.blotter.register.orders["p1"].entry.ticket.limit_price == 9.9


def test_one_side_of_a_quote_does_not_end_the_wait_of_a_move():
    """Ticks come one by one; a buy's price is judged by the ask, and it waits for that, as a new order does."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.advance(60.0)
    request = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))

    world.blotter.receive_quote(Quote("SPY", bid=9.9), world.now)
    world.run()
    waited = not world.answered(request)
    world.quote(10.0)
    world.run()

    assert (waited, world.answer(request)) == (True, "accepted")


def test_a_move_without_any_quote_is_refused_in_time():
    """Nobody waits for ever, and nothing was changed."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.advance(60.0)

    request = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))
    world.advance(3.1)

    assert world.answer(request) == "refused"
    assert "max_quote_age_s" in str(world.reply(request).error)
    assert len(world.placements()) == 1


def test_a_refused_modification_leaves_the_order_as_it_was():
    """Error 110 on a working order changes nothing about the order (rule book 5.3)."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.refuse_next = (110, "The price does not conform to the minimum price variation")

    request = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))

    assert world.answer(request) == "rejected"
    assert "minimum price variation" in world.reply(request).body["reason"]
    assert world.state("p1") == "working"
    assert world.blotter.register.orders["p1"].entry.ticket.limit_price == 10.0


def test_an_unanswered_modification_is_unknown_until_a_sweep_shows_the_price():
    """The order itself never is in doubt."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.drop_orders = 1

    request = world.ask("order.modify", ModifyArgs("p1", limit_price=9.9))
    world.advance(5.0)

    assert world.answer(request) == "unknown"
    assert world.state("p1") == "working"
    again = world.ask("order.modify", ModifyArgs("p1", limit_price=9.8))
    assert world.answer(again) == "accepted"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (ModifyArgs("never", limit_price=9.0), "no order"),
        (ModifyArgs("p1", leg="stop_loss", stop_price=9.0), "no stop_loss"),
        (ModifyArgs("p1", stop_price=9.0), "no stop_price"),
        (ModifyArgs("p1", limit_price=9.001), "nearest valid price 9"),
        (ModifyArgs("p1", limit_price=12.0), "price_collar"),
        (ModifyArgs("b1", leg="stop_loss", stop_price=11.5), "changed sides"),
        (ModifyArgs("done", limit_price=9.0), "only a working order"),
    ],
)
def test_a_modification_that_cannot_be_is_refused_with_the_reason(args, text):
    """Nothing is journaled as a change and nothing is sent."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.ask("order.bracket", bracket())
    world.ask("order.place", single("done"))
    world.gateway.end(world.order_ids("done")[0])
    world.run()
    placements = len(world.placements())

    request = world.ask("order.modify", args)

    assert world.answer(request) == "refused"
    assert text in str(world.reply(request).error)
    assert len(world.placements()) == placements


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
@pytest.mark.parametrize("op", ["order.cancel", "order.modify"])
def test_a_change_that_a_crash_interrupted_may_be_asked_for_again(op, kept):
    """After any of its records, also between the permission and the write: no leg waits for ever for a dead session."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())
    world.gateway.fill(world.order_ids("b1")[0])
    world.run()
    args = CancelArgs("b1", exits=True) if op == "order.cancel" else ModifyArgs("b1", "stop_loss", stop_price=9.5)
    records = 0

    def die(effect: OrderEffect) -> None:
        nonlocal records
        records += isinstance(effect, fx.Append)
        if records > kept or (records == kept and isinstance(effect, fx.Send)):
            raise Crash

    world.before_effect = die
    with contextlib.suppress(Crash):
        world.ask(op, args)
    world.crash()
    world.start()
    again = world.ask(op, args)

    assert world.answer(again) in ("filled", "accepted")
    assert world.state("b1", "stop_loss") == ("cancelled" if op == "order.cancel" else "working")


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_kill_that_a_crash_interrupted_is_finished_by_the_next_life(kept):
    """The word is durable before the cancels: the working entry goes after the restart, nobody repeats the command."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.run()
    records = 0

    def die(effect: OrderEffect) -> None:
        nonlocal records
        records += isinstance(effect, fx.Append)
        if records > kept or (records == kept and isinstance(effect, fx.Send)):
            raise Crash

    world.before_effect = die
    with contextlib.suppress(Crash):
        world.ask("kill", KillArgs("losses"))
    world.crash()
    world.start()
    world.run()

    assert world.blotter.halted == "losses"
    assert world.state(single().client_order_id, "entry") == "cancelled"
