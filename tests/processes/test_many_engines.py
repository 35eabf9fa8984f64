"""Twenty engines on the same ten symbols cost the Gateway what one of them costs, request by request, and see the same.

All twenty ask a proxy that knows nothing in the same moment, and one more when it knows everything. They set the minute
of the market to which the single engine then goes, whatever the wall clock says; the ledger is read to that minute.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.pair import Pair

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(sys.platform != "linux", reason="ipc credentials"),
]
SYMBOLS = ("SPY", "QQQ", "IWM", "AAPL", "MSFT", "NVDA", "AMZN", "META", "GOOGL", "TSLA")
#: Bars in a row on which all engines must have decided, for every symbol.
MINUTES = 3
MINUTE_S = 60
#: An RSI that no market shows: every bar is decided on, and no chain is asked for.
ENGINE = """
[engines.{name}]
strategy = "scalp"
symbols = {symbols}
decision_log = "{directory}/{name}.jsonl"
[engines.{name}.parameters]
rsi_middle = 99.9
rsi_high = 100.0
"""
#: Asked by the clock, however many engines there are; everything else is compared.
BY_THE_CLOCK = frozenset({"reqCurrentTime"})
#: What tells two requests of a kind apart.
FACTS = ("symbol", "sec_type", "expiry", "strike", "right", "con_id", "bar_size", "duration", "keep_up_to_date")

#: What the strategy saw: its values by symbol and start of the bar (epoch seconds).
Decisions = dict[tuple[str, int], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What the Gateway was asked for until the bar of `newest_s` was complete, and what each engine decided on."""

    newest_s: int
    asked: Counter[tuple[object, ...]]
    decided: list[Decisions]


def run(directory: Path, at_once: int, late: int = 0, newest_s: int | None = None) -> Outcome:
    """Until all engines decided on the same bars of MINUTES in a row, ending with `newest_s` if it is given."""
    directory.mkdir()
    names = [f"e{number}" for number in range(at_once + late)]
    symbols = orjson.dumps(SYMBOLS).decode()
    tables = [ENGINE.format(name=name, symbols=symbols, directory=directory) for name in names]
    pair = Pair(directory, more="".join(tables), speed=20.0)
    decisions = [directory / f"{name}.jsonl" for name in names]
    try:
        engines = _held_back(pair, names)
        pair.start()
        with pair.client() as client:
            pair.wait_until(lambda: client.status()["state"] == "ready", "ready")
        _let_go(engines[:at_once])
        pair.wait_until(lambda: all(map(_knows_all, decisions[:at_once])), "a first decision on every symbol", 90.0)
        _let_go(engines[at_once:])
        pair.wait_until(lambda: _agreed_s(decisions, newest_s), "decisions of all engines on the same bars", 90.0)
        assert pair.ledger("violation") == []
        ended_s = _agreed_s(decisions, newest_s)
        assert ended_s is not None
        bars = _bars_until(ended_s)
        decided = [{bar: values for bar, values in _decided(path).items() if bar in bars} for path in decisions]
        return Outcome(ended_s, _asked(pair, ended_s + MINUTE_S), decided)
    finally:
        pair.close()


def _held_back(pair: Pair, names: list[str]) -> list[subprocess.Popen[str]]:
    """Engines that are warm, have looked for a proxy in vain, and then stand still."""
    logs = [pair.directory / f"{name}.log" for name in names]
    (pair.directory / "proxy.log").touch()  # what a wait in vain shows
    engines = []
    for name, path in zip(names, logs, strict=True):
        with path.open("w") as log:
            engines.append(pair.spawn("-m", "engine", "--config", str(pair.config), "--name", name, output=log))
    pair.wait_until(lambda: all("no proxy yet" in path.read_text() for path in logs), "engines that wait", 90.0)
    for engine in engines:
        engine.send_signal(signal.SIGSTOP)
    return engines


def _let_go(engines: list[subprocess.Popen[str]]) -> None:
    for engine in engines:
        engine.send_signal(signal.SIGCONT)


def _asked(pair: Pair, end_s: int) -> Counter[tuple[object, ...]]:
    """Requests by everything that tells them apart, until the market's clock shows `end_s`."""
    (connect,) = pair.ledger("connect")
    end_t = end_s - connect["market_time"] + connect["t"]
    entries = [entry for entry in pair.ledger("request") if entry["t"] < end_t and entry["kind"] not in BY_THE_CLOCK]
    return Counter((entry["kind"], *map(entry.get, FACTS)) for entry in entries)


def _decided(path: Path) -> Decisions:
    """What is written of one engine's log; a line without its end is not."""
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    rows = map(orjson.loads, lines)
    return {(row["symbol"], row["bar_start_ns"] // 10**9): row["values"] for row in rows}


def _bars_until(newest_s: int) -> set[tuple[str, int]]:
    return {(symbol, newest_s - MINUTE_S * ago) for symbol in SYMBOLS for ago in range(MINUTES)}


def _knows_all(path: Path) -> bool:
    return {symbol for symbol, _ in _decided(path)} == set(SYMBOLS)


def _closes(decided: Decisions) -> dict[tuple[str, int], float]:
    return {bar: values["close"] for bar, values in decided.items()}


def _agreed_s(paths: list[Path], newest_s: int | None) -> int | None:
    """The newest start of a bar (only `newest_s` will do, if given) with which bars end that all engines decided on."""
    common = set.intersection(*(set(_decided(path)) for path in paths))
    starts_s = {start_s for _, start_s in common} if newest_s is None else {newest_s}
    return max((start_s for start_s in starts_s if _bars_until(start_s) <= common), default=None)


def test_twenty_engines_cost_what_one_costs(short_dir: Path):
    """Nothing is asked for twice, nothing else is asked for, and all decide on the same bars with the same numbers."""
    together = run(short_dir / "20", at_once=20, late=1)
    alone = run(short_dir / "1", at_once=1, newest_s=together.newest_s)

    live = Counter(key[1] for key in alone.asked.elements() if key[0] == "reqHistoricalData" and key[-1])
    (expected,) = alone.decided
    # An engine's window begins where it began: the oldest of 480 bars show in the last bits of an average.
    nearly = {bar: pytest.approx(values, rel=1e-9) for bar, values in expected.items()}
    assert live == dict.fromkeys(SYMBOLS, 1)
    assert together.asked == alone.asked
    assert set(expected) == _bars_until(alone.newest_s)
    assert [_closes(decided) for decided in together.decided] == [_closes(expected)] * 21
    assert together.decided == [nearly] * 21
