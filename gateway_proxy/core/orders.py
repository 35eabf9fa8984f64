"""The order state machine: a table, one leg that obeys it, and one client order made of legs. Pure.

A leg is one order at IB; a client order has one leg, or three for a bracket. What is not in the table raises and
changes nothing. Evidence counts in this order: executions, completed orders, open orders, order status, error text,
absence (reliability 6.4). A notice never ends an order, and absence only counts behind the fence (core/fence.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal

from gateway_proxy.bus.messages import Action, Citation, Contract, OrderLeg, OrderUpdate
from gateway_proxy.core.effects import OrderTicket

LegName = Literal["entry", "take_profit", "stop_loss"]


class State(StrEnum):
    """Where a leg is. INTENT is durable and unsent. SENDING is durable permission to write, and stays until IB speaks.

    There is no state "sent": that the transport took the bytes proves nothing, a dead socket takes them too.
    """

    REFUSED = "refused"
    INTENT = "intent"
    EXPIRED_UNSENT = "expired_unsent"
    SENDING = "sending"
    WORKING = "working"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_PLACED = "not_placed"
    LATE = "late"
    DUPLICATE_LIVE = "duplicate_live"


class Event(StrEnum):
    """What can happen to a leg."""

    WITHDRAW = "withdrawn"  # expiry, closed gate, kill switch or cancel reached it before the first byte
    WRITE = "writing"  # pacing let it go; from here on only the Gateway can say that nothing happened
    LOSE = "lost"  # link lost, crash, deadline, or not seen where it should be
    ACKNOWLEDGE = "acknowledged"  # an open order or a status shows it alive
    PART_FILL = "partly_filled"
    FILL = "filled"
    CANCEL = "cancelled"  # confirmed by status, completed order or fence
    REJECT = "rejected"  # a definitive code and its confirmation
    ABSENCE = "absent"  # conclusive, by the fence
    FORK = "forked"  # a second live permId under one order id
    NOTICE = "notice"  # a warning or an unknown code


_S, _E = State, Event
_EVIDENCE_ON_THE_WIRE: Final = {
    _E.ACKNOWLEDGE: _S.WORKING,
    _E.PART_FILL: _S.PARTIAL,
    _E.FILL: _S.FILLED,
    _E.CANCEL: _S.CANCELLED,
    _E.REJECT: _S.REJECTED,
    _E.FORK: _S.DUPLICATE_LIVE,
}
_ROWS: Final[dict[State, dict[Event, State]]] = {
    _S.REFUSED: {},
    _S.INTENT: {_E.WITHDRAW: _S.EXPIRED_UNSENT, _E.WRITE: _S.SENDING},
    # WITHDRAW here: the journal refused the SENDING record, so the shell wrote nothing.
    _S.SENDING: {_E.LOSE: _S.UNKNOWN, _E.WITHDRAW: _S.EXPIRED_UNSENT, **_EVIDENCE_ON_THE_WIRE},
    _S.UNKNOWN: {_E.LOSE: _S.UNKNOWN, _E.ABSENCE: _S.NOT_PLACED, **_EVIDENCE_ON_THE_WIRE},
    _S.WORKING: {_E.LOSE: _S.UNKNOWN, **_EVIDENCE_ON_THE_WIRE},
    _S.PARTIAL: {_E.LOSE: _S.UNKNOWN, **_EVIDENCE_ON_THE_WIRE, _E.ACKNOWLEDGE: _S.PARTIAL, _E.REJECT: _S.CANCELLED},
    # A late echo of an earlier life is no news for a filled order.
    _S.FILLED: {event: _S.FILLED for event in _EVIDENCE_ON_THE_WIRE} | {_E.FORK: _S.DUPLICATE_LIVE},
    # A fill may follow a confirmed cancel (A12): that is a race, not a ghost. Life after a cancel is a ghost.
    _S.CANCELLED: {
        _E.ACKNOWLEDGE: _S.LATE,
        _E.PART_FILL: _S.CANCELLED,
        _E.FILL: _S.FILLED,
        _E.CANCEL: _S.CANCELLED,
        _E.REJECT: _S.CANCELLED,
        _E.FORK: _S.DUPLICATE_LIVE,
    },
    _S.REJECTED: {
        _E.ACKNOWLEDGE: _S.LATE,
        _E.PART_FILL: _S.LATE,
        _E.FILL: _S.LATE,
        _E.CANCEL: _S.REJECTED,
        _E.REJECT: _S.REJECTED,
        _E.FORK: _S.DUPLICATE_LIVE,
    },
    _S.NOT_PLACED: {
        _E.ACKNOWLEDGE: _S.LATE,
        _E.PART_FILL: _S.LATE,
        _E.FILL: _S.LATE,
        _E.CANCEL: _S.CANCELLED,
        _E.REJECT: _S.REJECTED,
        _E.ABSENCE: _S.NOT_PLACED,
        _E.FORK: _S.DUPLICATE_LIVE,
    },
    # Only a journal restored from an old copy can bring life to an order that was never sent.
    _S.EXPIRED_UNSENT: {
        _E.ACKNOWLEDGE: _S.LATE,
        _E.PART_FILL: _S.LATE,
        _E.FILL: _S.LATE,
        _E.CANCEL: _S.EXPIRED_UNSENT,
        _E.REJECT: _S.EXPIRED_UNSENT,
        _E.FORK: _S.DUPLICATE_LIVE,
    },
    _S.LATE: {
        _E.ACKNOWLEDGE: _S.LATE,
        _E.PART_FILL: _S.LATE,
        _E.FILL: _S.FILLED,
        _E.CANCEL: _S.CANCELLED,
        _E.REJECT: _S.REJECTED,
        _E.LOSE: _S.UNKNOWN,
        _E.FORK: _S.DUPLICATE_LIVE,
    },
    _S.DUPLICATE_LIVE: {
        _E.ACKNOWLEDGE: _S.DUPLICATE_LIVE,
        _E.PART_FILL: _S.DUPLICATE_LIVE,
        _E.FILL: _S.FILLED,
        _E.CANCEL: _S.CANCELLED,
        _E.REJECT: _S.REJECTED,
        _E.LOSE: _S.UNKNOWN,
        _E.FORK: _S.DUPLICATE_LIVE,
    },
}
#: The whole machine. A notice changes nothing anywhere.
TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (source, event): target for source, row in _ROWS.items() for event, target in row.items()
} | {(state, Event.NOTICE): state for state in State}

#: No action of ours is pending. Executions are still accepted.
TERMINAL: Final = frozenset(
    {_S.REFUSED, _S.EXPIRED_UNSENT, _S.FILLED, _S.CANCELLED, _S.REJECTED, _S.NOT_PLACED},
)
#: IB has shown it alive.
ALIVE: Final = frozenset({_S.WORKING, _S.PARTIAL, _S.LATE, _S.DUPLICATE_LIVE})
#: It may be alive or filled for all we know: risk stays reserved.
POSSIBLY_LIVE: Final = ALIVE | {_S.INTENT, _S.SENDING, _S.UNKNOWN}


class Change(StrEnum):
    """The sub-machine of a cancel or a modification."""

    NONE = "none"
    INTENT = "intent"
    SENT = "sent"
    UNKNOWN = "unknown"


class ChangeEvent(StrEnum):
    ASK = "asked"
    WRITE = "written"
    LOSE = "lost"
    SETTLE = "settled"


CHANGES: Final[dict[tuple[Change, ChangeEvent], Change]] = {
    (Change.NONE, ChangeEvent.ASK): Change.INTENT,
    (Change.INTENT, ChangeEvent.WRITE): Change.SENT,
    (Change.SENT, ChangeEvent.LOSE): Change.UNKNOWN,
    # An unanswered cancel is idempotent and may be repeated; a repeated modification writes the same price again.
    (Change.UNKNOWN, ChangeEvent.ASK): Change.INTENT,
    (Change.UNKNOWN, ChangeEvent.LOSE): Change.UNKNOWN,
} | {(change, ChangeEvent.SETTLE): Change.NONE for change in Change}


class ImpossibleTransition(AssertionError):
    """The table has no such row: a broken promise inside the proxy."""


def follow(state: State, event: Event) -> State:
    """The next state. Raises ImpossibleTransition for what the table does not know."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransition(f"no transition from {state.value} on {event.value}") from None


def follow_change(change: Change, event: ChangeEvent) -> Change:
    """As `follow`, for cancels and modifications."""
    try:
        return CHANGES[change, event]
    except KeyError:
        raise ImpossibleTransition(f"no change from {change.value} on {event.value}") from None


@dataclass(frozen=True, slots=True)
class Execution:
    """What one leg has of one execution; a correction replaces the one with the same stem."""

    exec_id: str
    quantity: float
    price: float
    time_ns: int
    commission: float | None = None
    realized_pnl: float | None = None


@dataclass(slots=True)
class Leg:
    """One order at IB. `reported_filled` is what status messages claim, which may run ahead of the executions.

    `forks`: other permIds that lived under the same order id; the first one is the order.
    """

    name: LegName
    ticket: OrderTicket
    state: State = State.INTENT
    perm_id: int = 0
    forks: set[int] = field(default_factory=set)
    executions: dict[str, Execution] = field(default_factory=dict)
    reported_filled: float = 0.0
    reported_price: float | None = None
    cancel: Change = Change.NONE
    modify: Change = Change.NONE
    wanted: OrderTicket | None = None
    moved: bool = False
    reject_reason: str = ""

    @property
    def executed(self) -> float:
        return sum(execution.quantity for execution in self.executions.values())

    @property
    def filled(self) -> float:
        """Never falls, except by a correction of an execution, and never exceeds the quantity."""
        return min(max(self.executed, self.reported_filled), float(self.ticket.quantity))

    @property
    def remaining(self) -> float:
        return self.ticket.quantity - self.filled

    @property
    def average_price(self) -> float | None:
        if not self.executions:
            return self.reported_price
        return sum(one.quantity * one.price for one in self.executions.values()) / self.executed

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL

    def advance(self, event: Event) -> bool:
        """Follow the table; True when the state changed."""
        before, self.state = self.state, follow(self.state, event)
        return self.state is not before

    def fill_event(self) -> Event:
        """What the book of executions says now."""
        if self.filled <= 0:
            return Event.ACKNOWLEDGE
        return Event.FILL if self.remaining <= 1e-9 else Event.PART_FILL

    def view(self) -> OrderLeg:
        ticket = self.ticket
        return OrderLeg(
            leg=self.name,
            order_id=ticket.order_id,
            perm_id=self.perm_id,
            state=self.state.value,
            action=ticket.action,
            quantity=ticket.quantity,
            filled=self.filled,
            average_price=self.average_price,
            limit_price=ticket.limit_price,
            stop_price=ticket.stop_price,
        )


@dataclass(slots=True)
class Order:
    """One client order.

    `opening` as judged when it was accepted; `risk` is what it can lose at its stop, in currency. `expires_ns`: not
    written after that; `good_till_ns`: dead at IB after that, 0 if IB keeps it. Both are wall time. `released`: its
    engine cancelled the exits and answers for the position. `guards`: the order whose lost stop this one replaces.
    """

    client_order_id: str
    engine: str
    payload_hash: str
    legs: tuple[Leg, ...]
    simulated: bool
    opening: bool = True
    multiplier: float = 1.0
    min_tick: float = 0.0
    risk: float = 0.0
    guards: str = ""
    reason: str = ""
    intent_ns: int = 0
    expires_ns: int = 0
    good_till_ns: int = 0
    sent_ns: int = 0
    acknowledged: bool = False
    released: bool = False
    cites: tuple[Citation, ...] = ()

    @property
    def entry(self) -> Leg:
        return self.legs[0]

    @property
    def state(self) -> State:
        return self.entry.state

    @property
    def contract(self) -> Contract:
        return self.entry.ticket.contract

    @property
    def account(self) -> str:
        return self.entry.ticket.account

    @property
    def action(self) -> Action:
        return self.entry.ticket.action

    @property
    def order_ids(self) -> tuple[int, ...]:
        return tuple(leg.ticket.order_id for leg in self.legs)

    @property
    def exits(self) -> tuple[Leg, ...]:
        return self.legs[1:]

    @property
    def terminal(self) -> bool:
        return all(leg.terminal for leg in self.legs)

    @property
    def tickets(self) -> tuple[OrderTicket, ...]:
        return tuple(leg.ticket for leg in self.legs)

    def leg(self, name: str) -> Leg:
        for leg in self.legs:
            if leg.name == name:
                return leg
        raise KeyError(name)

    def view(self, time_ns: int) -> OrderUpdate:
        return OrderUpdate(
            engine=self.engine,
            client_order_id=self.client_order_id,
            state=self.state.value,
            symbol=self.contract.symbol,
            action=self.action,
            quantity=self.entry.ticket.quantity,
            filled=self.entry.filled,
            order_ids=self.order_ids,
            simulated=self.simulated,
            reason=self.reason,
            legs=tuple(leg.view() for leg in self.legs),
            contract=self.contract,
            time_ns=time_ns,
        )


def changed_ticket(ticket: OrderTicket, limit_price: float | None, stop_price: float | None) -> OrderTicket:
    """The same order at another price: the only change IB calls safe besides size (rule book 5.1)."""
    return replace(
        ticket,
        limit_price=ticket.limit_price if limit_price is None else limit_price,
        stop_price=ticket.stop_price if stop_price is None else stop_price,
        transmit=True,
    )
