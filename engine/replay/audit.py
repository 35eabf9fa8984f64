"""Decides a recorded time again, with orders, fills and account as they were, and compares with the engine's own log.

A replay asks what would have happened; an audit asks whether the engine would do the same again. It needs the recording
of the bus, the engine's `decision_log`, and what lies beside that: every answer that the engine was given, which is not
on the bus, in its place among the decisions. It begins with the first decision of the log, and compares every one that
lies within the recording: words exactly, numbers to NUMBERS_AGREE, because a live window may have held one bar more.
Only the phase of a busy trade is not compared: an answer and an update of one moment have no order between them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from engine.core import CoreRules, EngineCore
from engine.decisions import Key, Logged, key_of, read_log
from engine.effects import Answer, Ask, Question, Record, Reply
from engine.replay.recorded import Row, bar_of, live_from, rows
from engine.strategy import Strategy
from gateway_proxy import ConfigError, Message, topics

#: Columns of a recording's table that are JSON text.
_JSON: Final = ("contract", "legs", "order_ids")
_HEAD: Final = ("received_ns", "topic", "kind", "seq", "epoch", "sent_ns")
NUMBERS_AGREE: Final = 1e-9
_EMPTY: Final[dict[str, Any]] = {
    "executions": {"executions": []},
    "positions": {"positions": []},
    "account": {"accounts": []},
    "orders.open": {"orders": []},
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`first_difference` is (logged, repeated), None when every compared decision is equal."""

    logged: int
    repeated: int
    compared: int
    first_difference: tuple[dict[str, Any], dict[str, Any]] | None

    @property
    def is_equal(self) -> bool:
        return self.compared > 0 and self.first_difference is None


def audit(rules: CoreRules, strategy: Strategy, recording: Sequence[Path], log: Path) -> Outcome:
    """Raises ConfigError for a recording or a log that cannot be read."""
    logged = read_log(log, rules.name)
    repeated = decide_again(rules, strategy, recording, logged)
    by_key = {key_of(one): one for one in repeated}
    pairs = [(one, by_key[key]) for one in logged.decisions if (key := key_of(one)) in by_key]
    different = next(((mine, theirs) for mine, theirs in pairs if not same(mine, theirs)), None)
    return Outcome(len(logged.decisions), len(repeated), len(pairs), different)


def same(logged: Mapping[str, Any], repeated: Mapping[str, Any]) -> bool:
    """Equal decisions: every word but a busy trade's phase, and every value to NUMBERS_AGREE."""
    mine, theirs = logged["values"], repeated["values"]
    return (
        _words(logged) == _words(repeated)
        and mine.keys() == theirs.keys()
        and all(_close(mine[name], theirs[name]) for name in mine)
    )


def _words(decision: Mapping[str, Any]) -> dict[str, Any]:
    left_out = ("values", "guard_reason") if decision["guard"] == "busy" else ("values",)
    return {name: value for name, value in decision.items() if name not in left_out}


def _close(mine: float | None, theirs: float | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return math.isclose(mine, theirs, rel_tol=NUMBERS_AGREE)


def decide_again(
    rules: CoreRules, strategy: Strategy, recording: Sequence[Path], logged: Logged
) -> list[dict[str, Any]]:
    """Every decision of a fresh engine that hears what was recorded, in the order it was heard."""
    bars = [row for row in rows(recording, "bars") if row["size"] == rules.size and row["symbol"] in rules.symbols]
    if not bars:
        raise ConfigError(f"nothing recorded for {rules.name}: {', '.join(rules.symbols)} with bars of {rules.size}")
    first = live_from(bars)
    for one in reversed(logged.decisions):
        first[one["symbol"]] = one["bar_start_ns"]
    heard = sorted([*_bars(bars, first), *_messages(recording, rules)], key=lambda one: one[0])
    past = _Past(_history(bars, first), logged)
    core, decisions = EngineCore(rules, strategy), []

    def settle(now: float) -> None:
        while True:
            for effect in core.effects():
                if isinstance(effect, Record):
                    decisions.append(effect.body)
                    past.decided(effect.body)
                elif isinstance(effect, Ask):
                    past.ask(effect)
            if (reply := past.next_reply()) is None:
                return
            core.receive_reply(reply, now)

    start = heard[0][0] / 1e9 if heard else 0.0
    core.start(start)
    settle(start)
    for received_ns, message in heard:
        now = received_ns / 1e9
        while (due := core.next_timer()) is not None and due <= now:
            core.handle_timer(now)
            settle(now)
        core.receive_message(message, now)
        settle(now)
    return decisions


class _Past:
    """Answers the engine's questions as they were answered: bars from the recording, everything else from the log.

    An answer is due when every decision that the log has before it was made again: a chain that came two bars after its
    signal comes two bars after it now.
    """

    def __init__(self, history: Mapping[str, list[dict[str, Any]]], logged: Logged) -> None:
        self._history = history
        self._place: dict[Key, int] = {}
        for place, one in enumerate(logged.decisions, 1):
            self._place.setdefault(key_of(one), place)
        self._has_answers = bool(logged.replies)
        self._decided = 0
        self._open: list[Ask] = []
        self._told: dict[Question, deque[tuple[int, int, Reply]]] = {}
        for line, (after, reply) in enumerate(logged.replies):
            before = 0 if after is None else self._place.get(after, 0)
            self._told.setdefault(reply.question, deque()).append((line, before, reply))

    def ask(self, ask: Ask) -> None:
        self._open.append(ask)

    def decided(self, decision: Mapping[str, Any]) -> None:
        self._decided = max(self._decided, self._place.get(key_of(decision), 0))

    def next_reply(self) -> Reply | None:
        """The answer that is due, of several the one that the log has first. Each is given once."""
        for ask in self._open:
            if ask.question not in self._told and (answer := self._known(ask)) is not None:
                self._open.remove(ask)
                return answer
        due = [(*self._told[ask.question][0], ask) for ask in self._open if ask.question in self._told]
        due = [one for one in due if one[1] <= self._decided]
        if not due:
            return None
        _, _, reply, ask = min(due, key=lambda one: one[0])
        self._open.remove(ask)
        self._told[ask.question].popleft()
        if not self._told[ask.question]:
            del self._told[ask.question]
        return reply

    def _known(self, ask: Ask) -> Reply | None:
        """Of bars the recording tells; a log that begins in the middle of a life does not have how that life began."""
        if ask.op == "bars":
            # One of the bars that are asked for is the unfinished one.
            return Answer(ask.question, {"bars": self._history.get(ask.args["contract"], [])[1 - ask.args["count"] :]})
        if ask.op in _EMPTY:
            return Answer(ask.question, _EMPTY[ask.op])
        if not self._has_answers:
            raise ConfigError(
                f"the log has no answers beside it, and {ask.op} was asked: want the file that the engine writes "
                'there, "decisions.answers.jsonl" for "decisions.jsonl"'
            )
        return None


# ---------------------------------------------------------------- reading


def _bars(bars: Sequence[Row], first: Mapping[str, int]) -> Iterator[tuple[int, Message]]:
    """Bars as they were heard; of those that were asked for after a gap, as if they had been."""
    for row in bars:
        if row["kind"] in ("bar", "history") and row["start_ns"] > first.get(row["symbol"], 0):
            yield _message({**row, "kind": "bar"}, asdict(bar_of(row)))


def _messages(recording: Sequence[Path], rules: CoreRules) -> Iterator[tuple[int, Message]]:
    """What else the engine would have heard."""
    for table in ("orders", "fills", "positions", "account"):
        for row in rows(recording, table):
            if table != "orders" or row["topic"] == topics.orders(rules.name):
                yield _message(row, _body(row))
    for row in rows(recording, "health"):
        if row["topic"] == topics.HEALTH_GATEWAY:
            yield _message(row, orjson.loads(row["body"]))


def _message(row: Row, body: Any) -> tuple[int, Message]:
    content = {"snapshot": [body]} if row["kind"] == "welcome" else body
    return row["received_ns"], Message(row["topic"], row["kind"], row["seq"], row["epoch"], row["sent_ns"], content)


def _body(row: Row) -> dict[str, Any]:
    body = {name: value for name, value in row.items() if name not in _HEAD}
    return {**body, **{name: orjson.loads(body[name]) for name in _JSON if name in body}}


def _history(bars: Sequence[Row], first: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Completed bars up to the first decision, by symbol, oldest first."""
    past: dict[str, dict[int, dict[str, Any]]] = {}
    for row in bars:
        if row["complete"] and row["start_ns"] <= first.get(row["symbol"], 0):
            past.setdefault(row["symbol"], {})[row["start_ns"]] = asdict(bar_of(row))
    return {symbol: [known[key] for key in sorted(known)] for symbol, known in past.items()}
