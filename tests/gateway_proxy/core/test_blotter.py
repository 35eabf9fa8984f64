"""Requests and their answers: one each, the same for the same question, and none that is not durable."""

from __future__ import annotations

import pytest

from gateway_proxy.bus.messages import CancelArgs, Contract, KillArgs, ModifyArgs, NoArgs, OpenOrdersArgs, OrderRefArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.submissions import Submit, Unwatch, Watch
from tests.gateway_proxy.core.order_world import CALL, SPY, OrderWorld, bracket, single


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


# ---------------------------------------------------------------- cancel


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


# ---------------------------------------------------------------- modify


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


# ---------------------------------------------------------------- kill switch, gate, modes


def test_the_kill_switch_stops_queue_and_unfilled_and_survives_a_restart():
    """Queued orders are withdrawn, unfilled entries cancelled, exits kept, until somebody resumes."""
    world = OrderWorld().start()
    world.ask("order.bracket", bracket("filled"))
    world.gateway.fill(world.order_ids("filled")[0])
    world.run()
    world.ask("order.place", single("open"))
    world.pacing_open = False
    queued = world.ask("order.place", single("queued"))
    world.pacing_open = True

    killed = world.ask("kill", KillArgs(reason="looks wrong"))
    world.grant_held()
    world.crash()
    world.start()
    refused = world.ask("order.place", single("after"))
    world.ask("resume", NoArgs())
    allowed = world.ask("order.place", single("resumed"))

    assert world.reply(killed).body == {
        "state": "halted",
        "reason": "looks wrong",
        "withdrawn": ["queued"],
        "cancelled": ["open"],
    }
    assert world.answer(queued) == "expired"
    assert world.state("open") == "cancelled"
    assert [world.state("filled", leg) for leg in ("take_profit", "stop_loss")] == ["working", "working"]
    assert "looks wrong" in str(world.reply(refused).error)
    assert world.answer(allowed) == "accepted"


def test_a_halted_trader_can_still_get_out():
    """Orders that only reduce the position pass; one that would turn it does not."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.fill(world.order_ids("p1")[0])
    world.run()
    world.ask("kill", KillArgs())

    turning = world.ask("order.place", single("turn", action="SELL", quantity=3))
    closing = world.ask("order.place", single("close", action="SELL", quantity=2))

    assert (world.answer(turning), world.answer(closing)) == ("refused", "accepted")


def test_a_closed_gate_refuses_withdraws_and_lets_cancels_pass():
    """While IB's link is down an order would be kept and sent later (1100); cancels are always right."""
    world = OrderWorld().start()
    world.ask("order.place", single("open"))
    world.pacing_open = False
    queued = world.ask("order.place", single("queued"))
    world.pacing_open = True

    world.blotter.gate(ready=False, reason="1100 connectivity lost")
    world.run()
    refused = world.ask("order.place", single("new"))
    cancelled = world.ask("order.cancel", CancelArgs("open"))

    assert (world.answer(queued), world.answer(refused)) == ("expired", "refused")
    assert "1100" in str(world.reply(refused).error)
    assert world.answer(cancelled) == "cancelled"


def test_nothing_is_sent_before_the_first_sweep_is_complete():
    """After a start the proxy does not know what IB holds; it says so."""
    world = OrderWorld()
    world.gateway.mute = True
    world.connect()

    request = world.ask("order.place", single())

    assert world.answer(request) == "refused"
    assert "reconciled" in str(world.reply(request).error)
    assert not world.blotter.is_synchronized


@pytest.mark.parametrize(
    ("mode", "settings", "text"),
    [
        ("paper", OrderSettings(account="U7"), "does not belong"),
        ("live", OrderSettings(), "not confirmed"),
        ("live", OrderSettings(live_confirmed="U9"), "not confirmed"),
    ],
)
def test_mode_and_account_must_belong_together(mode, settings, text):
    """Paper never trades a live account, live never an unconfirmed one."""
    world = OrderWorld(mode, settings).start()

    request = world.ask("order.place", single())

    assert world.answer(request) == "refused"
    assert text in str(world.reply(request).error)
    assert world.placements() == []


def test_paper_refuses_an_account_that_is_not_a_paper_account():
    """Paper accounts begin with D; a live login on the paper port is caught here."""
    from gateway_proxy.core.events import SessionOpened

    world = OrderWorld().start()
    world.feed(SessionOpened(178, ("U1234567",), 1))

    request = world.ask("order.place", single())

    assert "not a paper account" in str(world.reply(request).error)


def test_live_sends_only_with_the_account_confirmed():
    """The same path, with the interlock open."""
    world = OrderWorld("live", OrderSettings(live_confirmed="DU1")).start()

    assert world.answer(world.ask("order.place", single())) == "accepted"


def test_dry_run_answers_fills_and_journals_but_never_sends():
    """The whole life of a bracket, simulated at the quote; the Gateway sees only questions."""
    world = OrderWorld("dry-run").start()

    request = world.ask("order.bracket", bracket())
    world.quote(11.2)

    assert world.reply(request).body["simulated"] is True
    assert [(fill.leg, fill.price, fill.simulated) for fill in world.fills()] == [
        ("entry", 10.0, True),
        ("take_profit", 11.2, True),
    ]
    assert world.state("b1", "stop_loss") == "cancelled"
    assert not [one for one in world.gateway.calls if isinstance(one, fx.PlaceOrders | fx.CancelOrder)]
    assert {one["kind"] for one in world.journal} >= {"intent", "sending", "fill"}


def test_a_simulated_stop_fills_when_the_quote_reaches_it_also_after_a_restart():
    """Dry-run positions live in the journal like real ones, and end when the mode changes."""
    world = OrderWorld("dry-run").start()
    world.ask("order.bracket", bracket())
    world.crash()
    world.start(quote=None)

    world.quote(8.9)

    assert [fill.leg for fill in world.fills()] == ["entry", "stop_loss"]
    world.ask("order.bracket", bracket("b2", limit_price=8.0, take_profit=9.9, stop_loss=7.0))
    world.mode = "paper"
    world.crash()
    assert world.blotter.open_count == 0


def test_dry_run_cancel_and_modify_are_simulated_too():
    """Both are answered and neither reaches the Gateway."""
    world = OrderWorld("dry-run").start()
    world.ask("order.place", single(limit_price=9.5))

    moved = world.ask("order.modify", ModifyArgs("p1", limit_price=9.4))
    cancelled = world.ask("order.cancel", CancelArgs("p1"))

    assert (world.answer(moved), world.answer(cancelled)) == ("accepted", "cancelled")
    assert not [one for one in world.gateway.calls if isinstance(one, fx.PlaceOrders | fx.CancelOrder)]


# ---------------------------------------------------------------- quotes


def test_a_request_waits_for_the_quote_its_price_is_judged_by():
    """The proxy opens the stream, judges the price when the quote comes, and lets go of the stream afterwards."""
    world = OrderWorld().start()
    args = single("o1", contract=CALL.contract, quantity=1, limit_price=2.0)
    request = world.ask("order.place", args, details=CALL)
    copy = world.ask("order.place", args, details=CALL)
    waited = not world.answered(request)

    world.quote(2.0, key=CALL.contract.key)

    assert waited
    assert (world.answer(request), world.answer(copy)) == ("accepted", "accepted")
    assert [one for one in world.performed if isinstance(one, Watch)] == [Watch(CALL.contract)]
    assert [one for one in world.performed if isinstance(one, Unwatch)] == [Unwatch(CALL.contract)]
    assert len(world.placements()) == 1


def test_without_a_quote_the_request_is_refused_after_the_wait():
    """A missing quote is not a permission (A18)."""
    world = OrderWorld().start()

    request = world.ask("order.place", single("o1", contract=CALL.contract, limit_price=2.0), details=CALL)
    world.advance(3.5)

    assert world.answer(request) == "refused"
    assert "no quote of SPY.20260618.C.600" in str(world.reply(request).error)


def test_a_waiting_request_can_be_cancelled():
    """Its answer is expired, and the quote that comes later starts nothing."""
    world = OrderWorld().start()
    request = world.ask("order.place", single("o1", contract=CALL.contract, limit_price=2.0), details=CALL)

    cancelled = world.ask("order.cancel", CancelArgs("o1"))
    world.quote(2.0, key=CALL.contract.key)

    assert (world.answer(request), world.answer(cancelled)) == ("expired", "not_found")
    assert world.placements() == []


def test_an_unknown_contract_is_refused():
    """IB did not know it, so nothing can be checked or sent."""
    world = OrderWorld().start()

    request = world.ask("order.place", single(contract=Contract("NOPE")), details=None)

    assert world.answer(request) == "refused"
    assert "no such contract" in str(world.reply(request).error)


def test_pacing_is_told_what_it_needs_to_judge():
    """Entries in the order lane with the number of legs; cancels and sweeps protected."""
    world = OrderWorld().start()
    world.pacing_open = False
    world.ask("order.bracket", bracket())
    [entry] = world.held_jobs

    assert (entry.lane, entry.messages, entry.owner, entry.contract_key) == ("ORDER", 3, "scalp", "SPY")
    assert (entry.action, entry.account) == ("BUY", "DU1")
    sweeps = [one for one in world.performed if isinstance(one, Submit) and one.call is not None]
    assert {one.lane for one in sweeps} == {"PROTECTIVE"}


def test_price_grid_of_an_option_is_its_own():
    """An option on a 0.05 grid refuses 2.02 and names 2."""
    world = OrderWorld().start()
    details = ContractDetails(CALL.contract, 0.05)

    request = world.ask("order.place", single("o", contract=CALL.contract, limit_price=2.02), details=details)

    assert "nearest valid price 2" in str(world.reply(request).error)
    assert SPY.min_tick == 0.01
