"""Who may trade now: kill switch, gate, mode and account, quotes that prices are judged by."""

from __future__ import annotations

import pytest

from gateway_proxy.bus.messages import CancelArgs, Contract, KillArgs, ModifyArgs, NoArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.submissions import Submit, Unwatch, Watch
from tests.gateway_proxy.core.order_world import CALL, SPY, OrderWorld, bracket, single


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
