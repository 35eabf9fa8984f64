"""Twenty engines on the same ten symbols cost the Gateway what one of them costs: the simulator's ledger counts."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

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
#: Minutes that every engine must have decided on, after it is subscribed.
MINUTES = 3
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
#: What asks the Gateway for data; round trips and account data depend on time and not on engines.
DATA = ("reqHistoricalData", "reqRealTimeBars", "reqMktData", "reqContractDetails", "reqSecDefOptParams")


def upstream(directory: Path, engines: int) -> tuple[Counter[str], set[tuple[str, int]]]:
    """Data requests at the Gateway by kind, and what all of the engines decided on: (symbol, start of the bar)."""
    directory.mkdir()
    names = [f"e{number}" for number in range(engines)]
    symbols = orjson.dumps(SYMBOLS).decode()
    tables = [ENGINE.format(name=name, symbols=symbols, directory=directory) for name in names]
    pair = Pair(directory, more="".join(tables), speed=20.0)
    try:
        pair.start()
        with pair.client() as client:
            pair.wait_until(lambda: client.status()["state"] == "ready", "ready")
        for name in names:
            with (directory / f"{name}.log").open("w") as log:
                pair.spawn("-m", "engine", "--config", str(pair.config), "--name", name, output=log)
        decisions = [directory / f"{name}.jsonl" for name in names]
        pair.wait_until(lambda: _complete(decisions), "every engine's decisions", patience_s=180.0)
        kinds = Counter(entry["kind"] for entry in pair.ledger("request"))
        assert pair.ledger("violation") == []
        return Counter({kind: kinds[kind] for kind in DATA if kinds[kind]}), _shared(decisions)
    finally:
        pair.close()


def _decided(path: Path) -> set[tuple[str, int]]:
    lines = path.read_bytes().splitlines() if path.exists() else []
    rows = [orjson.loads(line) for line in lines if line.endswith(b"}")]
    return {(row["symbol"], row["bar_start_ns"]) for row in rows}


def _shared(paths: list[Path]) -> set[tuple[str, int]]:
    """What each of the logs has."""
    return set.intersection(*map(_decided, paths))


def _complete(paths: list[Path]) -> bool:
    minutes = Counter(symbol for symbol, _ in _shared(paths))
    return all(minutes[symbol] >= MINUTES for symbol in SYMBOLS)


def test_twenty_engines_cost_what_one_costs(short_dir: Path):
    """Equal counts of every kind of data request, while all of them decide on the same bars each minute."""
    alone, _ = upstream(short_dir / "1", 1)
    together, decided = upstream(short_dir / "20", 20)

    assert alone["reqHistoricalData"] >= len(SYMBOLS)
    assert together == alone
    assert {symbol for symbol, _ in decided} == set(SYMBOLS)
