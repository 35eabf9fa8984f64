"""The plain monitor: a status line every few seconds and one line per event, for pipes, logs and small terminals."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from typing import TextIO

import orjson

from monitor.judgement import exit_code
from monitor.render import event_line, report, status_line
from monitor.view import View
from monitor.watcher import Watcher

LOOK_EVERY_S = 0.25
#: After the first word about the Gateway, the welcomes of the other topics follow within milliseconds.
SETTLE_S = 0.4


def wants_colour(stream: TextIO) -> bool:
    """NO_COLOR and FORCE_COLOR as everywhere; otherwise colours only for a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def as_json(view: View) -> bytes:
    """The view as one JSON object, the answer first."""
    told = {"healthy": view.healthy, "state": view.state, "exit_code": exit_code(view.state, view.healthy)}
    rest = {field.name: getattr(view, field.name) for field in dataclasses.fields(view)}
    return orjson.dumps(told | rest)


def look_once(watcher: Watcher, timeout_s: float) -> View:
    """The view as soon as the proxy has told of its Gateway; after `timeout_s` whatever is known."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        view = watcher.view()
        if view.gateway.age_s is not None and view.state != "unreachable":
            time.sleep(SETTLE_S)
            return watcher.view()
        time.sleep(0.02)
    return watcher.view()


def print_once(view: View, json: bool, out: TextIO) -> int:
    """Print and return the exit code."""
    if json:
        print(as_json(view).decode(), file=out)
    else:
        print("\n".join(report(view, wants_colour(out))), file=out)
    return exit_code(view.state, view.healthy)


class LinePrinter:
    """Prints what changed, and how things stand every `every_s` seconds."""

    def __init__(self, watcher: Watcher, every_s: float, json: bool = False, out: TextIO | None = None) -> None:
        self._watcher = watcher
        self._every_s = every_s
        self._json = json
        self._out = out or sys.stdout
        self._colour = wants_colour(self._out)
        self._told = 0

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set, or nobody reads any more."""
        status_at = time.monotonic() + min(self._every_s, 1.0)
        try:
            while not stopping.wait(LOOK_EVERY_S):
                self._print_events()
                if time.monotonic() >= status_at:
                    status_at = time.monotonic() + self._every_s
                    self._print_status()
        except BrokenPipeError:
            # Whoever read us has left, as `| head` does; the interpreter must not fail again while flushing.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def _print_events(self) -> None:
        for event in self._watcher.events_since(self._told):
            self._told = event.number
            if not self._json:
                print(event_line(event, self._colour), file=self._out)
        self._out.flush()

    def _print_status(self) -> None:
        view = self._watcher.view()
        line = as_json(view).decode() if self._json else status_line(view, self._colour)
        print(line, file=self._out, flush=True)
