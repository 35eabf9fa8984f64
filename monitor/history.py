"""Rows and events on disk, one JSON object a line, two files a day, bounded by days and megabytes.

Plain files, because a broken last line after a crash costs one row, any tool can read them, and nothing has to be
migrated. A disk that is full or gone is told once and costs history, never the monitor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import orjson

from monitor.config import HistorySettings, history_directory
from monitor.samples import Sample
from monitor.view import Event

log = logging.getLogger(__name__)

EVENTS_PER_DAY_MAX = 50_000  # a flood of events must not fill the disk
LINE_MAX = 200_000


def day_of(wall_ns: int) -> str:
    """The local date, YYYY-MM-DD."""
    return time.strftime("%Y-%m-%d", time.localtime(wall_ns / 1e9))


class History:
    def __init__(self, settings: HistorySettings, directory: Path | None = None) -> None:
        self.directory = directory or history_directory(settings)
        self._settings = settings
        self._day = ""
        self._events_written = 0
        self._broken = False

    def append(self, sample: Sample | None, events: list[Event]) -> None:
        """Write what is new. Never raises; a fault is logged when it begins and when it is over."""
        try:
            if sample is not None:
                self._write("samples", sample.wall_ns, [sample])
            for event in events:
                self._write("events", event.wall_ns, [event])
        except OSError as error:
            if not self._broken:
                log.error("history is not kept", extra={"directory": str(self.directory), "reason": error.strerror})
            self._broken = True
        else:
            if self._broken and (sample is not None or events):
                log.info("history is kept again", extra={"directory": str(self.directory)})
                self._broken = False

    def _write(self, kind: str, wall_ns: int, rows: list[Any]) -> None:
        day = day_of(wall_ns)
        if day > self._day:
            self._begin_day(day)
        if kind == "events":
            self._events_written += len(rows)
            if self._events_written > EVENTS_PER_DAY_MAX:
                return
        with (self.directory / f"{kind}-{day}.jsonl").open("ab") as file:
            for row in rows:
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE, default=str))

    def _begin_day(self, day: str) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._day = day
        self._events_written = sum(1 for _ in self._lines("events", day))
        self._prune()

    def _prune(self) -> None:
        """Delete the oldest files until both limits hold; today's are never deleted."""
        files = sorted(self.directory.glob("*-????-??-??.jsonl"), key=lambda path: path.stem[-10:], reverse=True)
        kept = 0
        for path in files:
            kept += path.stat().st_size
            age_days = (date.fromisoformat(self._day) - date.fromisoformat(path.stem[-10:])).days
            if age_days >= self._settings.days or (age_days > 0 and kept > self._settings.megabytes * 1_000_000):
                path.unlink(missing_ok=True)

    def samples(self, day: str) -> list[Sample]:
        """The rows of a day, oldest first; lines that cannot be read are left out."""
        found = []
        for raw in self._lines("samples", day):
            try:
                found.append(msgspec.convert(raw, Sample))
            except msgspec.ValidationError:
                continue
        return found

    def events(self, day: str) -> list[Event]:
        found = []
        for raw in self._lines("events", day):
            try:
                found.append(msgspec.convert(raw, Event))
            except msgspec.ValidationError:
                continue
        return found

    def days(self) -> list[str]:
        """Days with rows, oldest first."""
        return sorted(path.stem[-10:] for path in self.directory.glob("samples-????-??-??.jsonl"))

    def _lines(self, kind: str, day: str) -> Iterator[Any]:
        try:
            with (self.directory / f"{kind}-{day}.jsonl").open("rb") as file:
                while line := file.readline(LINE_MAX):
                    try:
                        yield orjson.loads(line)
                    except orjson.JSONDecodeError:
                        continue
        except FileNotFoundError:
            return
