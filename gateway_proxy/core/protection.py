"""Protection: what the proxy does on its own to keep accidents small. Pure.

It only ever cancels entries and guards positions, never opens one: the kill switch, the dead-man rule, orders that
live when they should not, and brackets that lost a leg.
"""

from __future__ import annotations

from dataclasses import replace

from gateway_proxy.bus.messages import KillArgs
from gateway_proxy.core.admission import Admission, OrderSettings
from gateway_proxy.core.changes import Changes
from gateway_proxy.core.deadlines import Deadlines
from gateway_proxy.core.identifiers import GUARDS_MAX, guard_names, order_reference, payload_hash
from gateway_proxy.core.orders import ALIVE, Change, Leg, Order, State
from gateway_proxy.core.placement import Placement
from gateway_proxy.core.scribe import Scribe


class Protection:
    """Rules that look at one order after each change of it, and switches that look at all of them."""

    def __init__(
        self,
        settings: OrderSettings,
        scribe: Scribe,
        admission: Admission,
        placement: Placement,
        changes: Changes,
        deadlines: Deadlines,
    ) -> None:
        self._settings = settings
        self._scribe = scribe
        self._register = scribe.register
        self._admission = admission
        self._placement = placement
        self._changes = changes
        self._deadlines = deadlines

    # ---------------------------------------------------------------- switches

    def kill(self, args: KillArgs) -> dict[str, object]:
        """Stop every opening order until `resume`, durably; withdraw the queue and cancel unfilled entries."""
        reason = args.reason or "kill switch"
        self._scribe.halt(reason, cancel_entries=args.cancel_open)
        withdrawn = self._placement.withdraw_queued(f"trading is halted: {reason}")
        cancelled = self._cancel_entries() if args.cancel_open else []
        return {"state": "halted", "reason": self._register.halted, "withdrawn": withdrawn, "cancelled": cancelled}

    def after_sweep(self) -> None:
        """A kill is finished by the next life if a crash came between its word and its cancels.

        Only entries that the sweep has shown alive: the others must first be found, or be proven never placed.
        """
        if not (self._register.halted and self._register.halt_cancels):
            return
        for order in self._register.open_orders():
            if order.opening and order.entry.state in (State.WORKING, State.PARTIAL):
                self._changes.cancel(order, [order.entry])

    def heartbeat(self, engine: str) -> None:
        """The engine lives. Its first heartbeat puts it under the dead-man rule."""
        if self._settings.dead_man_s:
            at = self._scribe.now + self._settings.dead_man_s
            self._deadlines.set(f"heartbeat {engine}", at, lambda: self._engine_is_silent(engine))

    def _engine_is_silent(self, engine: str) -> None:
        """Entries that nobody watches are taken back; exits stay."""
        self._placement.withdraw_queued("its engine is silent", engine=engine)
        cancelled = self._cancel_entries(engine)
        self._scribe.log("error", "engine is silent", engine=engine, cancelled=cancelled)

    def _cancel_entries(self, engine: str | None = None) -> list[str]:
        orders = [
            order
            for order in self._register.open_orders()
            if order.opening and engine in (None, order.engine) and not order.entry.terminal
        ]
        for order in orders:
            self._changes.cancel(order, [order.entry])
        return [order.client_order_id for order in orders]

    # ---------------------------------------------------------------- rules after each change

    def look(self, order: Order) -> None:
        self._ghosts(order)
        guarded = self._register.orders.get(order.guards)
        if guarded is not None and not guarded.released:
            self._half_a_bracket(guarded)
        if order.exits and not order.simulated and not order.released:
            self._half_a_bracket(order)

    def _ghosts(self, order: Order) -> None:
        for leg in order.legs:
            if leg.state in (State.LATE, State.DUPLICATE_LIVE):
                self._scribe.halt(
                    f"order {order.client_order_id} {leg.name} is {leg.state.value}: alive against the rules"
                )
                if leg.cancel is Change.NONE:
                    self._changes.cancel(order, [leg])

    def _half_a_bracket(self, order: Order) -> None:
        """An entry that lost an exit is cancelled while unfilled, and gets an emergency stop once filled (A14)."""
        lost = [leg for leg in order.exits if leg.terminal and leg.state is not State.FILLED]
        if not lost or order.entry.state not in (*ALIVE, State.FILLED, State.CANCELLED):
            return
        if not order.entry.terminal and not order.entry.filled:
            if order.entry.cancel is Change.NONE:
                names = ", ".join(leg.name for leg in lost)
                self._scribe.log("error", "bracket is broken", client_order_id=order.client_order_id, lost=names)
                self._changes.cancel(order, [order.entry])
        elif self._unguarded(order):
            self._guard_soon(order)

    def _guard_soon(self, order: Order) -> None:
        """A stop that OCA cancelled dies a moment before the fill of its sibling is told."""
        at = self._scribe.now + self._settings.news_grace_s
        self._deadlines.set(f"guard {order.client_order_id}", at, lambda: self._guard(order))

    def _stop_lives(self, order: Order) -> bool:
        return not order.leg("stop_loss").terminal

    def _unguarded(self, order: Order) -> float:
        """How much of the filled entry neither an exit has closed nor a stop guards."""
        closed = sum(leg.filled for leg in order.exits)
        guards = [guard for name in guard_names(order.client_order_id) if (guard := self._register.orders.get(name))]
        guarded = sum(guard.entry.ticket.quantity for guard in guards if not _failed(guard.entry))
        if self._stop_lives(order):
            return 0.0
        return max(0.0, order.entry.filled - closed - guarded)

    def _guard(self, order: Order) -> None:
        """Place a stop where the lost one stood. It shares the OCA group, so that the profit exit ends it."""
        quantity = int(self._unguarded(order))
        name = next((one for one in guard_names(order.client_order_id) if one not in self._register.orders), None)
        if quantity <= 0 or order.released:
            return
        if self._admission.gate_reason:
            self._guard_soon(order)
            return
        if name is None:
            self._scribe.halt(
                f"order {order.client_order_id} has a position without a stop; {GUARDS_MAX} repairs failed"
            )
            return
        ticket = replace(
            order.leg("stop_loss").ticket,
            order_id=self._register.ids.take(1)[0],
            quantity=quantity,
            parent_id=0,
            transmit=True,
            order_ref=order_reference(name, order.account, "stop_loss"),
        )
        guard = Order(
            client_order_id=name,
            engine=order.engine,
            payload_hash=payload_hash("guard", ticket),
            legs=(Leg("entry", ticket),),
            simulated=order.simulated,
            opening=False,
            multiplier=order.multiplier,
            min_tick=order.min_tick,
            guards=order.client_order_id,
            intent_ns=self._scribe.wall_ns,
            expires_ns=self._scribe.wall_ns + int(self._settings.queue_deadline_s * 1e9),
        )
        self._scribe.log("error", "position without a stop", client_order_id=order.client_order_id, guard=name)
        self._placement.submit(guard, self._scribe.now + self._settings.queue_deadline_s)


def _failed(leg: Leg) -> bool:
    return leg.terminal and leg.state is not State.FILLED
