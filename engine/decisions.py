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

#: The rule of the second decision about a bar: its signal became no order after all.
DROPPED: Final = "dropped"
#: What tells decisions of one engine apart: symbol, start of the bar, and whether it drops an earlier one.
Key = tuple[str, int, bool]
T = TypeVar("T")
_REPLIES: Final[dict[str, type[Any]]] = {"Answer": Answer, "Failure": Failure}


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
    decisions = read_lines(path, "a decision log", _decision)
    replies = read_lines(answers, "a decision log", _answer) if answers.exists() else ()
    return Logged(
        [decision for name, decision in decisions if name == engine],
        [(after, reply) for name, after, reply in replies if name == engine],
    )


def _decision(line: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Whose it is, and the line as it is; KeyError if it lacks what a decision is known by."""
    key_of(line)
    return line["engine"], line


def _answer(line: dict[str, Any]) -> tuple[str, Key | None, Reply]:
    after = line["after"]
    key = None if after is None else (str(after[0]), int(after[1]), bool(after[2]))
    return line["engine"], key, reply_of(line)


def read_lines(path: Path, what: str, read: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """What `read` makes of each line of JSON. Raises ConfigError, with file and line, for what is no line of `what`."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    found = read(orjson.loads(line))
                except (KeyError, TypeError, ValueError) as error:
                    raise ConfigError(f"{path}:{number}: no line of {what}: {error}") from error
                yield found
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
