"""The control port: a line protocol to switch faults while the simulator runs, and the client that speaks it.

One command per line, one answer line each, `ok …` or `error …`:

    inject NAME [for=3s] [key=value …]      clear NAME      status      faults      quit
"""

from __future__ import annotations

import asyncio
import json
import socket
from math import inf

from gateway_sim.fault_state import FaultValue
from gateway_sim.faults import CATALOGUE, FaultRefused, nearest
from gateway_sim.scenario import seconds_of
from gateway_sim.server import GatewayServer

LINE_BYTES_MAX = 4096
COMMANDS = ["inject", "clear", "status", "faults", "quit"]


def perform(server: GatewayServer, line: str) -> str:
    """Carry out one command; returns the answer line."""
    gateway = server.gateway
    gateway.handle_timer(server.now())
    words = line.split()
    if not words:
        return "error empty line"
    command, *rest = words
    try:
        if command == "inject" and rest:
            lasts_s, given = _options(rest[1:])
            until = gateway.faults.inject(rest[0], lasts_s, given)
            return (
                f"ok {rest[0]} from {gateway.floor.now:.3f} until {'cleared' if until == inf else format(until, '.3f')}"
            )
        if command == "clear" and len(rest) == 1:
            return f"ok {rest[0]} cleared" if gateway.faults.clear(rest[0]) else f"error {rest[0]} is not on"
        if command == "status":
            return "ok " + json.dumps(gateway.status(), separators=(",", ":"))
        if command == "faults":
            return "ok " + " ".join(sorted(CATALOGUE))
    except FaultRefused as error:
        return f"error {error}"
    except ValueError as error:
        return f"error {error}"
    return f'error cannot read "{line[:80]}"{nearest(command, COMMANDS)}'


def _options(words: list[str]) -> tuple[float | None, dict[str, FaultValue]]:
    """Duration and parameters out of key=value words."""
    lasts_s, given = None, {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise ValueError(f'"{word}" is not key=value')
        if key == "for":
            lasts_s = seconds_of(value)
        else:
            given[key] = value.replace("\\_", " ")
    return lasts_s, dict[str, FaultValue](given)


async def serve_control(server: GatewayServer, host: str, port: int) -> asyncio.Server:
    """Listen for commands. Raises OSError if the port is taken."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                text = line.decode("utf-8", "replace").strip()
                if text == "quit":
                    break
                answer = perform(server, text)
                server.step()
                writer.write(answer.encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            return  # a line over the limit, or the other side went away: nothing to tell
        finally:
            writer.close()

    return await asyncio.start_server(converse, host, port, limit=LINE_BYTES_MAX)


def send_command(host: str, port: int, line: str, timeout_s: float = 5.0) -> str:
    """Send one command to a running simulator; returns its answer. Raises OSError."""
    with socket.create_connection((host, port), timeout_s) as connection:
        connection.sendall(line.encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as answers:
            return answers.readline().strip()
