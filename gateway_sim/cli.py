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
from pathlib import Path
from typing import TextIO

from gateway_sim.clock import DEFAULT_START, parse_start
from gateway_sim.gateway import Gateway
from gateway_sim.server import GatewayServer
from gateway_sim.settings import GatewaySettings


def parser() -> argparse.ArgumentParser:
    """All options of the server."""
    options = argparse.ArgumentParser(
        prog="gateway-sim", description="A stand-in for IB Gateway that speaks the TWS socket protocol."
    )
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    options.add_argument("--port", type=_port, default=4102, help="port to listen on (default 4102)")
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


def settings_of(arguments: argparse.Namespace) -> GatewaySettings:
    """Settings from the arguments; options win over the defaults. Raises ValueError with a clear text."""
    start = arguments.start or DEFAULT_START
    try:
        parse_start(start)
    except ValueError:
        raise ValueError(f"--start {start!r} is not 'YYYY-MM-DD HH:MM'") from None
    return GatewaySettings(
        seed=1 if arguments.seed is None else arguments.seed,
        start=start,
        skip_closed=arguments.skip_closed,
        speed=arguments.speed or 1.0,
    )


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


async def serve(arguments: argparse.Namespace, settings: GatewaySettings, ledger: TextIO | None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def write_line(line: str) -> None:
        if ledger is not None:
            ledger.write(line + "\n")

    server = GatewayServer(Gateway(settings), settings.speed, write_line)
    try:
        port = await server.listen(arguments.host, arguments.port)
    except OSError as error:
        print(f"gateway_sim: cannot listen on {arguments.host}:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 2
    print(
        f"gateway_sim listening on {arguments.host}:{port} seed {settings.seed} speed {settings.speed:g} "
        f"market {settings.start} New York",
        flush=True,
    )
    notify_ready()
    await stop.wait()
    await server.stop()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = parser()
    arguments = options.parse_args(argv)
    try:
        settings = settings_of(arguments)
    except ValueError as error:
        print(f"gateway_sim: {error}", file=sys.stderr)
        return 2
    if arguments.ledger is None:
        return asyncio.run(serve(arguments, settings, None))
    try:
        with open(arguments.ledger, "a", buffering=1, encoding="ascii") as ledger:
            return asyncio.run(serve(arguments, settings, ledger))
    except OSError as error:
        print(f"gateway_sim: cannot write ledger {arguments.ledger}: {error.strerror}", file=sys.stderr)
        return 2
