"""The command line: `python -m gateway_sim` and `gateway-sim`. Exit codes: 0 stopped cleanly, 2 bad arguments or port
in use."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from gateway_sim.clock import DEFAULT_START, parse_start
from gateway_sim.control import send_command, serve_control
from gateway_sim.gateway import Gateway
from gateway_sim.scenario import Scenario, ScenarioRefused, build, load
from gateway_sim.server import GatewayServer
from gateway_sim.settings import GatewaySettings

DEFAULT_CONTROL_PORT = 4103


def parser() -> argparse.ArgumentParser:
    """All options of the server."""
    options = argparse.ArgumentParser(
        prog="gateway-sim",
        description="A stand-in for IB Gateway that speaks the TWS socket protocol.",
        epilog="`gateway-sim inject --help`: faults in a running simulator.",
    )
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    options.add_argument("--port", type=_port, default=4102, help="port to listen on (default 4102)")
    options.add_argument("--scenario", type=Path, metavar="FILE", help="TOML file: market, limits, time line of faults")
    options.add_argument("--control", type=_port, metavar="PORT", help="open the control port for `gateway-sim inject`")
    options.add_argument("--seed", type=int, help="seed of the market (default 1)")
    options.add_argument("--speed", type=_speed, help="simulated seconds per real second (default 1)")
    options.add_argument("--ledger", type=Path, metavar="FILE", help="append one JSON line per event to FILE")
    options.add_argument("--start", metavar="'YYYY-MM-DD HH:MM'", help=f"New York time (default {DEFAULT_START})")
    options.add_argument("--skip-closed", action="store_true", help="market time jumps over closed hours")
    return options


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not in 0..65535")
    return port


def _speed(text: str) -> float:
    speed = float(text)
    if not 0.001 <= speed <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not in 0.001..100000")
    return speed


def scenario_of(arguments: argparse.Namespace) -> Scenario:
    """The scenario file, if any, with the options on top of it. Raises ScenarioRefused."""
    scenario = load(arguments.scenario) if arguments.scenario else Scenario(GatewaySettings())
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("seed", "speed", "start") if getattr(arguments, name) is not None
    }
    if arguments.skip_closed:
        given["skip_closed"] = True
    try:
        parse_start(given.get("start", DEFAULT_START))
    except ValueError:
        raise ScenarioRefused(f"--start {given['start']!r} is not 'YYYY-MM-DD HH:MM'") from None
    return replace(scenario, settings=replace(scenario.settings, **given))


def notify_ready() -> None:
    """Tell a supervisor that waits for it (sd_notify protocol); '@' marks an abstract socket."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.sendall(b"READY=1")
    except OSError as error:
        print(f"gateway_sim: cannot notify {address}: {error}", file=sys.stderr)


async def serve(arguments: argparse.Namespace, gateway: Gateway, ledger: TextIO | None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def write_line(line: str) -> None:
        if ledger is not None:
            ledger.write(line + "\n")

    settings = gateway.settings
    server = GatewayServer(gateway, settings.speed, write_line)
    control: asyncio.Server | None = None
    port = arguments.port
    try:
        bound = await server.listen(arguments.host, port)
        if arguments.control is not None:
            port = arguments.control
            control = await serve_control(server, arguments.host, port)
    except OSError as error:
        print(
            f"gateway_sim: cannot listen on {arguments.host}:{port}: {os.strerror(error.errno or 0)}", file=sys.stderr
        )
        await server.stop()
        return 2
    controlled = f" control {control.sockets[0].getsockname()[1]}" if control is not None else ""
    print(
        f"gateway_sim listening on {arguments.host}:{bound}{controlled} seed {settings.seed} speed {settings.speed:g} "
        f"market {settings.start} New York",
        flush=True,
    )
    notify_ready()
    await stop.wait()
    if control is not None:
        control.close()
    await server.stop()
    return 0


def inject(argv: Sequence[str]) -> int:
    """`gateway-sim inject NAME [--for 3s] [--set key=value] [--clear]`: exit code 0 if it was done, 1 if refused."""
    options = argparse.ArgumentParser(
        prog="gateway-sim inject", description="Begin or end a fault in a running simulator."
    )
    options.add_argument("name", help="a fault, or status, or faults (the list)")
    options.add_argument("--for", dest="lasts", metavar="3s", help="how long (simulated time)")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the fault")
    options.add_argument("--clear", action="store_true", help="end the fault")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--control", type=_port, default=DEFAULT_CONTROL_PORT, metavar="PORT")
    arguments = options.parse_args(argv)
    if arguments.name in ("status", "faults"):
        line = arguments.name
    elif arguments.clear:
        line = f"clear {arguments.name}"
    else:
        words = [f"for={arguments.lasts}"] if arguments.lasts else []
        words += [word.replace(" ", "\\_") for word in arguments.set]
        line = " ".join(["inject", arguments.name, *words])
    try:
        answer = send_command(arguments.host, arguments.control, line)
    except OSError as error:
        print(f"gateway-sim: no simulator listens on {arguments.host}:{arguments.control}: {error}", file=sys.stderr)
        return 2
    done = answer.startswith("ok")
    print(answer.removeprefix("ok ").removeprefix("error "), file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["inject"]:
        return inject(words[1:])
    arguments = parser().parse_args(words)
    try:
        gateway = build(scenario_of(arguments))
    except ScenarioRefused as error:
        print(f"gateway_sim: {error}", file=sys.stderr)
        return 2
    if arguments.ledger is None:
        return asyncio.run(serve(arguments, gateway, None))
    try:
        ledger = open(arguments.ledger, "a", buffering=1, encoding="ascii")  # noqa: SIM115 - closed below
    except OSError as error:
        print(f"gateway_sim: cannot write ledger {arguments.ledger}: {error.strerror}", file=sys.stderr)
        return 2
    with ledger:
        return asyncio.run(serve(arguments, gateway, ledger))
