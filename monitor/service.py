"""The process: starts the watcher and the front ends that were asked for, and stops them on Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from gateway_proxy import notify
from monitor import config
from monitor.config import MonitorSettings
from monitor.lines import LinePrinter, look_once, print_once
from monitor.watcher import Watcher


def run(options: argparse.Namespace) -> int:
    """Perform one command line. Returns the exit code; raises ConfigError for a wrong configuration."""
    settings, runtime_dir = MonitorSettings(), None
    if options.config:
        settings, place = config.load(options.config)
        runtime_dir = place.runtime_dir
    if options.once:
        return _once(options, settings, runtime_dir)
    return _watch(options, settings, runtime_dir)


def _once(options: argparse.Namespace, settings: MonitorSettings, runtime_dir: Path | None) -> int:
    watcher = Watcher(settings.state, runtime_dir)
    watcher.start()
    try:
        return print_once(look_once(watcher, options.timeout), options.json, sys.stdout)
    finally:
        watcher.stop()


def _watch(options: argparse.Namespace, settings: MonitorSettings, runtime_dir: Path | None) -> int:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    with ExitStack() as at_end:
        watcher = Watcher(settings.state, runtime_dir)
        watcher.start()
        at_end.callback(watcher.stop)
        notify.ready("watching")
        LinePrinter(watcher, settings.status_every_s, options.json).run(stopping)
    return 0
