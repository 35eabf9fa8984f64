"""Changes: cancelling and moving orders that are out already. Pure.

A cancel is idempotent and may be repeated; it is never held back by limits on opening, by the kill switch or by a
broken journal. A modification moves a price in place, only on a leg that IB has shown working and only while the
session is ready: a change sent over a shaky link can leave two live orders (A6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway_proxy.bus.messages import CancelArgs, ModifyArgs
from gateway_proxy.core import answers, simulated_fills
from gateway_proxy.core.admission import Admission, OrderSettings
from gateway_proxy.core.deadlines import Deadlines
from gateway_proxy.core.effects import CancelOrder, PlaceOrders
from gateway_proxy.core.orders import Change, ChangeEvent, Leg, Order, State, changed_ticket
from gateway_proxy.core.quote_waits import QuoteWaits
from gateway_proxy.core.reconciler import Reconciler
from gateway_proxy.core.risk import Risk
from gateway_proxy.core.scribe import Scribe
from gateway_proxy.core.submissions import Jobs, Submit, Waiter
from gateway_proxy.core.tickets import exits_fault, off_grid
from gateway_proxy.errors import JournalUnavailable, ProxyError, Refused

_CHANGEABLE = (State.WORKING, State.PARTIAL)


@dataclass(frozen=True, slots=True)
class Parked:
    """A move of an entry that waits for the quote its new price is judged by. Nothing of it is durable yet."""

    waiter: Waiter
    order: Order
    args: ModifyArgs


class Changes:
    """Cancels and modifications, from the request to its answer."""

    def __init__(
        self,
        settings: OrderSettings,
        scribe: Scribe,
        admission: Admission,
        risk: Risk,
        reconciler: Reconciler,
        jobs: Jobs,
        deadlines: Deadlines,
    ) -> None:
        self._settings = settings
        self._scribe = scribe
        self._admission = admission
        self._risk = risk
        self._reconciler = reconciler
        self._jobs = jobs
        self._deadlines = deadlines
        self._cancels = answers.Waiters(settings.waiters_max)
        self._modifications = answers.Waiters(settings.waiters_max)
        self.waits = QuoteWaits(deadlines, self._decide)

    # ---------------------------------------------------------------- cancel

    def receive_cancel(self, waiter: Waiter, order: Order, args: CancelArgs) -> None:
        """Cancel the entry, or with `exits` everything. Raises Refused when that would leave a position unguarded."""
        legs = self._asked(order, exits=args.exits)
        if (answer := answers.cancellation(order, legs)) is not None:
            if not args.exits and order.entry.filled and any(not leg.terminal for leg in order.exits):
                raise Refused(
                    "the entry is filled and its exits guard the position; cancel with exits=true to drop them"
                )
            self._scribe.reply(waiter, answer)
            return
        if reason := self._risk.cancel_refusal(order.engine, order.account, self._scribe.now):
            raise Refused(reason)
        self._cancels.join(_subject(order, exits=args.exits), waiter)
        self._risk.cancelled(order.engine, order.account, self._scribe.now)
        self.cancel(order, legs, released=args.exits)

    def cancel(self, order: Order, legs: Sequence[Leg], *, released: bool = False) -> None:
        """Ask IB to end these legs. What is asked already, or has ended, is left alone."""
        for leg in legs:
            if not leg.terminal and leg.cancel in (Change.NONE, Change.UNKNOWN) and leg.state is not State.INTENT:
                self._scribe.changing(order, leg, "cancel", ChangeEvent.ASK, released=released)
                self._submit(order, leg, "cancel")

    @staticmethod
    def _asked(order: Order, *, exits: bool) -> tuple[Leg, ...]:
        return order.legs if exits else (order.entry,)

    def _submit(self, order: Order, leg: Leg, what: str) -> None:
        send = self._send_cancel if what == "cancel" else self._send_modification
        job_id = self._jobs.new(lambda: send(order, leg), lambda: self._not_sent(order, leg, what))
        self._scribe.effects.append(
            Submit(
                job_id=job_id,
                lane="PROTECTIVE",
                owner=order.engine,
                messages=1,
                contract_key=order.contract.key,
                action=leg.ticket.action,
                account=order.account,
                deadline=self._scribe.now + self._settings.queue_deadline_s,
                call=CancelOrder(leg.ticket.order_id) if what == "cancel" else None,
            )
        )

    def _send_cancel(self, order: Order, leg: Leg) -> None:
        if leg.cancel is not Change.INTENT:
            return
        if leg.terminal:
            self._scribe.changing(order, leg, "cancel", ChangeEvent.SETTLE)
            return
        self._scribe.changing(order, leg, "cancel", ChangeEvent.WRITE)
        if order.simulated:
            self._reconciler.receive_completed(simulated_fills.cancelled(leg, "cancelled on request"))
            return
        self._scribe.send(CancelOrder(leg.ticket.order_id))
        self._expect(order, leg, "cancel")

    # ---------------------------------------------------------------- modify

    def receive_modify(self, waiter: Waiter, order: Order, args: ModifyArgs) -> None:
        """Move a price. Raises Refused for whatever cannot be moved now, naming what would be right."""
        name = _modification(order, args.leg)
        if self.waits.get(name) is not None:
            raise Refused(f"an earlier modification of {args.leg} waits for a quote")
        parked = Parked(waiter, order, args)
        if not self._move(parked, may_wait=True):
            self.waits.hold(name, parked, order.contract, self._scribe.now + self._settings.quote_wait_s)

    def _decide(self, parked: Parked, may_wait: bool) -> bool:
        """About one that waits for a quote: who asked is told when it cannot be."""
        try:
            return self._move(parked, may_wait=may_wait)
        except ProxyError as error:
            self._scribe.reply(parked.waiter, error)
            return True

    def _move(self, parked: Parked, *, may_wait: bool) -> bool:
        """False, and nothing done, when only a quote is missing and it may wait for that."""
        waiter, order, args = parked.waiter, parked.order, parked.args
        leg = self._changeable(order, args)
        wanted = changed_ticket(leg.ticket, args.limit_price, args.stop_price)
        if (wanted.limit_price, wanted.stop_price) == (leg.ticket.limit_price, leg.ticket.stop_price):
            self._scribe.reply(waiter, answers.body_of(order, "accepted"))
            return True
        if self._scribe.journal_down:
            raise JournalUnavailable("the order journal cannot be written; only cancels are possible")
        if reason := self._admission.gate_reason:
            raise Refused(f"not ready: {reason}")
        if leg is order.entry and order.opening:
            if reason := self._admission.opening_bar(order.contract.key):
                raise Refused(reason)
            now = self._scribe.now
            ask = self._admission.ask_again(order, now, price=wanted.limit_price)
            if may_wait and self._admission.needs_quote(ask, now):
                return False
            if reason := self._admission.refusal(self._admission.case(ask, now, besides=order.client_order_id), now):
                raise Refused(reason)
        self._modifications.join(_modification(order, leg.name), waiter)
        prices = {"limit_price": args.limit_price, "stop_price": args.stop_price}
        self._scribe.changing(order, leg, "modify", ChangeEvent.ASK, **prices)
        self._submit(order, leg, "modify")
        return True

    def _changeable(self, order: Order, args: ModifyArgs) -> Leg:
        leg = next((leg for leg in order.legs if leg.name == args.leg), None)
        if leg is None:
            raise Refused(f"order {order.client_order_id} has no {args.leg}")
        if leg.state not in _CHANGEABLE:
            raise Refused(f"{args.leg} is {leg.state.value}; only a working order can be moved")
        if leg.modify is not Change.NONE:
            raise Refused(f"an earlier modification of {args.leg} is not settled yet")
        ticket = leg.ticket
        for name, price, present in (
            ("limit_price", args.limit_price, ticket.limit_price),
            ("stop_price", args.stop_price, ticket.stop_price),
        ):
            if price is not None and present is None:
                raise Refused(f"{args.leg} is a {ticket.order_type} order and has no {name}")
            if fault := off_grid(name, price, ((0.0, order.min_tick),)):
                raise Refused(fault)
        moved = {one.name: one.ticket for one in order.legs}
        moved[leg.name] = changed_ticket(ticket, args.limit_price, args.stop_price)
        if fault := exits_fault(moved):
            raise Refused(fault)
        return leg

    def _send_modification(self, order: Order, leg: Leg) -> None:
        if leg.modify is not Change.INTENT or leg.wanted is None:
            return
        if leg.state not in _CHANGEABLE or self._admission.gate_reason:
            reason = self._admission.gate_reason or f"it is {leg.state.value} by now"
            self._scribe.changing(order, leg, "modify", ChangeEvent.SETTLE, reason=f"not moved: {reason}")
            return
        self._scribe.changing(order, leg, "modify", ChangeEvent.WRITE)
        if order.simulated:
            self._scribe.changing(order, leg, "modify", ChangeEvent.SETTLE, done=True)
            return
        self._scribe.send(PlaceOrders((leg.wanted,)))
        self._expect(order, leg, "modify")

    # ---------------------------------------------------------------- what became of it

    def _expect(self, order: Order, leg: Leg, what: str) -> None:
        at = self._scribe.now + self._settings.ack_timeout_s
        self._deadlines.set(f"{what} {leg.ticket.order_id}", at, lambda: self._silence(order, leg, what))

    def _silence(self, order: Order, leg: Leg, what: str) -> None:
        change = leg.cancel if what == "cancel" else leg.modify
        if change is Change.SENT:
            self._scribe.changing(order, leg, what, ChangeEvent.LOSE)
            self._reconciler.look()

    def _not_sent(self, order: Order, leg: Leg, what: str) -> None:
        change = leg.cancel if what == "cancel" else leg.modify
        if change is Change.INTENT:
            reason = f"{what} not sent: pacing held it too long"
            self._scribe.changing(order, leg, what, ChangeEvent.SETTLE, reason=reason)

    def settle(self, order: Order) -> None:
        """Close the sub-machines of legs that ended, and answer whoever waits."""
        for leg in order.legs:
            if leg.terminal and leg.cancel is not Change.NONE:
                self._scribe.changing(order, leg, "cancel", ChangeEvent.SETTLE)
            if leg.terminal and leg.modify is not Change.NONE:
                self._scribe.changing(order, leg, "modify", ChangeEvent.SETTLE, reason=f"it is {leg.state.value}")
            self._settle_modification(order, leg)
        for exits in (False, True):
            if (subject := _subject(order, exits=exits)) in self._cancels:
                answer = self._cancel_answer(order, self._asked(order, exits=exits))
                if answer is not None:
                    for waiter in self._cancels.leave(subject):
                        self._scribe.reply(waiter, answer)

    @staticmethod
    def _cancel_answer(order: Order, legs: tuple[Leg, ...]) -> dict[str, Any] | ProxyError | None:
        """None while a cancel is on its way."""
        if (answer := answers.cancellation(order, legs)) is not None:
            return answer
        changes = {leg.cancel for leg in legs if not leg.terminal}
        if changes & {Change.INTENT, Change.SENT}:
            return None
        if Change.UNKNOWN in changes:
            return answers.body_of(order, "unknown")
        return Refused(f"the cancel was not sent; the order is still {order.state.value}")

    def _settle_modification(self, order: Order, leg: Leg) -> None:
        subject = _modification(order, leg.name)
        if subject not in self._modifications or leg.modify in (Change.INTENT, Change.SENT):
            return
        state = "unknown" if leg.modify is Change.UNKNOWN else "accepted" if leg.moved else "rejected"
        for waiter in self._modifications.leave(subject):
            self._scribe.reply(waiter, answers.body_of(order, state))

    @property
    def waiting(self) -> int:
        return len(self._cancels) + len(self._modifications) + len(self.waits)


def _subject(order: Order, *, exits: bool) -> str:
    return f"{order.client_order_id} {'everything' if exits else 'entry'}"


def _modification(order: Order, leg: str) -> str:
    return f"{order.client_order_id} {leg}"
