"""The command line of the launcher: reads the configuration, makes the directory of the run, takes the terminal."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gateway_proxy import config
from gateway_proxy.bus.runtime import RuntimeDir, default_runtime_dir
from gateway_proxy.core.supervisor import EXIT_CONFIG
from gateway_proxy.errors import ConfigError
from gateway_proxy.launcher import service
from gateway_proxy.launcher.programs import commands
from gateway_proxy.settings import Settings

#: Directories of simulated runs that are kept; older ones are removed when a new one is made.
RUNS_KEPT = 5


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 stopped by a signal, 1 a process kept dying, 2 the configuration is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway_proxy.launcher", description="Starts and watches everything."
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="the TOML file of all processes")
    parser.add_argument("--live", action="store_true", help='needed when [trading] mode is "live"')
    parser.add_argument("--account", metavar="ID", help="the account, typed again, for live trading")
    options = parser.parse_args(arguments)
    try:
        settings = config.load(options.config)
        config.require_live_keys(settings, live=options.live, account=options.account)
        run_dir = make_run_dir(settings)
    except ConfigError as error:
        print(f"launcher: {error}", file=sys.stderr)
        return EXIT_CONFIG
    if settings.logs.format == "auto" and sys.stdout.isatty():
        # The processes write into our pipes, but it is people who read.
        os.environ["GATEWAY_PROXY__LOGS__FORMAT"] = "lines"
    live = ("--live", "--account", options.account) if options.live else ()
    found = commands(settings, Path(options.config).resolve(), run_dir, live)
    if not found:
        print(f"launcher: {options.config} asks for no process at all", file=sys.stderr)
        return EXIT_CONFIG
    with own_terminal():
        return service.run(found, settings.launcher, default_runtime_dir(settings.bus.runtime_dir))


def make_run_dir(settings: Settings) -> Path:
    """The directory of this run inside the runtime directory; made only for a simulated run that needs one."""
    base = default_runtime_dir(settings.bus.runtime_dir)
    run_dir = base / "runs" / time.strftime("%Y%m%d-%H%M%S")
    if not settings.simulator.enabled or (settings.simulator.ledger and settings.journal.path):
        return run_dir
    RuntimeDir(base).prepare()
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"[bus] runtime_dir {str(base)!r}: {error.strerror}") from error
    earlier = sorted(path for path in run_dir.parent.iterdir() if re.fullmatch(r"\d{8}-\d{6}", path.name))
    for old in earlier[:-RUNS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return run_dir


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Makes the launcher the only reader of Ctrl-C on its terminal, so that `make` does not die of it before us.

    Gives the terminal back at the end. Does nothing without a terminal, or in the background.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield
        return
    before = os.tcgetpgrp(terminal)
    if before != os.getpgrp() or os.getpgrp() == os.getpid():
        os.close(terminal)
        yield
        return
    # Whoever is not in the foreground group is stopped by these when it touches the terminal.
    earlier = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP)
    }
    try:
        os.setpgid(0, 0)
        os.tcsetpgrp(terminal, os.getpgrp())
        yield
    finally:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, before)
        os.close(terminal)
        for number, handler in earlier.items():
            signal.signal(number, handler)
