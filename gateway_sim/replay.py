"""A recorded day as a market source: CSV rows to one sample per second. Pure except for reading the file given.

Columns: `time` (HH:MM[:SS] New York or epoch seconds), `close` (or `price`), optional `volume`. One row per bar or
print, oldest first; between rows the price stays, a row's volume is spread evenly over the seconds until the next row.
"""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import numpy as np

from gateway_sim.calendar import TradingDay, epoch
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
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            column = "close" if "close" in names else "price"
            if "time" not in names or column not in names:
                raise ReplayRefused(
                    f"{path}: needs columns time and close (or price), has {', '.join(names) or 'none'}"
                )
            for number, row in enumerate(reader, 2):
                price = float(row[column])
                if not price > 0.0:
                    raise ReplayRefused(f"{path} line {number}: price {row[column]} is not positive")
                seconds.append(_second(row["time"], day))
                prices.append(price)
                volumes.append(float(row.get("volume") or 0))
    except OSError as error:
        raise ReplayRefused(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ReplayRefused(f"{path} line {len(seconds) + 2}: {error}") from error
    return seconds, prices, volumes


def _second(text: str, day: date) -> int:
    if text.isdigit():
        return int(text)
    clock = text.split()[-1].split(":")
    return epoch(day, int(clock[0]), int(clock[1]), int(clock[2]) if len(clock) > 2 else 0)
