"""The recorder's loop over a bus in memory: gaps, silence, refused histories and the last rows at the end."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy import BadMessage, Bars, Gap, GatewayUnavailable, Message, Stop
from gateway_proxy.recorder.core import RecorderCore, RecordRules, Write
from gateway_proxy.recorder.service import Service
from tests.gateway_proxy.recorder.test_core import BARS, OPEN_NS, bar

pytest.importorskip("pyarrow", reason="pyarrow is not installed: recordings are not tested")

from engine.replay.recorded import rows
from gateway_proxy.recorder.files import Files, RecordingFailed


class MemoryBus:
    """Says what it was given, one thing at a time, and then asks the loop to stop. `refused`: histories that fail."""

    def __init__(self, stop: Stop, heard: list[Any], refused: int = 0) -> None:
        self.stop = stop
        self.heard = deque(heard)
        self.refused = refused
        self.topics: list[str] = []
        self.silent_s = 0.0
        self.asked = 0

    def subscribe(self, topic: str) -> None:
        self.topics.append(topic)

    def unsubscribe(self, topic: str) -> None:
        self.topics.remove(topic)

    def receive(self, timeout_s: float) -> Any:
        if not self.heard:
            self.stop.requested = True
            return None
        heard = self.heard.popleft()
        if isinstance(heard, float):
            self.silent_s = heard
            return None
        if isinstance(heard, Exception):
            raise heard
        return heard

    def bars(self, contract: Any, size: str, *, count: int, rth: bool, timeout_s: float | None) -> Bars:
        self.asked += 1
        if self.asked <= self.refused:
            raise GatewayUnavailable("the session is down")
        return Bars([bar(minute) for minute in range(-3, 0)])


def recorded(directory: Path, heard: list[Any], **bus: Any) -> MemoryBus:
    stop = Stop()
    memory = MemoryBus(stop, heard, **bus)
    ticks = iter(range(10_000))
    service = Service(
        RecorderCore(RecordRules((BARS,))), memory, Files(directory), stop,
        clock=lambda: float(next(ticks)), wall_ns=lambda: OPEN_NS,
    )  # fmt: skip
    service.run()
    return memory


def live(minute: int) -> Message:
    return Message(BARS, "bar", minute + 1, "e", OPEN_NS, asdict(bar(minute)))


def test_what_was_heard_and_asked_for_is_on_disk_at_the_end(tmp_path: Path):
    """History and live bars, told apart, and where the recording begins and ends."""
    recorded(tmp_path, [live(0), live(1)])

    assert [row["kind"] for row in rows([tmp_path], "bars")] == ["bar", "bar", "history", "history", "history"]
    assert [row["mark"] for row in rows([tmp_path], "marks")] == ["started", "stopped"]


def test_holes_of_every_kind_are_marked(tmp_path: Path):
    """Lost messages, an unreadable frame, a silence; the silence once, however long it lasts."""
    recorded(tmp_path, [live(0), Gap(BARS, 2, 4), BadMessage("no topic"), 3.0, 4.0, 0.0, live(5)])

    marks = [row["mark"] for row in rows([tmp_path], "marks")]
    assert marks == ["started", "gap", "unreadable", "silent", "stopped"]


def test_history_that_is_refused_does_not_stop_the_recording(tmp_path: Path):
    """Live bars are kept meanwhile, and the past is asked for again."""
    bus = recorded(tmp_path, [live(0), *[0.0] * 30, live(1)], refused=2)

    assert bus.asked == 3
    assert len(rows([tmp_path], "bars")) == 5


def test_table_that_the_disk_refuses_takes_no_other_one_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The recorder ends with the rows that are lost by name; what still fitted is there."""
    write = Files.write

    def full_for_bars(files: Files, batch: Write) -> Path:
        if batch.table == "bars":
            raise RecordingFailed(f"bars: No space left on device; {len(batch.rows)} rows are lost")
        return write(files, batch)

    monkeypatch.setattr(Files, "write", full_for_bars)

    with pytest.raises(RecordingFailed, match="5 rows are lost"):
        recorded(tmp_path, [live(0), live(1)])

    assert [row["mark"] for row in rows([tmp_path], "marks")] == ["started", "stopped"]
