"""The process dies after effect k, for every k, of every operation, in every mood of the Gateway.

The judge looks at the Gateway's own book: at most one live or filled order per reference, no order id used twice, no
bracket in parts, nothing accepted that the journal does not know; and after quiet, blotter and Gateway agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway_proxy.bus.messages import CancelArgs, KillArgs, ModifyArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.core.orders import TERMINAL
from gateway_proxy.core.submissions import OrderEffect
from tests.gateway_proxy.core.model_gateway import LIVE
from tests.gateway_proxy.core.order_world import Crash, OrderWorld, bracket, single

LEGS = ("entry", "take_profit", "stop_loss")


def place(world: OrderWorld) -> None:
    world.ask("order.place", single())


def place_bracket(world: OrderWorld) -> None:
    world.ask("order.bracket", bracket())


def cancel(world: OrderWorld) -> None:
    world.ask("order.bracket", bracket())
    world.ask("order.cancel", CancelArgs("b1"))


def modify(world: OrderWorld) -> None:
    world.ask("order.bracket", bracket())
    world.ask("order.modify", ModifyArgs("b1", limit_price=9.5))


def fill(world: OrderWorld) -> None:
    world.ask("order.bracket", bracket())
    if "b1" in world.blotter.register.orders and world.order_ids("b1")[0] in world.gateway.orders:
        world.gateway.fill(world.order_ids("b1")[0], 1)
        world.gateway.fill(world.order_ids("b1")[0], 1)
        world.run()


def kill(world: OrderWorld) -> None:
    world.ask("order.bracket", bracket())
    world.ask("kill", KillArgs())


def guard(world: OrderWorld) -> None:
    """A filled entry loses its stop, and the repair is under way."""
    fill(world)
    stop = world.order_ids("b1")[2]
    if stop in world.gateway.orders:
        world.gateway.end(stop)
        world.run()
        world.advance(2.0)


SCENARIOS: dict[str, Callable[[OrderWorld], None]] = {
    one.__name__: one for one in (place, place_bracket, cancel, modify, fill, kill, guard)
}


def well(world: OrderWorld) -> None:
    """The Gateway does what it should."""


def dropping(world: OrderWorld) -> None:
    world.gateway.drop_orders = 1


def silent(world: OrderWorld) -> None:
    """Orders are taken, but nothing is said about them unasked."""
    world.gateway.silent = True


def late(world: OrderWorld) -> None:
    """Bytes of the first session wait in the Gateway and execute after the reconnect."""
    world.gateway.hold_orders = True


MOODS: dict[str, Callable[[OrderWorld], None]] = {one.__name__: one for one in (well, dropping, silent, late)}


def stop_at(world: OrderWorld, count: int, *, journaled: bool) -> None:
    """Die before effect number `count`. `journaled`: an append at that point still reached the disk."""
    left = [count]

    def die(effect: OrderEffect) -> None:
        left[0] -= 1
        if left[0] > 0:
            return
        if journaled and isinstance(effect, fx.Append):
            body = {"wall_ns": world.wall_ns, "kind": effect.kind, "client_order_id": effect.client_order_id}
            world.journal.append({**body, "body": effect.body})
        raise Crash

    world.before_effect = die


def cases() -> Iterator[tuple[str, str]]:
    return ((scenario, mood) for scenario in SCENARIOS for mood in MOODS)


def recover(world: OrderWorld) -> None:
    """A new process over the same journal and Gateway, and time for every rule to come to its end."""
    world.crash()
    world.gateway.silent = False
    world.connect()
    world.gateway.execute_late_bytes()
    world.run()
    world.advance(10.0)
    world.quote(10.0)
    world.advance(200.0)


def judge(world: OrderWorld, where: str) -> None:
    register, gateway = world.blotter.register, world.gateway
    assert all(count <= 1 for count in gateway.live_or_filled().values()), f"{where}: an order lives twice"
    uses: dict[int, set[str]] = {}
    for ticket in gateway.placed:
        uses.setdefault(ticket.order_id, set()).add(ticket.order_ref)
    assert all(len(one) == 1 for one in uses.values()), f"{where}: an order id was used for two orders"
    for order_id, held in gateway.orders.items():
        found = register.leg_by_order_id(order_id)
        assert found is not None, f"{where}: IB holds an order that the journal does not know"
        order, leg = found
        assert leg.filled == held.filled, f"{where}: {leg.name} filled {leg.filled} here and {held.filled} at IB"
        assert (held.status in LIVE) == (leg.state not in TERMINAL), f"{where}: {leg.name} {leg.state} vs {held.status}"
        assert {one in gateway.orders for one in order.order_ids} == {True}, f"{where}: a bracket in parts"
    for order in register.open_orders():
        assert all(leg.terminal or leg.ticket.order_id in gateway.orders for leg in order.legs), (
            f"{where}: never settles"
        )
    assert world.blotter.halted in ("", "kill switch"), f"{where}: {world.blotter.halted}"


@pytest.mark.parametrize(("scenario", "mood"), list(cases()))
def test_a_crash_after_any_effect_loses_and_doubles_nothing(scenario, mood):
    """All k, with the append at the crash lost or kept, and a second crash during the recovery."""
    k = 0
    while True:
        k += 1
        for journaled in (False, True):
            world = OrderWorld().start()
            MOODS[mood](world)
            stop_at(world, k, journaled=journaled)
            try:
                SCENARIOS[scenario](world)
                # Held bytes belong to a dead session; within a living one two sweeps decide, and a ghost is an alarm.
                world.advance(1.0 if mood == "late" else 10.0)
                finished = True
            except Crash:
                finished = False
            recover(world)
            judge(world, f"{scenario}, {mood}, crash at effect {k}, append {'kept' if journaled else 'lost'}")
        if finished:
            break
    assert k > 5


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_a_crash_during_the_recovery_is_just_another_start(scenario):
    """Recovery is idempotent: it may die at any of its own effects."""
    k = 0
    finished = False
    while not finished:
        k += 1
        world = OrderWorld().start()
        world.gateway.drop_orders = 1
        stop_at(world, 4, journaled=True)
        try:
            SCENARIOS[scenario](world)
        except Crash:
            world.crash()
        stop_at(world, k, journaled=False)
        try:
            world.connect()
            world.advance(200.0)
            finished = True
        except Crash:
            finished = False
        recover(world)
        judge(world, f"{scenario}, second crash at effect {k} of the recovery")


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_an_engine_that_repeats_its_request_after_any_crash_trades_once(scenario):
    """The engine got no answer and asks again with the same id, against every state a crash can leave (I1, I2)."""
    k = 0
    finished = False
    while not finished:
        k += 1
        world = OrderWorld().start()
        stop_at(world, k, journaled=True)
        try:
            SCENARIOS[scenario](world)
            finished = True
        except Crash:
            finished = False
        world.crash()
        world.start()
        for _ in range(2):
            again = world.ask("order.place", single()) if scenario == "place" else world.ask("order.bracket", bracket())
            world.advance(5.0)
            assert world.answered(again)
        recover(world)
        judge(world, f"{scenario}, crash at {k}, then repeated")


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_replay_is_what_memory_was(scenario):
    """The register rebuilt from the journal equals the one that lived, field by field, except what a death changes."""
    world = OrderWorld().start()
    SCENARIOS[scenario](world)
    world.advance(10.0)
    lived = world.blotter.register

    world.crash()

    replayed = world.blotter.register
    assert replayed.orders == lived.orders
    assert replayed.traded == lived.traded
    assert replayed.halted == lived.halted
    assert replayed.ids.highest == lived.ids.highest
    assert replayed.baseline == lived.baseline
