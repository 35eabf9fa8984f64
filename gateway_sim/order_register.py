"""The register of orders: who they are and how they belong together. Pure; decides nothing.

A key is (client id, order id); perm ids are unique over all clients. Order ids only go up per client, also after
refusals and after an order was forgotten (rule book 5.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from gateway_sim.contracts import Contract
from gateway_sim.orders import Order, Status

ORDERS_MAX = 20_000
"""Orders kept; the oldest finished ones are forgotten beyond it."""
REFUSED_MAX = 20_000

Key = tuple[int, int]


class OrderRegister:
    """Orders by key and by perm id."""

    def __init__(self, first_perm_id: int) -> None:
        self._orders: dict[Key, Order] = {}
        self._by_perm: dict[int, Order] = {}
        self._highest_id: dict[int, int] = {}
        self._refused: OrderedDict[Key, None] = OrderedDict()
        self._next_perm_id = first_perm_id

    def __iter__(self) -> Iterator[Order]:
        """A stable copy, oldest first: orders may end while it is walked."""
        return iter(list(self._orders.values()))

    # --- identity ---

    def take_perm_id(self) -> int:
        self._next_perm_id += 1
        return self._next_perm_id

    def next_order_id(self, client_id: int) -> int:
        return self._highest_id.get(client_id, 0) + 1

    def is_used(self, client_id: int, order_id: int) -> bool:
        """Whether the id can no longer be given to a new order."""
        return order_id <= self._highest_id.get(client_id, 0) or self.was_refused(client_id, order_id)

    def was_refused(self, client_id: int, order_id: int) -> bool:
        return (client_id, order_id) in self._refused

    def refuse(self, client_id: int, order_id: int, use_up: bool) -> None:
        """Remember a refused order id; use_up: the id counts as used."""
        self._refused[(client_id, order_id)] = None
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)
        if use_up:
            self._raise_highest(client_id, order_id)

    # --- orders ---

    def keep(self, order: Order) -> None:
        """Add an order; beyond ORDERS_MAX the oldest finished one goes."""
        self._orders[(order.client_id, order.order_id)] = order
        self._by_perm[order.perm_id] = order
        self._raise_highest(order.client_id, order.order_id)
        if len(self._orders) > ORDERS_MAX:
            oldest = next((kept for kept in self._orders.values() if kept.is_done), None)
            if oldest is not None:
                self.forget(oldest)

    def find(self, client_id: int, order_id: int) -> Order | None:
        return self._orders.get((client_id, order_id))

    def forget(self, order: Order) -> None:
        """Remove an order; its id stays used."""
        self._by_perm.pop(order.perm_id, None)
        for key in [key for key, kept in self._orders.items() if kept is order]:
            del self._orders[key]

    def roll_back(self) -> None:
        """Forget which ids were used beyond the orders still known (a Gateway that lost its memory)."""
        self._refused.clear()
        self._highest_id = {}
        for client_id, order_id in self._orders:
            self._raise_highest(client_id, order_id)

    def shadow(self, order: Order, twin: Order) -> None:
        """Put `twin` in the order's place; the order itself is from now on only found by perm id."""
        self._orders[(order.client_id, -order.perm_id)] = order
        self._orders[(twin.client_id, twin.order_id)] = twin
        self._by_perm[twin.perm_id] = twin

    # --- families ---

    def parent_of(self, order: Order) -> Order | None:
        return self.find(order.client_id, order.request.parent_id) if order.request.parent_id else None

    def children_of(self, order: Order) -> list[Order]:
        return [self._by_perm[perm_id] for perm_id in order.children if perm_id in self._by_perm]

    def linked_to(self, order: Order) -> list[Order]:
        """Unfinished members of its OCA group and siblings of its bracket."""
        request = order.request
        found = []
        for other in self:
            if other is order or other.is_done or other.client_id != order.client_id:
                continue
            same_group = bool(request.oca_group) and other.request.oca_group == request.oca_group
            siblings = bool(request.parent_id) and other.request.parent_id == request.parent_id
            if same_group or siblings:
                found.append(other)
        return found

    def working(self, contract: Contract, action: str) -> int:
        """How many orders of one side of a contract are unfinished."""
        return sum(
            order.contract is contract
            and order.request.action == action
            and (order.is_live or order.status is Status.HELD)
            for order in self._orders.values()
        )

    def _raise_highest(self, client_id: int, order_id: int) -> None:
        self._highest_id[client_id] = max(self._highest_id.get(client_id, 0), order_id)
