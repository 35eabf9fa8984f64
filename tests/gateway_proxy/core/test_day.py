"""The exchange day: what today's limits count survives the process and ends with the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway_proxy.bus.messages import AccountValues, CancelArgs, ModifyArgs
from gateway_proxy.core import events as ev
from gateway_proxy.core.day import day_of
from gateway_proxy.core.risk import RiskSettings, day_result
from tests.gateway_proxy.core.order_world import SPY, OrderWorld, bracket, single


def lost(world: OrderWorld, amount: float) -> None:
    """One filled order whose execution cost so much."""
    world.ask("order.place", single("loser"))
    world.gateway.fill(world.order_ids("loser")[0])
    world.run()
    world.feed(ev.CommissionReceived(world.gateway.executions[-1].exec_id, 1.0, "USD", -amount))


def restarted(world: OrderWorld) -> OrderWorld:
    world.disconnect()
    world.crash()
    return world.start()


def test_a_restart_does_not_forgive_the_loss_of_the_day():
    """IB's own figure begins anew with the Gateway; the journal remembers what our executions lost."""
    world = OrderWorld(risk=RiskSettings(daily_loss=500.0)).start()
    lost(world, 600.0)
    before = world.ask("order.place", single("before"))

    restarted(world)
    after = world.ask("order.place", single("after"))

    assert [world.answer(one) for one in (before, after)] == ["refused", "refused"]
    assert "daily_loss" in str(world.reply(after).error)


def test_the_next_day_starts_with_nothing_lost():
    """Midnight in New York, as the Gateway's clock has it."""
    world = OrderWorld(risk=RiskSettings(daily_loss=500.0)).start()
    lost(world, 600.0)

    world.advance(86_400.0)
    world.quote(10.0)

    assert world.answer(world.ask("order.place", single("tomorrow"))) == "accepted"


def test_a_restart_does_not_forget_how_many_messages_led_to_how_few_executions():
    """IB counts the day's messages, whoever sent them in which process."""
    limits = RiskSettings(max_efficiency_ratio=3.0, efficiency_free_messages=4)
    world = OrderWorld(risk=limits).start()
    for name in ("p1", "p2"):
        world.ask("order.place", single(name))
        world.ask("order.cancel", CancelArgs(name))
    counted = world.blotter.risk.efficiency_ratio

    restarted(world)
    after = world.ask("order.place", single("after"))

    assert (counted, world.blotter.risk.efficiency_ratio) == (4.0, 4.0)
    assert "max_efficiency_ratio" in str(world.reply(after).error)


def test_a_corrected_execution_is_counted_once():
    """The commission of the correction replaces the first one's."""
    world = OrderWorld().start()
    lost(world, 600.0)
    first = world.gateway.executions[-1]

    corrected = first.exec_id[:-1] + "2"
    world.feed(replace(first, exec_id=corrected))
    world.feed(ev.CommissionReceived(corrected, 1.0, "USD", -40.0))

    assert world.blotter.register.day.realized == {"scalp": -40.0}
    assert world.blotter.register.day.executed_orders == 1


@pytest.mark.parametrize(("date", "hours"), [("2026-06-15", 24), ("2026-03-08", 23), ("2026-11-01", 25)])
def test_a_day_is_as_long_as_new_york_makes_it(date: str, hours: int):
    """Daylight saving begins and ends at night."""
    noon = datetime.fromisoformat(f"{date}T12:00:00").replace(tzinfo=ZoneInfo("America/New_York"))
    wall_ns = int(noon.timestamp()) * 1_000_000_000

    day = day_of(wall_ns)

    assert day.name == date.replace("-", "")
    assert day.holds(wall_ns)
    assert (day.ends_ns - day.starts_ns) / 3.6e12 == hours


@pytest.mark.parametrize(
    ("account", "realized", "expected"),
    [
        (None, -600.0, None),
        (AccountValues("DU1"), -600.0, None),
        (AccountValues("DU1", realized_pnl=0.0, unrealized_pnl=0.0), -600.0, -600.0),
        (AccountValues("DU1", realized_pnl=-700.0, unrealized_pnl=50.0), -600.0, -650.0),
        (AccountValues("DU1", daily_pnl=-100.0, unrealized_pnl=20.0), -600.0, -580.0),
        (AccountValues("DU1", daily_pnl=-100.0), 900.0, -100.0),
    ],
)
def test_the_worse_of_both_figures_counts(account, realized, expected):
    """IB's and the journal's; a profit of ours never softens a loss that IB states."""
    assert day_result(account, realized) == expected


def test_a_filled_bracket_counts_down_to_its_stop_until_it_is_over():
    """Entry 10, stop 9, two shares: 2 at risk; a stop moved to 9.5 leaves 1, the stop's fill none but the loss."""
    world = OrderWorld(risk=RiskSettings(daily_loss=500.0)).start()
    world.ask("order.bracket", bracket("b1"))
    world.gateway.fill(world.order_ids("b1")[0])
    world.run()
    at_stop = held_risk(world)
    world.ask("order.modify", ModifyArgs("b1", "stop_loss", stop_price=9.5))
    moved = held_risk(world)
    world.gateway.fill(world.order_ids("b1")[2])
    world.run()

    assert (at_stop, moved, held_risk(world)) == (2.0, 1.0, 0.0)


def held_risk(world: OrderWorld) -> float:
    admission = world.blotter._admission
    ask = admission.ask_of(single("next"), SPY.contract, "DU1", world.now)
    return sum(one.risk for one in admission.book(ask, world.now).guarded)
