"""The blotter: all our orders, from request to answer. Pure wiring of the order path.

The order of its effects is the write-ahead rule: the intent is appended before it is queued, the permission to write
before the write, and a state before anybody is told. It never resends an opening order. In dry-run everything happens
but the last step: where an order would be written, it is simulated instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from gateway_proxy.bus.messages import AccountValues, Contract, Fill, Mode, OrderUpdate, Quote, Request
from gateway_proxy.core import answers
from gateway_proxy.core.admission import Admission, OrderSettings
from gateway_proxy.core.changes import Changes
from gateway_proxy.core.citations import Told
from gateway_proxy.core.deadlines import Deadlines
from gateway_proxy.core.effects import Append, PlaceOrders, Reply, Send
from gateway_proxy.core.events import (
    CommissionReceived,
    CompletedOrderReceived,
    CompletedOrdersEnded,
    ContractDetails,
    ErrorReceived,
    ExecutionReceived,
    ExecutionsEnded,
    NextOrderId,
    OpenOrderReceived,
    OpenOrdersEnded,
    OrderEvent,
    OrderStatusReceived,
    PositionReceived,
    PositionsEnded,
    SessionClosed,
    SessionOpened,
)
from gateway_proxy.core.fence import Fence
from gateway_proxy.core.orders import Event, Order, State
from gateway_proxy.core.placement import Placement
from gateway_proxy.core.positions import Positions
from gateway_proxy.core.protection import Protection
from gateway_proxy.core.reconciler import Reconciler
from gateway_proxy.core.register import Register
from gateway_proxy.core.risk import Risk, RiskSettings
from gateway_proxy.core.scribe import Scribe
from gateway_proxy.core.submissions import Jobs, OrderEffect, Submit, Unwatch, Waiter, Watch
from gateway_proxy.errors import JournalUnavailable, ProxyError, Refused, UnknownOutcome

BlotterEvent = (
    OrderEvent | ErrorReceived | SessionOpened | SessionClosed | NextOrderId | PositionReceived | PositionsEnded
)
_FENCE_EVENTS = (NextOrderId, OpenOrdersEnded, CompletedOrdersEnded, ExecutionsEnded, PositionReceived, PositionsEnded)


class Blotter:
    """Feed it requests, grants, Gateway events and time; perform its effects in order, then feed the next thing.

    When the journal refuses an Append, perform nothing from that one on and hand it all to `journal_failed`.
    """

    def __init__(self, settings: OrderSettings, risk: RiskSettings, *, mode: Mode, told: Told) -> None:
        self._settings = settings
        self._mode = mode
        self.register = Register()
        self.risk = Risk(risk, self.register.day)
        self._scribe = scribe = Scribe(self.register)
        self._positions = Positions(self.register)
        self._fence = Fence(spacing_s=settings.sweep_spacing_s, step_timeout_s=settings.sweep_step_timeout_s)
        self._jobs, self._deadlines = Jobs(), Deadlines()
        foreign: dict[int, OpenOrderReceived] = {}
        self._admission = Admission(settings, self.risk, self.register, self._positions, foreign, told, mode=mode)
        self._reconciler = Reconciler(settings, scribe, self._fence, self._positions, self._deadlines, foreign)
        shared = (settings, scribe, self._admission, self.risk, self._reconciler, self._jobs, self._deadlines)
        self.placement = Placement(*shared, mode=mode)
        self._changes = Changes(*shared)
        self._protection = Protection(settings, scribe, self._admission, self.placement, self._changes, self._deadlines)
        self._watched: dict[str, Contract] = {}

    # ---------------------------------------------------------------- start-up is recovery

    def restore(self, records: Iterable[dict[str, Any]], now: float) -> None:
        """Replay the journal; then end what was never sent, and doubt what may have been."""
        wall_ns = 0
        for record in records:
            self.register.apply(record["kind"], record["client_order_id"], record["body"])
            wall_ns = max(wall_ns, record.get("wall_ns", 0))
        self._scribe.tick(now, wall_ns)
        for order in self.register.open_orders():
            for leg in order.legs:
                if leg.state is State.INTENT:
                    self._scribe.happened(order, [leg], Event.WITHDRAW, reason="the proxy stopped before it was sent")
                elif leg.state is State.SENDING:
                    self._scribe.happened(order, [leg], Event.LOSE, reason="the proxy stopped while sending")
        self._reconciler.restored(dry_run=self._mode == "dry-run")
        self._end_turn()

    # ---------------------------------------------------------------- requests

    def receive_request(
        self, client: Any, request: Request, now: float, wall_ns: int, resolved: ContractDetails | None = None
    ) -> None:
        """One trade operation; exactly one Reply will follow. `resolved`: what IB knows of the order's contract."""
        self._begin_turn(now, wall_ns)
        waiter = Waiter(client, request.id)
        try:
            self._dispatch(waiter, request, resolved)
        except ProxyError as error:
            self._scribe.reply(waiter, error)
        self._end_turn()

    def _dispatch(self, waiter: Waiter, request: Request, resolved: ContractDetails | None) -> None:
        args = request.args
        match request.op:
            case "order.place" | "order.bracket":
                self.placement.receive(waiter, request.op, args, request.expires_in_s, resolved)
            case "order.cancel":
                self._cancel(waiter, args)
            case "order.modify":
                self._changes.receive_modify(waiter, self._order(args.client_order_id), args)
            case "order.status":
                order = self.register.order_or_rest(args.client_order_id)
                wall_ns = self._scribe.wall_ns
                refused = self.register.refusals.get(args.client_order_id)
                self._scribe.reply(waiter, answers.status_of(args.client_order_id, order, refused, wall_ns))
            case "orders.open":
                self._scribe.reply(waiter, {"orders": [asdict(update) for update in self.snapshot(args.engine)]})
            case "kill":
                self._scribe.reply(waiter, self._protection.kill(args))
            case "resume":
                self._scribe.reply(waiter, self._resume())
            case _:
                raise AssertionError(f"{request.op} is not a trade operation")

    def _order(self, client_order_id: str) -> Order:
        order = self.register.orders.get(client_order_id)
        if order is None:
            rest = self.register.forgotten.get(client_order_id)
            if rest is not None:
                raise Refused(f"order {client_order_id}: it ended long ago, {rest.state.value}")
            raise Refused(f"no order with client_order_id {client_order_id!r}")
        return order

    def _cancel(self, waiter: Waiter, args: Any) -> None:
        if self.placement.unpark_cancelled(args.client_order_id):
            self._scribe.reply(waiter, answers.not_found(args.client_order_id))
            return
        order = self._order(args.client_order_id)
        if order.state is State.INTENT:
            self.placement.withdraw(order, "cancelled before it was sent")
        self._changes.receive_cancel(waiter, order, args)

    def _resume(self) -> dict[str, Any]:
        """The operator has looked: openings are allowed again, and what the broker holds is accepted."""
        was = self.register.halted
        self._scribe.record("resume", "")
        if self._positions.in_doubt:
            self._reconciler.adopt_positions()
        self._scribe.log("warning", "trading resumed", was=was)
        return {"state": "resumed", "was": was}

    # ---------------------------------------------------------------- pacing

    def granted(self, job_id: str, now: float, wall_ns: int) -> None:
        """Pacing let it go: it is asked again whether it may, and is sent in this turn or never."""
        self._begin_turn(now, wall_ns)
        self._jobs.granted(job_id)
        self._end_turn()

    def expired(self, job_id: str, now: float) -> None:
        """Its deadline passed while it was queued: it was not sent and will not be."""
        self._begin_turn(now)
        self._jobs.expired(job_id)
        self._end_turn()

    def refused(self, job_id: str, client_order_id: str, reason: str, now: float) -> None:
        """Pacing will not even queue it: a full queue, or no more orders on that side of the contract."""
        self._begin_turn(now)
        order = self.register.orders.get(client_order_id)
        if order is not None and order.state is State.INTENT:
            self.placement.withdraw(order, reason)
        self._jobs.expired(job_id)
        self._end_turn()

    # ---------------------------------------------------------------- the Gateway

    def receive_upstream(self, event: BlotterEvent, now: float, wall_ns: int) -> None:
        """Everything IB says about orders and positions; never gated, whatever the health is."""
        self._begin_turn(now, wall_ns)
        match event:
            case OpenOrderReceived():
                self._reconciler.receive_open_order(event)
            case OrderStatusReceived():
                self._reconciler.receive_status(event)
            case ExecutionReceived():
                self._reconciler.receive_execution(event)
            case CommissionReceived():
                self._reconciler.receive_commission(event)
            case CompletedOrderReceived():
                self._reconciler.receive_completed(event)
            case ErrorReceived():
                self._reconciler.receive_error(event)
            case SessionOpened():
                self.register.ids.saw(event.next_order_id - 1)
                self._admission.session_opened(event.accounts)
                self._fence.link_came_up(now)
            case SessionClosed():
                self._fence.link_went_down()
                self.placement.withdraw_queued("the Gateway session was lost", opening_only=False)
                self._reconciler.lose_link()
            case _:
                self._answer_sweep(event, now)
        self._end_turn()

    def _answer_sweep(self, event: Any, now: float) -> None:
        assert isinstance(event, _FENCE_EVENTS)
        if isinstance(event, NextOrderId):
            self.register.ids.saw(event.order_id - 1)
        if isinstance(event, PositionReceived):
            self._positions.reported(event.account, event.contract.key, event.quantity)
        sweep = self._fence.receive(event, now)
        if sweep is not None:
            self._reconciler.judge(sweep)
            self._protection.after_sweep()

    def receive_account(self, values: AccountValues, now: float) -> None:
        """Profit and loss of the day, for the loss limit."""
        self._scribe.tick(now)
        self._admission.receive_account(values)

    def receive_quote(self, quote: Quote, now: float) -> None:
        """For the price collar, for requests that wait for it, and for dry-run fills."""
        self._begin_turn(now)
        self._admission.receive_quote(quote, now)
        self.placement.waits.quote_arrived(quote.symbol)
        self._changes.waits.quote_arrived(quote.symbol)
        for order in self.register.open_orders():
            if order.simulated and order.contract.key == quote.symbol:
                self._reconciler.simulate(order, quote)
        self._end_turn()

    def receive_heartbeat(self, engine: str, now: float) -> None:
        """An engine reported itself alive (dead-man rule)."""
        self._begin_turn(now)
        self._protection.heartbeat(engine)
        self._end_turn()

    def gate(self, *, ready: bool, reason: str) -> None:
        """Whether health lets orders be written. Closing it withdraws what waits for pacing; cancels pass always."""
        was_open = not self._admission.gate_reason
        self._admission.gate(ready=ready, reason=reason)
        if was_open and not ready:
            self.placement.withdraw_queued(f"not ready: {reason}", opening_only=False)
            self._end_turn()

    # ---------------------------------------------------------------- the shell's side

    def effects(self) -> list[OrderEffect]:
        return self._scribe.drain()

    def next_timer(self) -> float | None:
        timers = [at for at in (self._deadlines.next(), self._fence.next_timer()) if at is not None]
        return min(timers, default=None)

    def handle_timer(self, now: float) -> None:
        self._begin_turn(now)
        self._deadlines.run(now)
        if self._fence.handle_timer(now):
            self._scribe.log("warning", "order sweep got no answer", failures=self._fence.failures)
        self._end_turn()

    def journal_failed(self, unperformed: Sequence[OrderEffect], now: float) -> None:
        """The journal refused the first of these, so none was performed. No new orders from here on; cancels go on."""
        self._scribe.journal_down = True
        self._scribe.tick(now)
        unsent = [one.call for one in unperformed if isinstance(one, Send) and isinstance(one.call, PlaceOrders)]
        self.placement.not_written(frozenset(ticket.order_id for call in unsent for ticket in call.tickets))
        self.placement.withdraw_queued("the order journal cannot be written", opening_only=False)
        self._scribe.log("error", "order journal cannot be written", unperformed=len(unperformed))
        for effect in unperformed:
            if isinstance(effect, Reply) and effect.error is None:
                self._scribe.effects.append(self._doubtful(effect))
            elif not _adds_orders(effect):
                self._scribe.effects.append(effect)
        self._end_turn()

    @staticmethod
    def _doubtful(reply: Reply) -> Reply:
        """A "yes" that is not durable must not be said."""
        body = reply.body if isinstance(reply.body, dict) else {}
        name = str(body.get("client_order_id", ""))
        if body.get("order_ids"):
            error: ProxyError = UnknownOutcome("the order journal failed while the answer came in", ref=name)
        else:
            error = JournalUnavailable("the order journal cannot be written")
        return Reply(reply.client, reply.request_id, error=error)

    # ---------------------------------------------------------------- views

    def knows(self, client_order_id: str) -> bool:
        """Something was decided about this id: it has an answer, or will have, without asking IB."""
        return (
            self.register.payload_hash(client_order_id) is not None
            or self.placement.waits.get(client_order_id) is not None
        )

    def fills(self) -> list[Fill]:
        """Every execution of the orders in memory, oldest first; corrections have replaced what they correct."""
        return sorted(
            (
                self._scribe.fill_of(order, leg, execution)
                for order in self.register.orders.values()
                for leg in order.legs
                for execution in leg.executions.values()
            ),
            key=lambda fill: fill.time_ns,
        )

    def summary(self) -> dict[str, Any]:
        """Counts and states for the health topics."""
        states = [order.state for order in self.register.open_orders()]
        return {
            "open": len(states),
            "unknown": states.count(State.UNKNOWN),
            "queued": states.count(State.INTENT),
            "foreign": len(self._reconciler.foreign),
            "waiting": self.placement.waiting + self._changes.waiting,
            "halted": self.register.halted,
            "not_ready": self._admission.gate_reason,
            "journal_down": self._scribe.journal_down,
            "written": self.placement.written,
            "intents": self.placement.intents,
            "authorised": self.placement.authorised,
            "highest_order_id": self.register.ids.highest,
            "efficiency_ratio": round(self.risk.efficiency_ratio, 2),
        }

    @property
    def is_synchronized(self) -> bool:
        """At least one complete sweep over the present link, and positions explained."""
        return not self._admission.is_recovering

    def snapshot(self, engine: str | None = None) -> list[OrderUpdate]:
        """Orders that may still do something, oldest first."""
        wall_ns = self._scribe.wall_ns
        return [order.view(wall_ns) for order in self.register.open_orders() if engine in (None, order.engine)]

    @property
    def open_count(self) -> int:
        return sum(1 for _ in self.register.open_orders())

    @property
    def foreign_count(self) -> int:
        """Live orders at IB that are not ours."""
        return len(self._reconciler.foreign)

    @property
    def not_ready(self) -> str:
        """Why no order may be written now, "" when it may: the gate of health, or reconciliation."""
        return self._admission.gate_reason

    @property
    def halted(self) -> str:
        """Why openings are stopped until an operator acts, "" when they are not."""
        if self._scribe.journal_down:
            return "the order journal cannot be written; mend its disk, then restart the proxy"
        return self.register.halted

    # ---------------------------------------------------------------- one turn

    def _begin_turn(self, now: float, wall_ns: int | None = None) -> None:
        self._scribe.tick(now, wall_ns)
        # Before the session is ready, the Gateway's time may not be known yet.
        if wall_ns and not self._admission.gate_reason and not self.register.day.holds(wall_ns):
            self._scribe.record("day", "", wall_ns=wall_ns)

    def _end_turn(self) -> None:
        """Rules and answers for every order that changed, until nothing changes any more; then tell."""
        changed: dict[str, Order] = {}
        while self._scribe.touched:
            name, order = self._scribe.touched.popitem()
            changed[name] = order
            self._changes.settle(order)
            self._protection.look(order)
        for order in changed.values():
            if order.state is not State.SENDING:
                self._scribe.publish(order)
            self.placement.settle(order)
        self._sweep()
        self._hold_gate()
        self._watch()

    def _sweep(self) -> None:
        now = self._scribe.now
        call = self._fence.call(now, self._scribe.turn)
        if call is None:
            return
        deadline = now + self._settings.sweep_step_timeout_s
        job_id = self._jobs.new(lambda: self._scribe.send(call), _give_up)
        self._scribe.effects.append(Submit(job_id, "PROTECTIVE", "", 1, "", None, "", deadline, call))

    def _hold_gate(self) -> None:
        if self._mode == "dry-run" and self._fence.closed:
            self._admission.recovering("")
        elif not self._fence.closed:
            self._admission.recovering("recovering: orders are being reconciled with IB")
        elif self._positions.in_doubt and not self.register.halted:
            self._admission.recovering("recovering: positions are being reconciled with IB")
        else:
            self._admission.recovering("")

    def _watch(self) -> None:
        """Keep quote streams for what waits for a quote and for what dry-run may fill."""
        wanted = self.placement.waits.contracts | self._changes.waits.contracts
        for order in self.register.open_orders():
            if order.simulated or order.state is State.INTENT:
                wanted[order.contract.key] = order.contract
        for key in wanted.keys() - self._watched.keys():
            self._scribe.effects.append(Watch(wanted[key]))
        for key in self._watched.keys() - wanted.keys():
            self._scribe.effects.append(Unwatch(self._watched[key]))
        self._watched = wanted


def _adds_orders(effect: OrderEffect) -> bool:
    """What must not be done without a journal: records themselves, order writes, and the way to them."""
    if isinstance(effect, Submit):
        return effect.lane == "ORDER"
    return isinstance(effect, Append) or (isinstance(effect, Send) and isinstance(effect.call, PlaceOrders))


def _give_up() -> None:
    """Pacing never let a sweep request go; the deadline of the sweep's step deals with it."""
