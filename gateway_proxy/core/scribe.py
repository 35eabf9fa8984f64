"""The scribe: writes what happened to orders — journal first, then memory, then the bus. Pure.

Every part of the order path tells it facts and never touches the register or the effects itself, so that the order
"durable, remembered, told" is written down once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import Fill
from gateway_proxy.core.effects import Append, Call, Log, Publish, Reply, Send
from gateway_proxy.core.orders import ChangeEvent, Event, Execution, Leg, Order
from gateway_proxy.core.register import Register
from gateway_proxy.core.submissions import OrderEffect, Waiter
from gateway_proxy.errors import ProxyError


class Scribe:
    """Collects the effects of one turn. `now` and `wall_ns` are those of the last thing that happened."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self.effects: list[OrderEffect] = []
        self.now = 0.0
        #: Counts what happened; orders events that the clock cannot tell apart.
        self.turn = 0
        self.wall_ns = 0
        #: The journal refused a record: openings stop, cancels go on unrecorded.
        self.journal_down = False
        #: Orders to look at before the turn ends, in the order they changed.
        self.touched: dict[str, Order] = {}

    def tick(self, now: float, wall_ns: int | None = None) -> None:
        """Time moved. Without a wall time it is carried forward by the same span."""
        self.wall_ns = wall_ns if wall_ns is not None else self.wall_ns + int((now - self.now) * 1e9)
        self.now = now
        self.turn += 1

    def record(self, kind: str, client_order_id: str, **body: Any) -> None:
        """Durable first, remembered second. An impossible record raises and leaves both untouched."""
        self.register.apply(kind, client_order_id, body)
        if not self.journal_down:
            self.effects.append(Append(kind, client_order_id, body))
        order = self.register.orders.get(client_order_id)
        if order is not None:
            self.touched[client_order_id] = order

    def happened(self, order: Order, legs: Iterable[Leg], event: Event, **facts: Any) -> None:
        """One event of the table, to some legs of one order."""
        names = [leg.name for leg in legs]
        if names:
            self.record("event", order.client_order_id, legs=names, event=event.value, **facts)

    def changing(self, order: Order, leg: Leg, what: str, event: ChangeEvent, **facts: Any) -> None:
        """A step of a cancel or a modification."""
        self.record("change", order.client_order_id, legs=[leg.name], what=what, event=event.value, **facts)

    def halt(self, reason: str, *, cancel_entries: bool = False) -> None:
        """No opening order leaves until an operator resumes; survives restarts. The first reason stays.

        cancel_entries: working entries shall go too, also those that a crash kept from being cancelled.
        """
        if self.register.halted and (self.register.halt_cancels or not cancel_entries):
            return
        self.record("halt", "", reason=self.register.halted or reason, cancel_entries=cancel_entries)
        self.log("error", "trading halted", reason=reason)

    def send(self, call: Call) -> None:
        self.effects.append(Send(call))

    def reply(self, waiter: Waiter, answer: dict[str, Any] | ProxyError) -> None:
        if isinstance(answer, ProxyError):
            self.effects.append(Reply(waiter.client, waiter.request_id, error=answer))
        else:
            self.effects.append(Reply(waiter.client, waiter.request_id, body=answer))

    def publish(self, order: Order) -> None:
        self.effects.append(Publish(topics.orders(order.engine), "order", order.view(self.wall_ns)))

    def publish_fill(self, order: Order, leg: Leg, execution: Execution) -> None:
        self.effects.append(Publish(topics.FILLS, "fill", self.fill_of(order, leg, execution)))

    @staticmethod
    def fill_of(order: Order, leg: Leg, execution: Execution) -> Fill:
        return Fill(
            exec_id=execution.exec_id,
            engine=order.engine,
            client_order_id=order.client_order_id,
            leg=leg.name,
            order_id=leg.ticket.order_id,
            symbol=order.contract.symbol,
            contract=order.contract,
            action=leg.ticket.action,
            quantity=execution.quantity,
            price=execution.price,
            time_ns=execution.time_ns,
            commission=execution.commission,
            realized_pnl=execution.realized_pnl,
            simulated=order.simulated,
        )

    def log(self, level: str, event: str, **fields: Any) -> None:
        self.effects.append(Log(level, event, fields))

    def drain(self) -> list[OrderEffect]:
        effects, self.effects = self.effects, []
        return effects
