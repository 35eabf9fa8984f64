"""Who did something how often in the last minute, so that a rate costs the same however many did. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0
#: Events that are held; beyond them the oldest is forgotten. The caps of the rates keep well below.
EVENTS_MAX: Final = 10_000


class LastMinute:
    """Events of any sliding 60 s, counted by engine and account. Times never go back."""

    def __init__(self) -> None:
        self._events: deque[tuple[float, tuple[str, str]]] = deque()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, engine: str, account: str, now: float) -> None:
        if len(self._events) >= EVENTS_MAX:
            self._forget_oldest()
        whom = engine, account
        self._events.append((now, whom))
        self._counts[whom] += 1

    def count(self, covers: Callable[[str, str], bool], now: float) -> int:
        """How many there were of those whom `covers(engine, account)` means; one exactly 60 s old is none."""
        while self._events and self._events[0][0] <= now - MINUTE_S:
            self._forget_oldest()
        return sum(count for whom, count in self._counts.items() if covers(*whom))

    def _forget_oldest(self) -> None:
        _, whom = self._events.popleft()
        self._counts[whom] -= 1
        if not self._counts[whom]:
            del self._counts[whom]
