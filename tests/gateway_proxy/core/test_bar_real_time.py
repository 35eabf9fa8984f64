"""Series over 5-second bars: backfilled, folded, repaired, told about and given up like any other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core.rules import PacingSettings
from tests.gateway_proxy.core.core_world import START, CoreWorld
from tests.gateway_proxy.core.test_bars import assert_unbroken

TOPIC = "bars/SPY/1min/"


@pytest.fixture
def world() -> CoreWorld:
    """QQQ has the only slot, so SPY lives on 5-second bars. Nothing else asks for history."""
    recovery = replace(CoreWorld().settings.recovery, canary_symbol="")
    world = CoreWorld(pacing=PacingSettings(history_streams_max=1), recovery=recovery).start()
    world.subscribe("bars/QQQ/1min/")
    world.subscribe(TOPIC)
    world.advance(1)
    return world


def row(world: CoreWorld, topic: str = TOPIC) -> dict[str, Any]:
    return next(row for row in world.core.bars.health(world.now) if row["topic"] == topic)


def line_of(world: CoreWorld) -> int:
    (req_id,) = world.gateway.real_time
    return req_id


def kinds(world: CoreWorld) -> list[type]:
    """What was asked of IB for 5-second bars, in order."""
    wanted = (fx.RequestRealTimeBars, fx.CancelRealTimeBars)
    return [type(call) for call in world.gateway.calls if isinstance(call, wanted)]


def flow(world: CoreWorld, seconds: float) -> None:
    """Both feeds flow."""
    for _ in range(int(seconds / 5)):
        world.advance(5.0)
        world.grow("QQQ")
        world.trade_on()


def test_backfill_is_one_ordinary_request_and_bars_flow_from_then_on(world: CoreWorld):
    """The bar it came into is asked for once more after its end; all later ones are folded."""
    flow(world, 600)

    asked = [call for call in world.sent(fx.RequestHistory) if call.contract.symbol == "SPY"]
    assert [(call.duration, call.keep_up_to_date) for call in asked] == [("2 D", False), ("300 S", False)]
    assert_unbroken(world)
    assert [bar.source for bar in world.bars()][-9:] == ["live"] * 9
    assert (row(world)["feed"], row(world)["state"], row(world)["opened"]) == ("real_time", "live", 1)


def test_bar_is_finished_by_its_last_five_seconds(world: CoreWorld):
    """Not five seconds later, when the next one begins."""
    world.advance(2)
    flow(world, 155)

    assert (START + world.now) % 60 == 0
    assert world.bars()[-1].start_ns == (START + world.now - 60) * 1_000_000_000
    assert world.bars()[-1].source == "live"


def test_five_seconds_that_got_lost_are_asked_for_when_the_bar_has_ended(world: CoreWorld):
    """A bar that lacks a part is dropped, told by history, and nobody sees a wrong one."""
    flow(world, 180)
    asked = len(world.sent(fx.RequestHistory))
    world.advance(5.0)
    world.grow("QQQ")

    flow(world, 180)

    assert len(world.sent(fx.RequestHistory)) == asked + 1
    assert_unbroken(world)
    assert "backfill" in [bar.source for bar in world.bars()][-4:]


def test_silent_line_is_found_told_and_asked_for_once_again(world: CoreWorld):
    """Thirty seconds without a part while the market is open; the cancel goes first."""
    flow(world, 60)
    for _ in range(7):
        world.advance(5.0)
        world.grow("QQQ")

    assert world.on(TOPIC, "verdict")[-1]["verdict"] == "stream_dead"
    assert kinds(world) == [fx.RequestRealTimeBars, fx.CancelRealTimeBars, fx.RequestRealTimeBars]
    flow(world, 180)
    assert_unbroken(world)


@pytest.mark.parametrize(
    ("code", "text", "verdict"),
    [
        (420, "Invalid Real-time Query:Historical data request pacing violation", "pacing"),
        (101, "Max number of tickers has been reached", "lines_full"),
        (420, "Invalid Real-time Query:No market data permissions for NASDAQ STK", "entitlement"),
        (10182, "Failed to request live updates (disconnected).", "stream_dead"),
    ],
)
def test_refused_line_is_told_with_its_cause_and_tried_again(world: CoreWorld, code: int, text: str, verdict: str):
    """On the topic of the series, with IB's own words."""
    world.error(line_of(world), code, text)

    assert world.on(TOPIC, "verdict")[-1]["verdict"] == verdict
    assert text in row(world)["error"]
    world.gateway.real_time.clear()
    world.advance(700)
    assert world.gateway.real_time
    flow(world, 180)
    assert (row(world)["state"], row(world)["error"]) == ("live", "")


def test_lost_data_open_the_line_afresh(world: CoreWorld):
    """1101: one cancel, one request, one refill, no bar lost."""
    flow(world, 60)

    world.error(-1, 1101, "restored - data lost")
    flow(world, 240)

    assert kinds(world) == [fx.RequestRealTimeBars, fx.CancelRealTimeBars, fx.RequestRealTimeBars]
    assert_unbroken(world)


def test_lost_session_loses_no_bar(world: CoreWorld):
    """The line is subscribed to again, and what passed meanwhile is asked for."""
    flow(world, 180)
    world.cut()
    world.advance(120)
    flow(world, 300)

    assert_unbroken(world)
    assert row(world)["state"] == "live"


def test_last_listener_leaving_gives_the_line_back_after_the_grace(world: CoreWorld):
    """As for every stream."""
    world.subscribe(TOPIC, wanted=False)
    world.advance(world.settings.bars.grace_s + 0.1)

    assert kinds(world) == [fx.RequestRealTimeBars, fx.CancelRealTimeBars]
    assert world.gateway.real_time == {}


def test_live_series_is_not_moved_while_the_other_feed_could_not_be_asked():
    """Its new line would wait for the budget, and it would stand still; the newcomer waits, and says for what."""
    world = CoreWorld(pacing=PacingSettings(history_streams_max=1, history_budget=1)).start()
    world.subscribe(TOPIC)
    world.ask("bars", contract="AAPL", size="5s", count=10)
    flow(world, 30)

    world.subscribe("bars/SPY/2min/")
    world.grow()
    world.advance(1)

    assert (row(world)["feed"], row(world)["state"]) == ("history", "live")
    newcomer = row(world, "bars/SPY/2min/")
    assert (newcomer["feed"], newcomer["held_by"]) == ("real_time", "history_window")
    for _ in range(130):
        world.advance(5)
        world.grow()
        world.trade_on()
    assert [each["feed"] for each in world.core.bars.health(world.now)] == ["real_time"] * 2


def test_series_without_a_place_says_which_rule_it_waits_for():
    """All the lines that bars may have are taken."""
    world = CoreWorld()
    settings = replace(world.settings, bars=replace(world.settings.bars, lines_max=1))
    world = CoreWorld(bars=settings.bars).start()
    world.subscribe("bars/QQQ/1min/")
    world.subscribe(TOPIC)
    world.advance(1)

    assert (row(world)["feed"], row(world)["state"], row(world)["held_by"]) == ("", "waiting", "bar_lines")
    world.subscribe("bars/QQQ/1min/", wanted=False)
    world.advance(10)
    assert row(world)["held_by"] == "bar_lines"
    world.advance(settings.bars.switch_after_s)
    assert (row(world)["feed"], row(world)["state"], row(world)["held_by"]) == ("history", "live", "")
