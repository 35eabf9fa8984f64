"""Old bars on request: only for callers that allow an age, marked with it, and only when nothing newer can be had."""

from __future__ import annotations

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.errors import BreakerOpen, ProxyError
from tests.gateway_proxy.core.core_world import CoreWorld

TOPIC = "bars/SPY/1min/"


@pytest.fixture
def world() -> CoreWorld:
    return CoreWorld().start()


def lose_the_gateway(world: CoreWorld) -> None:
    world.reachable = False
    world.cut()


def test_without_a_session_held_bars_answer_who_allows_their_age(world: CoreWorld):
    """The answer says how old it is; a caller that allows less, or names no age, gets the error as before."""
    world.subscribe(TOPIC)
    world.flow(60)
    lose_the_gateway(world)
    world.advance(40.0)

    allowed = world.ask("bars", contract="SPY", count=20, max_age_s=120.0)
    strict = world.ask("bars", contract="SPY", count=20, max_age_s=10.0)
    silent = world.ask("bars", contract="SPY", count=20)

    body = world.body(allowed)
    assert len(body["bars"]) == 20
    assert 40.0 <= body["age_s"] <= 46.0
    assert body["timeline"]["cache"] == "stale"
    for refused in (strict, silent):
        with pytest.raises(ProxyError, match="disconnected|connecting"):
            world.body(refused)


def test_an_open_breaker_gives_the_last_answer_with_its_age(world: CoreWorld):
    """History is silent and rests: an earlier answer of the same question is better than none, if it is allowed."""
    first = world.ask("bars", contract="QQQ", count=30)
    world.advance(5.0)
    assert "age_s" not in world.body(first)
    world.gateway.mute.add(fx.RequestHistory)
    for size in ("2min", "3min", "5min", "10min", "15min", "30min"):
        world.ask("bars", contract="QQQ", size=size, count=30)
    world.advance(25.0)

    stale = world.ask("bars", contract="QQQ", count=30, max_age_s=300.0)
    bare = world.ask("bars", contract="QQQ", count=30)

    assert len(world.body(stale)["bars"]) == 30
    assert 25.0 <= world.body(stale)["age_s"] <= 31.0
    with pytest.raises(BreakerOpen):
        world.body(bare)


def test_with_a_healthy_gateway_the_allowance_changes_nothing(world: CoreWorld):
    """Fresh bars are fresh bars."""
    asked = world.ask("bars", contract="AAPL", count=30, max_age_s=300.0)
    world.advance(5.0)

    assert "age_s" not in world.body(asked)
    assert world.body(asked)["timeline"]["cache"] == ""
