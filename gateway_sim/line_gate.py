"""The line gate: what happens to bytes between the Gateway and its clients when the line itself is faulty. Pure.

Held bytes are bounded; beyond the bound the oldest are lost, as they would be in a dying process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

HELD_BYTES_MAX = 16 * 1024 * 1024


@dataclass
class HeldBytes:
    """Chunks that wait, oldest first."""

    chunks: deque[tuple[int, bytes]] = field(default_factory=deque)
    size: int = 0

    def add(self, connection: int, data: bytes) -> None:
        self.chunks.append((connection, data))
        self.size += len(data)
        while self.size > HELD_BYTES_MAX:
            self.size -= len(self.chunks.popleft()[1])

    def take(self) -> list[tuple[int, bytes]]:
        chunks = list(self.chunks)
        self.chunks.clear()
        self.size = 0
        return chunks

    def take_some(self, budget: int) -> list[tuple[int, bytes]]:
        """The first `budget` bytes."""
        taken = []
        while self.chunks and budget > 0:
            connection, data = self.chunks.popleft()
            now, later = data[:budget], data[budget:]
            taken.append((connection, now))
            budget -= len(now)
            self.size -= len(now)
            if later:
                self.chunks.appendleft((connection, later))
        return taken


class LineGate:
    """Decides about every chunk of bytes in either direction."""

    def __init__(self) -> None:
        self.hold_input = False
        self.hold_output = False
        self.dead: set[int] = set()
        """Connections that are half open: nothing passes, nobody is told."""
        self.cut_after_sent: dict[int, int] = {}
        self.cut_after_received: dict[int, int] = {}
        self.input = HeldBytes()
        self.output = HeldBytes()

    def incoming(self, connection: int, data: bytes) -> bytes | None:
        """The bytes to process now; None if they are held or lost."""
        if connection in self.dead:
            return None
        if self.hold_input:
            self.input.add(connection, data)
            return None
        return data

    def outgoing(self, connection: int, data: bytes) -> bytes | None:
        """The bytes to send now; None if they are held or lost."""
        if connection in self.dead:
            return None
        if self.hold_output:
            self.output.add(connection, data)
            return None
        return data

    @staticmethod
    def cut(limits: dict[int, int], connection: int, data: bytes) -> tuple[bytes, bool]:
        """(the part that still passes, whether the connection is cut behind it)."""
        left = limits.get(connection)
        if left is None:
            return data, False
        if len(data) < left:
            limits[connection] = left - len(data)
            return data, False
        del limits[connection]
        return data[:left], True

    def forget(self, connection: int) -> None:
        self.dead.discard(connection)
        self.cut_after_sent.pop(connection, None)
        self.cut_after_received.pop(connection, None)
