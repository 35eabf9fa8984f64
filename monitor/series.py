"""Rows over time in bounded memory: every second for the last quarter of an hour, coarser for the last day. Pure."""

from __future__ import annotations

from collections import deque

from monitor.samples import Sample, merge

RECENT_MAX = 900
DAY_S = 86_400


class Series:
    """`add` one row a second; `coarse_s` seconds of them become one row of the day."""

    def __init__(self, coarse_s: float = 10.0) -> None:
        self._coarse_ns = int(coarse_s * 1e9)
        self._recent: deque[Sample] = deque(maxlen=RECENT_MAX)
        self._day: deque[Sample] = deque(maxlen=int(DAY_S / coarse_s))
        self._pending: list[Sample] = []

    def restore(self, samples: list[Sample]) -> None:
        """Rows of earlier today, oldest first, for example from disk."""
        self._day.extend(samples)

    def add(self, sample: Sample) -> Sample | None:
        """Returns the coarse row if this one completed it; it is worth keeping on disk."""
        self._recent.append(sample)
        done = None
        if self._pending and sample.wall_ns // self._coarse_ns != self._pending[0].wall_ns // self._coarse_ns:
            done = merge(self._pending)
            self._day.append(done)
            self._pending.clear()
        self._pending.append(sample)
        return done

    def recent(self) -> list[Sample]:
        return list(self._recent)

    def day(self) -> list[Sample]:
        """The coarse rows and, as the last one, what the current one has so far."""
        return [*self._day, *([merge(self._pending)] if self._pending else [])]
