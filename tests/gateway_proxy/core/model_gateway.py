"""A small pure model of IB's side of the order path: takes calls, answers with events, keeps the truth for the judge.

It knows orders, executions and positions, and the ways IB is known to misbehave: dropping an order in silence, holding
its answers back, executing bytes of a dead session later, and forgetting everything.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev

LIVE = ("PreSubmitted", "Submitted")


@dataclass
class Held:
    """One order as IB has it."""

    ticket: fx.OrderTicket
    perm_id: int
    status: str
    filled: float = 0.0


class ModelGateway:
    def __init__(self, account: str = "DU1") -> None:
        self.account = account
        self.next_order_id = 1
        self.orders: dict[int, Held] = {}
        self.executions: list[ev.ExecutionReceived] = []
        self.outbox: deque[object] = deque()
        #: Every placement that arrived, by order id: more than one per id must be a modification.
        self.placed: list[fx.OrderTicket] = []
        self.calls: list[fx.Call] = []
        self.drop_orders = 0
        self.refuse_next: tuple[int, str] | None = None
        self.silent = False
        self.mute = False
        self.hold_orders = False
        self.late_bytes: list[fx.PlaceOrders] = []
        self._untransmitted: list[fx.OrderTicket] = []
        self._perm_ids = 9000

    # ------------------------------------------------------------ what the proxy sends

    def receive(self, call: fx.Call) -> None:
        self.calls.append(call)
        if self.mute:
            return
        match call:
            case fx.PlaceOrders():
                self._place_all(call)
            case fx.CancelOrder():
                self._cancel(call.order_id)
            case fx.RequestNextOrderId():
                self.outbox.append(ev.NextOrderId(self.next_order_id))
            case fx.RequestOpenOrders():
                for held in self.orders.values():
                    if held.status in LIVE:
                        self.outbox.extend((self.open_order(held), self.status(held)))
                self.outbox.append(ev.OpenOrdersEnded())
            case fx.RequestCompletedOrders():
                self.outbox.extend(self._completed(one) for one in self.orders.values() if one.status not in LIVE)
                self.outbox.append(ev.CompletedOrdersEnded())
            case fx.RequestExecutions():
                self.outbox.extend(replace(one, req_id=call.req_id) for one in self.executions)
                self.outbox.append(ev.ExecutionsEnded(call.req_id))
            case fx.RequestPositions():
                for contract, quantity in self.positions().items():
                    self.outbox.append(ev.PositionReceived(self.account, contract, quantity, 1.0))
                self.outbox.append(ev.PositionsEnded())

    def _place_all(self, call: fx.PlaceOrders) -> None:
        if self.hold_orders:
            self.hold_orders = False
            self.late_bytes.append(call)
            return
        if self.drop_orders > 0:
            self.drop_orders -= 1
            return
        for ticket in call.tickets:
            self.placed.append(ticket)
            self.next_order_id = max(self.next_order_id, ticket.order_id + 1)
            if self.refuse_next is not None:
                code, text = self.refuse_next
                self.refuse_next = None
                self.outbox.append(ev.ErrorReceived(ticket.order_id, code, text))
                return
            if ticket.order_id in self.orders:
                self._modify(ticket)
                continue
            self._untransmitted.append(ticket)
            if ticket.transmit:
                for one in self._untransmitted:
                    self._accept(one)
                self._untransmitted.clear()

    def _accept(self, ticket: fx.OrderTicket) -> None:
        self._perm_ids += 1
        held = Held(ticket, self._perm_ids, "PreSubmitted" if ticket.parent_id else "Submitted")
        self.orders[ticket.order_id] = held
        self._tell(held)

    def _modify(self, ticket: fx.OrderTicket) -> None:
        held = self.orders[ticket.order_id]
        if held.status in LIVE:
            held.ticket = ticket
            self._tell(held)

    def _cancel(self, order_id: int) -> None:
        held = self.orders.get(order_id)
        if held is None:
            self.outbox.append(ev.ErrorReceived(order_id, 10147, "OrderId that needs to be cancelled is not found."))
        elif held.status not in LIVE:
            self.outbox.append(ev.ErrorReceived(order_id, 10148, f"cannot be cancelled, state: {held.status}"))
        else:
            self.outbox.append(ev.ErrorReceived(order_id, 202, "Order Canceled - reason:"))
            self.end(order_id)

    # ------------------------------------------------------------ what happens at IB

    def execute_late_bytes(self) -> None:
        """Bytes of a session that is gone reach the order system now."""
        for call in self.late_bytes:
            self._place_all(call)
        self.late_bytes.clear()

    def end(self, order_id: int, status: str = "Cancelled") -> None:
        """Cancel an order and the children of an unfilled parent."""
        held = self.orders[order_id]
        held.status = status
        self._tell(held)
        for child in self.orders.values():
            if child.ticket.parent_id == order_id and child.status in LIVE and not held.filled:
                child.status = status
                self._tell(child)

    def fill(self, order_id: int, quantity: float | None = None, price: float = 10.0, *, status: bool = True) -> None:
        held = self.orders[order_id]
        ticket = held.ticket
        quantity = ticket.quantity - held.filled if quantity is None else quantity
        held.filled += quantity
        done = held.filled >= ticket.quantity
        held.status = "Filled" if done else held.status
        execution = ev.ExecutionReceived(
            req_id=-1,
            exec_id=f"0001.{order_id}.{len(self.executions) + 1:04d}.01",
            order_id=order_id,
            client_id=1,
            perm_id=held.perm_id,
            order_ref=ticket.order_ref,
            contract=ticket.contract,
            account=self.account,
            action=ticket.action,
            quantity=quantity,
            price=price,
            cumulative_quantity=held.filled,
            average_price=price,
            time_ns=1_000 + len(self.executions),
        )
        self.executions.append(execution)
        self._say(execution)
        if status:
            self._tell(held)
        for sibling in self.orders.values():
            same = ticket.oca_group and sibling.ticket.oca_group == ticket.oca_group
            if done and same and sibling is not held and sibling.status in LIVE:
                sibling.status = "Cancelled"
                self._tell(sibling)

    def positions(self) -> dict[Contract, float]:
        held: dict[Contract, float] = {}
        for one in self.executions:
            signed = one.quantity if one.action == "BUY" else -one.quantity
            held[one.contract] = held.get(one.contract, 0.0) + signed
        return held

    def live_or_filled(self) -> Counter[str]:
        """How many orders per reference are alive or traded: the judge's question."""
        return Counter(one.ticket.order_ref for one in self.orders.values() if one.status in LIVE or one.filled)

    # ------------------------------------------------------------ messages

    def open_order(self, held: Held) -> ev.OpenOrderReceived:
        ticket = held.ticket
        return ev.OpenOrderReceived(
            order_id=ticket.order_id,
            client_id=1,
            perm_id=held.perm_id,
            parent_id=ticket.parent_id,
            order_ref=ticket.order_ref,
            contract=ticket.contract,
            account=self.account,
            action=ticket.action,
            quantity=float(ticket.quantity),
            order_type=ticket.order_type,
            # On the wire a price that the order's type does not have is 0, not left out.
            limit_price=ticket.limit_price or 0.0,
            stop_price=ticket.stop_price or 0.0,
            tif=ticket.tif,
            status=held.status,
        )

    def status(self, held: Held) -> ev.OrderStatusReceived:
        return ev.OrderStatusReceived(
            order_id=held.ticket.order_id,
            client_id=1,
            perm_id=held.perm_id,
            parent_id=held.ticket.parent_id,
            status=held.status,
            filled=held.filled,
            remaining=held.ticket.quantity - held.filled,
            average_price=10.0 if held.filled else 0.0,
        )

    def _completed(self, held: Held) -> ev.CompletedOrderReceived:
        ticket = held.ticket
        return ev.CompletedOrderReceived(
            perm_id=held.perm_id,
            order_ref=ticket.order_ref,
            contract=ticket.contract,
            account=self.account,
            action=ticket.action,
            status=held.status,
            filled=held.filled,
            completed_status=held.status,
        )

    def _tell(self, held: Held) -> None:
        if held.status in LIVE:
            self._say(self.open_order(held))
        self._say(self.status(held))

    def _say(self, event: object) -> None:
        """Unasked news; `silent` is a Gateway that forgets to send them."""
        if not self.silent:
            self.outbox.append(event)
