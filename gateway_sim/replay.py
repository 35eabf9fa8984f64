"""A recorded day as a market source: rows of CSV or Parquet to one sample per second. Pure except for reading the file.

Columns: `time` (HH:MM[:SS] New York, epoch seconds, or a timestamp), `close` (or `price`), optional `volume`. One row
per bar or print, oldest first; between rows the price stays, a row's volume is spread evenly over the seconds until the
next row.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from gateway_sim.calendar import NEW_YORK, TradingDay, epoch
from gateway_sim.prices import IntArray
from gateway_sim.pricing import FloatArray


class ReplayRefused(Exception):
    """The file cannot be used; the text says where and why."""


def read_day(path: Path, day: TradingDay) -> tuple[FloatArray, IntArray]:
    """Price and volume for each second of the regular session. Raises ReplayRefused."""
    seconds, prices, volumes = _rows(path, day.day)
    size = day.close - day.open
    offsets = np.array(seconds, dtype=np.int64) - day.open
    if np.any(np.diff(offsets) <= 0):
        raise ReplayRefused(f"{path}: rows are not in ascending time")
    inside = (offsets >= 0) & (offsets < size)
    if not inside.any():
        raise ReplayRefused(f"{path}: no row lies in the regular session of {day.day}")
    offsets, values = offsets[inside], np.array(prices)[inside]
    traded = np.array(volumes)[inside]
    at = np.clip(np.searchsorted(offsets, np.arange(size), side="right") - 1, 0, len(offsets) - 1)
    spans = np.diff(np.append(offsets, size))
    price: FloatArray = values[at].astype(np.float64)
    volume: IntArray = (traded[at] // np.maximum(spans[at], 1)).astype(np.int64)
    return price, volume


def _rows(path: Path, day: date) -> tuple[list[int], list[float], list[float]]:
    seconds: list[int] = []
    prices: list[float] = []
    volumes: list[float] = []
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    try:
        for row in rows:
            price = float(row["close"] if "close" in row else row["price"])
            if not 0.0 < price < inf:
                raise ValueError(f"price {price:g} is not positive")
            prices.append(price)
            volumes.append(float(row.get("volume") or 0))
            seconds.append(_second(row["time"], day))
    except OSError as error:
        raise ReplayRefused(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise ReplayRefused(f"{path} row {len(seconds) + 1}: {error}") from error
    return seconds, prices, volumes


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        _check_columns(path, reader.fieldnames or [])
        yield from reader


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Needs pyarrow; read a batch at a time."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ReplayRefused(f"{path}: reading Parquet needs pyarrow (pip install 'gateway-proxy[record]')") from None
    if not path.is_file():
        raise ReplayRefused(f"{path}: No such file")
    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _check_columns(path, names)
        wanted = [name for name in ("time", "close" if "close" in names else "price", "volume") if name in names]
        for batch in file.iter_batches(columns=wanted):
            yield from batch.to_pylist()


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if "time" not in names or not {"close", "price"} & set(names):
        raise ReplayRefused(f"{path}: needs columns time and close (or price), has {', '.join(names) or 'none'}")


def _second(time: object, day: date) -> int:
    """Epoch seconds of a row's time; a time without zone is New York's."""
    if isinstance(time, datetime):
        return int((time if time.tzinfo else time.replace(tzinfo=NEW_YORK)).timestamp())
    text = str(time)
    if text.isdigit():
        return int(text)
    clock = text.split()[-1].split(":")
    return epoch(day, int(clock[0]), int(clock[1]), int(clock[2]) if len(clock) > 2 else 0)
