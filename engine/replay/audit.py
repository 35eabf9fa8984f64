"""Decides a recorded time again, with orders, fills and account as they were, and compares with the engine's own log.

A replay asks what would have happened; an audit asks whether the engine would do the same again. It needs the recording
of the bus and the engine's `decision_log`, begins with the first decision of the log, and compares every one that lies
within the recording: words exactly, numbers to NUMBERS_AGREE, because a live window may have held one bar more. Only
the phase of a busy trade is not compared: it hangs on answers between engine and proxy that are not on the bus.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from engine.core import CoreRules, EngineCore
from engine.effects import Answer, Ask, Failure, Record, Reply
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
    logged = [one for one in _decisions(log) if one["engine"] == rules.name]
    began: dict[str, int] = {}
    for one in logged:
        began.setdefault(one["symbol"], one["bar_start_ns"])
    repeated = decide_again(rules, strategy, recording, began)
    by_bar = {(one["symbol"], one["bar_start_ns"]): one for one in repeated}
    pairs = [(one, by_bar[key]) for one in logged if (key := (one["symbol"], one["bar_start_ns"])) in by_bar]
    different = next(((mine, theirs) for mine, theirs in pairs if not same(mine, theirs)), None)
    return Outcome(len(logged), len(repeated), len(pairs), different)


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
    rules: CoreRules, strategy: Strategy, recording: Sequence[Path], began: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Every decision of a fresh engine that hears what was recorded, in the order it was heard.

    began: symbol -> start of the bar that the engine decided on first; up to there, bars are its history.
    """
    bars = [row for row in rows(recording, "bars") if row["size"] == rules.size and row["symbol"] in rules.symbols]
    if not bars:
        raise ConfigError(f"nothing recorded for {rules.name}: {', '.join(rules.symbols)} with bars of {rules.size}")
    first = {**live_from(bars), **began}
    history = _history(bars, first)
    heard = sorted([*_bars(bars, first), *_messages(recording, rules)], key=lambda one: one[0])
    past = _Past(history, [message for _, message in heard])
    core, decisions = EngineCore(rules, strategy), []

    def settle(now: float) -> None:
        while effects := core.effects():
            for effect in effects:
                if isinstance(effect, Record):
                    decisions.append(effect.body)
                elif isinstance(effect, Ask) and (reply := past.answer(effect)) is not None:
                    core.receive_reply(reply, now)

    start = heard[0][0] / 1e9 if heard else 0.0
    core.start(start)
    settle(start)
    for received_ns, message in heard:
        now = received_ns / 1e9
        while (due := core.next_timer()) is not None and due <= now:
            core.handle_timer(now)
            settle(now)
        for reply in past.tell(message):
            core.receive_reply(reply, now)
            settle(now)
        core.receive_message(message, now)
        settle(now)
    return decisions


class _Past:
    """Answers the engine's questions with what the recording knows: of each order its updates, of bars the history.

    A live engine waits for its chain, so a signal's chain is answered when the order that came of it was first heard
    of; a signal that no order came of is told at once that there was no chain.
    """

    def __init__(self, history: Mapping[str, list[dict[str, Any]]], heard: Sequence[Message]) -> None:
        self._history = history
        self._latest: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, Ask] = {}
        self._first: dict[str, dict[str, Any]] = {}
        for message in heard:
            if message.kind == "order":
                self._first.setdefault(message.body["client_order_id"], message.body)

    def answer(self, ask: Ask) -> Reply | None:
        """None: the answer comes with a later message."""
        subject = ask.question.subject
        if ask.op == "bars":
            # One of the bars that are asked for is the unfinished one.
            return Answer(ask.question, {"bars": self._history.get(ask.args["contract"], [])[1 - ask.args["count"] :]})
        if ask.op in _EMPTY:
            return Answer(ask.question, _EMPTY[ask.op])
        if ask.op == "chain" and subject not in self._first:
            return Failure(ask.question, "no_data", "no order came of this signal", certain=True)
        if ask.op == "chain" and subject not in self._latest:
            self._waiting[subject] = ask
            return None
        if ask.op == "chain":
            return Answer(ask.question, _chain_of(self._first[subject]))
        if ask.op == "quote":
            return Answer(ask.question, {"bid": None, "ask": None})
        known = self._latest.get(subject) or (self._first.get(subject) if ask.op.startswith("order.p") else None)
        if known is not None or ask.op == "order.bracket":
            return Answer(ask.question, known or self._first[subject])
        return Answer(ask.question, {"client_order_id": subject, "state": "not_found", "order_ids": []})

    def tell(self, message: Message) -> Iterator[Reply]:
        """An order was heard of: whoever waited for its chain gets it."""
        if message.kind != "order":
            return
        order_id = message.body["client_order_id"]
        self._latest[order_id] = message.body
        if (ask := self._waiting.pop(order_id, None)) is not None:
            yield Answer(ask.question, _chain_of(message.body))


def _chain_of(order: dict[str, Any]) -> dict[str, Any]:
    """The option that was ordered, at its limit: what the live engine chose, whatever else was in its chain."""
    contract, entry = order["contract"], order["legs"][0]
    limit = entry["limit_price"]
    row = {
        "strike": contract["strike"], "right": contract["right"], "con_id": max(1, contract["con_id"]),
        "bid": limit, "ask": limit, "volume": 1e9,
    }  # fmt: skip
    return {
        "expiry": contract["last_trade_date"], "underlying_price": contract["strike"], "rows": [row],
        "multiplier": contract["multiplier"] or "100", "trading_class": contract["trading_class"],
    }  # fmt: skip


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


def _decisions(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise ConfigError(f"{path}:{number}: no decision: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
