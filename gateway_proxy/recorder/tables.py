"""The tables of a recording: which message becomes which rows, with which columns. Pure.

Every row begins with the head of its message. Words that have no type of their own (legs, contracts, bodies of health
topics) are JSON text, so that nothing of a body is lost.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import msgspec
import orjson

from gateway_proxy import (
    AccountValues,
    BadMessage,
    Bar,
    Chain,
    ChainRow,
    Fill,
    Message,
    OrderUpdate,
    Position,
    Quote,
)

Row = dict[str, Any]
#: `received_ns` is this host's clock, made strictly increasing: the order in which everything was heard.
HEAD: Final = {
    "received_ns": "int", "topic": "word", "kind": "word", "seq": "int", "epoch": "word", "sent_ns": "int",
}  # fmt: skip

#: Columns of each table behind the head, by type: int, float, bool, text, word (few different ones), json.
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "bars": {
        "symbol": "word", "size": "word", "start_ns": "int", "open": "float", "high": "float", "low": "float",
        "close": "float", "volume": "float", "wap": "float", "count": "int", "complete": "bool", "source": "word",
        "gap": "bool",
    },
    "quotes": {
        "symbol": "word", "bid": "float", "bid_size": "float", "ask": "float", "ask_size": "float", "last": "float",
        "last_size": "float", "volume": "float", "close": "float", "time_ns": "int", "delayed": "bool",
    },
    "chains": {
        "symbol": "word", "expiry": "word", "underlying_price": "float", "multiplier": "word",
        "trading_class": "word", "time_ns": "int", "min_tick": "float", "price_bands": "json",
        "strike": "float", "right": "word", "con_id": "int", "bid": "float", "ask": "float", "last": "float",
        "volume": "float", "open_interest": "float", "iv": "float", "delta": "float", "gamma": "float",
        "theta": "float", "vega": "float",
    },
    "orders": {
        "engine": "word", "client_order_id": "text", "state": "word", "symbol": "word", "action": "word",
        "quantity": "int", "filled": "float", "order_ids": "json", "simulated": "bool", "reason": "text",
        "legs": "json", "contract": "json", "time_ns": "int",
    },
    "fills": {
        "exec_id": "text", "engine": "word", "client_order_id": "text", "leg": "word", "order_id": "int",
        "symbol": "word", "contract": "json", "action": "word", "quantity": "float", "price": "float",
        "time_ns": "int", "commission": "float", "realized_pnl": "float", "simulated": "bool",
    },
    "positions": {"account": "word", "contract": "json", "quantity": "float", "average_cost": "float"},
    "account": {
        "account": "word", "currency": "word", "net_liquidation": "float", "available_funds": "float",
        "buying_power": "float", "total_cash": "float", "realized_pnl": "float", "unrealized_pnl": "float",
        "daily_pnl": "float", "time_ns": "int",
    },
    "health": {"body": "json"},
    "verdicts": {"body": "json"},
    #: What this recording does not hold: `mark` is started, gap, restarted, silent, unreadable or stopped.
    "marks": {"mark": "word", "first_seq": "int", "last_seq": "int", "why": "text"},
}  # fmt: skip

#: kind of message -> (table, what its body is). Housekeeping kinds have none.
_OF_KIND: Final[dict[str, tuple[str, type[Any] | None]]] = {
    "bar": ("bars", Bar), "quote": ("quotes", Quote), "chain": ("chains", Chain), "order": ("orders", OrderUpdate),
    "fill": ("fills", Fill), "position": ("positions", Position), "account": ("account", AccountValues),
    "health": ("health", None), "verdict": ("verdicts", None),
}  # fmt: skip
_KIND_OF_FAMILY: Final = {
    "bars": "bar", "quote": "quote", "chain": "chain", "orders": "order", "fills": "fill", "positions": "position",
    "account": "account", "health": "health", "verdicts": "verdict",
}  # fmt: skip


def rows_of(message: Message, received_ns: int) -> tuple[str, list[Row]]:
    """(table, rows) of one message; ("", []) for a heartbeat or a welcome without a value.

    A welcome's snapshot becomes rows of kind "welcome". Raises BadMessage for a body that is not what its kind says.
    """
    kind, bodies = message.kind, [message.body]
    if kind == "welcome":
        kind = _KIND_OF_FAMILY.get(message.topic.partition("/")[0], "")
        snapshot = message.body.get("snapshot") if isinstance(message.body, dict) else None
        bodies = snapshot if isinstance(snapshot, list) else [] if snapshot is None else [snapshot]
    table, body_type = _OF_KIND.get(kind, ("", None))
    if not table:
        return "", []
    head = dict(zip(HEAD, (received_ns, *_head(message)), strict=True))
    return table, [{**head, **cells} for body in bodies for cells in _cells(table, body_type, body, message.topic)]


def bar_rows(topic: str, bars: list[Bar], received_ns: int) -> list[Row]:
    """Bars that were asked for, as rows of kind "history"."""
    head = dict(zip(HEAD, (received_ns, topic, "history", 0, "", 0), strict=True))
    return [{**head, **_of_bar(topic, bar)} for bar in bars]


def mark_row(received_ns: int, mark: str, topic: str = "", first_seq: int = 0, last_seq: int = 0, why: str = "") -> Row:
    """Something that the recording lacks, or where it begins and ends."""
    head = dict(zip(HEAD, (received_ns, topic, "mark", 0, "", 0), strict=True))
    return {**head, "mark": mark, "first_seq": first_seq, "last_seq": last_seq, "why": why}


def market_time_ns(table: str, row: Row) -> int:
    """What the market's clock said in this row; 0 where it does not tell."""
    if table == "bars":
        return int(row["start_ns"])
    return int(row.get("time_ns") or 0)


def weight_of(row: Row) -> int:
    """Roughly the bytes a row holds in memory."""
    return 40 * len(row) + sum(len(value) for value in row.values() if isinstance(value, str))


# ---------------------------------------------------------------- inside


def _head(message: Message) -> tuple[str, str, int, str, int]:
    return message.topic, message.kind, message.seq, message.epoch, message.sent_ns


def _cells(table: str, body_type: type[Any] | None, body: Any, topic: str) -> list[Row]:
    if body_type is None:
        return [{"body": orjson.dumps(body).decode()}]
    try:
        if table == "chains":
            return _of_chain(body)
        read = msgspec.convert(body, body_type, strict=True)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise BadMessage(f"body of {topic}: {error}") from error
    return [_of_bar(topic, read) if table == "bars" else _flat(table, read)]


def _of_bar(topic: str, bar: Bar) -> Row:
    _, symbol, size, _ = topic.split("/")
    return {"symbol": symbol, "size": size, **{field.name: getattr(bar, field.name) for field in _BAR_FIELDS}}


_BAR_FIELDS: Final = dataclasses.fields(Bar)


def _of_chain(body: dict[str, Any]) -> list[Row]:
    """One row per option. A chain without options leaves no trace: there is nothing to trade in it."""
    if "columns" in body:
        names, arrays = list(body["columns"]), list(body["columns"].values())
        rows = [dict(zip(names, values, strict=True)) for values in zip(*arrays, strict=True)]
        body = {**{key: value for key, value in body.items() if key != "columns"}, "rows": rows}
    chain = msgspec.convert(body, Chain, strict=True)
    shared = {name: getattr(chain, name) for name in COLUMNS["chains"] if hasattr(chain, name)}
    shared["price_bands"] = orjson.dumps(chain.price_bands).decode()
    return [{**shared, **{field.name: getattr(row, field.name) for field in _CHAIN_FIELDS}} for row in chain.rows]


_CHAIN_FIELDS: Final = dataclasses.fields(ChainRow)


def _flat(table: str, read: Any) -> Row:
    cells = {}
    for name, kind in COLUMNS[table].items():
        value = getattr(read, name)
        cells[name] = orjson.dumps(msgspec.to_builtins(value)).decode() if kind == "json" else value
    return cells
