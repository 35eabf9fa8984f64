"""What IB said of each underlying's options today, across a restart of the proxy: a small file beside the journal.

Expirations and strikes change once a day, and asking for them is slow at the busiest time of it. The file is advice:
every option is verified on its own before anybody gets it, so a wrong strike costs a question and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway_proxy.advice_file import read_advice, write_advice


class Row(msgspec.Struct):
    """One row of reqSecDefOptParams."""

    req_id: int
    exchange: str
    trading_class: str
    multiplier: str
    expirations: list[str]
    strikes: list[float]


class Entry(msgspec.Struct):
    """All rows of one underlying on one exchange day, YYYYMMDD."""

    symbol: str
    date: str
    rows: list[Row]


class OptionMemory:
    """Reads once at the start, then writes when something was learned. Without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._version = 0

    def read(self) -> list[dict[str, Any]]:
        """What earlier lives learned; nothing when the file is missing or not in order."""
        if self._path is None:
            return []
        entries = read_advice(self._path, list[Entry], "option memory") or []
        found: list[dict[str, Any]] = msgspec.to_builtins(entries)
        return found

    def write(self, version: int, remembered: Callable[[], list[dict[str, Any]]]) -> None:
        """Replace the file if `version` is a new one. A full disk costs a warning, not the proxy."""
        if self._path is None or version == self._version:
            return
        self._version = version
        write_advice(self._path, remembered(), "option memory")
