"""Submissions: what the order path asks of the rest of the proxy besides the plain effects, and its open jobs. Pure.

A Submit goes to the pacing scheduler; the blotter hears `granted(job_id)` or `expired(job_id)` and only then sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gateway_proxy.bus.messages import Action, Contract
from gateway_proxy.core.effects import Call, Effect

Lane = Literal["PROTECTIVE", "ORDER"]


@dataclass(frozen=True, slots=True)
class Submit:
    """Wants `messages` writes to the Gateway. Cancels, exits and reconciliation are PROTECTIVE, entries are ORDER.

    `deadline` in seconds of the proxy's clock: not worth sending after it. `call` is what will be sent when it is
    known already; for orders it is made on grant, from the state of that moment. `client_order_id`: of a new order.
    """

    job_id: str
    lane: Lane
    owner: str
    messages: int
    contract_key: str
    action: Action | None
    account: str
    deadline: float
    call: Call | None = None
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """Hold a quote stream of this contract, and repeat its last quote to the blotter if there is one already."""

    contract: Contract


@dataclass(frozen=True, slots=True)
class Unwatch:
    """The order path does not need this quote stream any more."""

    contract: Contract


OrderEffect = Effect | Submit | Watch | Unwatch


@dataclass(frozen=True, slots=True)
class Waiter:
    """Whom one reply is owed to."""

    client: Any
    request_id: str | int


class Jobs:
    """Open submissions: each is granted or expires, once; what comes twice or unknown is nothing."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {}

    def new(self, granted: Callable[[], None], expired: Callable[[], None]) -> str:
        """A job id, never given before in this life of the proxy."""
        self._count += 1
        job_id = f"order-{self._count}"
        self._open[job_id] = (granted, expired)
        return job_id

    def granted(self, job_id: str) -> None:
        self._open.pop(job_id, _NOTHING)[0]()

    def expired(self, job_id: str) -> None:
        self._open.pop(job_id, _NOTHING)[1]()

    def __len__(self) -> int:
        return len(self._open)


def _nothing() -> None:
    """A job that was decided already."""


_NOTHING = (_nothing, _nothing)
