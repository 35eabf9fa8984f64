"""Garbage collection in moments for which nobody waits.

By itself CPython collects after every so many new objects, in the middle of an order as likely as anywhere, and looks
at all that was ever imported again and again. References are counted all the same: only cycles wait for these moments.
"""

from __future__ import annotations

import gc
from typing import Final

#: Young objects that are worth a look in a quiet moment, and how many may gather while there is none.
YOUNG_WORTH: Final = 2_000
YOUNG_MAX: Final = 100_000
#: Looks at young objects for each look at all of them: requests leave cycles that outlive a look at the young, and with
#: 100 the soak grew by a quarter of a megabyte a second.
YOUNG_PER_FULL: Final = 5


class Collector:
    """Make it when everything that lasts has been made; then tell it of quiet moments."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_MAX, YOUNG_PER_FULL, YOUNG_PER_FULL)
        self._looks = 0

    def quiet(self) -> None:
        """Nobody waits now: collect if it is worth it."""
        if gc.get_count()[0] < YOUNG_WORTH:
            return
        self._looks += 1
        gc.collect(2 if self._looks % YOUNG_PER_FULL == 0 else 1)
