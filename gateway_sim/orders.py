"""Orders as the Gateway holds them: their state and the table of allowed changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from gateway_sim.contracts import Contract
from gateway_sim.order_request import PlaceOrder


class Status(StrEnum):
    """IB's order statuses; HELD is ours for an order with transmit=0, of which clients are told nothing."""

    HELD = "Held"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    PENDING_CANCEL = "PendingCancel"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.HELD: frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED, Status.CANCELLED, Status.INACTIVE}),
    Status.PRE_SUBMITTED: frozenset(
        {Status.SUBMITTED, Status.FILLED, Status.PENDING_CANCEL, Status.CANCELLED, Status.INACTIVE}
    ),
    Status.SUBMITTED: frozenset(
        {Status.PRE_SUBMITTED, Status.FILLED, Status.PENDING_CANCEL, Status.CANCELLED, Status.INACTIVE}
    ),
    Status.PENDING_CANCEL: frozenset({Status.FILLED, Status.CANCELLED}),
    Status.CANCELLED: frozenset(),
    Status.FILLED: frozenset(),
    Status.INACTIVE: frozenset({Status.CANCELLED}),
}
"""Anything not listed is a fault of this program and raises."""

LIVE = frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED, Status.PENDING_CANCEL})
DONE = frozenset({Status.FILLED, Status.CANCELLED, Status.INACTIVE})


@dataclass
class Order:
    """One order from acceptance to the end of the day.

    request: the latest version the client sent (a modification replaces it). prices in dollars, quantities in
    contracts.
    """

    request: PlaceOrder
    contract: Contract
    client_id: int
    perm_id: int
    placed_s: float
    status: Status = Status.HELD
    filled: float = 0.0
    value: float = 0.0
    last_fill_price: float = 0.0
    commission: float = 0.0
    triggered: bool = False
    """A stop whose trigger price was reached, or a trailing stop that became a market order."""
    activated_s: float | None = None
    """Market second from which it may fill."""
    trail_stop: float | None = None
    completed_s: float = 0.0
    completed_status: str = ""
    why_held: str = ""
    children: list[int] = field(default_factory=list)
    """perm ids of attached orders."""

    @property
    def order_id(self) -> int:
        return self.request.order_id

    @property
    def quantity(self) -> float:
        return self.request.quantity

    @property
    def remaining(self) -> float:
        return max(0.0, self.quantity - self.filled)

    @property
    def average_price(self) -> float:
        return self.value / self.filled if self.filled else 0.0

    @property
    def is_buy(self) -> bool:
        return self.request.action == "BUY"

    @property
    def sign(self) -> int:
        return 1 if self.is_buy else -1

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def is_done(self) -> bool:
        return self.status in DONE

    def change_status(self, status: Status) -> bool:
        """Move to `status`; False if it is there already. Raises AssertionError on a change outside the table."""
        if status is self.status:
            return False
        if status not in TRANSITIONS[self.status]:
            raise AssertionError(f"order {self.order_id}: {self.status} cannot become {status}")
        self.status = status
        return True


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. time_s: market epoch seconds. realized: profit of the closed part, None for an opening fill."""

    exec_id: str
    time_s: float
    order: Order
    price: float
    quantity: float
    cumulative: float
    average_price: float
    commission: float
    realized: float | None
    exchange: str
