"""Reads what others published without trusting it: a missing or odd field becomes None, "" or 0, never an exception."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]
TEXT_MAX = 300
ROWS_MAX = 2000


def body_of(raw: Any) -> Body:
    """A message body as a plain dict, whether it came as JSON or as one of the bus dataclasses."""
    if isinstance(raw, dict):
        return raw
    if dataclasses.is_dataclass(raw) and not isinstance(raw, type):
        return dataclasses.asdict(raw)
    return {}


def number(body: Body, key: str) -> float | None:
    """A finite number, or None."""
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def whole(body: Body, key: str) -> int | None:
    """A whole number, or None. Kept exact, because nanoseconds do not fit a float."""
    value = body.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    as_float = number(body, key)
    return None if as_float is None else int(as_float)


def text(body: Body, key: str, default: str = "") -> str:
    """A string of at most TEXT_MAX printable characters; control characters become spaces."""
    value = body.get(key)
    return plain(value) if isinstance(value, str) else default


def plain(value: Any) -> str:
    """Any value as one short printable line, safe for a terminal."""
    raw = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else " " for c in raw[:TEXT_MAX])


def flag(body: Body, key: str) -> bool:
    return body.get(key) is True


def inner(body: Body, key: str) -> Body:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def rows(body: Body, key: str) -> Iterator[Body]:
    """The dicts of a list, at most ROWS_MAX of them."""
    value = body.get(key)
    if isinstance(value, list | tuple):
        for row in value[:ROWS_MAX]:
            if isinstance(row, dict):
                yield row


def named(body: Body, key: str) -> Iterator[tuple[str, Body]]:
    """The (name, dict) pairs of a mapping, by name, at most ROWS_MAX of them."""
    pairs = [(plain(name), value) for name, value in inner(body, key).items() if isinstance(value, dict)]
    yield from sorted(pairs[:ROWS_MAX], key=lambda pair: pair[0])


def words(body: Body, key: str) -> tuple[str, ...]:
    value = body.get(key)
    if isinstance(value, str):
        return (plain(value),)
    if isinstance(value, list | tuple):
        return tuple(plain(word) for word in value[:100] if isinstance(word, str))
    return ()


def contract_key(body: Body) -> str:
    """How a contract is called in topics: "SPY", or "SPY.20260618.C.600"; falls back to the symbol of the body."""
    contract = inner(body, "contract")
    symbol = text(contract, "symbol") or text(body, "symbol")
    if text(contract, "sec_type") == "OPT":
        strike = number(contract, "strike") or 0.0
        return f"{symbol}.{text(contract, 'last_trade_date')}.{text(contract, 'right')}.{strike:g}"
    return symbol


def decisions(engine: Body) -> list[Body]:
    """The last decision of each symbol of an engine, oldest first; a sentence counts as a decision with a reason."""
    told = engine.get("last_decision")
    if isinstance(told, str):
        return [{"reason": told}] if told else []
    if not isinstance(told, dict):
        return []
    if not all(isinstance(value, dict) for value in told.values()):
        return [told]
    return sorted(list(told.values())[:ROWS_MAX], key=lambda one: whole(one, "bar_start_ns") or 0)


def decision_text(decision: Body) -> str:
    """One line: "SPY BUY: rsi 31.2 crossed 30", or why nothing was done."""
    side = text(decision, "side") or text(decision, "signal") or text(decision, "action")
    head = " ".join(word for word in (text(decision, "symbol"), side) if word)
    reason = text(decision, "reason") or text(decision, "rule")
    guard = (
        f" (held back: {text(decision, 'guard_reason') or text(decision, 'guard')})" if decision.get("guard") else ""
    )
    return plain(": ".join(part for part in (head, reason) if part) + guard)
