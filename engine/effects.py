"""What the engine's core asks its shell to do, and how the answers come back. Frozen words, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer belongs to: a purpose ("bars", "chain", "place", …) and its subject (symbol or order id)."""

    purpose: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Subscribe:
    topic: str


@dataclass(frozen=True, slots=True)
class Ask:
    """One request on the `request` or `trade` socket. Every Ask gets exactly one Answer or Failure."""

    question: Question
    socket: Literal["request", "trade"]
    op: str
    args: dict[str, Any]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Record:
    """One decision, in full, for the decision log."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    """`level` is error, warning, info or debug; `event` a constant phrase, facts in `fields`."""

    level: Literal["error", "warning", "info", "debug"]
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


Effect = Subscribe | Ask | Record | Log


@dataclass(frozen=True, slots=True)
class Answer:
    question: Question
    body: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """`code` is the word of the error tree; `certain` means: nothing happened and nothing will."""

    question: Question
    code: str
    message: str
    certain: bool = False
    retry_in_s: float | None = None


Reply = Answer | Failure
