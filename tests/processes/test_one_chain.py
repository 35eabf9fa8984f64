"""Five engines that want the same option chain in the same moment cost the Gateway what one of them costs."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.crowd import PATIENCE_S, Asked, Crowd, decided, rows

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="ipc credentials"),
]
SPEED = 12.0
MINUTE_S = 60
#: So calm that the money stays between two strikes, in whatever second a chain is asked for. Of IDLE no option is ever
#: traded, so its chain is looked at in vain and asked for again with the next bar; CALM's option is bought and kept.
SCENARIO = """
[[symbol]]
symbol = "CALM"
level = 500.5
volatility = 0.01
daily_volume = 50_000_000
options = "daily"
[[symbol]]
symbol = "IDLE"
level = 500.5
volatility = 0.01
daily_volume = 1
options = "daily"
"""
#: Lies beside the configuration, as a trader's own strategy does.
ALWAYS_BUY = """
from dataclasses import dataclass
from engine.strategy import Decision

@dataclass(frozen=True)
class Parameters:
    pass

class AlwaysBuy:
    name, version, bars_needed, Parameters = "always_buy", 1, 1, Parameters

    def __init__(self, parameters):
        pass

    def measure(self, window):
        return {"close": float(window.close[-1])}

    def decide(self, window, values, clock):
        return Decision("BUY", "always", "always", values)

STRATEGY = AlwaysBuy
"""
ENGINE = """
[engines.{name}]
strategy = "always_buy"
symbols = ["CALM", "IDLE"]
decision_log = "{log}"
[engines.{name}.sizing]
max_quantity = 1
[engines.{name}.bracket]
take_profit = 2.0
stop_loss = 0.9
"""
#: Real seconds, as all patience of the proxy: engines that ask at one bar share the lines, and the next bar, five real
#: seconds later, opens them anew.
PROXY = """
[quotes]
grace_s = 1.5
[chain]
settle_s = 0.5
"""


@dataclass(frozen=True)
class Outcome:
    """Engines were let go at the minute `started_s`; `asked` until two minutes later. `told`: each engine's signals."""

    started_s: float
    asked: Asked
    told: list[Counter[tuple[str, str]]]


def run(directory: Path, engines: int, start_s: float | None = None) -> Outcome:
    """Engines start just after a full minute (`start_s` if given), so that all of them begin with the same bar."""
    scenario = directory.with_suffix(".toml")
    scenario.write_text(SCENARIO)
    crowd = Crowd(directory, engines, ENGINE, more=PROXY, mode="dry-run", speed=SPEED, scenario=scenario)
    (directory / "always_buy.py").write_text(ALWAYS_BUY)
    with crowd.waiting():
        begin_s = start_s or (crowd.market_s() // MINUTE_S + 1) * MINUTE_S
        wait_until = crowd.pair.wait_until
        assert crowd.market_s() < begin_s
        wait_until(lambda: crowd.market_s() >= begin_s + 3, "the minute", PATIENCE_S)
        crowd.let_go()
        last = {("CALM", begin_s + MINUTE_S), ("IDLE", begin_s + MINUTE_S)}
        wait_until(lambda: all(last <= set(decided(log)) for log in crowd.decisions), "the third bar", PATIENCE_S)
        assert crowd.pair.ledger("violation") == []
        end_s = begin_s + 2 * MINUTE_S
        return Outcome(begin_s, crowd.asked_until(end_s), [_told(log, end_s) for log in crowd.decisions])


def _told(log: Path, end_s: float) -> Counter[tuple[str, str]]:
    """Signals by symbol and the guard that stood against them, on bars that began before `end_s`."""
    signals = (row for row in rows(log) if row["side"] and row["bar_start_ns"] < end_s * 10**9)
    return Counter((row["symbol"], row["guard"]) for row in signals)


def test_five_engines_ask_for_a_chain_at_the_price_of_one(short_dir: Path):
    """Option parameters, contracts, quotes: none is asked for twice, from a cold start and from bar to bar."""
    together = run(short_dir / "5", 5)
    alone = run(short_dir / "1", 1, together.started_s)

    lines = {key[1:6]: count for key, count in alone.asked.items() if key[0] == "reqMktData" and key[2] == "OPT"}
    assert together.asked == alone.asked
    # The chain of IDLE was opened anew with the second bar, and both chains were of three strikes.
    assert Counter((symbol, count) for (symbol, *_), count in lines.items()) == {("CALM", 1): 6, ("IDLE", 2): 6}
    # Every engine bought CALM once and kept it, and found nothing to buy in IDLE at any bar.
    assert alone.told == [{("CALM", ""): 1, ("CALM", "busy"): 2, ("IDLE", ""): 3}]
    assert together.told == alone.told * 5
