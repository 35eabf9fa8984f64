"""The decision log: every decision of an engine as one line of JSON, and beside it what the engine was told.

`decisions.jsonl` has the decisions. `decisions.answers.jsonl` has the answers to the engine's questions, which are not
on the bus: {"engine", "after", "reply": "Answer" | "Failure", "body"}; `after` names the decision that was made last.
With each answer in its place a recording of the bus can be decided again to the word (`engine/replay/audit.py`).
Answers of `bars` are left out: they are long, and the bars are in the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from engine.effects import Answer, Failure, Question, Reply
from gateway_proxy import ConfigError

T = TypeVar("T")
_REPLIES: Final[dict[str, type[Any]]] = {"Answer": Answer, "Failure": Failure}


#: The rule of the second decision about a bar: its signal became no order after all.
DROPPED: Final = "dropped"
#: What tells decisions of one engine apart: symbol, start of the bar, and whether it drops an earlier one.
Key = tuple[str, int, bool]


def key_of(decision: Mapping[str, Any]) -> Key:
    """A bar is decided on once, and its signal may be dropped once."""
    return decision["symbol"], decision["bar_start_ns"], decision["rule"] == DROPPED


class DecisionLog:
    """Two open files. Lines are written out by `flush`, once per heartbeat; a full disk stops the engine loudly."""

    def __init__(self, path: str | Path, engine: str) -> None:
        self.path = Path(path).expanduser()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = engine
        self._last: Key | None = None
        self._decisions: BinaryIO = self.path.open("ab")
        self._answers: BinaryIO = answers_beside(self.path).open("ab")

    def decision(self, record: dict[str, Any]) -> None:
        self._last = key_of(record)
        _write(self._decisions, record)

    def reply(self, reply: Reply) -> None:
        if reply.question.purpose != "bars":
            _write(self._answers, {"engine": self._engine, "after": self._last, **reply_line(reply)})

    def flush(self) -> None:
        for file in (self._decisions, self._answers):
            file.flush()

    def close(self) -> None:
        for file in (self._decisions, self._answers):
            file.close()


def answers_beside(path: Path) -> Path:
    return path.with_suffix(".answers" + path.suffix)


def _write(file: BinaryIO, line: dict[str, Any]) -> None:
    file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def reply_line(reply: Reply) -> dict[str, Any]:
    """An answer as part of a line of JSON; `reply_of` reads it."""
    return {"reply": type(reply).__name__, "body": asdict(reply)}


def reply_of(line: dict[str, Any]) -> Reply:
    reply: Reply = _REPLIES[line["reply"]](**{**line["body"], "question": Question(**line["body"]["question"])})
    return reply


@dataclass(frozen=True, slots=True)
class Logged:
    """One engine's log. Each reply comes with the decision that was made last before it; None: there was none yet."""

    decisions: list[dict[str, Any]]
    replies: list[tuple[Key | None, Reply]]


def read_log(path: Path, engine: str) -> Logged:
    """Raises ConfigError, with file and line, for a log that cannot be read; a log without answers has none."""
    answers = answers_beside(path)
    return Logged(
        list(_lines(path, lambda line: line if key_of(line) and line["engine"] == engine else None)),
        list(_lines(answers, lambda line: _answer(line) if line["engine"] == engine else None))
        if answers.exists()
        else [],
    )


def _answer(line: dict[str, Any]) -> tuple[Key | None, Reply]:
    after = line["after"]
    return None if after is None else (str(after[0]), int(after[1]), bool(after[2])), reply_of(line)


def _lines(path: Path, read: Callable[[dict[str, Any]], T | None]) -> Iterator[T]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = read(orjson.loads(line))
                except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                    raise ConfigError(f"{path}:{number}: no line of a decision log: {error}") from error
                if found is not None:
                    yield found
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
