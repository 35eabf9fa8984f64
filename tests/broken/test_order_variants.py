"""Negative controls: the order path broken on purpose, one tempting mistake at a time. Each must be caught.

A variant replaces one piece of the real thing. The judges are those of the real tests: random lives, crashes after each
effect, and the named accidents. A variant that survives means that a test is missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway_proxy.core import answers, evidence
from gateway_proxy.core.admission import Admission
from gateway_proxy.core.changes import Changes
from gateway_proxy.core.effects import Append, CancelOrder, PlaceOrders
from gateway_proxy.core.evidence import ErrorMeaning, Finding
from gateway_proxy.core.fence import Fence, Sweep
from gateway_proxy.core.identifiers import OrderIds
from gateway_proxy.core.orders import Event, Order, State
from gateway_proxy.core.placement import Placement
from gateway_proxy.core.protection import Protection
from gateway_proxy.core.reconciler import Reconciler
from gateway_proxy.core.register import Register
from gateway_proxy.core.scribe import Scribe
from tests.gateway_proxy.core import test_blotter as requests
from tests.gateway_proxy.core import test_order_accidents as accidents
from tests.gateway_proxy.core import test_order_crashes as crashes
from tests.gateway_proxy.core import test_order_faults as faults
from tests.gateway_proxy.core import test_order_gates as gates
from tests.gateway_proxy.core.order_life import OrderLife

Judge = Callable[[], None]
Break = Callable[[pytest.MonkeyPatch], None]


def lives(seeds: int = 40) -> None:
    for seed in range(seeds):
        rng, life = Random(seed), OrderLife(30.0 if seed % 2 else 0.0)
        for _ in range(60):
            life.step(rng)
        life.settle()


def crash(scenario: str, mood: str) -> Judge:
    return lambda: crashes.test_a_crash_after_any_effect_loses_and_doubles_nothing(scenario, mood)


# ---------------------------------------------------------------- the variants


def a_timeout_is_a_rejection(patch: pytest.MonkeyPatch) -> None:
    """What other systems do after some retries (A20)."""

    def silence(self: Placement, order: Order) -> None:
        silent = [leg for leg in order.legs if leg.state is State.SENDING]
        self._scribe.happened(order, silent, Event.REJECT, reason="no answer")

    patch.setattr(Placement, "_silence", silence)


def the_journal_comes_after_the_write(patch: pytest.MonkeyPatch) -> None:
    """Faster, until it crashes in between."""
    drain = Scribe.drain

    def late(self: Scribe) -> list[Any]:
        effects = drain(self)
        return sorted(effects, key=lambda one: isinstance(one, Append))

    patch.setattr(Scribe, "drain", late)


def ids_follow_ib_down(patch: pytest.MonkeyPatch) -> None:
    """nextValidId is believed also when it falls back (A2)."""

    def saw(self: OrderIds, order_id: int) -> None:
        self._highest = order_id

    patch.setattr(OrderIds, "saw", saw)


def repetitions_are_new_orders(patch: pytest.MonkeyPatch) -> None:
    """No memory of client order ids after the answer."""
    intent = Register._intent

    def forget(self: Register, client_order_id: str, body: dict[str, Any]) -> None:
        self.orders.pop(client_order_id, None)
        intent(self, client_order_id, body)

    patch.setattr(Register, "_intent", forget)
    patch.setattr(Register, "payload_hash", lambda self, name: None)


def one_sweep_decides(patch: pytest.MonkeyPatch) -> None:
    """Not in the open orders once: not placed (late bytes)."""
    patch.setattr(Fence, "proves_absence", lambda self, *, last_turn, expired: bool(self.sweeps))


def the_expiry_is_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """Two sweeps are enough, although the dead session's bytes may still execute."""
    patch.setattr(Reconciler, "_cannot_execute", lambda self, order: True)


def unknown_orders_are_sent_again(patch: pytest.MonkeyPatch) -> None:
    """Whatever a sweep does not show is repeated under new ids, to be helpful (A8)."""

    def resend(self: Reconciler, sweep: Sweep) -> None:
        for order in self._register.open_orders():
            if order.state is State.UNKNOWN:
                ids = self._register.ids.take(len(order.legs))
                tickets = zip(order.tickets, ids, strict=True)
                again = [replace(one, order_id=new, parent_id=ids[0] if one.parent_id else 0) for one, new in tickets]
                self._scribe.send(PlaceOrders(tuple(again)))

    patch.setattr(Reconciler, "judge", resend)


def a_notice_ends_an_order(patch: pytest.MonkeyPatch) -> None:
    """What the library did with 10349 (A1)."""
    error = Reconciler.receive_error

    def believe(self: Reconciler, event: Any) -> bool:
        found = self._register.leg_by_order_id(event.req_id)
        if found and evidence.meaning_of(found[1], event) is ErrorMeaning.NOTICE and not found[1].terminal:
            self._scribe.happened(found[0], [found[1]], Event.CANCEL)
            return True
        return error(self, event)

    patch.setattr(Reconciler, "receive_error", believe)


def an_error_on_a_cancel_ends_the_order(patch: pytest.MonkeyPatch) -> None:
    """10147 read as "gone", although it also follows a fill (A11)."""
    error = Reconciler.receive_error

    def believe(self: Reconciler, event: Any) -> bool:
        found = self._register.leg_by_order_id(event.req_id)
        if found and event.code in evidence.CANCEL_CODES and not found[1].terminal:
            self._scribe.happened(found[0], [found[1]], Event.CANCEL)
            return True
        return error(self, event)

    patch.setattr(Reconciler, "receive_error", believe)


def fills_need_a_ready_session(patch: pytest.MonkeyPatch) -> None:
    """Executions are dropped while 1100 stands (A4)."""
    execution = Reconciler.receive_execution

    def gated(self: Reconciler, event: Any) -> None:
        if not self._fence.sweeping and not getattr(self, "ready", False):
            return
        execution(self, event)

    patch.setattr(Reconciler, "receive_execution", gated)


def corrections_are_added(patch: pytest.MonkeyPatch) -> None:
    """Executions are counted by their full id (E11)."""
    patch.setattr("gateway_proxy.core.register.execution_stem", lambda exec_id: exec_id)
    patch.setattr("gateway_proxy.core.reconciler.execution_stem", lambda exec_id: exec_id)


def a_repeated_execution_is_a_new_one(patch: pytest.MonkeyPatch) -> None:
    """Every copy of a fill is taken and told."""
    falling = itertools.count(0, -1)
    patch.setattr("gateway_proxy.core.reconciler._revision", lambda exec_id: next(falling))


def legs_are_written_one_by_one(patch: pytest.MonkeyPatch) -> None:
    """A bracket as three writes, each transmitting (A14)."""
    send = Scribe.send

    def apart(self: Scribe, call: Any) -> None:
        for ticket in call.tickets if isinstance(call, PlaceOrders) else ():
            send(self, PlaceOrders((replace(ticket, transmit=True),)))
        if not isinstance(call, PlaceOrders):
            send(self, call)

    patch.setattr(Scribe, "send", apart)


def the_kill_switch_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """It lives in memory only."""

    def halt(self: Scribe, reason: str, *, cancel_entries: bool = False) -> None:
        self.register.halted = reason

    patch.setattr(Scribe, "halt", halt)


def the_deadline_is_checked_at_the_door_only(patch: pytest.MonkeyPatch) -> None:
    """What waited for pacing is sent whenever it is granted (A7)."""
    patch.setattr(Placement, "_why_not_now", lambda self, order: "")


def a_closed_gate_lets_orders_pass(patch: pytest.MonkeyPatch) -> None:
    """Health is a light on the dashboard."""
    patch.setattr(Admission, "gate_reason", property(lambda self: ""))


def limits_are_off(patch: pytest.MonkeyPatch) -> None:
    """The runaway engine runs (A19)."""
    patch.setattr(Admission, "refusal", lambda self, ask, now, besides="": "")


def old_quotes_are_good_enough(patch: pytest.MonkeyPatch) -> None:
    """Yesterday's quote prices today's order (A18)."""
    patch.setattr(Admission, "quote", lambda self, key, now: self._quotes.get(key, (None, 0))[0])
    patch.setattr("gateway_proxy.core.risk.Risk._collar", lambda self, ask, book: iter(()))


def answers_come_before_the_journal(patch: pytest.MonkeyPatch) -> None:
    """The engine hears "accepted" while the order is only queued."""
    placement = answers.placement

    def early(order: Order) -> Any:
        return placement(order) or answers.body_of(order, "accepted")

    patch.setattr(answers, "placement", early)


def everybody_is_told_twice(patch: pytest.MonkeyPatch) -> None:
    """The waiters are not struck off the list."""
    patch.setattr(answers.Waiters, "leave", lambda self, subject: list(self._waiting.get(subject, ())))


def cancels_that_were_not_sent_stay_unanswered(patch: pytest.MonkeyPatch) -> None:
    """Only a confirmed cancel has an answer."""
    patch.setattr(Changes, "_cancel_answer", staticmethod(answers.cancellation))


def half_a_bracket_is_left_alone(patch: pytest.MonkeyPatch) -> None:
    """The lost stop is somebody else's problem (A14)."""
    patch.setattr(Protection, "_half_a_bracket", lambda self, order: None)


def ghosts_are_welcome(patch: pytest.MonkeyPatch) -> None:
    """An order that lives after its end is left working."""
    patch.setattr(Protection, "_ghosts", lambda self, order: None)


def positions_are_taken_as_they_come(patch: pytest.MonkeyPatch) -> None:
    """No comparison with the fills (A10)."""
    patch.setattr(Reconciler, "_judge_positions", lambda self, sweep: False)


def foreign_orders_are_tidied_up(patch: pytest.MonkeyPatch) -> None:
    """Whatever is not in the journal is an orphan (A15)."""
    patch.setattr(Reconciler, "_note_foreign", lambda self, event: self._scribe.send(CancelOrder(event.order_id)))


def fills_need_a_status(patch: pytest.MonkeyPatch) -> None:
    """Executions are for accounting only (A13)."""
    patch.setattr(Reconciler, "receive_execution", lambda self, event: None)


def resurrections_are_quiet(patch: pytest.MonkeyPatch) -> None:
    """A stale status after the cancel is believed at once."""
    patch.setattr(Fence, "sweeping", property(lambda self: True))


def news_is_whatever_arrives(patch: pytest.MonkeyPatch) -> None:
    """Repetitions are journaled and published again."""
    patch.setattr(Finding, "is_news", property(lambda self: True))


VARIANTS: dict[Break, Judge] = {
    a_timeout_is_a_rejection: lives,
    the_journal_comes_after_the_write: crash("place_bracket", "well"),
    ids_follow_ib_down: lives,
    repetitions_are_new_orders: lives,
    one_sweep_decides: lives,
    the_expiry_is_not_awaited: faults.test_bytes_of_a_dead_session_keep_an_order_unknown_until_it_has_expired,
    unknown_orders_are_sent_again: lives,
    a_notice_ends_an_order: lambda: accidents.test_a1_a_notice_on_a_live_order_is_not_its_end(10349),
    an_error_on_a_cancel_ends_the_order: lambda: accidents.test_a11_an_error_on_a_cancel_means_look(10147, ""),
    fills_need_a_ready_session: accidents.test_a4_fills_count_while_the_connection_to_ib_is_flagged_broken,
    corrections_are_added: faults.test_a_correction_of_an_execution_replaces_it,
    a_repeated_execution_is_a_new_one: faults.test_duplicate_and_reordered_messages_change_nothing,
    legs_are_written_one_by_one: crash("place_bracket", "well"),
    the_kill_switch_is_forgotten: gates.test_the_kill_switch_stops_queue_and_unfilled_and_survives_a_restart,
    the_deadline_is_checked_at_the_door_only: requests.test_an_order_whose_deadline_passes_in_the_queue_is_never_sent,
    a_closed_gate_lets_orders_pass: gates.test_a_closed_gate_refuses_withdraws_and_lets_cancels_pass,
    limits_are_off: accidents.test_a19_a_runaway_engine_is_stopped_by_the_rate_and_can_still_cancel,
    old_quotes_are_good_enough: accidents.test_a18_an_order_is_not_priced_on_an_old_quote,
    answers_come_before_the_journal: requests.test_everything_is_durable_before_it_is_written_or_told,
    everybody_is_told_twice: lives,
    cancels_that_were_not_sent_stay_unanswered: lives,
    half_a_bracket_is_left_alone: accidents.test_a14_a_position_that_lost_its_stop_gets_a_new_one,
    ghosts_are_welcome: faults.test_bytes_of_a_dead_session_that_execute_after_the_fence_are_an_alarm,
    positions_are_taken_as_they_come: accidents.test_a10_a_position_that_our_fills_do_not_explain_locks_trading,
    foreign_orders_are_tidied_up: accidents.test_a15_foreign_orders_are_seen_and_never_touched,
    fills_need_a_status: accidents.test_a13_executions_alone_fill_an_order,
    resurrections_are_quiet: faults.test_a_status_overtaken_by_the_cancel_is_not_a_resurrection,
    news_is_whatever_arrives: faults.test_duplicate_and_reordered_messages_change_nothing,
}


@pytest.mark.parametrize(("broken", "judge"), list(VARIANTS.items()), ids=[one.__name__ for one in VARIANTS])
def test_the_suite_catches_this_mistake(monkeypatch, broken, judge):
    """With the mistake in place the judge fails; without it (in its own file) it passes."""
    broken(monkeypatch)

    with pytest.raises((AssertionError, LookupError, ValueError)):
        judge()
