"""Every short story: all sequences of what engine, IB, link and process can do, on the real order path.

Bounded model checking of the code itself, not of a drawing of it: one signal, one engine that repeats its request,
faults in every order. After each story faults stop, and the promises of a random life are checked (reliability 6.6).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest

from gateway_proxy.bus.messages import CancelArgs, ModifyArgs
from tests.gateway_proxy.core.order_life import OrderLife
from tests.gateway_proxy.core.order_world import SPY, bracket

Turn = Callable[[OrderLife], None]
NAME = "order0"


def ask(life: OrderLife) -> None:
    """The engine sends its signal, or sends it again: always the same id and payload."""
    life.owed.append(life.world.ask("order.bracket", bracket(NAME), SPY))


def cancel(life: OrderLife) -> None:
    life.owed.append(life.world.ask("order.cancel", CancelArgs(NAME), SPY))


def modify(life: OrderLife) -> None:
    life.owed.append(life.world.ask("order.modify", ModifyArgs(NAME, limit_price=9.9), SPY))


def drop_next(life: OrderLife) -> None:
    life.world.gateway.drop_orders = 1


def hold_next(life: OrderLife) -> None:
    """The next order stays in the Gateway until the session is renewed."""
    life.world.gateway.hold_orders = True


def forget_to_tell(life: OrderLife) -> None:
    life.world.gateway.silent = not life.world.gateway.silent


def fill_entry(life: OrderLife) -> None:
    fill(life, 0)


def fill_stop(life: OrderLife) -> None:
    fill(life, 2)


def fill(life: OrderLife, leg: int) -> None:
    order = life.world.blotter.register.orders.get(NAME)
    held = life.world.gateway.orders.get(order.order_ids[leg]) if order else None
    if order and held and held.status in ("Submitted", "PreSubmitted"):
        if leg and life.world.gateway.orders[order.order_ids[0]].status != "Filled":
            return
        life.world.gateway.fill(order.order_ids[leg])
        life.world.run()


def renew_the_link(life: OrderLife) -> None:
    life.world.disconnect()
    life.world.connect()
    life.world.gateway.execute_late_bytes()
    life.world.run()


def restart(life: OrderLife) -> None:
    life.world.crash()
    life.owed.clear()
    life.world.connect()
    life.world.gateway.execute_late_bytes()
    life.world.run()
    life.world.quote(10.0)


def wait(life: OrderLife) -> None:
    """Longer than an answer may take; twice is shorter than two sweeps.

    Bytes are held by a dead session only: within a living one two sweeps decide, and what comes later is an alarm.
    """
    life.world.advance(4.2)
    life.world.quote(10.0)


TURNS: tuple[Turn, ...] = (
    ask, cancel, modify, drop_next, hold_next, forget_to_tell, fill_entry, fill_stop, renew_the_link, restart, wait,
)  # fmt: skip


def tell(story: tuple[Turn, ...]) -> None:
    life = OrderLife(good_for_s=30.0)
    try:
        for turn in story:
            turn(life)
            life.check()
        life.world.gateway.silent = False
        held = life.world.gateway.hold_orders or life.world.gateway.late_bytes
        life.world.gateway.hold_orders = False
        if held:
            renew_the_link(life)
        life.settle()
    except AssertionError as error:
        raise AssertionError(" -> ".join(turn.__name__ for turn in story)) from error


@pytest.mark.parametrize("first", TURNS, ids=lambda turn: turn.__name__)
def test_every_story_of_four_turns_ends_well(first):
    """The signal second or last, anything else around it: traded at most once in all of them."""
    for rest in itertools.product(TURNS, repeat=2):
        tell((first, ask, *rest))
        tell((first, *rest, ask))


@pytest.mark.parametrize("second", TURNS, ids=lambda turn: turn.__name__)
def test_stories_of_five_turns_that_begin_with_the_signal_end_well(second):
    """Deeper, from the order on. STORY_STRIDE=1 tells all 14,641 of them (half a minute), 13 every thirteenth."""
    stride = int(os.environ.get("STORY_STRIDE", "13"))
    for rest in itertools.islice(itertools.product(TURNS, repeat=3), TURNS.index(second) % stride, None, stride):
        tell((ask, second, *rest))
