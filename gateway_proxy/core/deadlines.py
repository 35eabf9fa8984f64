"""Deadlines: what shall happen when nothing else does. Pure; seconds of the caller's clock."""

from __future__ import annotations

from collections.abc import Callable


class Deadlines:
    """One pending action per subject; setting it again moves it."""

    def __init__(self) -> None:
        self._pending: dict[str, tuple[float, Callable[[], None]]] = {}

    def set(self, subject: str, at: float, action: Callable[[], None]) -> None:
        self._pending[subject] = (at, action)

    def clear(self, subject: str) -> None:
        self._pending.pop(subject, None)

    def next(self) -> float | None:
        return min((at for at, _ in self._pending.values()), default=None)

    def run(self, now: float) -> None:
        """Perform what is due, earliest first. An action that sets a deadline already past waits for the next run."""
        due = sorted((at, subject) for subject, (at, _) in self._pending.items() if at <= now)
        for at, subject in due:
            pending = self._pending.get(subject)
            if pending is not None and pending[0] == at:
                del self._pending[subject]
                pending[1]()
