"""Orders, fills and positions as the bus told them: the newest of each, bounded, with the life line of every order.

A fact that comes again (a welcome after a late join or a restart) is no news.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from monitor import changes, lights, readings
from monitor.bodies import Body, contract_key, flag, number, text, whole
from monitor.changes import Telling
from monitor.view import FillView, OrderView, PositionView

ORDER_LIFE_MAX = 30


@dataclass(slots=True)
class SeenOrder:
    """`view` is made when news comes, not when somebody looks: looks are far more frequent."""

    body: Body
    life: list[tuple[int, str, str]]
    view: OrderView


class Blotter:
    def __init__(self, orders_max: int, fills_max: int) -> None:
        self.orders_max, self.fills_max = orders_max, fills_max
        self.orders_total = 0
        self.fills_total = 0
        self._orders: OrderedDict[str, SeenOrder] = OrderedDict()
        self._fills: OrderedDict[str, tuple[Body, FillView]] = OrderedDict()
        self._positions: OrderedDict[str, Body] = OrderedDict()

    def receive_order(self, body: Body, wall_ns: int) -> Iterable[Telling]:
        """Returns what is new in it. Without a client_order_id it is ignored."""
        ref = text(body, "client_order_id")
        if not ref:
            return ()
        seen = self._orders.pop(ref, None)
        if seen is None:
            self.orders_total += 1
        life = seen.life if seen else []
        state = text(body, "state")
        if not life or life[-1][1] != state:
            life.append((whole(body, "time_ns") or wall_ns, state, text(body, "reason")))
            del life[:-ORDER_LIFE_MAX]
        self._orders[ref] = SeenOrder(body, life, _order_view(body, life))
        if len(self._orders) > self.orders_max:
            self._drop_one()
        return changes.of_order(seen.body if seen else None, body)

    def _drop_one(self) -> None:
        """The oldest order that is over; the oldest of all only if every one is still open."""
        over = (ref for ref, seen in self._orders.items() if not seen.view.open)
        del self._orders[next(over, next(iter(self._orders)))]

    def receive_fill(self, body: Body, wall_ns: int) -> Iterable[Telling]:
        """Returns what is new in it. Without an exec_id it is ignored."""
        exec_id = text(body, "exec_id")
        if not exec_id:
            return ()
        before = self._fills.pop(exec_id, None)
        if before is None:
            self.fills_total += 1
        self._fills[exec_id] = body, readings.fill(body, wall_ns)
        if len(self._fills) > self.fills_max:
            self._fills.popitem(last=False)
        return changes.of_fill(before[0] if before else None, body)

    def receive_position(self, body: Body) -> None:
        key = contract_key(body)
        if key:
            self._positions[key] = body
            if len(self._positions) > self.orders_max:
                self._positions.popitem(last=False)

    def forget_positions(self) -> None:
        """After a restart the proxy tells all positions again; those it does not tell are gone."""
        self._positions.clear()

    def orders(self) -> tuple[OrderView, ...]:
        """Open orders first, each group the newest first."""
        views = [seen.view for seen in reversed(self._orders.values())]
        return tuple(sorted(views, key=lambda order: not order.open))

    def fills(self) -> tuple[FillView, ...]:
        """The newest first."""
        return tuple(view for _, view in reversed(self._fills.values()))

    def positions(self) -> tuple[PositionView, ...]:
        """Those that are not flat, by contract."""
        held = (readings.position(body) for _, body in sorted(self._positions.items()))
        return tuple(position for position in held if position.quantity)


def _order_view(body: Body, life: list[tuple[int, str, str]]) -> OrderView:
    state = text(body, "state")
    legs = readings.legs(body)
    return OrderView(
        client_order_id=text(body, "client_order_id"),
        engine=text(body, "engine"),
        contract=contract_key(body),
        state=state,
        action=text(body, "action"),
        quantity=number(body, "quantity") or 0.0,
        filled=number(body, "filled") or 0.0,
        simulated=flag(body, "simulated"),
        reason=text(body, "reason"),
        # A filled entry whose exits still work is not over.
        open=lights.is_open(state) or any(lights.is_open(leg.state) for leg in legs),
        light=lights.of_order(state),
        legs=legs,
        life=tuple(life),
    )
