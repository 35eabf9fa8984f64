"""The dashboard in a real browser: it draws, it turns red and green again in time, it opens timelines, it fits a phone.

Screenshots go to $SCREENSHOTS, if that is set.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from monitor.alerts import AlertBook
from monitor.config import AlertSettings, StateSettings, WebSettings
from monitor.rounds import Rounds
from monitor.series import Series
from monitor.watcher import Watcher
from monitor.web.server import Dashboard, address, serve
from tests.monitor.browser.driver import Browser, why_not
from tests.monitor.stand_in import SLOW_VERDICT, Day, StandIn
from tests.monitor.test_web import TOKEN, free_port

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.skipif(bool(why_not()), reason=why_not())]

PROMISED_S = 3.0  # from the fault to the light


class Shown:
    """A lively stand-in, the dashboard on it, and the browser that looks at it."""

    def __init__(self, day: Day, url: str, browser: Browser) -> None:
        self.day, self.url, self.browser = day, url, browser

    def open(self, width: int = 1440, height: int = 900, theme: str = "dark") -> None:
        # An engine that has not reported for a while would rightly be red.
        self.day.report_engines(0)
        self.browser("open", url=self.url, width=width, height=height, theme=theme)
        self.browser("wait", at="#verdict.light-green")

    def is_drawn(self, chart: str) -> bool:
        return bool(self.browser("colours", at=chart) > 8)

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.browser("screenshot", path=str(Path(folder).absolute() / f"{name}.png"))


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    with tempfile.TemporaryDirectory(prefix="mon") as directory:
        proxy = StandIn(Path(directory) / "rt")
        watcher = Watcher(StateSettings(), Path(directory) / "rt")
        watcher.start()
        rounds = Rounds(watcher, Series(), AlertBook(AlertSettings()))
        settings = WebSettings(port=free_port(), refresh_s=0.25)
        stop = serve(Dashboard(settings, watcher, rounds, None), settings, TOKEN)
        browser = Browser()
        try:
            day = Day(proxy)
            for second in range(30):
                day.step()
                if second % 5 == 4:
                    time.sleep(0.1)
                    rounds.make(time.monotonic())
            yield Shown(day, address(settings, TOKEN), browser)
        finally:
            browser.close()
            stop()
            watcher.stop()
            proxy.stop()


def until(is_so: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_page_draws_all_charts_without_a_complaint(shown):
    """No external request, no console error, no warning; every canvas holds more than its background."""
    shown.open()
    for chart in ("#price", "#latency", "#budgets"):
        shown.browser("wait", at=f"{chart} canvas")
        until(partial(shown.is_drawn, chart))
    until(lambda: shown.browser("count", at="#chain td") > 20)

    assert TOKEN not in shown.browser("url")
    assert "SPY.20260618.C.600" in shown.browser("text", at="#orders")
    shown.shoot("dashboard-dark")
    assert shown.browser("complaints") == []


def test_farm_flap_turns_the_light_red_and_green_in_time(shown):
    """From the message to the lamp in the page: less than three seconds, both ways."""
    shown.open()
    farms = {"usfarm": {"type": "market", "state": "down"}}
    began = time.monotonic()
    shown.day.bus.gateway("degraded", reason="farm usfarm is down (2103)", farms=farms)
    shown.browser("wait", at="#verdict.light-red")
    red_s = time.monotonic() - began
    problem = shown.browser("text", at="#problems")
    shown.shoot("dashboard-farm-down")
    began = time.monotonic()
    shown.day.bus.gateway("ready", farms={"usfarm": {"type": "market", "state": "up"}})
    shown.browser("wait", at="#verdict.light-green")
    green_s = time.monotonic() - began

    assert "usfarm" in problem
    assert max(red_s, green_s) < PROMISED_S
    assert shown.browser("complaints") == []


def test_timeline_of_a_slow_request_opens(shown):
    """One click on a verdict: our queue and the Gateway apart, the rule that held it, the advice."""
    shown.open()
    shown.day.bus.publish("verdicts/", "verdict", SLOW_VERDICT)
    shown.browser("wait", at="#verdicts tr.open-me")

    shown.browser("click", at="#verdicts tr.open-me")
    told = shown.browser("text", at="#dialog")
    shown.shoot("dashboard-timeline")

    assert "history_silent" in told
    assert "5.2s" in told and "12s" in told
    assert "history_10min" in told
    assert shown.browser("complaints") == []


def test_life_of_an_order_opens(shown):
    shown.open()
    shown.browser("click", at="#orders tr.open-me")

    told = shown.browser("text", at="#dialog")

    assert "intent" in told and "filled" in told and "take profit" in told


def test_click_on_the_strip_shows_what_happened(shown):
    shown.open()
    shown.browser("wait", at="#strip button")
    shown.browser("click", at="#strip button")

    assert shown.browser("text", at="#dialog-title")
    assert shown.browser("complaints") == []


def test_hostile_text_stays_text(shown):
    """Whatever a broken or hostile publisher sends, the page shows it as characters."""
    shown.open()
    evil = "<img src=x onerror=document.title='owned'>"
    shown.day.bus.gateway("degraded", reason=evil)
    shown.browser("wait", at="#problems .problem")
    told = shown.browser("text", at="#problems")
    shown.day.bus.gateway("ready")
    shown.browser("wait", at="#verdict.light-green")

    assert evil in told
    assert shown.browser("count", at="img") == 0
    assert shown.browser("complaints") == []


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_phone_has_no_overflow(shown, theme):
    shown.open(width=360, height=740, theme=theme)
    shown.browser("wait", at="#price canvas")
    shown.shoot(f"dashboard-phone-{theme}")

    assert shown.browser("overflow") <= 0


def test_theme_follows_the_system_and_the_button(shown):
    shown.open(theme="light")
    light = shown.browser("background")
    shown.shoot("dashboard-light")
    shown.browser("click", at="#theme")
    dark = shown.browser("background")

    assert light != dark
    assert shown.browser("complaints") == []


def test_filter_leaves_only_matching_events(shown):
    shown.open()
    until(lambda: shown.browser("count", at="#events .event") > 3)
    shown.browser("fill", at="#filter", value="intent")

    left = shown.browser("count", at="#events .event")
    assert left == shown.browser("count", at="#events .event.kind-order") > 0


def test_question_why_is_answered_by_the_proxy(shown):
    shown.open()
    shown.browser("click", at="#diagnose")
    shown.browser("wait", at="#dialog[open]")

    assert "Nothing to do." in shown.browser("text", at="#dialog")
