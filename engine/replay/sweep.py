"""Many replays over a grid of settings: one after another, in a pool of processes, or on a Dask cluster.

All three give the same points in the same order, because a point is a pure function of its settings and the bars.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from importlib import import_module
from typing import Any

from engine.config import from_table
from engine.replay.recorded import load
from engine.replay.run import replay
from engine.replay.tape import Tape
from gateway_proxy import ConfigError

#: Told after each point: (done, of).
Progress = Callable[[int, int], None]
_tapes: dict[tuple[str, ...], Tape] = {}


def parse_grid(texts: Iterable[str]) -> dict[str, list[Any]]:
    """{"parameters.ema_fast": [3, 5]} from "parameters.ema_fast=3,5"; values are numbers, true, false or words."""
    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, sign, values = text.partition("=")
        if not sign or not key or not values:
            raise ConfigError(f'--grid {text!r}: want KEY=VALUE,VALUE such as "parameters.ema_fast=3,5,8"')
        grid[key] = [_value(word) for word in values.split(",")]
    return grid


def points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination, in a fixed order."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run_point(table: Mapping[str, Any], name: str, paths: Sequence[str], point: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of one replay with `point` laid over the engine's table. Bars are read once per process."""
    changed = deepcopy(dict(table))
    for key, value in point.items():
        place = changed
        *sections, last = key.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    try:
        config = from_table({"engines": {name: changed}}, name, "the grid")
    except ConfigError as error:
        # Combinations such as a fast EMA slower than the slow one are part of a grid and no reason to stop it.
        return {**point, "error": str(error)}
    files = (config.settings.bar, *paths)
    if files not in _tapes:
        _tapes.clear()
        _tapes[files] = load(paths, config.settings.bar)
    tape = _tapes[files].only(config.settings.symbols)
    return {**point, **replay(config.core_rules, config.strategy, tape).summary()}


def sweep(
    table: Mapping[str, Any], name: str, paths: Sequence[str], grid: Mapping[str, Sequence[Any]],
    *, workers: int = 1, dask: str = "", progress: Progress | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """One summary per point of the grid, in the grid's order.

    workers: processes on this machine. dask: address of a Dask scheduler instead (extra `dask`); its workers need the
    files under the same names.
    """
    todo = points(grid)
    results: list[dict[str, Any]] = []
    for result in _results(table, name, paths, todo, workers, dask):
        results.append(result)
        if progress is not None:
            progress(len(results), len(todo))
    return results


def _results(
    table: Mapping[str, Any], name: str, paths: Sequence[str], todo: list[dict[str, Any]], workers: int, dask: str
) -> Iterator[dict[str, Any]]:
    arguments = ([table] * len(todo), [name] * len(todo), [paths] * len(todo), todo)
    if dask:
        yield from _on_dask(dask, arguments)
    elif workers <= 1:
        yield from map(run_point, *arguments)
    else:
        # "spawn": a forked child would inherit the compiler's threads.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(run_point, *arguments, chunksize=max(1, len(todo) // (workers * 8)))


def _on_dask(address: str, arguments: tuple[list[Any], ...]) -> Iterator[dict[str, Any]]:
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise ConfigError("--dask needs the extra: pip install 'gateway-proxy[dask]'") from error
    with distributed.Client(address) as client:
        for future in client.map(run_point, *arguments, pure=False):
            yield future.result()


def _value(word: str) -> Any:
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
