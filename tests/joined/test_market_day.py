"""Hours of market with everything joined: bars flow, signals become brackets, breaks heal, nothing is doubled."""

from __future__ import annotations

import pytest

from tests.joined.joined_world import Joined, play

MINUTE_NS = 60_000_000_000


def assert_bars_are_whole(joined: Joined, symbol: str, least: int) -> None:
    """Every minute once, in order; and each as IB tells it when asked again: nothing missed, nothing rewritten."""
    bars = joined.proxy.bars(f"bars/{symbol}/1min/")
    starts = [bar.start_ns for bar in bars]
    assert len(starts) >= least
    assert starts == sorted(set(starts))
    holes = [(a, b) for a, b in zip(starts, starts[1:], strict=False) if b - a != MINUTE_NS]
    overnight = [(a, b) for a, b in holes if b - a > 17 * 3600 * 10**9]
    assert holes == overnight, "a minute is missing"


def assert_orders_are_single(joined: Joined) -> None:
    """One entry at the Gateway for one order of an engine, and nobody's rules were broken."""
    wanted = {
        ask.args["client_order_id"] for engine in joined.engines for ask in engine.asked if ask.op == "order.bracket"
    }
    entries = {
        (line["order_ref"], line["order_id"]) for line in joined.world.events("order") if line["action"] == "BUY"
    }
    assert len({ref for ref, _ in entries}) == len(entries) <= len(wanted)
    assert joined.world.violations() == []


def test_market_becomes_signals_brackets_and_fills():
    """The whole chain: bar, indicator, signal, chain, strike, size, bracket, fill, exit."""

    async def story(joined: Joined) -> None:
        await joined.run(900)

    joined = play(story)

    (engine,) = joined.engines
    assert_bars_are_whole(joined, "SPY", least=130)
    assert len(engine.records) >= 12
    brackets = [ask for ask in engine.asked if ask.op == "order.bracket"]
    assert brackets
    assert joined.world.events("fill")
    assert_orders_are_single(joined)
    assert joined.proxy.appended


def test_two_engines_on_the_same_symbol_cost_one_stream():
    """N engines asking M symbols every minute cost M subscriptions."""

    async def story(joined: Joined) -> None:
        await joined.run(240)

    joined = play(story, engines=("alpha", "beta"))

    streams = [line for line in joined.world.events("request") if line["kind"] == "reqHistoricalData"]
    assert all(engine.records for engine in joined.engines)
    assert len(streams) == len({line["req_id"] for line in streams}) <= 2
    assert joined.world.violations() == []


@pytest.mark.parametrize(("away_s", "seed"), [(5, 1), (150, 2)])
def test_session_cut_in_the_middle_loses_no_bar_and_doubles_no_order(away_s: int, seed: int):
    """The Gateway goes away and comes back; the engines notice nothing but a pause."""

    states: list[str] = []

    async def story(joined: Joined) -> None:
        await joined.run(200)
        joined.world.inject("restart", lasts_s=float(away_s))
        await joined.run(away_s + 240)
        states.append(joined.proxy.core.health.state.value)

    joined = play(story, seed=seed)

    assert_bars_are_whole(joined, "SPY", least=60)
    assert_orders_are_single(joined)
    assert states == ["ready"]
