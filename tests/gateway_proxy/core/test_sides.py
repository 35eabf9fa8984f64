"""Orders per side: what IB counts is counted from the grant to the death of each leg, and across lives."""

from __future__ import annotations

from itertools import count

import pytest

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.jobs import Job, Keys, Lane, RequestClass
from gateway_proxy.core.orders import Event, Leg, Order
from gateway_proxy.core.scheduler import PacingSettings, Scheduler
from gateway_proxy.core.sides import Sides, sides_of
from gateway_proxy.errors import Refused

SPY = Contract("SPY", con_id=756733)
ids = count(1)


def leg(name: str, action: str) -> Leg:
    ticket = OrderTicket(next(ids), SPY, "DU1", action, 1, "LMT", 600.0, None, "DAY", "ref")  # type: ignore[arg-type]
    return Leg(name, ticket)  # type: ignore[arg-type]


def bracket(name: str) -> Order:
    legs = (leg("entry", "BUY"), leg("take_profit", "SELL"), leg("stop_loss", "SELL"))
    return Order(client_order_id=name, engine="one", payload_hash="", legs=legs, simulated=False)


class Desk:
    """Scheduler and sides as the order path joins them."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(PacingSettings())
        numbers = count(1)
        self.new_id = lambda: next(numbers)
        self.sides = Sides(self.scheduler, self.new_id)

    def push(self, order: Order) -> int:
        job_id = self.new_id()
        keys = Keys(sides=sides_of(order.legs))
        self.scheduler.push(Job(job_id, Lane.ORDER, "one", RequestClass.ORDER, len(order.legs), keys), 0.0)
        return job_id

    def write(self, order: Order) -> None:
        job_id = self.push(order)
        [granted] = self.scheduler.due(0.0)
        assert granted.job.job_id == job_id
        happen(order, Event.WRITE)
        self.scheduler.finished(job_id, 0.0, latency_s=None, failed=False)
        self.sides.granted(order, job_id, 0.0)

    @property
    def used(self) -> float:
        """The fullest side."""
        rows = {row["rule"]: row for row in self.scheduler.stats(0.0)["rules"]}
        return float(rows["orders_per_side"]["used"])

    @property
    def efficiency(self) -> float:
        rows = {row["rule"]: row for row in self.scheduler.stats(0.0)["rules"]}
        return float(rows["order_efficiency"]["used"])


def happen(order: Order, event: Event, *names: str) -> None:
    for one in order.legs:
        if one.name in names or not names:
            one.advance(event)


def test_side_full_of_exits_refuses_the_next_bracket_and_says_which_rule():
    """Seven brackets have 14 exits on the selling side; the eighth would make 16, IB allows 15."""
    desk = Desk()
    for number in range(7):
        desk.write(bracket(f"b{number}"))

    with pytest.raises(Refused, match="orders_per_side"):
        desk.push(bracket("b8"))

    assert desk.used == 14


def test_each_dead_leg_gives_its_own_place_back():
    """The entry fills, one exit fills, the other is cancelled: nothing is left."""
    desk, order = Desk(), bracket("b")
    desk.write(order)
    happen(order, Event.ACKNOWLEDGE)

    happen(order, Event.FILL, "entry")
    desk.sides.look(order, 1.0)
    after_entry = desk.used
    happen(order, Event.FILL, "take_profit")
    desk.sides.look(order, 2.0)
    after_exit = desk.used
    happen(order, Event.CANCEL, "stop_loss")
    desk.sides.look(order, 3.0)

    assert (after_entry, after_exit, desk.used) == (2, 1, 0)


def test_order_of_unknown_fate_keeps_its_places():
    """It may be working."""
    desk, order = Desk(), bracket("b")
    desk.write(order)

    happen(order, Event.LOSE)
    desk.sides.look(order, 1.0)

    assert desk.used == 2


def test_order_that_was_withdrawn_when_its_turn_came_frees_its_places():
    """Pacing granted it, a limit did not."""
    desk, order = Desk(), bracket("b")
    job_id = desk.push(order)
    desk.scheduler.due(0.0)
    happen(order, Event.WITHDRAW)

    desk.sides.granted(order, job_id, 0.0)

    assert desk.used == 0


def test_orders_of_an_earlier_life_are_counted_without_being_sent():
    """After a restart the journal's open orders fill the sides, and empty them as they end."""
    desk, order = Desk(), bracket("b")
    happen(order, Event.WRITE)
    happen(order, Event.ACKNOWLEDGE)

    desk.sides.look(order, 0.0)
    restored = desk.used
    happen(order, Event.CANCEL)
    desk.sides.look(order, 1.0)

    assert (restored, desk.used, desk.scheduler.due(1.0)) == (2, 0, [])


def test_dead_order_that_comes_to_life_takes_places_again():
    """A late acknowledgement after a rejection: IB works it, so it counts."""
    desk, order = Desk(), bracket("b")
    desk.write(order)
    happen(order, Event.REJECT)
    desk.sides.look(order, 1.0)
    dead = desk.used

    happen(order, Event.ACKNOWLEDGE)
    desk.sides.look(order, 2.0)

    assert (dead, desk.used) == (0, 2)


def test_simulated_order_takes_nothing_at_ib():
    """Dry-run."""
    desk, order = Desk(), bracket("b")
    order.simulated = True
    happen(order, Event.WRITE)
    happen(order, Event.ACKNOWLEDGE)

    desk.sides.look(order, 0.0)

    assert desk.used == 0
