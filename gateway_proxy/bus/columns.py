"""Tables in three layouts: rows, columns, and raw float64 columns in a second frame. Pure, and without numpy.

The binary layout is little-endian float64, one whole column after the other; None is NaN there. Start times survive
exactly, because whole seconds in nanoseconds fit into 53 bits of mantissa.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway_proxy.bus.messages import Bar, ChainRow
from gateway_proxy.errors import BadMessage

BAR_COLUMNS: Final = ("start_ns", "open", "high", "low", "close", "volume", "wap", "count", "complete", "source", "gap")
CHAIN_COLUMNS: Final = (
    "strike", "right", "con_id", "bid", "ask", "last", "volume", "open_interest", "iv",
    "delta", "gamma", "theta", "vega",
)  # fmt: skip
#: Words become numbers in the binary layout: a word's place here.
SOURCES: Final = ("backfill", "live")
_INTEGERS: Final = frozenset({"start_ns", "count"})
_FLAGS: Final = frozenset({"complete", "gap"})


def as_columns(rows: Sequence[Bar] | Sequence[ChainRow], names: Sequence[str]) -> dict[str, list[Any]]:
    """{"open": [...], "high": [...], …}, all of one length."""
    return {name: [getattr(row, name) for row in rows] for name in names}


def columns_of(body: Any) -> list[dict[str, Any]]:
    """The rows of a body in the columns layout. Raises BadMessage if the columns differ in length."""
    columns = body.get("columns") if isinstance(body, dict) else None
    if not isinstance(columns, dict) or not all(isinstance(column, list) for column in columns.values()):
        raise BadMessage("table: neither rows nor columns")
    if len({len(column) for column in columns.values()}) > 1:
        raise BadMessage("table: columns of different lengths")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def bars_as_frame(bars: Sequence[Bar]) -> tuple[dict[str, Any], bytes]:
    """(body, second frame) of the binary layout. The body names the columns and their length."""
    names = list(BAR_COLUMNS)
    numbers = array("d", (_number(name, getattr(bar, name)) for name in names for bar in bars))
    if sys.byteorder == "big":
        numbers.byteswap()
    return {"layout": "binary", "columns": names, "length": len(bars)}, numbers.tobytes()


def frame_columns(body: Any, frame: bytes) -> list[dict[str, Any]]:
    """The rows of a binary answer. Raises BadMessage if the frame is not as long as the body says."""
    names, length = (body.get("columns"), body.get("length")) if isinstance(body, dict) else (None, None)
    if not isinstance(names, list) or not isinstance(length, int) or len(frame) != 8 * len(names) * length:
        raise BadMessage("table: binary frame and its description do not fit")
    numbers = array("d", frame)
    if sys.byteorder == "big":
        numbers.byteswap()
    columns = {name: _column(name, numbers[at * length : (at + 1) * length]) for at, name in enumerate(names)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _number(name: str, value: Any) -> float:
    if value is None:
        return float("nan")
    return float(SOURCES.index(value)) if name == "source" else float(value)


def _column(name: str, numbers: Iterable[float]) -> list[Any]:
    if name in _INTEGERS:
        return [None if number != number else int(number) for number in numbers]
    if name in _FLAGS:
        return [bool(number) for number in numbers]
    if name == "source":
        return [SOURCES[int(number)] for number in numbers]
    return [None if number != number else number for number in numbers]
