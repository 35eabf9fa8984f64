"""What the gateway core wants done; the shell performs the effects in the order given. Words only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Send:
    """Write bytes to a connection."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close a connection; abort: without sending what is still queued (a reset)."""

    connection: int
    abort: bool = False


@dataclass(frozen=True, slots=True)
class PauseReading:
    connection: int


@dataclass(frozen=True, slots=True)
class ResumeReading:
    connection: int


@dataclass(frozen=True, slots=True)
class Record:
    """Append a line to the ledger."""

    line: str


Effect = Send | Close | PauseReading | ResumeReading | Record
