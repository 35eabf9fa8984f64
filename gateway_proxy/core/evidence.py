"""Evidence: which leg an upstream message speaks of, and which event of the table it proves. Pure.

Matching goes by orderRef, then permId, then our order id; another client's order may carry the same order id, so a
message of another client never matches by number (reliability 6.1, 6.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from gateway_proxy.core.events import (
    CompletedOrderReceived,
    ErrorReceived,
    ExecutionReceived,
    OpenOrderReceived,
    OrderStatusReceived,
)
from gateway_proxy.core.orders import ALIVE, Change, Event, Leg, Order, State
from gateway_proxy.core.register import Register

_LIVE_STATUSES: Final = frozenset({"PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel", "PreCancelled"})
_CANCELLED_STATUSES: Final = frozenset({"Cancelled", "ApiCancelled"})

#: Codes that mean "not placed" for a new order once confirmed by status or sweep (rule book 5.3).
REJECT_CODES: Final = frozenset(
    {106, 107, 109, 110, 133, 135, 163, 164, 200, 201, 203, 321, 355, 382, 383, 387, 388, 434, 460, 2168, 2169}
    | {10006, 10268, 10269, 10318}
)
#: Codes that leave the order as it is (rule book 5.3); all of 2100-2167 are connectivity or advice.
NOTICE_CODES: Final = frozenset({399, 404, 2109, 2137, 10311, 10349})
#: Codes that refuse a modification and leave the working order unchanged.
MODIFY_REFUSED_CODES: Final = frozenset({105, 110, 134, 201, 321, 2102, 10341})
#: The echo of every cancel, ours, OCA's or IB's; the status that follows decides.
CANCEL_ECHO_CODE: Final = 202
#: Answers to a cancel that say only: look again. 10147 is also sent after a fill.
CANCEL_CODES: Final = frozenset({161, 10147, 10148})


class ErrorMeaning(Enum):
    NOTICE = auto()
    REJECT = auto()
    MODIFY_REFUSED = auto()
    CANCEL_ECHO = auto()
    LOOK_AGAIN = auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """`event` happened to this leg; `facts` go into the journal record beside it."""

    order: Order
    leg: Leg
    event: Event
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_news(self) -> bool:
        """False for what the journal knows already: IB repeats itself, and repetitions must cost nothing."""
        leg, facts = self.leg, self.facts
        if self.event is Event.FORK:
            return facts["perm_id"] not in leg.forks
        return (
            facts.get("perm_id", 0) not in (0, leg.perm_id)
            or facts.get("filled", 0.0) > max(leg.reported_filled, leg.executed)
            or bool(facts.get("reject_reason"))
            or _would_move(leg, self.event)
        )


def _would_move(leg: Leg, event: Event) -> bool:
    from_here = {
        Event.ACKNOWLEDGE: leg.state not in ALIVE | {State.FILLED},
        Event.PART_FILL: leg.state not in (State.PARTIAL, State.FILLED, State.CANCELLED, State.LATE),
        Event.FILL: leg.state is not State.FILLED,
        Event.CANCEL: leg.state in ALIVE or leg.state in (State.SENDING, State.UNKNOWN, State.NOT_PLACED),
        Event.REJECT: leg.state in ALIVE or leg.state in (State.SENDING, State.UNKNOWN, State.NOT_PLACED),
    }
    return from_here.get(event, False)


def match(
    register: Register,
    event: OpenOrderReceived | OrderStatusReceived | ExecutionReceived | CompletedOrderReceived,
    client_id: int | None,
) -> tuple[Order, Leg] | None:
    """The leg this message speaks of, or None if it is not ours. `client_id`: ours, None while it is not known.

    Only a status has no reference, so only a status is matched by number: by our client, or, while that is unknown,
    for a leg that has no permId yet.
    """
    reference = "" if isinstance(event, OrderStatusReceived) else event.order_ref
    found = register.leg_by_reference(reference) or register.leg_by_perm_id(event.perm_id)
    if found is not None or not isinstance(event, OrderStatusReceived):
        return found
    candidate = register.leg_by_order_id(event.order_id) if event.order_id > 0 else None
    if candidate is None:
        return None
    if client_id is None:
        return candidate if not candidate[1].perm_id else None
    return candidate if event.client_id == client_id else None


def of_open_order(order: Order, leg: Leg, event: OpenOrderReceived) -> Finding:
    return _of_status(order, leg, event.status, event.perm_id, 0.0, None)


def of_status(order: Order, leg: Leg, event: OrderStatusReceived) -> Finding:
    return _of_status(order, leg, event.status, event.perm_id, event.filled, event.average_price or None)


def of_completed(order: Order, leg: Leg, event: CompletedOrderReceived) -> Finding:
    """A completed order is the broker's last word: filled, cancelled, or never accepted."""
    facts = _facts(leg, event.perm_id, event.filled, None, event.completed_status)
    if event.status == "Filled":
        return Finding(order, leg, Event.FILL, {**facts, "filled": event.filled or float(leg.ticket.quantity)})
    rejected = event.status == "Inactive" or "reject" in event.completed_status.lower()
    if rejected and not order.acknowledged:
        return Finding(order, leg, Event.REJECT, facts)
    return Finding(order, leg, Event.CANCEL, facts)


def _of_status(order: Order, leg: Leg, status: str, perm_id: int, filled: float, price: float | None) -> Finding:
    facts = _facts(leg, perm_id, filled, price, "")
    forked = leg.perm_id and perm_id and perm_id != leg.perm_id
    if forked and status in _LIVE_STATUSES:
        return Finding(order, leg, Event.FORK, facts)
    if forked:
        return Finding(order, leg, Event.NOTICE)
    if status == "Filled":
        return Finding(order, leg, Event.FILL, facts)
    if status in _CANCELLED_STATUSES:
        return Finding(order, leg, Event.REJECT if leg.reject_reason else Event.CANCEL, facts)
    if status == "Inactive" and leg.reject_reason:
        return Finding(order, leg, Event.REJECT, facts)
    if status in _LIVE_STATUSES and (perm_id or leg.perm_id):
        return Finding(order, leg, Event.PART_FILL if filled or leg.filled else Event.ACKNOWLEDGE, facts)
    return Finding(order, leg, Event.NOTICE)


def _facts(leg: Leg, perm_id: int, filled: float, price: float | None, reason: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"perm_id": perm_id, "filled": filled, "price": price, "reason": reason}
    if leg.perm_id == perm_id:
        del facts["perm_id"]
    return {name: value for name, value in facts.items() if value}


def meaning_of(leg: Leg, event: ErrorReceived) -> ErrorMeaning:
    """What an error code says about this leg. A code nobody has listed is a reason to look, never an ending."""
    if leg.modify is Change.SENT and event.code in MODIFY_REFUSED_CODES:
        return ErrorMeaning.MODIFY_REFUSED
    if event.code in REJECT_CODES and leg.state not in (State.FILLED, State.CANCELLED):
        return ErrorMeaning.REJECT
    if event.code == CANCEL_ECHO_CODE:
        return ErrorMeaning.NOTICE if leg.terminal else ErrorMeaning.CANCEL_ECHO
    if event.code in NOTICE_CODES or 2100 <= event.code < 2168:
        return ErrorMeaning.NOTICE
    return ErrorMeaning.LOOK_AGAIN


def is_live(event: OpenOrderReceived) -> bool:
    return event.status in _LIVE_STATUSES
