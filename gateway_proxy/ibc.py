"""IBC's command server: one line of text over TCP, one short answer. Decides nothing; the core says when and what.

IBC runs the Gateway's window for us. Its CommandServerPort takes RECONNECTDATA, RECONNECTACCOUNT and RESTART.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

log = logging.getLogger("gateway_proxy")

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 4_096


class IbcLine:
    """One command at a time; another one meanwhile is dropped, because the first may restart the Gateway."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._task: asyncio.Task[None] | None = None

    def send(self, command: str) -> None:
        """Returns at once; the outcome is logged."""
        if self._task is not None and not self._task.done():
            log.warning("IBC is still busy with the last command", extra={"command": command})
            return
        self._task = asyncio.get_running_loop().create_task(self._converse(command), name="ibc-command")

    async def _converse(self, command: str) -> None:
        host, port = self._address
        try:
            async with asyncio.timeout(TIMEOUT_S):
                answer = await _exchange(host, port, command)
        except (OSError, TimeoutError) as error:
            facts = {"command": command, "address": f"{host}:{port}", "error": str(error) or "no answer"}
            log.error("IBC cannot be asked", extra=facts)
            return
        log.warning("IBC was asked", extra={"command": command, "answer": answer})


async def _exchange(host: str, port: int, command: str) -> str:
    """IBC may greet first; what counts is the last line before it closes or falls silent."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"{command}\r\nEXIT\r\n".encode())
        await writer.drain()
        said = await reader.read(ANSWER_BYTES_MAX)
        return said.decode("utf-8", "replace").strip()
    finally:
        writer.close()
