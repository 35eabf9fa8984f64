"""The process: starts the watcher and the front ends that were asked for, and stops them on Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from gateway_proxy import ConfigError, notify
from monitor import config
from monitor.alerts import AlertBook
from monitor.changes import Telling
from monitor.config import MonitorSettings
from monitor.delivery import Delivery
from monitor.duty import Duty
from monitor.history import History, day_of
from monitor.lines import LinePrinter
from monitor.rounds import Rounds
from monitor.series import Series
from monitor.view import Light
from monitor.watcher import Watcher

log = logging.getLogger(__name__)

EXIT_CRASHED = 70  # sysexits' EX_SOFTWARE


class Monitor:
    """Everything that runs beside the front end; a context manager that stops it all in reverse order.

    Front ends end when `stopping` is set. A thread that crashes sets it: a monitor that no longer reads would show old
    news for ever, so it ends with EXIT_CRASHED, and the launcher starts it anew.
    """

    def __init__(self, settings: MonitorSettings, runtime_dir: Path | None) -> None:
        self.settings = settings
        self.watcher = Watcher(settings.state, runtime_dir)
        self.history = History(settings.history) if settings.history.enabled else None
        self._delivery = Delivery(settings.alerts, self._tell_fault) if settings.alerts.channels else None
        series = Series(settings.history.every_s)
        if self.history is not None:
            series.restore(self.history.samples(day_of(time.time_ns())))
        duty = Duty(config.history_directory(settings.history))
        self.rounds = Rounds(self.watcher, series, AlertBook(settings.alerts), self.history, self._delivery, duty)
        self.stopping = threading.Event()
        self.exit_code = 0
        self._at_end = ExitStack()

    def __enter__(self) -> Monitor:
        self._at_end.callback(setattr, threading, "excepthook", threading.excepthook)
        threading.excepthook = self._end_after_crash
        for part in (self.watcher, self.rounds, self._delivery):
            if part is not None:
                part.start()
                self._at_end.callback(part.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._at_end.close()

    def serve_web(self) -> str:
        """Serve the dashboard until the end; returns its address. Raises ConfigError when the port is taken."""
        from monitor.web import guard, server

        token = guard.load_token(token_path(self.settings))
        dashboard = server.Dashboard(self.settings.web, self.watcher, self.rounds, self.history)
        self._at_end.callback(server.serve(dashboard, self.settings.web, token))
        return server.address(self.settings.web, token)

    def serve_metrics(self) -> str:
        from monitor import metrics

        self._at_end.callback(metrics.serve(self.watcher.view, self.settings.metrics))
        return f"http://{self.settings.metrics.host}:{self.settings.metrics.port}/metrics"

    def _end_after_crash(self, thread: threading.ExceptHookArgs) -> None:
        log.critical("a thread of the monitor crashed", exc_info=thread.exc_value)
        self.exit_code = EXIT_CRASHED
        self.stopping.set()

    def _tell_fault(self, text: str) -> None:
        self.watcher.tell([Telling("alert", Light.AMBER, "delivery", text)])


def token_path(settings: MonitorSettings) -> Path:
    """Beside the history, in the user's own state directory."""
    return config.history_directory(settings.history).parent / "dashboard-token"


def watch(options: argparse.Namespace, monitor: Monitor) -> int:
    """Show what happens until the end, in the form that was asked for. Returns the exit code."""
    settings = monitor.settings
    if options.metrics or settings.metrics.enabled:
        print(f"metrics   {monitor.serve_metrics()}", flush=True)
    is_app = sys.stdout.isatty() and not (options.lines or options.json)
    if options.web or (settings.web.enabled and not is_app and not options.no_web and not options.json):
        _serve_web(monitor, must=options.web)
    notify.ready("watching")
    return _show_app(monitor) if is_app else _print_lines(monitor, json=options.json)


def _show_app(monitor: Monitor) -> int:
    from monitor.tui.app import MonitorApp

    MonitorApp(monitor.watcher, monitor.rounds.recent, monitor.stopping).run()
    return monitor.exit_code


def _print_lines(monitor: Monitor, *, json: bool) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: monitor.stopping.set())
    LinePrinter(monitor.watcher, monitor.settings.status_every_s, json).run(monitor.stopping)
    return monitor.exit_code


def _serve_web(monitor: Monitor, *, must: bool) -> None:
    """A dashboard that somebody asked for must come; one that is only the default gives way to a taken port."""
    try:
        print(f"dashboard {monitor.serve_web()}", flush=True)
    except ConfigError as error:
        if must:
            raise
        print(f"dashboard not served: {error}", flush=True)
