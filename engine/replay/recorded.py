"""Reads recordings of the bus, the Parquet files of `gateway-proxy record`: as a tape, or message by message.

A path is a whole recording, one day of it, or one file. Needs pyarrow (extra `record`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import orjson

from engine.bars import unbelievable
from engine.replay import tape
from engine.replay.tape import Tape, TapeBar, TapeChain, TapeEvent, TapeQuote
from engine.sessions import NS_PER_S
from gateway_proxy import Bar, ConfigError, topics

Row = dict[str, Any]
_BAR_FIELDS = ("start_ns", "open", "high", "low", "close", "volume", "wap", "count", "complete", "source", "gap")
_CHAIN_FIELDS = ("symbol", "expiry", "underlying_price", "multiplier", "trading_class", "time_ns", "min_tick")
_OPTION_FIELDS = (
    "strike", "right", "con_id", "bid", "ask", "last", "volume", "open_interest", "iv", "delta", "gamma", "theta",
    "vega",
)  # fmt: skip
#: Marks that say that something of the bus is not here.
_HOLES = ("gap", "silent", "unreadable", "restarted")


def load(paths: Sequence[str | Path], size: str, symbols: Iterable[str] | None = None) -> Tape:
    """Whatever these paths hold: recordings of the bus (directories, .parquet) or bars as lines of JSON.

    Raises ConfigError for what cannot be read, and when a recording has bars of other sizes only.
    """
    wanted = None if symbols is None else set(symbols)
    recordings = [Path(path) for path in paths if is_recording(path)]
    lines = [path for path in paths if not is_recording(path)]
    if recordings and lines:
        raise ConfigError("want recordings of the bus or files of bars, not both at once")
    found = _tape(recordings, size) if recordings else Tape(list(tape.read(lines)))
    return found if wanted is None else found.only(wanted)


def is_recording(path: str | Path) -> bool:
    return Path(path).is_dir() or Path(path).suffix == ".parquet"


def rows(paths: Iterable[Path], table: str) -> list[Row]:
    """All rows of one table, in the order they were heard."""
    found = [row for file in _files(paths, table) for row in _read(file)]
    return sorted(found, key=lambda row: row["received_ns"])


# ---------------------------------------------------------------- as a tape


def _tape(paths: Sequence[Path], size: str) -> Tape:
    bars = rows(paths, "bars")
    chosen = [row for row in bars if row["size"] == size]
    if bars and not chosen:
        raise ConfigError(f"no bars of {size} here; there are {', '.join(sorted({row['size'] for row in bars}))}")
    history, played = _split(chosen)
    events: list[TapeEvent] = [*played, *_chains(rows(paths, "chains")), *_quotes(rows(paths, "quotes"))]
    bar_ns = topics.BAR_SECONDS[size] * NS_PER_S
    return Tape(sorted(events, key=lambda event: _moment(event, bar_ns)), history, _holes(rows(paths, "marks")))


def bar_of(row: Row) -> Bar:
    return msgspec.convert({name: row[name] for name in _BAR_FIELDS}, Bar)


def live_from(recorded: Iterable[Row]) -> dict[str, int]:
    """Start of the first bar of each symbol that was heard as it happened; what is older was told afterwards."""
    first: dict[str, int] = {}
    for row in recorded:
        if row["kind"] == "bar" and row["source"] == "live":
            first[row["symbol"]] = min(row["start_ns"], first.get(row["symbol"], row["start_ns"]))
    return first


def _split(recorded: Sequence[Row]) -> tuple[dict[str, list[Bar]], list[TapeBar]]:
    """(history, bars to play). History is what was complete before the first bar that was heard live.

    A symbol that was never heard live has no history: all of it is played.
    """
    newest: dict[tuple[str, int], Bar] = {}
    first = live_from(recorded)
    for row in recorded:
        symbol, start_ns = row["symbol"], row["start_ns"]
        bar = bar_of(row)
        if bar.complete and unbelievable(bar) is None:
            newest[symbol, start_ns] = bar
    history: dict[str, list[Bar]] = {}
    played = []
    for symbol, start_ns in sorted(newest):
        bar = newest[symbol, start_ns]
        if start_ns < first.get(symbol, 0):
            history.setdefault(symbol, []).append(bar)
        else:
            played.append(TapeBar(symbol, bar))
    return history, played


def _chains(recorded: Iterable[Row]) -> Iterator[TapeChain]:
    """Snapshots; the rows of one message share its received_ns."""
    bodies: dict[tuple[int, str], Row] = {}
    for row in recorded:
        key = row["received_ns"], row["symbol"]
        if key not in bodies:
            bands = orjson.loads(row["price_bands"])
            bodies[key] = {**{name: row[name] for name in _CHAIN_FIELDS}, "price_bands": bands, "rows": []}
        bodies[key]["rows"].append({name: row[name] for name in _OPTION_FIELDS})
    for (_, symbol), body in bodies.items():
        yield TapeChain(symbol, body["time_ns"], body)


def _quotes(recorded: Iterable[Row]) -> Iterator[TapeQuote]:
    """Of options only, and only where both sides were there."""
    for row in recorded:
        if "." in row["symbol"] and row["bid"] is not None and row["ask"] and 0 <= row["bid"] <= row["ask"]:
            yield TapeQuote(row["symbol"], row["time_ns"], row["bid"], row["ask"])


def _moment(event: TapeEvent, bar_ns: int) -> tuple[int, int, str]:
    """A bar is known when it has ended; at the same moment it comes before the quotes."""
    if isinstance(event, TapeBar):
        return event.bar.start_ns + bar_ns, 0, event.symbol
    return event.time_ns, 1, event.key if isinstance(event, TapeQuote) else event.symbol


def _holes(marks: Iterable[Row]) -> list[str]:
    """One sentence per topic, however often it happened."""
    missed: dict[tuple[str, str], int] = {}
    for row in marks:
        if row["mark"] in _HOLES:
            key = row["mark"], row["topic"] or "the whole bus"
            missed[key] = missed.get(key, 0) + max(1, row["last_seq"] - row["first_seq"] + 1)
    return [f"{topic}: {mark} ({count})" for (mark, topic), count in missed.items()]


# ---------------------------------------------------------------- files


def _files(paths: Iterable[Path], table: str) -> list[Path]:
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(path.glob(f"**/{table}-*.parquet"))
        elif path.name.startswith(f"{table}-"):
            found.add(path)
    return sorted(found)


def _read(path: Path) -> list[Row]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("reading a recording needs pyarrow: pip install 'gateway-proxy[record]'") from error
    try:
        # One file by itself: as part of a data set its directory would be read as a column.
        with path.open("rb") as file:
            found: list[Row] = parquet.read_table(file).to_pylist()
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ConfigError(f"{path}: no table of a recording: {error}") from error
    if found and "received_ns" not in found[0]:
        raise ConfigError(f"{path}: no table of a recording: it has no received_ns")
    return found
