"""Answers: what a request is told, and who waits for it. Pure.

The answer to a placement is a function of the order's state alone, so that a repeated request gets the same answer,
before and after a restart. A time-out is "unknown" and never "rejected".
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from gateway_proxy.core.orders import ALIVE, Leg, Order, State
from gateway_proxy.core.register import Forgotten, Refusal
from gateway_proxy.core.submissions import Waiter
from gateway_proxy.errors import Conflict, Expired, ProxyError, Refused

_WAIT: Final = frozenset({State.INTENT, State.SENDING})


def body_of(order: Order | Forgotten, state: str) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "state": state,
        "order_ids": list(order.order_ids),
        "simulated": order.simulated,
        "reason": order.reason,
    }


def placement(order: Order | Forgotten) -> dict[str, Any] | ProxyError | None:
    """The answer to order.place or order.bracket; None while there is none yet."""
    state = order.state
    if state in _WAIT:
        return None
    if state is State.EXPIRED_UNSENT:
        return Expired(f"never sent: {order.reason}")
    if state is State.UNKNOWN and not order.acknowledged:
        return body_of(order, "unknown")
    if order.acknowledged or state in ALIVE or state is State.FILLED:
        return {**body_of(order, "accepted"), "reason": ""}
    if state is State.NOT_PLACED:
        return body_of(order, "not_placed")
    # CANCELLED without ever having been shown alive is how some rejections look.
    return body_of(order, "rejected")


def refusal(known: Refusal) -> ProxyError:
    """The answer to a repeated request that was refused before."""
    kind = {error.code: error for error in (Refused, Conflict, Expired)}.get(known.code, Refused)
    return kind(known.reason)


def cancellation(order: Order, legs: tuple[Leg, ...]) -> dict[str, Any] | None:
    """The answer to order.cancel: the order's state once every leg that was asked for has ended."""
    return body_of(order, order.state.value) if all(leg.terminal for leg in legs) else None


def status_of(name: str, order: Order | Forgotten | None, refused: Refusal | None, time_ns: int) -> dict[str, Any]:
    """The answer to order.status: the whole update of an order, or what else is known of the id."""
    if isinstance(order, Forgotten):
        return body_of(order, order.state.value)
    if order is not None:
        return asdict(order.view(time_ns))
    if refused is not None:
        return {**not_found(name), "state": refused.code, "reason": refused.reason}
    return not_found(name)


def not_found(client_order_id: str) -> dict[str, Any]:
    """Definitive: the journal has no such order, so nothing was ever sent for it."""
    return {
        "client_order_id": client_order_id,
        "state": "not_found",
        "order_ids": [],
        "simulated": False,
        "reason": "no order with this client_order_id",
    }


class Waiters:
    """Whom answers are owed to, by what they wait for. Each is told exactly once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, list[Waiter]] = {}

    def join(self, subject: str, waiter: Waiter) -> None:
        """Raises Refused when too many wait for the same answer already."""
        waiting = self._waiting.setdefault(subject, [])
        if len(waiting) >= self._limit:
            raise Refused(f"{self._limit} requests wait for this answer already")
        waiting.append(waiter)

    def leave(self, subject: str) -> list[Waiter]:
        """Everybody who waits for this; they are owed the answer now."""
        return self._waiting.pop(subject, [])

    def __contains__(self, subject: str) -> bool:
        return subject in self._waiting

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())
