"""The agenda: what is to be done at which simulated second. Pure; the caller brings the time.

Two entries of the same second run in the order in which they were made, so a run is reproducible.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[float], None]
"""Called with the second it was due at."""


class Appointment:
    """One entry. `cancel()` is idempotent and may come after it ran."""

    __slots__ = ("due", "action", "cancelled")

    def __init__(self, due: float, action: Action) -> None:
        self.due = due
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Agenda:
    """A timer queue whose clock is `now`, the latest time it was told."""

    def __init__(self) -> None:
        self.now = 0.0
        self._entries: list[tuple[float, int, Appointment]] = []
        self._order = count()
        self._turns: list[Action] = []

    def at(self, due: float, action: Action) -> Appointment:
        """Run `action` at `due` simulated seconds (at once if that has passed)."""
        appointment = Appointment(max(due, self.now), action)
        heapq.heappush(self._entries, (appointment.due, next(self._order), appointment))
        return appointment

    def after(self, delay_s: float, action: Action) -> Appointment:
        return self.at(self.now + delay_s, action)

    def next_turn(self, action: Action) -> None:
        """Run `action` when the caller comes back next, at the time it then is: long work in slices that let others
        in between."""
        self._turns.append(action)

    def next_due(self) -> float | None:
        """When the next entry is due, None if there is none."""
        if self._turns:
            return self.now
        return self._next_entry()

    def _next_entry(self) -> float | None:
        while self._entries and self._entries[0][2].cancelled:
            heapq.heappop(self._entries)
        return self._entries[0][0] if self._entries else None

    def advance(self, now: float) -> None:
        """Tell the time without running anything. It never goes back."""
        self.now = max(self.now, now)

    def run_due(self, now: float) -> None:
        """Run everything due until `now`, each at its own second, entries made meanwhile included."""
        turns, self._turns = self._turns, []
        self._run_entries(now)
        self.now = max(self.now, now)
        for action in turns:
            action(self.now)

    def _run_entries(self, now: float) -> None:
        while (due := self._next_entry()) is not None and due <= now:
            _, _, appointment = heapq.heappop(self._entries)
            self.now = max(self.now, due)
            appointment.cancelled = True
            appointment.action(self.now)
