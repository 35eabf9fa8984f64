"""Register: everything about orders that survives a restart, changed only by journal records. Pure.

The living blotter and the replay of the journal go through the same `apply`, so memory can never hold what the journal
does not. What is known only for this session (who waits for an answer, what was seen when) lives in the blotter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec import to_builtins

from gateway_proxy.bus.messages import Citation, Contract
from gateway_proxy.core.day import Day, day_of
from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.identifiers import OrderIds, execution_stem
from gateway_proxy.core.orders import (
    Change,
    ChangeEvent,
    Event,
    Execution,
    Leg,
    Order,
    State,
    changed_ticket,
    follow_change,
)

#: Ended orders and refusals kept whole in memory; the journal keeps them all.
REMEMBERED_MAX: Final = 20_000


#: Orders of which only the answer is kept, so that a repeated request never places them anew; 0.3 kB each.
FORGOTTEN_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What stays in memory of an order that ended long ago: what its answer is made of."""

    client_order_id: str
    payload_hash: str
    state: State
    acknowledged: bool
    order_ids: tuple[int, ...]
    simulated: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was answered with "no" and never became an order. `code` is the word of the error."""

    engine: str
    payload_hash: str
    code: str
    reason: str


def intent_body(order: Order) -> dict[str, Any]:
    """What must be durable before anything is sent: enough to rebuild the order and to recognise it at IB."""
    return {
        "engine": order.engine,
        "hash": order.payload_hash,
        "simulated": order.simulated,
        "opening": order.opening,
        "multiplier": order.multiplier,
        "min_tick": order.min_tick,
        "risk": order.risk,
        "guards": order.guards,
        "intent_ns": order.intent_ns,
        "expires_ns": order.expires_ns,
        "good_till_ns": order.good_till_ns,
        "cites": to_builtins(order.cites),
        "legs": [{"name": leg.name, "ticket": to_builtins(leg.ticket)} for leg in order.legs],
    }


def order_of(client_order_id: str, body: dict[str, Any]) -> Order:
    """The order that `intent_body` described."""
    return Order(
        client_order_id=client_order_id,
        engine=body["engine"],
        payload_hash=body["hash"],
        legs=tuple(Leg(name=one["name"], ticket=ticket_of(one["ticket"])) for one in body["legs"]),
        simulated=body["simulated"],
        opening=body["opening"],
        multiplier=body["multiplier"],
        min_tick=body["min_tick"],
        risk=body["risk"],
        guards=body["guards"],
        intent_ns=body["intent_ns"],
        expires_ns=body["expires_ns"],
        good_till_ns=body["good_till_ns"],
        cites=tuple(Citation(**one) for one in body.get("cites", ())),
    )


def ticket_of(body: dict[str, Any]) -> OrderTicket:
    return OrderTicket(**{**body, "contract": Contract(**body["contract"])})


class Register:
    """All orders by client_order_id, in the order of their intents, with the indexes that evidence needs."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.refusals: dict[str, Refusal] = {}
        self.forgotten: dict[str, Forgotten] = {}
        self.ids = OrderIds()
        #: Why openings are stopped, "" if they are not: kill switch, late or doubled orders. Survives restarts.
        self.halted = ""
        self.halt_cancels = False
        #: Net quantity our fills made: (engine, account, contract key, simulated) -> signed.
        self.traded: dict[tuple[str, str, str, bool], float] = {}
        #: Positions that our fills do not explain and that were accepted as somebody else's: (account, key) -> signed.
        self.baseline: dict[tuple[str, str], float] | None = None
        #: What today's limits count. One object for the life of the register: Risk looks at it.
        self.day = Day()
        self._open: dict[str, Order] = {}
        self._by_order_id: dict[int, tuple[Order, Leg]] = {}
        self._by_perm_id: dict[int, tuple[Order, Leg]] = {}
        self._by_reference: dict[str, tuple[Order, Leg]] = {}
        self._by_stem: dict[str, tuple[Order, Leg]] = {}
        self._appliers: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "intent": self._intent,
            "refused": self._refused,
            "sending": self._sending,
            "event": self._event,
            "fill": self._fill,
            "commission": self._commission,
            "change": self._change,
            "halt": self._halt,
            "resume": self._resume,
            "baseline": self._baseline,
            "day": self._day,
        }

    # ---------------------------------------------------------------- reading

    def leg_by_order_id(self, order_id: int) -> tuple[Order, Leg] | None:
        return self._by_order_id.get(order_id)

    def leg_by_perm_id(self, perm_id: int) -> tuple[Order, Leg] | None:
        return self._by_perm_id.get(perm_id) if perm_id > 0 else None

    def leg_by_reference(self, reference: str) -> tuple[Order, Leg] | None:
        return self._by_reference.get(reference) if reference else None

    def leg_by_execution(self, exec_id: str) -> tuple[Order, Leg] | None:
        return self._by_stem.get(execution_stem(exec_id))

    def payload_hash(self, client_order_id: str) -> str | None:
        """Of whatever was decided about this id, or None if nothing was."""
        known = self.order_or_rest(client_order_id) or self.refusals.get(client_order_id)
        return known.payload_hash if known is not None else None

    def order_or_rest(self, client_order_id: str) -> Order | Forgotten | None:
        """An order, or what is left of it."""
        return self.orders.get(client_order_id) or self.forgotten.get(client_order_id)

    def open_orders(self) -> Iterator[Order]:
        """Orders with a leg that may still do something."""
        return iter(tuple(self._open.values()))

    # ---------------------------------------------------------------- the only way to change it

    def apply(self, kind: str, client_order_id: str, body: dict[str, Any]) -> None:
        """Let one record happen. Raises KeyError for an unknown kind, ImpossibleTransition for what cannot happen."""
        self._appliers[kind](client_order_id, body)
        order = self.orders.get(client_order_id)
        if order is not None and not order.terminal:
            self._open[client_order_id] = order
        else:
            self._open.pop(client_order_id, None)

    def _intent(self, client_order_id: str, body: dict[str, Any]) -> None:
        if client_order_id in self.orders:
            raise AssertionError(f"a second intent for {client_order_id!r}")
        order = order_of(client_order_id, body)
        self._forget_oldest(self.orders)
        self.orders[client_order_id] = order
        for leg in order.legs:
            self.ids.saw(leg.ticket.order_id)
            self._by_order_id[leg.ticket.order_id] = (order, leg)
            self._by_reference[leg.ticket.order_ref] = (order, leg)

    def _refused(self, client_order_id: str, body: dict[str, Any]) -> None:
        if len(self.refusals) >= REMEMBERED_MAX:
            self.refusals.pop(next(iter(self.refusals)))
        self.refusals[client_order_id] = Refusal(body["engine"], body["hash"], body["code"], body["reason"])

    def _sending(self, client_order_id: str, body: dict[str, Any]) -> None:
        order = self.orders[client_order_id]
        order.sent_ns = body["sent_ns"]
        self.day.messages += len(order.legs)
        for leg in order.legs:
            leg.advance(Event.WRITE)

    def _event(self, client_order_id: str, body: dict[str, Any]) -> None:
        """`legs`, `event`, and what the evidence said besides: perm_id, filled, price, reason, reject_reason."""
        order = self.orders[client_order_id]
        event = Event(body["event"])
        for name in body["legs"]:
            leg = order.leg(name)
            leg.advance(event)
            self._learn(order, leg, event, body)
        if order.entry.name in body["legs"] or not order.reason:
            order.reason = body.get("reason") or order.reason

    def _learn(self, order: Order, leg: Leg, event: Event, body: dict[str, Any]) -> None:
        perm_id = body.get("perm_id", 0)
        if perm_id and event is Event.FORK:
            leg.forks.add(perm_id)
            self._by_perm_id[perm_id] = (order, leg)
        elif perm_id:
            leg.perm_id = perm_id
            self._by_perm_id[perm_id] = (order, leg)
        leg.reported_filled = max(leg.reported_filled, body.get("filled", 0.0))
        leg.reported_price = body.get("price") or leg.reported_price
        leg.reject_reason = body.get("reject_reason") or leg.reject_reason
        if leg is order.entry and event in (Event.ACKNOWLEDGE, Event.PART_FILL, Event.FILL):
            order.acknowledged = True

    def _fill(self, client_order_id: str, body: dict[str, Any]) -> None:
        order = self.orders[client_order_id]
        leg = order.leg(body["leg"])
        stem = execution_stem(body["exec_id"])
        before = leg.executions.get(stem)
        if before is not None:
            self.day.book(order.engine, -(before.realized_pnl or 0.0))
        elif not leg.executions:
            self.day.executed_orders += 1
        execution = Execution(body["exec_id"], body["quantity"], body["price"], body["time_ns"])
        leg.executions[stem] = execution
        self._by_stem[stem] = (order, leg)
        change = execution.quantity - (before.quantity if before else 0.0)
        key = (order.engine, order.account, order.contract.key, order.simulated)
        sign = 1 if leg.ticket.action == "BUY" else -1
        self.traded[key] = self.traded.get(key, 0.0) + sign * change
        leg.advance(leg.fill_event())
        if leg is order.entry:
            order.acknowledged = True

    def _commission(self, client_order_id: str, body: dict[str, Any]) -> None:
        found = self.leg_by_execution(body["exec_id"])
        if found is None:
            raise AssertionError(f"a commission for execution {body['exec_id']}, which is not in the journal")
        order, leg = found
        stem = execution_stem(body["exec_id"])
        self.day.book(order.engine, (body["realized_pnl"] or 0.0) - (leg.executions[stem].realized_pnl or 0.0))
        leg.executions[stem] = replace(
            leg.executions[stem], commission=body["commission"], realized_pnl=body["realized_pnl"]
        )

    def _change(self, client_order_id: str, body: dict[str, Any]) -> None:
        """`what` is cancel or modify; a modification that settled as `done` makes its price the leg's price."""
        order = self.orders[client_order_id]
        event = ChangeEvent(body["event"])
        if event is ChangeEvent.WRITE:
            self.day.messages += len(body["legs"])
        order.released |= body.get("released", False)
        order.reason = body.get("reason") or order.reason
        for name in body["legs"]:
            leg = order.leg(name)
            if body["what"] == "cancel":
                leg.cancel = follow_change(leg.cancel, event)
                continue
            leg.modify = follow_change(leg.modify, event)
            leg.moved = bool(body.get("done"))
            if event is ChangeEvent.ASK:
                leg.wanted = changed_ticket(leg.ticket, body.get("limit_price"), body.get("stop_price"))
            elif leg.modify is Change.NONE:
                if body.get("done") and leg.wanted is not None:
                    leg.ticket = replace(leg.wanted, transmit=leg.ticket.transmit)
                leg.wanted = None

    def _halt(self, client_order_id: str, body: dict[str, Any]) -> None:
        self.halted = body["reason"]
        self.halt_cancels = bool(body.get("cancel_entries"))

    def _resume(self, client_order_id: str, body: dict[str, Any]) -> None:
        self.halted = ""
        self.halt_cancels = False

    def _baseline(self, client_order_id: str, body: dict[str, Any]) -> None:
        self.baseline = {(account, key): quantity for account, key, quantity in body["positions"]}

    def _day(self, client_order_id: str, body: dict[str, Any]) -> None:
        """Another exchange day: nothing has been counted yet."""
        fresh = day_of(body["wall_ns"])
        for name in Day.__slots__:
            setattr(self.day, name, getattr(fresh, name))

    def _forget_oldest(self, orders: dict[str, Order]) -> None:
        """At the limit the oldest ended order leaves memory; one that may be live never does."""
        if len(orders) < REMEMBERED_MAX:
            return
        oldest = next((order for order in orders.values() if order.terminal), None)
        if oldest is None:
            return
        del orders[oldest.client_order_id]
        self._keep_answer(oldest)
        for leg in oldest.legs:
            self._by_order_id.pop(leg.ticket.order_id, None)
            self._by_reference.pop(leg.ticket.order_ref, None)
            self._by_perm_id.pop(leg.perm_id, None)
            for stem in leg.executions:
                self._by_stem.pop(stem, None)

    def _keep_answer(self, order: Order) -> None:
        self.forgotten[order.client_order_id] = Forgotten(
            order.client_order_id, order.payload_hash, order.state, order.acknowledged, order.order_ids,
            order.simulated, order.reason,
        )  # fmt: skip
        if len(self.forgotten) > FORGOTTEN_MAX:
            del self.forgotten[next(iter(self.forgotten))]
