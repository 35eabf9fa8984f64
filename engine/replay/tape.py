"""What a replay plays: bars, and where they were recorded, chains and quotes of options, in the order of market time.

Bars alone may lie on disk as plain text, one JSON object a line, {"symbol", "start_ns", "open", …}: it can be read, cut
and compared with any tool. A recording of the bus is Parquet and read by `recorded.py`.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import orjson

from engine.bars import unbelievable
from gateway_proxy import Bar, ConfigError


@dataclass(frozen=True, slots=True)
class TapeBar:
    symbol: str
    bar: Bar


@dataclass(frozen=True, slots=True)
class TapeChain:
    """One snapshot of options around the money; `body` is what a `chain` request would have answered."""

    symbol: str
    time_ns: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TapeQuote:
    """The quote of one option; `key` is its contract key, such as SPY.20260618.C.600."""

    key: str
    time_ns: int
    bid: float
    ask: float

    @property
    def symbol(self) -> str:
        return self.key.partition(".")[0]


TapeEvent = TapeBar | TapeChain | TapeQuote


@dataclass(frozen=True, slots=True)
class Tape:
    """`events` in market time; `history`: the past that was known before them; `holes`: what is missing, as text."""

    events: list[TapeEvent]
    history: dict[str, list[Bar]] = field(default_factory=dict)
    holes: list[str] = field(default_factory=list)

    @property
    def bars(self) -> list[TapeBar]:
        return [event for event in self.events if isinstance(event, TapeBar)]

    def only(self, symbols: Collection[str]) -> Tape:
        wanted = set(symbols)
        events = [event for event in self.events if event.symbol in wanted]
        return Tape(events, {key: bars for key, bars in self.history.items() if key in wanted}, self.holes)


def write(path: str | Path, rows: Iterable[TapeBar]) -> int:
    """Write bars sorted by time and symbol; ".gz" compresses. Returns how many."""
    ordered = sorted(rows, key=lambda row: (row.bar.start_ns, row.symbol))
    with _opened(Path(path), "wb") as file:
        for row in ordered:
            file.write(orjson.dumps({"symbol": row.symbol, **asdict(row.bar)}, option=orjson.OPT_APPEND_NEWLINE))
    return len(ordered)


def read(paths: Iterable[str | Path], symbols: Iterable[str] | None = None) -> list[TapeBar]:
    """All completed bars of these files, merged in time order, each once. Raises ConfigError naming file and line."""
    wanted = None if symbols is None else set(symbols)
    found: dict[tuple[int, str], TapeBar] = {}
    for path in paths:
        for row in _lines(Path(path)):
            if (wanted is None or row.symbol in wanted) and row.bar.complete and unbelievable(row.bar) is None:
                found[row.bar.start_ns, row.symbol] = row
    return [found[key] for key in sorted(found)]


def _lines(path: Path) -> Iterator[TapeBar]:
    try:
        with _opened(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = orjson.loads(line)
                    yield TapeBar(str(row.pop("symbol")), msgspec.convert(row, Bar))
                except (ValueError, KeyError, AttributeError, TypeError) as error:
                    raise ConfigError(f"{path}:{number}: no bar: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _opened(path: Path, mode: str) -> Any:
    return cast(Any, gzip.open(path, mode) if path.suffix == ".gz" else path.open(mode))
