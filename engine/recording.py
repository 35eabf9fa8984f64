"""The flight recorder: everything an engine was told, in order, so that the same core decides the same again.

One JSON object a line: {"now", "heard"|"reply"|"timer": …}. Decisions are recorded beside their inputs, so a recording
proves itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from engine.core import EngineCore
from engine.decisions import read_lines, reply_line, reply_of
from engine.effects import Record, Reply
from gateway_proxy import Gap, Message, Restarted

_FIELDS = ("topic", "kind", "seq", "epoch", "sent_ns", "body")
_HEARD: dict[str, type[Any]] = {"Message": Message, "Gap": Gap, "Restarted": Restarted}


class Recorder:
    """Appends to one file. A full disk stops the engine loudly: a recording with holes proves nothing."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self.path.open("wb")

    def start(self, now: float) -> None:
        self._write({"now": now, "start": True})

    def heard(self, what: Message | Gap | Restarted, now: float) -> None:
        names = _FIELDS if isinstance(what, Message) else tuple(field.name for field in fields(what))
        self._write({"now": now, "heard": type(what).__name__, "body": {name: getattr(what, name) for name in names}})

    def reply(self, what: Reply, now: float) -> None:
        self._write({"now": now, **reply_line(what)})

    def timer(self, now: float) -> None:
        self._write({"now": now, "timer": True})

    def decision(self, record: dict[str, Any]) -> None:
        self._write({"decision": record})

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Recorded decisions against those of the core now. `first_difference` counts from 1, 0 when they are equal."""

    recorded: int
    repeated: int
    first_difference: int

    @property
    def is_equal(self) -> bool:
        return self.recorded == self.repeated and self.first_difference == 0


def repeat(path: str | Path, core: EngineCore) -> Comparison:
    """Feed a recording to a fresh core of the same configuration and compare every decision.

    Raises ConfigError for a line that is none of a recording's.
    """
    recorded: list[dict[str, Any]] = []
    repeated: list[dict[str, Any]] = []
    for line in read_lines(Path(path), "a recording", dict):
        if "decision" in line:
            recorded.append(line["decision"])
            continue
        now = float(line["now"])
        if "heard" in line:
            # By position: a message is made with its content and read as its body.
            core.receive_message(_HEARD[line["heard"]](*line["body"].values()), now)
        elif "reply" in line:
            core.receive_reply(reply_of(line), now)
        elif "timer" in line:
            core.handle_timer(now)
        else:
            core.start(now)
        repeated += [effect.body for effect in core.effects() if isinstance(effect, Record)]
    pairs = enumerate(zip(recorded, repeated, strict=False), 1)
    different = next((number for number, (before, after) in pairs if before != after), 0)
    return Comparison(len(recorded), len(repeated), different)
