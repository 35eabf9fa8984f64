"""The wish to end: a flag that SIGTERM and Ctrl-C set, and that a loop looks at in every turn."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """Nothing is interrupted: the loop ends when it has come round."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, number: int = 0, frame: FrameType | None = None) -> None:
        self.requested = True

    def on_signals(self) -> Stop:
        """Be the handler of SIGTERM and SIGINT from now on. Only from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self)
        return self
