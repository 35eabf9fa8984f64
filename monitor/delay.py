"""How late messages reach this monitor: the newest delays, bounded, and their percentiles."""

from __future__ import annotations

from collections import deque

from monitor.view import PercentilesView

WINDOW = 240  # heartbeats come every 250 ms: one minute


class BusDelay:
    """Only heartbeats are counted: they are stamped at the moment they leave and are never replayed."""

    def __init__(self) -> None:
        self._delays_ms: deque[float] = deque(maxlen=WINDOW)

    def record(self, delay_ms: float) -> None:
        """A negative delay means clocks that differ; it counts as nothing."""
        self._delays_ms.append(max(0.0, delay_ms))

    def percentiles(self) -> PercentilesView:
        if not self._delays_ms:
            return PercentilesView()
        ordered = sorted(self._delays_ms)
        last = len(ordered) - 1
        return PercentilesView(ordered[last // 2], ordered[round(last * 0.99)], ordered[-1], len(ordered))
