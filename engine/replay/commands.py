"""The commands about the past: fetch, replay, sweep, repeat. Results go to stdout as JSON, progress to stderr."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import orjson

from engine.config import EngineConfig, load, load_all
from engine.core import EngineCore
from engine.recording import repeat
from engine.replay import recorded, tape
from engine.replay.audit import audit
from engine.replay.options import OptionModel
from engine.replay.report import render
from engine.replay.run import replay, totals
from engine.replay.sweep import parse_grid, sweep
from gateway_proxy import Client, ConfigError, apply_environment, read_toml

_BAR_WIDTH = 30


class ProgressBar:
    """One line on stderr, redrawn; only on a terminal, so that files stay clean."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int, of: int) -> None:
        if not self._shown:
            return
        filled = _BAR_WIDTH * done // max(of, 1)
        left_s = (time.monotonic() - self._started) / max(done, 1) * (of - done)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        end = "\n" if done >= of else ""
        print(f"\r{self._what} [{bar}] {done}/{of}, {left_s:.0f} s left ", end=end, file=sys.stderr, flush=True)


def fetch_bars(options: argparse.Namespace) -> int:
    """Completed bars of the engine's symbols, from the running proxy."""
    config = load(options.config, options.name)
    rows: list[tape.TapeBar] = []
    with Client.connect(config.runtime_dir, name=config.name) as client:
        for number, symbol in enumerate(config.settings.symbols, 1):
            settings = config.settings
            bars = client.bars(symbol, settings.bar, count=options.count, rth=settings.rth, timeout_s=60.0)
            rows += [tape.TapeBar(symbol, bar) for bar in bars if bar.complete]
            ProgressBar("fetching")(number, len(settings.symbols))
    _print({"file": options.output, "bars": tape.write(options.output, rows)})
    return 0


def replay_tape(options: argparse.Namespace) -> int:
    """Every engine for itself, each with an account of its own; or with `--against`, one engine's audit."""
    configs = load_all(options.config) if options.name is None else [load(options.config, options.name)]
    if options.against:
        return _audit(configs, options)
    model, results, tapes = OptionModel(), [], []
    for config in configs:
        played = recorded.load(options.tape, config.settings.bar, config.settings.symbols)
        if not played.bars:
            raise ConfigError(f"{', '.join(options.tape)}: no bars of {', '.join(config.settings.symbols)}")
        progress = ProgressBar(f"replaying {config.name}")
        results.append(replay(config.core_rules, config.strategy, played, model=model, progress=progress))
        tapes.append(played)
        _print(results[-1].summary())
    if len(results) > 1:
        _print(totals(results))
    if options.html:
        Path(options.html).write_text(render(list(zip(results, tapes, strict=True)), model), encoding="utf-8")
    if options.decisions:
        decisions = (one for result in results for one in result.decisions)
        lines = (orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in decisions)
        Path(options.decisions).write_bytes(b"".join(lines))
    return 0


def _audit(configs: list[EngineConfig], options: argparse.Namespace) -> int:
    """Exit code 1 when a decision differs, or none could be compared."""
    if len(configs) != 1:
        raise ConfigError(f"--against: whose log? say --name with one of {', '.join(one.name for one in configs)}")
    if not all(recorded.is_recording(path) for path in options.tape):
        raise ConfigError("--against needs a recording of the bus; bars alone do not tell what became of orders")
    config, paths = configs[0], [Path(path) for path in options.tape]
    outcome = audit(config.core_rules, config.strategy, paths, Path(options.against))
    facts = {"logged": outcome.logged, "repeated": outcome.repeated, "compared": outcome.compared}
    _print({"engine": config.name, "identical": outcome.is_equal, **facts})
    if outcome.first_difference is not None:
        logged, repeated = outcome.first_difference
        _print({"logged": logged, "repeated": repeated})
    return 0 if outcome.is_equal else 1


def sweep_grid(options: argparse.Namespace) -> int:
    config = load(options.config, options.name)
    table = apply_environment(read_toml(options.config), where=options.config)["engines"][config.name]
    paths, grid = [str(path) for path in options.tape], parse_grid(options.grid)
    progress = ProgressBar("sweeping")
    for result in sweep(table, config.name, paths, grid, workers=options.workers, dask=options.dask, progress=progress):
        _print(result)
    return 0


def repeat_recording(options: argparse.Namespace) -> int:
    """Exit code 1 when a decision differs."""
    config = load(options.config, options.name)
    outcome = repeat(options.recording, EngineCore(config.core_rules, config.strategy))
    facts = {"recorded": outcome.recorded, "repeated": outcome.repeated, "first_difference": outcome.first_difference}
    _print({"identical": outcome.is_equal, **facts})
    return 0 if outcome.is_equal else 1


def _print(body: dict[str, object]) -> None:
    sys.stdout.write(orjson.dumps(body).decode() + "\n")
