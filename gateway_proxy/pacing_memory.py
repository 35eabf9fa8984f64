"""What IB still counts, across a restart of the proxy: a small file beside the journal.

IB's windows outlive our process: a proxy that forgot them would repeat an identical request within 15 s or spend the
ten-minute budget twice. The file is advice, not a promise: unreadable or missing, the proxy starts without it.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import orjson

log = logging.getLogger(__name__)


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
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("pacing memory unreadable", extra={"path": str(self._path), "error": str(error)})
            return None
        self._is_empty = False
        return stored.remembered, max(0.0, time.time() - stored.written_s)

    def write(self, remembered: Remembered) -> None:
        """Replace the file; a reader never sees half of it. A full disk costs a warning, not the proxy."""
        is_empty = not any(remembered.values())
        if is_empty and self._is_empty:
            return
        draft = self._path.with_name(self._path.name + ".new")
        try:
            draft.write_bytes(orjson.dumps({"written_s": time.time(), "remembered": remembered}))
            os.replace(draft, self._path)
        except OSError as error:
            log.warning("pacing memory not written", extra={"path": str(self._path), "error": str(error)})
            return
        self._is_empty = is_empty
