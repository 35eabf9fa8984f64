"""Recorded bars on disk: one JSON object a line, {"symbol", "start_ns", "open", …}, in the order of time.

Plain text, because a recording is evidence: it can be read, cut and compared with any tool.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
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
