"""What IB still counts, across a restart of the proxy: a small file beside the journal.

IB's windows outlive our process: a proxy that forgot them would repeat an identical request within 15 s or spend the
ten-minute budget twice. The file is advice, not a promise: unreadable or missing, the proxy starts without it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from gateway_proxy.advice_file import read_advice, write_advice

#: Per rule, the requests that still count: age in clock seconds when written, counter, amount.
Remembered = dict[str, list[tuple[float, str, int]]]


@dataclass(frozen=True, slots=True)
class _Stored:
    written_s: float
    remembered: Remembered


class PacingMemory:
    """Reads once at the start, then writes every second while anything counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_empty = True

    def read(self) -> tuple[Remembered, float] | None:
        """What the last life remembered, and how many real seconds ago it was written."""
        stored = read_advice(self._path, _Stored, "pacing memory")
        if stored is None:
            return None
        self._is_empty = False
        return stored.remembered, max(0.0, time.time() - stored.written_s)

    def write(self, remembered: Remembered) -> None:
        """Replace the file; a reader never sees half of it. A full disk costs a warning, not the proxy."""
        is_empty = not any(remembered.values())
        if is_empty and self._is_empty:
            return
        if not write_advice(self._path, {"written_s": time.time(), "remembered": remembered}, "pacing memory"):
            return
        self._is_empty = is_empty
