"""The command `gateway-proxy`: runs the proxy, or asks a running one. Exit codes: 0 good, 1 not healthy or failed,
2 bad configuration or usage, 3 no proxy answers, 4 already running.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from gateway_proxy.errors import AlreadyRunning, ConfigError, JournalUnavailable, ProxyError, ProxyUnreachable

if TYPE_CHECKING:
    from gateway_proxy.settings import Settings

DEFAULT_CONFIG = "configs/local.toml"
FAILED, USAGE, UNREACHABLE, RUNNING = 1, 2, 3, 4
READER_GONE = 141  # what a shell makes of SIGPIPE
_CONFIG_RUNS = "the file that the running proxy was started with; names its runtime directory"
_CONFIG_OF = {
    "doctor": f"also check this file and its Gateway; left out: {DEFAULT_CONFIG} if it exists",
    "journal": f"whose journal; left out: {DEFAULT_CONFIG}",
    "keys": f"whose [bus] keys_dir; left out: {DEFAULT_CONFIG}",
    "record": f"whose engines and [record] section; left out: {DEFAULT_CONFIG}",
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        code = command(options)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        return _complain(error, USAGE)
    except AlreadyRunning as error:
        return _complain(error, RUNNING)
    except ProxyUnreachable as error:
        return _complain(error, UNREACHABLE)
    except (ProxyError, JournalUnavailable) as error:
        return _complain(error, FAILED)
    except BrokenPipeError:
        # `| head` has seen enough. What is still buffered would be written, in vain, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def _complain(error: Exception, code: int) -> int:
    print(f"gateway-proxy: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway-proxy", description="Owns the IB Gateway connection and shares it.")
    _serving_options(parser)
    parser.set_defaults(command=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add(commands, "status", "state, mode and streams of the running proxy; exit code 0 only when ready", _status)
    _add(commands, "doctor", "why do I get no bars? asks the running proxy and checks the surroundings", _doctor)
    kill = _add(commands, "kill", "stop every opening order until `resume`; cancels unfilled entries", _kill)
    kill.add_argument("--reason", default="", help="one line for the journal")
    kill.add_argument("--keep-orders", action="store_true", help="leave unfilled entries working")
    record = _add(commands, "record", "keep what the bus says as Parquet files, until Ctrl-C", _record)
    record.add_argument("--dir", type=Path, help="where the files go; left out: [record] dir of --config")
    record.add_argument(
        "--topics", nargs="+", metavar="TOPIC", help="left out: bars and chain of every engine's symbols"
    )
    _add(commands, "resume", "allow opening orders again after a kill", _resume)
    journal = _add(commands, "journal", "read the order journal", _journal)
    journal.add_argument("action", choices=("list", "show", "verify", "export"))
    journal.add_argument("client_order_id", nargs="?", help="for show")
    journal.add_argument("--path", type=Path, help="the journal file; left out: the one of --config")
    keys = _add(commands, "keys", "who may connect from other hosts (CURVE keys)", _keys)
    keys.add_argument("action", choices=("init", "add", "list", "revoke", "verify"))
    keys.add_argument("name", nargs="?", help="of the client, for add and revoke")
    keys.add_argument("--role", choices=("read", "trade"), default="read", help="read cannot trade")
    keys.add_argument("--dir", type=Path, help="the key directory; left out: [bus] keys_dir of --config")
    keys.add_argument("--out", type=Path, help="where add writes the client's secret; left out: NAME.toml")
    return parser


def _serving_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help=f"TOML file, default {DEFAULT_CONFIG}")
    parser.add_argument(
        "--live", action="store_true", help='with [trading] mode = "live" and --account: trade real money'
    )
    parser.add_argument("--account", help="the account id, typed, for --live")


def _add(commands: Any, name: str, text: str, command: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    # Before or after the command, as people type it: what is left out here must not undo what was said there.
    parser.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=_CONFIG_OF.get(name, _CONFIG_RUNS))
    if name in ("status", "doctor"):
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    if name not in ("journal", "keys"):
        parser.add_argument(
            "--runtime", type=Path, help="runtime directory of the proxy; left out: that of --config, else the default"
        )
    return parser


# ---------------------------------------------------------------- serving


def _serve(options: argparse.Namespace) -> int:
    from gateway_proxy.assembly import build
    from gateway_proxy.config import load, require_live_keys
    from gateway_proxy.logs import start_logs

    settings = load(options.config or DEFAULT_CONFIG)
    require_live_keys(settings, live=options.live, account=options.account)
    start_logs("proxy", settings.logs)
    if settings.trading.mode == "live":
        print("gateway-proxy: LIVE trading: orders go to the market with real money.", file=sys.stderr)
    service = build(settings, live_confirmed=options.account if options.live else "")
    asyncio.run(service.run())
    return 0


# ---------------------------------------------------------------- asking


def _connected(options: argparse.Namespace) -> Any:
    from gateway_proxy.bus.client import Client

    return Client.connect(_runtime(options), name="cli")


def _runtime(options: argparse.Namespace) -> Path | None:
    """The directory that was named, or the one of the configuration that was named; None: the default."""
    from gateway_proxy.bus.runtime import default_runtime_dir
    from gateway_proxy.config import load

    if options.runtime or not options.config:
        runtime: Path | None = options.runtime
        return runtime
    return default_runtime_dir(load(options.config).bus.runtime_dir)


def _status(options: argparse.Namespace) -> int:
    with _connected(options) as client:
        status = client.status()
    if options.json:
        _print_json(status)
    else:
        gateway = status["gateway"]
        print(f"{status['state']}  mode {status['mode']}  {gateway.get('reason') or ''}".rstrip())
        if gateway["openings_stopped"]:
            print(f"  openings are stopped: {gateway['openings_stopped']}")
        for name, farm in gateway["farms"].items():
            print(f"  farm {name} ({farm['type']}): {farm['state']}")
        for stream in status["streams"]:
            print(f"  {stream['topic']} {stream['state']}, {stream['bars']} bars, last update {stream['age_s']} s ago")
    return 0 if status["state"] == "ready" else FAILED


def _doctor(options: argparse.Namespace) -> int:
    from gateway_proxy.doctor import examine, render

    config = options.config or (DEFAULT_CONFIG if Path(DEFAULT_CONFIG).exists() else None)
    report = examine(config, options.runtime)
    if options.json:
        _print_json(report)
    else:
        print(render(report))
    return 0 if report["verdict"] == "ok" else FAILED


def _kill(options: argparse.Namespace) -> int:
    with _connected(options) as client:
        answer = client.trade("kill", {"reason": options.reason, "cancel_open": not options.keep_orders})
    _print_json(answer)
    return 0


def _resume(options: argparse.Namespace) -> int:
    with _connected(options) as client:
        answer = client.trade("resume", {})
    _print_json(answer)
    return 0


def _journal(options: argparse.Namespace) -> int:
    from gateway_proxy import journal

    path = options.path or _configured_journal(options.config or DEFAULT_CONFIG)
    if options.action == "list":
        for row in journal.list_orders(path):
            _print_json(row)
    elif options.action == "show":
        if not options.client_order_id:
            raise ConfigError("journal show: want the client_order_id of the order; `journal list` names them")
        for row in journal.show_order(path, options.client_order_id):
            _print_json(row)
    elif options.action == "export":
        journal.export(path, sys.stdout)
    else:
        faults = journal.verify(path)
        print("\n".join(faults) or f"{path}: every record is in place")
        return FAILED if faults else 0
    return 0


def _configured_journal(config: str) -> Path:
    """The journal a proxy of this configuration writes; of simulated runs, which have one each, the newest."""
    from gateway_proxy.assembly import journal_path, runtime_dir
    from gateway_proxy.config import load

    settings = load(config)
    if settings.simulator.enabled and not settings.journal.path:
        runs = sorted((runtime_dir(settings) / "runs").glob("*/journal.sqlite3"))
        if runs:
            return runs[-1]
    return journal_path(settings)


# ---------------------------------------------------------------- recording


def _record(options: argparse.Namespace) -> int:
    from gateway_proxy.config import load
    from gateway_proxy.logs import start_logs
    from gateway_proxy.recorder.command import record, rules
    from gateway_proxy.recorder.files import RecordingFailed

    options.config = options.config or DEFAULT_CONFIG
    settings = load(options.config)
    wanted = tuple(options.topics or settings.record.topics)
    what = rules(wanted, settings.engines, settings.record.every_s, settings.record.rows_max)
    start_logs("recorder", settings.logs)
    try:
        record(what, options.dir or _recording_dir(settings), _runtime(options))
    except RecordingFailed as error:
        return _complain(error, FAILED)
    return 0


def _recording_dir(settings: Settings) -> Path:
    """A simulated run has a market of its own and so a recording of its own, beside its journal."""
    from gateway_proxy.assembly import journal_path, runtime_dir

    if settings.record.dir:
        return Path(settings.record.dir).expanduser()
    runs = sorted((runtime_dir(settings) / "runs").glob("*")) if settings.simulator.enabled else []
    return (runs[-1] if runs else journal_path(settings).parent) / "recording"


# ---------------------------------------------------------------- keys


def _keys(options: argparse.Namespace) -> int:
    from gateway_proxy.bus import auth

    directory = options.dir or _configured_keys(options.config or DEFAULT_CONFIG)
    if options.action in ("add", "revoke") and not options.name:
        raise ConfigError(f"keys {options.action}: want the name of the client")
    if options.action == "init":
        auth.create_server_key(directory)
        print(f"server key made in {directory}; set [bus] keys_dir to it")
    elif options.action == "add":
        secret = options.out or Path(f"{options.name}.toml")
        auth.create_client_key(directory, options.name, options.role, secret)
        print(f"{options.name} may {options.role}; give {secret} to that client and to nobody else")
    elif options.action == "revoke":
        auth.remove_client(directory, options.name)
        print(f"{options.name} may not connect any more once the proxy has restarted")
    elif options.action == "list":
        for name, client in auth.KeyRing.load(directory).clients.items():
            print(f"{name}: {client.role}, key {client.public[:12]}…")
    else:
        return _verify_keys(directory)
    return 0


def _configured_keys(config: str) -> Path:
    from gateway_proxy.config import load

    keys_dir = load(config).bus.keys_dir
    if not keys_dir:
        raise ConfigError(f"{config}: [bus] keys_dir is not set; name the directory with --dir")
    return Path(keys_dir).expanduser()


def _verify_keys(directory: Path) -> int:
    """The files are in order, and a running proxy turns strangers away."""
    from gateway_proxy.bus import auth
    from gateway_proxy.bus.runtime import default_runtime_dir, read_connection

    ring = auth.KeyRing.load(directory)
    print(f"{directory}: server key and {len(ring.clients)} clients are in order")
    try:
        connection = read_connection(default_runtime_dir())
    except ProxyUnreachable:
        print("no proxy runs here, so the lock itself was not tried")
        return 0
    hole = auth.find_hole(dict(connection.endpoints), ring.server.public)
    print(hole or "a stranger's key and no key at all were turned away")
    return FAILED if hole else 0


def _print_json(value: Any) -> None:
    print(orjson.dumps(value).decode())
