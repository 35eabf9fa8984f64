"""The commands beside watching: `dash`, `alerts list`, `alerts test`, `report`."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_proxy import ConfigError
from monitor.alerts import AlertBook, Notice
from monitor.config import MonitorSettings, WebSettings
from monitor.delivery import Delivery
from monitor.history import History, day_of
from monitor.view import Light

if TYPE_CHECKING:
    from monitor.service import Monitor


def run(options: argparse.Namespace, settings: MonitorSettings, make: Callable[[], Monitor]) -> int:
    """Perform the command of the command line. Returns the exit code; raises ConfigError."""
    if options.command == "dash":
        return _dash(settings, make)
    if options.command == "report":
        return _report(options, settings)
    return _test_alerts(settings) if options.action == "test" else _list_alerts(settings)


def _dash(settings: MonitorSettings, make: Callable[[], Monitor]) -> int:
    """Print the address of the dashboard that runs; if none does, serve one until Ctrl-C."""
    from monitor.service import token_path
    from monitor.web import guard, server

    if _answers(settings.web):
        print(server.address(settings.web, guard.load_token(token_path(settings))))
        return 0
    with make() as monitor:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: monitor.stopping.set())
        print(monitor.serve_web(), flush=True)
        monitor.stopping.wait()
    return monitor.exit_code


def _answers(web: WebSettings) -> bool:
    host = web.host if web.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
    try:
        socket.create_connection((host, web.port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _list_alerts(settings: MonitorSettings) -> int:
    for rule in AlertBook(settings.alerts).rules:
        condition = f"is {' or '.join(rule.equals)}" if rule.equals else f"is above {rule.above:g}"
        lasting = f" for {rule.for_s:g} s" if rule.for_s else ""
        where = ", ".join(rule.channels or tuple(settings.alerts.channels)) or "the event log only"
        print(f"{rule.name}: {rule.when} {condition}{lasting} -> {where}")
    return 0


def _test_alerts(settings: MonitorSettings) -> int:
    """Send one test notice through every channel. 0 when all took it, 1 otherwise."""
    AlertBook(settings.alerts)
    if not settings.alerts.channels:
        raise ConfigError('no channel to test: add [monitor.alerts.channels] with name = "https://..."')
    delivery = Delivery(settings.alerts)
    notice = Notice(
        "test", "gateway-monitor", "begins", Light.GREEN, "this is only a test, sent by hand", time.time_ns(), ()
    )
    faults = delivery.deliver(notice)
    for name in delivery.channels:
        print(f"{name}: {faults.get(name, 'delivered')}")
    return 1 if faults else 0


def _report(options: argparse.Namespace, settings: MonitorSettings) -> int:
    from monitor.report import render_day

    day = options.day or day_of(time.time_ns())
    try:
        date.fromisoformat(day)
    except ValueError:
        raise ConfigError(f"--day {day}: want YYYY-MM-DD") from None
    history = History(settings.history)
    samples = history.samples(day)
    if not samples:
        known = ", ".join(history.days()[-5:]) or "none"
        print(f"gateway-monitor: no rows of {day} in {history.directory}; days kept: {known}", file=sys.stderr)
        return 1
    path = Path(options.output or f"report-{day}.html")
    try:
        path.write_text(render_day(day, samples, history.events(day)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror}") from error
    print(path)
    return 0
