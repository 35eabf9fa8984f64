"""Requests and their answers: one each, the same for the same question, and none that is not durable."""

from __future__ import annotations

import pytest

from gateway_proxy.bus.messages import KillArgs, NoArgs, OpenOrdersArgs, OrderRefArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core.admission import OrderSettings
from tests.gateway_proxy.core.order_world import OrderWorld, bracket, single


def test_a_bracket_goes_out_whole_with_only_the_last_leg_transmitting():
    """One write of three tickets; the children name their parent and share one OCA group (A14)."""
    world = OrderWorld().start()

    request = world.ask("order.bracket", bracket())

    [call] = world.placements()
    entry, profit, stop = call.tickets
    assert [one.transmit for one in call.tickets] == [False, False, True]
    assert [one.parent_id for one in call.tickets] == [0, entry.order_id, entry.order_id]
    assert [(one.order_type, one.action) for one in call.tickets] == [("LMT", "BUY"), ("LMT", "SELL"), ("STP", "SELL")]
    assert (profit.limit_price, stop.stop_price) == (11.0, 9.0)
    assert profit.oca_group and profit.oca_group == stop.oca_group
    assert [one.order_ref[-1] for one in call.tickets] == ["E", "T", "S"]
    assert all(len(one.order_ref) == 19 and one.order_ref.isascii() for one in call.tickets)
    assert world.reply(request).body == {
        "client_order_id": "b1",
        "state": "accepted",
        "order_ids": [entry.order_id, profit.order_id, stop.order_id],
        "simulated": False,
        "reason": "",
    }


def test_everything_is_durable_before_it_is_written_or_told():
    """The order of effects is the write-ahead rule."""
    world = OrderWorld().start()

    world.ask("order.bracket", bracket())

    steps = [
        one.kind if isinstance(one, fx.Append) else type(one).__name__
        for one in world.performed
        if isinstance(one, fx.Append | fx.Reply) or (isinstance(one, fx.Send) and isinstance(one.call, fx.PlaceOrders))
    ]
    start = steps.index("intent")
    assert steps[start : start + 4] == ["intent", "sending", "Send", "event"]
    assert steps.index("Reply") > steps.index("event", start)


def test_an_entry_expires_at_ib_by_itself():
    """A DAY entry is sent good till a moment near; its exits are good till cancelled."""
    world = OrderWorld(settings=OrderSettings(entry_good_for_s=60.0)).start()

    world.ask("order.bracket", bracket())
    world.ask("order.place", single("day", tif="GTC"))

    entry, profit, stop = world.placements()[0].tickets
    assert (entry.tif, len(entry.good_till)) == ("GTD", len("20260615-10:00:00"))
    assert (profit.tif, stop.tif) == ("GTC", "GTC")
    assert world.placements()[1].tickets[0].tif == "GTC"


def test_the_same_request_again_gets_the_same_answer_and_no_second_order():
    """Before the answer it waits for the same one; after it, it is told at once; after a restart as well."""
    world = OrderWorld().start()
    world.gateway.silent = True
    first = world.ask("order.bracket", bracket())
    second = world.ask("order.bracket", bracket())
    waited = not world.answered(first) and not world.answered(second)
    world.gateway.silent = False
    for held in world.gateway.orders.values():
        world.feed(world.gateway.open_order(held))

    third = world.ask("order.bracket", bracket())
    world.crash()
    fourth = world.ask("order.bracket", bracket(), details=None)

    assert waited
    assert len({str(world.reply(one).body) for one in (first, second, third, fourth)}) == 1
    assert len(world.placements()) == 1


def test_the_same_id_with_another_payload_is_a_conflict_for_ever():
    """Also after a restart, also when the first one was refused; and nothing changes."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())
    world.ask("order.bracket", bracket("bad", quantity=5_000))

    answers = [
        world.answer(world.ask("order.bracket", bracket(quantity=1))),
        world.answer(world.ask("order.place", single("b1"))),
        world.answer(world.ask("order.bracket", bracket("bad", quantity=1))),
    ]
    world.crash()
    answers.append(world.answer(world.ask("order.bracket", bracket(quantity=1))))

    assert answers == ["conflict"] * 4
    assert len(world.placements()) == 1


def test_a_refused_request_stays_refused_although_it_would_be_allowed_now():
    """A late copy of a refused request must not become an order: its engine has gone on with a new id."""
    world = OrderWorld().start()
    world.ask("kill", KillArgs())
    first = world.ask("order.bracket", bracket())
    world.ask("resume", NoArgs())

    second = world.ask("order.bracket", bracket())

    assert (world.answer(first), world.answer(second)) == ("refused", "refused")
    assert "halted" in str(world.reply(second).error)
    assert world.placements() == []


def test_the_number_of_requests_that_wait_for_one_answer_is_bounded():
    """At the limit the next one is refused, and the others still get their answer."""
    world = OrderWorld(settings=OrderSettings(waiters_max=3)).start()
    world.pacing_open = False
    waiting = [world.ask("order.place", single()) for _ in range(3)]

    refused = world.ask("order.place", single())
    world.grant_held()

    assert world.answer(refused) == "refused"
    assert [world.answer(one) for one in waiting] == ["accepted"] * 3


@pytest.mark.parametrize("expires_in_s", [0.0, -1.0])
def test_a_request_that_arrives_late_is_expired_and_never_sent(expires_in_s):
    """It sat in a socket while we were away; the market has moved (A7)."""
    world = OrderWorld().start()

    request = world.ask("order.place", single(), expires_in_s=expires_in_s)

    assert world.answer(request) == "expired"
    assert world.placements() == []


def test_an_order_whose_deadline_passes_in_the_queue_is_never_sent():
    """Pacing says so, or grants too late: expired, definitively, and a grant after that does nothing."""
    world = OrderWorld().start()
    world.pacing_open = False
    one = world.ask("order.place", single("one"), expires_in_s=2.0)
    two = world.ask("order.place", single("two"), expires_in_s=2.0)
    first, second = world.held_jobs

    world.blotter.expired(first.job_id, world.now)
    world.blotter.granted(first.job_id, world.now, world.wall_ns)
    world.now += 3.0
    world.blotter.granted(second.job_id, world.now, world.wall_ns)
    world.run()

    assert (world.answer(one), world.answer(two)) == ("expired", "expired")
    assert (world.state("one"), world.state("two")) == ("expired_unsent", "expired_unsent")
    assert world.placements() == []


def test_silence_is_unknown_and_the_later_truth_is_published():
    """No answer within the time-out: "unknown"; when IB shows the order at last, its state follows on the stream."""
    world = OrderWorld().start()
    world.gateway.silent = True
    request = world.ask("order.place", single())

    world.advance(4.5)

    assert world.answer(request) == "unknown"
    assert world.state("p1") == "working"
    assert world.answer(world.ask("order.place", single())) == "accepted"
    assert [one.body.state for one in world.published if one.topic == "orders/scalp/"][-2:] == ["unknown", "working"]


def test_a_rejection_is_told_with_ibs_words_once_it_is_confirmed():
    """The error code alone ends nothing; the sweep after it does, within milliseconds and not minutes (A11)."""
    world = OrderWorld().start()
    world.gateway.refuse_next = (201, "Order rejected - reason: insufficient funds")

    request = world.ask("order.bracket", bracket())

    assert world.answer(request) == "rejected"
    assert "insufficient funds" in world.reply(request).body["reason"]
    assert [world.state("b1", leg) for leg in ("entry", "take_profit", "stop_loss")] == ["rejected"] * 3
    assert world.blotter.open_count == 0


def test_status_tells_all_that_is_known_of_an_id():
    """The whole order, a refusal, or that it definitely does not exist."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())
    world.ask("order.place", single("bad", quantity=9999))

    bodies = [world.reply(world.ask("order.status", OrderRefArgs(name))).body for name in ("b1", "bad", "never")]

    assert [body["state"] for body in bodies] == ["working", "refused", "not_found"]
    assert [leg["leg"] for leg in bodies[0]["legs"]] == ["entry", "take_profit", "stop_loss"]
    assert "max_quantity" in bodies[1]["reason"]


def test_open_orders_are_listed_by_engine():
    """Ended orders are not open."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket())
    world.ask("order.place", single(engine="other"))
    world.ask("order.place", single("gone"))
    world.gateway.end(world.order_ids("gone")[0])
    world.run()

    everything = world.reply(world.ask("orders.open", OpenOrdersArgs())).body["orders"]
    other = world.reply(world.ask("orders.open", OpenOrdersArgs("other"))).body["orders"]

    assert [one["client_order_id"] for one in everything] == ["b1", "p1"]
    assert [one["client_order_id"] for one in other] == ["p1"]
