"""The command line of an engine. argparse, because an engine is started often and should start fast."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from gateway_proxy import ConfigError

EXIT_OK = 0
EXIT_CONFIG = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one engine until SIGTERM or Ctrl-C. Exit codes: 0 stopped on request, 2 the configuration is wrong."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options.config, options.name)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except KeyboardInterrupt:
        return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway-engine", description="One trading engine: bars in, decisions with reasons, bracket orders out."
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="the TOML file with the [engines.<name>] table")
    parser.add_argument("--name", metavar="NAME", help="which engine of the file; not needed when there is only one")
    return parser


def _run(path: str, name: str | None) -> int:
    # Loaded here: `--help` and configuration errors should not wait for numba.
    from engine.config import load
    from engine.core import EngineCore
    from engine.decisions import DecisionLog
    from engine.rehearsal import rehearse
    from engine.service import Service, Stop, wait_for_proxy
    from gateway_proxy import Client, notify, start_logs

    config = load(path, name)
    start_logs(config.name, config.logs)
    log = logging.getLogger("engine")
    stop = Stop().on_signals()
    log.info(
        "strategy ready", extra={"strategy": config.settings.strategy, "seconds": round(rehearse(config.strategy), 2)}
    )
    client = wait_for_proxy(lambda: Client.connect(config.runtime_dir, name=config.name, timeout_s=1.0), stop)
    if client is None:
        return EXIT_OK
    decisions = DecisionLog(config.settings.decision_log) if config.settings.decision_log else None
    core = EngineCore(config.core_rules, config.strategy)
    with client:
        Service(core, client, stop, decisions=decisions, on_ready=notify.ready, on_beat=notify.alive).run()
    notify.stopping()
    log.info("engine stopped", extra={"decisions": core.decisions, "orders": core.desk.orders_sent})
    return EXIT_OK
