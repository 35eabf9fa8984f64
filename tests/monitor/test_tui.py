"""The terminal app, driven by Textual's pilot: it shows the view, and its keys answer the next question."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest
from rich.text import Text
from textual.widgets import Input, RichLog, Static

from gateway_proxy import GatewayUnavailable
from monitor.samples import Sample
from monitor.tui import panels
from monitor.tui.app import MonitorApp
from monitor.view import Event, View
from tests.monitor.conftest import Watched
from tests.monitor.messages import farms
from tests.monitor.stand_in import SLOW_VERDICT


class Source:
    """A watcher without a bus: reads a state that the test feeds."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.answer: Future[dict[str, Any]] = Future()

    def view(self) -> View:
        return self.watched.view

    def events_since(self, number: int) -> list[Event]:
        return self.watched.state.events_since(number)

    def diagnose(self) -> Future[dict[str, Any]]:
        return self.answer


@pytest.fixture
def source(watched, bus) -> Source:
    watched.hear(
        bus.gateway(farms=farms(usfarm="up")),
        bus.health("pacing", rules=[{"rule": "history_10min", "scope": "all", "used": 55, "limit": 60}], lanes={}),
        bus.health("breakers", breakers={"history": {"state": "closed"}}),
        bus.health("streams", streams=[{"topic": "bars/SPY/1min/", "state": "live", "age_s": 1.0}]),
        bus.health("engine/scalp", state="ready", symbols=["SPY"], signals=1, last_decision="BUY SPY"),
        bus.order(state="working"),
        bus.message("verdicts/", "verdict", SLOW_VERDICT),
    )
    return Source(watched)


@pytest.fixture
def app(source) -> MonitorApp:
    return MonitorApp(source, list[Sample], threading.Event())


def shown(app: MonitorApp, name: str) -> str:
    content = app.screen_stack[0].query_one(f"#{name}", Static).content
    assert isinstance(content, Text)
    return content.plain


def lines(app: MonitorApp) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen_stack[0].query_one("#events", RichLog).lines]


async def test_every_panel_shows_its_part(app):
    async with app.run_test(size=(140, 44)) as pilot:
        await pilot.pause()

        assert "ready" in shown(app, "head") and "paper" in shown(app, "head")
        assert "usfarm up" in shown(app, "gateway")
        assert "55/60" in shown(app, "budgets")
        assert "bars/SPY/1min" in shown(app, "streams")
        assert "BUY SPY" in shown(app, "engines")
        assert "BUY 2 SPY.20260618.C.600 working" in shown(app, "orders")


async def test_trouble_appears_at_the_top_and_goes_away(app, source, bus):
    """Problems have a place only while there are problems."""
    async with app.run_test(size=(140, 44)) as pilot:
        source.watched.hear(bus.gateway("degraded", farms=farms(usfarm="down"), reason="usfarm down"))
        app.refresh_panels()
        await pilot.pause()
        during = shown(app, "problems"), app.query_one("#problems").display
        source.watched.hear(bus.gateway(farms=farms(usfarm="up")))
        app.refresh_panels()
        await pilot.pause()

        assert "usfarm" in during[0] and during[1]
        assert not app.query_one("#problems").display


async def test_filter_key_leaves_matching_events(app, source, bus):
    async with app.run_test(size=(140, 44)) as pilot:
        source.watched.hear(bus.gateway("degraded", reason="usfarm down"), bus.fill())
        app.refresh_panels()
        await pilot.press("f")
        await pilot.press(*"usfarm")
        await pilot.pause()
        filtered = lines(app)
        await pilot.press("escape")
        await pilot.pause()

        assert filtered and all("usfarm" in line for line in filtered)
        assert len(lines(app)) > len(filtered)
        assert app.query_one("#filter", Input).value == ""


async def test_timeline_key_shows_where_a_requests_time_went(app):
    """Our queue and the Gateway apart, with the rule that held it."""
    async with app.run_test(size=(140, 44)) as pilot:
        await pilot.press("t")
        await pilot.pause()
        content = app.screen.query_one("#timeline", Static).content
        await pilot.press("escape")
        await pilot.pause()

        assert isinstance(content, Text)
        assert "our queue" in content.plain and "5.2s" in content.plain
        assert "12s" in content.plain and "held by rule history_10min" in content.plain
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("works", [True, False])
async def test_diagnose_key_shows_the_proxys_answer_or_why_there_is_none(app, source, works):
    async with app.run_test(size=(140, 44)) as pilot:
        await pilot.press("d")
        await pilot.pause()
        if works:
            source.answer.set_result({"verdict": "farm_down", "advice": "wait", "evidence": {"farm": "usfarm"}})
        else:
            source.answer.set_exception(GatewayUnavailable("not connected"))
        await app.workers.wait_for_complete()
        await pilot.pause()
        content = app.screen.query_one("#diagnosis", Static).content

        assert isinstance(content, Text)
        assert ("farm_down" if works else "not connected") in content.plain


async def test_small_terminal_still_works(app):
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()

        assert "ready" in shown(app, "head")


async def test_markup_in_names_stays_text(app, source, bus):
    """A hostile name cannot colour, link or hide anything."""
    source.watched.hear(bus.gateway("degraded", reason="[red]x[/red] [link=http://evil]y[/link]"))
    async with app.run_test(size=(140, 44)) as pilot:
        await pilot.pause()

        assert "[link=http://evil]y[/link]" in shown(app, "problems")


async def test_quit_key_ends_the_app(app):
    async with app.run_test() as pilot:
        await pilot.press("q")

    assert app.return_code == 0


def test_sparkline_is_full_at_its_highest_point():
    assert panels.sparkline([0.0, 50.0, None, 100.0]) == "▁▅█"
    assert panels.sparkline([]) == ""
