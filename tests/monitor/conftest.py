from __future__ import annotations

import pytest

from gateway_proxy import Message
from monitor.state import MonitorState
from monitor.view import View
from tests.monitor.messages import WALL_NS, Bus


class Watched:
    """A monitor state with a manual clock: `hear` folds messages in at the current moment."""

    def __init__(self) -> None:
        self.state = MonitorState()
        self.now = 100.0

    @property
    def wall_ns(self) -> int:
        return WALL_NS + int((self.now - 100.0) * 1e9)

    def hear(self, *messages: Message) -> Watched:
        for message in messages:
            self.state.receive_message(message, self.now, self.wall_ns)
        return self

    def advance(self, seconds: float) -> None:
        self.now += seconds

    @property
    def view(self) -> View:
        return self.state.view(self.now, self.wall_ns)

    def told(self) -> list[tuple[str, str, str]]:
        return [(event.kind, event.subject, event.text) for event in self.state.events_since(0)]


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def watched() -> Watched:
    return Watched()
