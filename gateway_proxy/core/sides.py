"""Sides: which of our orders count against IB's limit per contract, side and account. Pure.

An order takes its places when pacing grants it and keeps each until that leg is dead. One of unknown fate may be alive,
so it keeps them too. Orders of an earlier life, and dead ones that come to life, are counted in afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from gateway_proxy.core.jobs import Job, Keys, Lane, RequestClass, side_key
from gateway_proxy.core.orders import Leg, Order, State
from gateway_proxy.core.scheduler import Scheduler


def sides_of(legs: Iterable[Leg]) -> tuple[tuple[str, int], ...]:
    """(side, number of orders there); a bracket has its exits on the other side."""
    counts = Counter(_side(leg) for leg in legs)
    return tuple(counts.items())


def _side(leg: Leg) -> str:
    ticket = leg.ticket
    return side_key(ticket.contract, ticket.action, ticket.account)


class Sides:
    """Looks at an order whenever it changed, and gives back or takes what its legs need. `new_id` names jobs."""

    def __init__(self, scheduler: Scheduler, new_id: Callable[[], int]) -> None:
        self._scheduler = scheduler
        self._new_id = new_id
        #: Per client order the places it holds: (job that took it, side).
        self._places: dict[str, list[tuple[int, str]]] = {}
        self._executed: set[int] = set()

    def granted(self, order: Order | None, job_id: int, now: float) -> None:
        """Pacing took the places of this order's job; if it was not written after all, they are free again."""
        if order is None or not _live(order):
            self._scheduler.release(job_id, now)
            return
        self._places[order.client_order_id] = [(job_id, _side(leg)) for leg in order.legs]
        self.look(order, now)

    def look(self, order: Order, now: float) -> None:
        """Its legs as they are now: the dead give back their places, the living have one each."""
        needed = Counter(_side(leg) for leg in _live(order))
        kept = []
        for job_id, side in self._places.pop(order.client_order_id, []):
            if needed[side] > 0:
                needed[side] -= 1
                kept.append((job_id, side))
            else:
                self._scheduler.release(job_id, now, side)
        kept += self._adopted(order, needed)
        if kept:
            self._places[order.client_order_id] = kept
        self._count_executed(order)

    def _adopted(self, order: Order, missing: Counter[str]) -> list[tuple[int, str]]:
        sides = tuple((side, count) for side, count in missing.items() if count > 0)
        if not sides:
            return []
        job_id = self._new_id()
        self._scheduler.adopt(Job(job_id, Lane.ORDER, order.engine, RequestClass.ORDER, keys=Keys(sides=sides)))
        return [(job_id, side) for side, count in sides for _ in range(count)]

    def _count_executed(self, order: Order) -> None:
        """Each leg once, at its first fill: IB divides the messages of a day by the orders that were executed."""
        for leg in order.legs:
            if leg.executed > 0 and not order.simulated and leg.ticket.order_id not in self._executed:
                self._executed.add(leg.ticket.order_id)
                self._scheduler.order_executed()

    def new_trading_day(self) -> None:
        self._executed.clear()


def _live(order: Order) -> list[Leg]:
    """Legs that work at IB, or may: written, and not known to be dead."""
    if order.simulated:
        return []
    return [leg for leg in order.legs if not leg.terminal and leg.state is not State.INTENT]
