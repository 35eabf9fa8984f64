"""The Textual app: lays the panels out, refreshes them twice a second, binds the keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Grid
from textual.widgets import Footer, Input, RichLog, Static

from gateway_proxy import ProxyError
from monitor.samples import Sample
from monitor.tui import panels
from monitor.tui.screens import DiagnosisScreen, TimelineScreen
from monitor.view import Event, View

REFRESH_S = 0.5
EVENTS_SHOWN = 400
DIAGNOSE_TIMEOUT_S = 8.0


class Source(Protocol):
    """What the app needs of a watcher."""

    def view(self) -> View: ...

    def events_since(self, number: int) -> list[Event]: ...

    def diagnose(self) -> Future[dict[str, object]]: ...


class MonitorApp(App[None]):
    """`recent` gives the rows of the last minutes, for the sparklines; the app ends when `stopping` is set."""

    TITLE = "gateway monitor"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: 1; background: $surface; }
    #problems { height: auto; max-height: 7; padding: 0 1; background: $surface; }
    Grid { grid-size: 2; grid-columns: 1fr 1fr; grid-rows: auto; height: auto; max-height: 75%; overflow-y: auto; }
    .panel { border: round $primary 40%; border-title-color: $text-muted; padding: 0 1; height: 100%; min-height: 4; }
    #events { border: round $primary 40%; border-title-color: $text-muted; height: 1fr; min-height: 5; }
    #filter { display: none; }
    #filter.asked { display: block; }
    ModalScreen { align: center middle; }
    .window { width: 90%; max-width: 110; height: 80%; border: round $accent; background: $surface; padding: 1 2; }
    .window OptionList { height: 45%; }
    """
    BINDINGS = [
        Binding("q", "quit", "quit"),
        Binding("f", "filter", "filter events"),
        Binding("t", "timeline", "timelines"),
        Binding("d", "diagnose", "why? (doctor)"),
        Binding("c", "colours", "dark/light"),
        Binding("escape", "clear_filter", "clear", show=False),
    ]
    PANELS = ("gateway", "budgets", "latency", "streams", "engines", "orders")
    TITLES = {
        "gateway": "gateway, farms, breakers",
        "budgets": "pacing budgets and lanes",
        "latency": "latency",
        "streams": "streams",
        "engines": "engines and processes",
        "orders": "orders, positions, fills",
    }

    def __init__(self, source: Source, recent: Callable[[], list[Sample]], stopping: threading.Event) -> None:
        super().__init__()
        self._stopping = stopping
        self._source = source
        self._recent = recent
        self._events: list[Event] = []
        self._told = 0
        self._wanted = ""

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="problems")
        with Grid():
            for name in self.PANELS:
                panel = Static(id=name, classes="panel")
                panel.border_title = self.TITLES[name]
                yield panel
        log = RichLog(id="events", max_lines=EVENTS_SHOWN, wrap=True, auto_scroll=True)
        log.border_title = "events"
        yield log
        yield Input(placeholder="show only events with ...", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self.refresh_panels)
        self.query_one("#events").focus()
        self.refresh_panels()

    def refresh_panels(self) -> None:
        if self._stopping.is_set():
            self.exit()
            return
        view = self._source.view()
        screen = self.screen_stack[0]
        if not screen.query("#head"):
            return  # in the first and the last moment there is nothing to draw on
        drawn = {
            "head": panels.head(view),
            "problems": panels.problems(view),
            "gateway": panels.gateway(view),
            "budgets": panels.budgets(view),
            "latency": panels.latency(view, self._recent()[-120:]),
            "streams": panels.streams(view),
            "engines": panels.engines(view),
            "orders": panels.orders(view),
        }
        for name, text in drawn.items():
            screen.query_one(f"#{name}", Static).update(text)
        screen.query_one("#problems").display = bool(view.problems)
        self._add_events(self._source.events_since(self._told))

    def _add_events(self, fresh: list[Event]) -> None:
        if not fresh:
            return
        self._told = fresh[-1].number
        self._events = [*self._events, *fresh][-EVENTS_SHOWN:]
        log = self.screen_stack[0].query_one("#events", RichLog)
        for one in fresh:
            if self._matches(one):
                log.write(panels.event(one))

    def _matches(self, event: Event) -> bool:
        return self._wanted in f"{event.kind} {event.subject} {event.text} {event.light}".lower()

    # ------------------------------------------------------------ keys

    def action_filter(self) -> None:
        asked = self.query_one("#filter", Input)
        asked.add_class("asked")
        asked.focus()

    def action_clear_filter(self) -> None:
        asked = self.query_one("#filter", Input)
        asked.value = ""
        asked.remove_class("asked")
        self.query_one("#events").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value.lower()
        log = self.query_one("#events", RichLog)
        log.border_title = f"events with {event.value!r}" if event.value else "events"
        log.clear()
        for one in self._events:
            if self._matches(one):
                log.write(panels.event(one))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.query_one("#events").focus()

    def action_timeline(self) -> None:
        self.push_screen(TimelineScreen(self._source.view().verdicts))

    def action_diagnose(self) -> None:
        screen = DiagnosisScreen()
        self.push_screen(screen)
        self.run_worker(self._ask(screen), exclusive=True)

    async def _ask(self, screen: DiagnosisScreen) -> None:
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(self._source.diagnose()), DIAGNOSE_TIMEOUT_S)
        except ProxyError as error:
            screen.fail(str(error))
        except TimeoutError:
            screen.fail("the proxy did not answer in time")
        else:
            screen.show(answer)

    def action_colours(self) -> None:
        self.theme = "textual-light" if self.theme == "textual-dark" else "textual-dark"
