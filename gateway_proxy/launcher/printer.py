"""The one writer of the launcher's terminal: whole lines, each with the name of who said it.

A thread writes from a bounded queue: a terminal that is not read (a pager, Ctrl-S) must block neither the launcher nor,
through full pipes, the processes. When the queue is full, lines are dropped, and how many is told later.
"""

from __future__ import annotations

import queue
import threading
from typing import TextIO

QUEUED_LINES_MAX = 10_000
#: How long the end waits for a terminal that is not read.
FINISH_S = 0.5
#: ANSI colours that read well on dark and light; names take them in order of appearance.
_COLOURS = (36, 32, 35, 33, 34, 96, 92, 95)
_RED = 31


class Printer:
    """`say` from any thread; `finish` writes out what waits."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._coloured = stream.isatty()
        self._colour_of: dict[str, int] = {}
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUED_LINES_MAX)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="printer", daemon=True)
        self._thread.start()

    def say(self, name: str, text: str, *, warning: bool = False) -> None:
        """One line of `name`."""
        prefix = self._paint(f"{name:<{self._width}} |", self._colour(name))
        if self._dropped:
            text = f"[{self._dropped} lines lost: the terminal was not read] {text}"
        try:
            self._lines.put_nowait(f"{prefix} {self._paint(text, _RED) if warning else text}\n")
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def _colour(self, name: str) -> int:
        return self._colour_of.setdefault(name, _COLOURS[len(self._colour_of) % len(_COLOURS)])

    def _paint(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._coloured else text

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line)
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                return  # The terminal is gone; there is nobody left to tell.

    def finish(self) -> None:
        """Writes out what waits, for half a second at most."""
        try:
            self._lines.put(None, timeout=FINISH_S)
        except queue.Full:
            return
        self._thread.join(timeout=FINISH_S)
