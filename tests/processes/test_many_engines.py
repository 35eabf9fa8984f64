"""Twenty engines on the same ten symbols cost the Gateway what one of them costs, request by request, and see the same.

All twenty ask a proxy that knows nothing in the same moment, and one more when it knows everything. They set the minute
of the market to which the single engine then goes, whatever the wall clock says; the ledger is read to that minute.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from tests.support.crowd import PATIENCE_S, Asked, Crowd, Decisions, decided

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
ENGINE = f"""
[engines.{{name}}]
strategy = "scalp"
symbols = {orjson.dumps(SYMBOLS).decode()}
decision_log = "{{log}}"
[engines.{{name}}.parameters]
rsi_middle = 99.9
rsi_high = 100.0
"""


@dataclass(frozen=True)
class Outcome:
    """What the Gateway was asked for until the bar of `newest_s` was complete, and what each engine decided on."""

    newest_s: int
    asked: Asked
    decided: list[Decisions]


def run(directory: Path, at_once: int, late: int = 0, newest_s: int | None = None) -> Outcome:
    """Until all engines decided on the same bars of MINUTES in a row, ending with `newest_s` if it is given."""
    with Crowd(directory, at_once + late, ENGINE, speed=20.0).waiting() as crowd:
        logs, wait_until = crowd.decisions, crowd.pair.wait_until
        crowd.let_go(slice(at_once))
        wait_until(lambda: all(map(_knows_all, logs[:at_once])), "a first decision on every symbol", PATIENCE_S)
        crowd.let_go(slice(at_once, None))
        wait_until(lambda: _agreed_s(logs, newest_s), "decisions of all engines on the same bars", PATIENCE_S)
        ended_s = _agreed_s(logs, newest_s)
        assert ended_s is not None
        assert crowd.pair.ledger("violation") == []
        bars = _bars_until(ended_s)
        seen = [{bar: values for bar, values in decided(log).items() if bar in bars} for log in logs]
        return Outcome(ended_s, crowd.asked_until(ended_s + MINUTE_S), seen)


def _bars_until(newest_s: int) -> set[tuple[str, int]]:
    return {(symbol, newest_s - MINUTE_S * ago) for symbol in SYMBOLS for ago in range(MINUTES)}


def _knows_all(path: Path) -> bool:
    return {symbol for symbol, _ in decided(path)} == set(SYMBOLS)


def _closes(seen: Decisions) -> dict[tuple[str, int], float]:
    return {bar: values["close"] for bar, values in seen.items()}


def _agreed_s(paths: list[Path], newest_s: int | None) -> int | None:
    """The newest start of a bar (only `newest_s` will do, if given) with which bars end that all engines decided on."""
    common = set.intersection(*(set(decided(path)) for path in paths))
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
    assert [_closes(seen) for seen in together.decided] == [_closes(expected)] * 21
    assert together.decided == [nearly] * 21
