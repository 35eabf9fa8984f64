"""Of several monitors that share a history directory exactly one is on duty: it writes history and sends alerts.

The others only show. A lock file decides, so that the next one takes over when the first has ended, however it ended.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Duty:
    def __init__(self, directory: Path) -> None:
        self._path = directory / "on-duty"
        self._fd: int | None = None

    def is_mine(self) -> bool:
        """Takes the duty if nobody has it. Where no lock can be had it is ours: better two alerts than none."""
        if self._fd is not None:
            return True
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
