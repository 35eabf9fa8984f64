"""Where log records of every process go: JSON for machines, lines for people, never an account number.

Modules log through the standard library, `log.info("what happened", extra={"symbol": "SPY"})`, and so does ib_async;
structlog renders. Writing happens on a thread of its own behind a bounded queue, because a terminal that nobody reads
must not stop the process that owns the Gateway connection; when the queue is full, lines are dropped and counted.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import re
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

QUEUED_LINES_MAX = 10_000
#: How long the end of the process waits for a reader of its last lines.
FINISH_S = 0.5
#: U1234567, DU1234567, F…, DF…, I…, DUH12345 and the like: IB's account ids.
_ACCOUNT_ID = re.compile(r"\b(D?[UFI][A-Z]?)\d{5,9}\b")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Section [logs], the same for every process."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "lines"] = "auto"  # auto: lines on a terminal, JSON otherwise


def start_logs(process: str, settings: LogSettings, stream: TextIO | None = None) -> None:
    """Routes every record of this process to `stream` (default stderr), tagged with the process name.

    May be called again; the last call counts. Queued lines are written out at exit.
    """
    stop_logs()
    stream = stream or sys.stderr
    as_lines = settings.format == "lines" or (settings.format == "auto" and stream.isatty())
    writer = logging.StreamHandler(stream)
    writer.setFormatter(_formatter(process, as_lines, colors=stream.isatty()))
    entrance = _Entrance(writer)
    root = logging.getLogger()
    root.addHandler(entrance)
    root.setLevel(settings.level.upper())
    # ib_async tells every notice of the Gateway at error level; ours come as verdicts and health.
    logging.getLogger("ib_async").setLevel(logging.DEBUG if settings.level == "debug" else logging.CRITICAL)
    logging.captureWarnings(True)
    entrance.thread.start()


@atexit.register
def stop_logs() -> None:
    """Writes out what is queued, for a second at most, and takes the handlers of `start_logs` away again."""
    root = logging.getLogger()
    for entrance in [handler for handler in root.handlers if isinstance(handler, _Entrance)]:
        root.removeHandler(entrance)
        entrance.finish()


class _Entrance(logging.Handler):
    """The bounded queue and the thread that empties it into `writer`. Full means: drop the new line and count it."""

    def __init__(self, writer: logging.Handler) -> None:
        super().__init__()
        self.writer = writer
        self.records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUED_LINES_MAX)
        self.thread = threading.Thread(target=self._write, name="log writer", daemon=True)
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        # The text is made now: an argument may change before the thread comes to it.
        record.msg, record.args = record.getMessage(), None
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (record := self.records.get()) is not None:
            self.writer.handle(record)

    def finish(self) -> None:
        with contextlib.suppress(queue.Full):
            self.records.put(None, timeout=FINISH_S)
            self.thread.join(timeout=FINISH_S)
        if self.dropped:
            print(f"{self.dropped} log lines dropped: nobody read them in time", file=sys.stderr)


def _formatter(process: str, as_lines: bool, colors: bool) -> logging.Formatter:
    render: Processor
    if as_lines:
        plain_traceback = structlog.dev.plain_traceback
        render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=24, exception_formatter=plain_traceback)
    else:
        render = structlog.processors.JSONRenderer(serializer=_to_json)

    def complete(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """The time of the record, not of its writing; for machines also the process and the exception as text."""
        at = datetime.fromtimestamp(event["_record"].created, UTC)
        if as_lines:
            return {**event, "timestamp": at.astimezone().strftime("%H:%M:%S")}
        event = structlog.processors.format_exc_info(_, __, event)
        return {"time": at.isoformat(timespec="milliseconds"), "process": process, **event}

    def masked(logger: WrappedLogger, name: str, event: EventDict) -> str:
        return mask_accounts(str(render(logger, name, event)))

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[complete, structlog.stdlib.ProcessorFormatter.remove_processors_meta, masked],
    )


def _to_json(event: dict[str, Any], **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()


def mask_accounts(text: str) -> str:
    """The text with the digits of every IB account id replaced: "DU1234567" becomes "DU***"."""
    return _ACCOUNT_ID.sub(r"\1***", text)
