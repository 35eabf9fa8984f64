"""The command line of an engine. argparse, because an engine is started often and should start fast."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from gateway_proxy import ConfigError, ProxyError

EXIT_OK, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2
_TAPE = "a recording of `gateway-proxy record` (directory or files), or bars written by `fetch`"
_EPILOG = """Exit codes: 0 done or stopped on request, 1 it failed or differs, 2 wrong configuration or usage."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one engine until SIGTERM or Ctrl-C, or one of the commands about the past."""
    options = _parser().parse_args(arguments)
    try:
        if options.command is None and options.replay is None:
            return _run(options)
        # Loaded here: running an engine needs none of it.
        from engine.replay import commands

        command = {"replay": commands.replay_tape, "sweep": commands.sweep_grid, "fetch": commands.fetch_bars,
                   "repeat": commands.repeat_recording}  # fmt: skip
        if options.command is None:
            options.tape = options.replay
        return command[options.command or "replay"](options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except ProxyError as error:
        print(f"gateway-engine: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_OK if options.command is None else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway-engine",
        description="One trading engine: bars in, decisions with reasons, bracket orders out.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    _engine_options(parser, None)
    parser.add_argument("--replay", nargs="+", metavar="PATH", help="short for the command `replay`")
    _replay_options(parser, None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    replay = commands.add_parser("replay", help="play what was recorded and report what each engine would have done")
    _engine_options(replay, argparse.SUPPRESS)
    replay.add_argument("tape", nargs="+", metavar="PATH", help=_TAPE)
    _replay_options(replay, argparse.SUPPRESS)
    sweep = commands.add_parser("sweep", help="replay over a grid of settings")
    _engine_options(sweep, argparse.SUPPRESS)
    sweep.add_argument("tape", nargs="+", metavar="PATH", help=_TAPE)
    sweep.add_argument("--grid", action="append", required=True, metavar="KEY=V,V", help="parameters.ema_fast=3,5,8")
    sweep.add_argument("--workers", type=int, default=1, metavar="N", help="processes on this machine (default: 1)")
    sweep.add_argument("--dask", default="", metavar="ADDRESS", help="a Dask scheduler instead of local processes")
    fetch = commands.add_parser("fetch", help="ask the running proxy for the engine's bars and write them to a file")
    _engine_options(fetch, argparse.SUPPRESS)
    fetch.add_argument("output", metavar="FILE", help='".gz" compresses')
    fetch.add_argument("--count", type=int, default=390, metavar="N", help="bars per symbol (default: 390)")
    repeat = commands.add_parser("repeat", help="decide a recording again and compare every decision")
    _engine_options(repeat, argparse.SUPPRESS)
    repeat.add_argument("recording", metavar="FILE", help="written by a running engine with `recording` set")
    return parser


def _replay_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument("--html", default=default, metavar="FILE", help="also write a report with charts")
    parser.add_argument("--decisions", default=default, metavar="FILE", help="also write every decision as a JSON line")
    parser.add_argument(
        "--against",
        default=default,
        metavar="LOG",
        help="compare with the decision log of the recorded engine",
    )


def _engine_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    fallback = "configs/local.toml" if default is None else default
    parser.add_argument(
        "--config", default=fallback, metavar="FILE", help="the TOML file (default: configs/local.toml)"
    )
    parser.add_argument(
        "--name", default=default, metavar="NAME", help="which [engines.<name>]; default: the only one, or all (replay)"
    )


def _run(options: argparse.Namespace) -> int:
    # Loaded here: `--help` should not wait for numba.
    from engine.config import load
    from engine.core import EngineCore
    from engine.decisions import DecisionLog
    from engine.recording import Recorder
    from engine.rehearsal import rehearse
    from engine.service import Service, wait_for_proxy
    from gateway_proxy import Client, Stop, notify, start_logs

    config = load(options.config, options.name)
    settings = config.settings
    start_logs(config.name, config.logs)
    log = logging.getLogger("engine")
    stop = Stop().on_signals()
    log.info("strategy ready", extra={"strategy": settings.strategy, "seconds": round(rehearse(config.strategy), 2)})
    client = wait_for_proxy(lambda: Client.connect(config.runtime_dir, name=config.name, timeout_s=1.0), stop)
    if client is None:
        return EXIT_OK
    core = EngineCore(config.core_rules, config.strategy)
    with client:
        Service(
            core, client, stop,
            decisions=DecisionLog(settings.decision_log, config.name) if settings.decision_log else None,
            recorder=Recorder(settings.recording) if settings.recording else None,
            on_ready=notify.ready, on_beat=notify.alive,
        ).run()  # fmt: skip
    notify.stopping()
    log.info("engine stopped", extra={"decisions": core.decisions, "orders": core.desk.orders_sent})
    return EXIT_OK
