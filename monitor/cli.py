"""The command line: `python -m monitor`, also installed as `gateway-monitor`. Argparse, because it starts fast."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from gateway_proxy import ConfigError
from monitor.judgement import EXIT_USAGE

READER_GONE = 141  # what a shell makes of SIGPIPE
EXIT_CODES = """exit codes of --once:
  0  ready, nothing red          2  Gateway down, or the proxy has halted
  1  degraded, or a red problem  3  no proxy answers
  64 wrong flag or configuration (all commands)
  70 a fault of the monitor itself (see its error output)"""


class Parser(argparse.ArgumentParser):
    """argparse exits with 2 on a usage error; here 2 says that the Gateway is down."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def build_parser() -> Parser:
    parser = Parser(
        prog="gateway-monitor",
        description="Shows how the proxy, its Gateway, the engines and the orders are. It never influences them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_config(parser)
    parser.add_argument("--once", action="store_true", help="look once, print, and exit with a code that tells")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--lines", action="store_true", help="plain lines, also on a terminal")
    parser.add_argument("--web", action="store_true", help="serve the web dashboard")
    parser.add_argument("--no-web", action="store_true", help="do not serve it, whatever the configuration says")
    parser.add_argument("--metrics", action="store_true", help="serve Prometheus /metrics")
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="S", help="how long --once waits for a proxy (default: 5)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    dash = commands.add_parser("dash", help="print the address of the running dashboard, or serve one")
    alerts = commands.add_parser("alerts", help="list the alert rules, or test the channels")
    alerts.add_argument("action", choices=["list", "test"])
    day = commands.add_parser("report", help="write the HTML report of one day")
    day.add_argument("--day", metavar="YYYY-MM-DD", help="default: today")
    day.add_argument("--output", metavar="FILE", help="default: report-YYYY-MM-DD.html in this directory")
    for command in (dash, alerts, day):
        _add_config(command, argparse.SUPPRESS)
    return parser


def _add_config(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=default,
        help="the TOML file of the proxy; its [monitor] section counts here",
    )


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code. Wrong usage leaves by SystemExit(64)."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    # Loaded here, so that --help and usage errors cost nothing.
    from monitor import commands

    try:
        code = commands.run(options)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        print(f"gateway-monitor: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:
        # `| head` has seen enough. What is still buffered would be written, in vain, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return 0


def run_and_exit() -> NoReturn:
    sys.exit(main())
