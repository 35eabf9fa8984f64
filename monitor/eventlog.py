"""The numbered, bounded list of what happened, oldest dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from monitor.changes import Telling
from monitor.view import Event


class EventLog:
    def __init__(self, events_max: int) -> None:
        self.last_number = 0
        self._events: deque[Event] = deque(maxlen=events_max)

    def tell(self, tellings: Iterable[Telling], wall_ns: int) -> None:
        for telling in tellings:
            self.last_number += 1
            self._events.append(
                Event(
                    number=self.last_number,
                    wall_ns=wall_ns,
                    kind=telling.kind,
                    light=telling.light,
                    subject=telling.subject,
                    text=telling.text,
                    facts=telling.facts,
                )
            )

    def since(self, number: int) -> list[Event]:
        """Events with a higher number, oldest first; those that fell out are gone."""
        newer = []
        for event in reversed(self._events):
            if event.number <= number:
                break
            newer.append(event)
        return newer[::-1]
