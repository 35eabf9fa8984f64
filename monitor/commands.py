"""The commands: watching, and beside it `dash`, `alerts list`, `alerts test`, `report`."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import time
from datetime import date
from pathlib import Path

from gateway_proxy import ConfigError
from monitor import config
from monitor.alerts import AlertBook, Notice
from monitor.config import MonitorSettings, WebSettings
from monitor.delivery import Delivery
from monitor.history import History, day_of
from monitor.lines import look_once, print_once
from monitor.service import Monitor, token_path, watch
from monitor.view import Light
from monitor.watcher import Watcher


def run(options: argparse.Namespace) -> int:
    """Perform one command line. Returns the exit code; raises ConfigError for a wrong configuration."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    settings, runtime_dir = MonitorSettings(), None
    if options.config:
        settings, place = config.load(options.config)
        runtime_dir = place.runtime_dir
    match options.command:
        case "dash":
            return _dash(settings, runtime_dir)
        case "report":
            return _report(options, settings)
        case "alerts":
            return _test_alerts(settings) if options.action == "test" else _list_alerts(settings)
    if options.once:
        return _once(options, settings, runtime_dir)
    with Monitor(settings, runtime_dir) as monitor:
        return watch(options, monitor)


def _once(options: argparse.Namespace, settings: MonitorSettings, runtime_dir: Path | None) -> int:
    watcher = Watcher(settings.state, runtime_dir)
    watcher.start()
    try:
        return print_once(look_once(watcher, options.timeout), options.json, sys.stdout)
    finally:
        watcher.stop()


def _dash(settings: MonitorSettings, runtime_dir: Path | None) -> int:
    """Print the address of the dashboard that runs; if none does, serve one until Ctrl-C."""
    from monitor.web import guard, server

    if _answers(settings.web):
        print(server.address(settings.web, guard.load_token(token_path(settings))))
        return 0
    with Monitor(settings, runtime_dir) as monitor:
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
