"""How quickly this engine works: the age of bars when it hears them and the time from bar to decision."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

#: Newest measurements that the percentiles are taken of.
REMEMBERED = 1000


class Pulse:
    """Measurements for the heartbeat; they influence nothing."""

    def __init__(self) -> None:
        self._lag_ms: deque[float] = deque(maxlen=60)
        self._decide_us: deque[float] = deque(maxlen=REMEMBERED)
        self._bars = 0

    def bar(self, sent_ns: int, decide_s: float | None) -> None:
        """A bar message was handled; `decide_s` None when it completed nothing."""
        self._bars += 1
        if sent_ns:
            self._lag_ms.append((time.time_ns() - sent_ns) / 1e6)
        if decide_s is not None:
            self._decide_us.append(decide_s * 1e6)

    def view(self) -> dict[str, Any]:
        """lag_ms: the worst of the last 60 bars, by this machine's clock. decide_us: median and p99."""
        ordered = sorted(self._decide_us)
        return {
            "lag_ms": round(max(self._lag_ms), 3) if self._lag_ms else None,
            "decide_us": round(ordered[len(ordered) // 2], 1) if ordered else None,
            "decide_us_p99": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 1) if ordered else None,
            "bar_messages": self._bars,
        }
