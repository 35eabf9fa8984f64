"""One series of bars: finished bars that never change again, and the one that still grows. Pure.

What is finished is never rewritten: a later answer of IB that differs is ignored (re-requests at other times may
differ, rule book 1.6). Holes are marked, never hidden.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from gateway_proxy.bus.messages import Bar

_SECOND = 1_000_000_000


class Series:
    """At most `keep` finished bars, oldest dropped first. `bar_s` is the length of a bar in seconds."""

    def __init__(self, bar_s: int, keep: int) -> None:
        self._bar_ns = bar_s * _SECOND
        self._finished: deque[Bar] = deque(maxlen=keep)
        self._growing: Bar | None = None

    def __len__(self) -> int:
        return len(self._finished)

    @property
    def last_finished(self) -> Bar | None:
        return self._finished[-1] if self._finished else None

    @property
    def growing(self) -> Bar | None:
        return self._growing

    def newest(self, count: int) -> list[Bar]:
        """The `count` newest bars, oldest first, the growing one last."""
        bars = list(self._finished)
        if self._growing is not None:
            bars.append(self._growing)
        return bars[-count:]

    def merge(self, answer: Sequence[Bar], wall_ns: int) -> list[Bar]:
        """Take a historical answer in; returns what is new, in order, ready to publish.

        The last bar counts as growing while its interval is not over by the Gateway's clock. The first new bar is
        marked `gap` if the answer does not reach back to the bars we hold.
        """
        fresh: list[Bar] = []
        for bar in answer:
            if bar.start_ns + self._bar_ns > wall_ns:
                fresh += self._grow(replace(bar, complete=False, source="backfill"))
            elif self._is_new(bar.start_ns):
                marked = _finished(bar, gap=self._leaves_hole(bar, answer[0]))
                self._close_growing_before(marked.start_ns, fresh)
                self._finished.append(marked)
                fresh.append(marked)
        return fresh

    def update(self, bar: Bar) -> list[Bar]:
        """Take one live update in; returns what is new: a finished bar when a later one began, and the growing one."""
        if not self._is_new(bar.start_ns):
            return []
        return self._grow(replace(bar, complete=False, source="live"))

    def precede(self, answer: Sequence[Bar]) -> None:
        """Put what an answer knows of the past before the bars held: as much as has room, nothing if it leaves a hole.

        Not news for listeners: they were given the bars that are newer.
        """
        oldest = self._finished[0].start_ns if self._finished else None
        if oldest is None or all(bar.start_ns != oldest for bar in answer):
            return
        past = [bar for bar in answer if bar.start_ns < oldest]
        room = (self._finished.maxlen or 0) - len(self._finished)
        for bar in reversed(past[-room:] if room else []):
            self._finished.appendleft(_finished(bar, gap=bar.gap))

    def interrupt(self) -> None:
        """The stream broke: the growing bar may miss trades, so it is dropped; the refill brings its true form."""
        self._growing = None

    def settle(self, wall_ns: int, delay_s: float) -> list[Bar]:
        """Finish the growing bar once its interval has been over for `delay_s`, even if no later bar began."""
        if self._growing is None or self._growing.start_ns + self._bar_ns + int(delay_s * _SECOND) > wall_ns:
            return []
        return [self._finish_growing()]

    def finish(self) -> list[Bar]:
        """Finish the growing bar now: whoever feeds the series has seen all of its interval."""
        return [] if self._growing is None else [self._finish_growing()]

    def settles_in_s(self, wall_ns: int, delay_s: float) -> float | None:
        """Seconds until `settle` has something to do; None without a growing bar."""
        if self._growing is None:
            return None
        return max(0.0, (self._growing.start_ns + self._bar_ns - wall_ns) / _SECOND + delay_s)

    def _is_new(self, start_ns: int) -> bool:
        return not self._finished or start_ns > self._finished[-1].start_ns

    def _leaves_hole(self, bar: Bar, oldest: Bar) -> bool:
        return bool(self._finished) and bar is oldest and bar.start_ns > self._finished[-1].start_ns + self._bar_ns

    def _grow(self, bar: Bar) -> list[Bar]:
        fresh: list[Bar] = []
        self._close_growing_before(bar.start_ns, fresh)
        if self._is_new(bar.start_ns):
            self._growing = bar
            fresh.append(bar)
        return fresh

    def _close_growing_before(self, start_ns: int, fresh: list[Bar]) -> None:
        if self._growing is None or self._growing.start_ns > start_ns:
            return
        if self._growing.start_ns < start_ns:
            fresh.append(self._finish_growing())
        else:
            self._growing = None

    def _finish_growing(self) -> Bar:
        assert self._growing is not None
        finished, self._growing = replace(self._growing, complete=True), None
        self._finished.append(finished)
        return finished


def _finished(bar: Bar, *, gap: bool) -> Bar:
    """A bar of history as it is kept. Most are that already, and a copy of each would take most of a merge's time."""
    if bar.complete and bar.source == "backfill" and bar.gap is gap:
        return bar
    return replace(bar, complete=True, source="backfill", gap=gap)
