"""Replays of a recording of the bus: what is history, what is played, and what a fill rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.cli import main
from engine.core import CoreRules
from engine.exits import ExitRules
from engine.replay.audit import same
from engine.replay.options import OptionModel
from engine.replay.prices import QUOTE_AGE_MAX_S, Prices
from engine.replay.recorded import load
from engine.replay.report import render
from engine.replay.run import Result, replay
from engine.replay.tape import Tape, TapeBar, TapeChain, TapeEvent, TapeQuote, write
from engine.rules import DeskRules
from gateway_proxy import Bar, ConfigError, Contract, Gap, Message
from tests.engine.conftest import EXPIRY, MINUTE_NS, OPEN_NS, Plan, chain_body, make_bar

CALL = Contract("SPY", "OPT", last_trade_date=EXPIRY, strike=600.0, right="C")
NS = 1_000_000_000
RULES = CoreRules("alpha", ("SPY",), window=60, desk=DeskRules(exits=ExitRules(max_bars=10)))


def chain_at(minute: float, bid: float = 2.0, ask: float = 2.1) -> TapeChain:
    """Six options around the money, all at one price."""
    body = chain_body(symbol="SPY")
    rows = [{**row, "bid": bid, "ask": ask} for row in body["rows"]]
    return TapeChain("SPY", OPEN_NS + int(minute * MINUTE_NS), {**body, "rows": rows})


def quote_at(minute: float, bid: float, ask: float, key: str = CALL.key) -> TapeQuote:
    return TapeQuote(key, OPEN_NS + int(minute * MINUTE_NS), bid, ask)


def play(events: list[TapeEvent], bars: int = 12) -> Result:
    """One call is bought on the signal of the fourth bar, so at the earliest in minute 4; bars do not move."""
    history = {"SPY": [make_bar(minute) for minute in range(-40, 0)]}
    tape: list[TapeEvent] = [*events, *(TapeBar("SPY", make_bar(minute)) for minute in range(bars))]
    ended = sorted(tape, key=lambda e: e.bar.start_ns + MINUTE_NS if isinstance(e, TapeBar) else e.time_ns)
    return replay(RULES, Plan({3: "BUY"}), Tape(ended, history))


# ---------------------------------------------------------------- fills


def test_entry_fills_at_the_recorded_ask_within_its_limit():
    """The limit was the ask of 2.10 at the signal; the next quote asks less, and that is what it costs."""
    result = play([chain_at(3.9), quote_at(4.1, 1.95, 2.05), quote_at(4.2, 2.0, 2.0)])

    (trade,) = result.trades
    assert (trade.bought_at, trade.bought_on) == (2.05, "recorded")
    assert trade.opened_ns == OPEN_NS + int(4.1 * MINUTE_NS)


def test_entry_waits_while_the_recorded_ask_is_above_its_limit():
    """A quote that was never offered is not a fill, however the bars look."""
    result = play([chain_at(3.9), *(quote_at(minute, 2.3, 2.4) for minute in (4.1, 5.1, 6.1, 7.1, 8.1, 9.1, 10.1))])

    assert result.trades == []


def test_a_signal_that_becomes_no_order_is_counted_apart():
    """A chain without quotes cannot be traded: one decision on each of thirteen bars, and one that drops the signal."""
    nothing: Any = None
    result = play([chain_at(3.9, bid=nothing, ask=nothing)])

    summary = result.summary()
    assert (summary["decisions"], summary["signals"], summary["dropped"], summary["trades"]) == (13, 1, 1, 0)
    (dropped,) = (one for one in result.decisions if one["rule"] == "dropped")
    assert dropped["bar_start_ns"] == OPEN_NS + 3 * MINUTE_NS and dropped["reason"]


@pytest.mark.parametrize(
    ("bid", "how", "sold_at"), [(1.5, "stop_loss", 1.5), (1.89, "stop_loss", 1.89), (2.7, "take_profit", 2.52)]
)
def test_exit_is_what_the_recorded_bid_reached(bid: float, how: str, sold_at: float):
    """A stop sells at the bid that reached it, a target at its own price. Entry 2.10: stop 1.89, target 2.52."""
    result = play([chain_at(3.9), quote_at(4.1, 2.05, 2.1), quote_at(4.5, bid, bid + 0.05)])

    (trade,) = result.trades
    assert (trade.how, trade.sold_at, trade.sold_on) == (how, pytest.approx(sold_at), "recorded")


def test_nothing_fills_before_its_order_was_there():
    """The quote that led to the order does not fill it too."""
    result = play([quote_at(3.5, 1.0, 1.1), chain_at(3.9)], bars=4)

    assert result.trades == []


def test_quotes_that_end_leave_the_model_anchored_at_the_last_one():
    """And the report says so; bars that do not move give no jump between the two."""
    result = play([chain_at(3.9), quote_at(4.1, 2.05, 2.1)], bars=30)

    (trade,) = result.trades
    assert (trade.bought_on, trade.sold_on) == ("recorded", "anchored")
    assert trade.sold_at == pytest.approx(2.0, abs=0.15)
    assert result.fills == {"recorded": 1, "anchored": 1}


def test_without_any_quote_the_model_fills_and_is_named():
    """As before there were recordings."""
    result = play([], bars=30)

    assert set(result.fills) == {"model"}
    assert {trade.bought_on for trade in result.trades} == {"model"}


def test_quote_ages_in_market_time():
    """After QUOTE_AGE_MAX_S it is a memory, not a quote."""
    prices = Prices(OptionModel())
    prices.learn_chain(chain_at(0))

    at_last = prices.quote(CALL, 600.0, OPEN_NS + int(QUOTE_AGE_MAX_S * NS))
    too_late = prices.quote(CALL, 600.0, OPEN_NS + int(QUOTE_AGE_MAX_S * NS) + 1)

    assert (at_last.bid, at_last.ask, at_last.ground) == (2.0, 2.1, "recorded")
    assert too_late.ground == "anchored"
    assert too_late.bid == pytest.approx(2.0, abs=0.1)
    assert prices.quote(replace(CALL, strike=650.0), 600.0, OPEN_NS).ground == "model"


def test_chain_is_answered_with_the_newest_quotes():
    """One option was quoted after the snapshot; an order at the old ask would be an order at yesterday's price."""
    prices = Prices(OptionModel())
    prices.learn_chain(chain_at(0))
    prices.learn_quote(quote_at(1, 3.0, 3.1), 601.0)

    rows = prices.chain("SPY", 601.0, 1, OPEN_NS + 2 * MINUTE_NS)["rows"]

    asks = {(row["strike"], row["right"]): row["ask"] for row in rows}
    assert asks.pop((600.0, "C")) == 3.1
    assert set(asks.values()) == {2.1} and len(asks) == 5


@pytest.mark.parametrize(("bid", "ask"), [(None, 2.0), (2.0, None), (2.1, 2.0), (-1.0, 2.0), (0.0, 0.0)])
def test_quote_that_is_none_teaches_nothing(bid: Any, ask: Any):
    """One-sided, crossed, negative, empty."""
    chain = chain_at(0)
    rows = [{**row, "bid": bid, "ask": ask} for row in chain.body["rows"]]
    prices = Prices(OptionModel())

    assert prices.learn_chain(TapeChain("SPY", OPEN_NS, {**chain.body, "rows": rows})) == []
    assert prices.quote(CALL, 600.0, OPEN_NS).ground == "model"


def test_history_is_known_before_the_first_decision_and_not_played():
    """An engine of a recording begins where the live one began: warm, with the newest old bar."""
    result = play([], bars=5)

    assert len(result.decisions) == 6
    assert "warm_up" not in {one["rule"] for one in result.decisions}
    assert result.decisions[0]["bar_start_ns"] == OPEN_NS - MINUTE_NS


def test_report_names_the_ground_of_every_fill_and_every_hole():
    """Whoever reads it sees what was recorded and what was made."""
    events: list[TapeEvent] = [chain_at(3.9), quote_at(4.1, 2.05, 2.1)]
    result = play(events, bars=30)
    result.holes = ["bars/SPY/1min/: gap <5>"]
    tape = Tape([TapeBar("SPY", make_bar(minute)) for minute in range(30)])

    page = render([(result, tape)], OptionModel())

    assert "<i class=recorded>recorded</i>" in page and "<i class=anchored>anchored</i>" in page
    assert "gap &lt;5&gt;" in page
    assert page.count("<svg") == 2
    assert "http" not in page and "<script" not in page


# ---------------------------------------------------------------- files


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes what a recorder would have written, had it heard these messages."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: recordings are not tested")
    from gateway_proxy.recorder.core import RecorderCore, RecordRules, Write
    from gateway_proxy.recorder.files import Files

    def make(*heard: Message | Gap, history: int = 40, name: str = "recording") -> Path:
        core, files = RecorderCore(RecordRules(("bars/SPY/1min/",))), Files(tmp_path / name)
        core.start(0.0, OPEN_NS)
        core.receive_bars("bars/SPY/1min/", [make_bar(minute) for minute in range(-history, 0)], 0.0, OPEN_NS)
        for what in heard:
            core.receive_message(what, 0.0, OPEN_NS)
        core.finish(1.0, OPEN_NS)
        for effect in core.effects():
            if isinstance(effect, Write):
                files.write(effect)
        files.close()
        return tmp_path / name

    return make


def heard_bar(bar: Bar) -> Message:
    return Message("bars/SPY/1min/", "bar", 1, "e", OPEN_NS, asdict(bar))


def test_recording_becomes_a_tape(record: Callable[..., Path]):
    """Old bars are history; of bars that grew, the finished one is played; options' quotes lie between the bars."""
    growing = [heard_bar(make_bar(0, complete=False)), heard_bar(make_bar(0)), heard_bar(make_bar(1))]
    quote = {"symbol": CALL.key, "bid": 2.0, "ask": 2.1, "time_ns": OPEN_NS + MINUTE_NS + 1}
    stock = {"symbol": "SPY", "bid": 600.0, "ask": 600.1, "time_ns": OPEN_NS}
    path = record(
        *growing, Message("quote/x/", "quote", 1, "e", 0, quote), Message("quote/SPY/", "quote", 1, "e", 0, stock),
        Message("chain/SPY/", "chain", 1, "e", 0, chain_body(symbol="SPY", time_ns=OPEN_NS + 1)),
        Gap("bars/SPY/1min/", 3, 5), Gap("bars/SPY/1min/", 9, 9),
    )  # fmt: skip

    tape = load([path], "1min")

    assert [type(event).__name__ for event in tape.events] == ["TapeChain", "TapeBar", "TapeQuote", "TapeBar"]
    assert tape.history == {"SPY": [make_bar(minute) for minute in range(-40, 0)]}
    assert tape.holes == ["bars/SPY/1min/: gap (4)"]
    chain = next(event for event in tape.events if isinstance(event, TapeChain))
    assert [row["strike"] for row in chain.body["rows"]] == [599.0, 599.0, 600.0, 600.0, 601.0, 601.0]


def test_bar_that_was_filled_in_later_is_played_in_its_place(record: Callable[..., Path]):
    """A gap that history closed is no gap for the replay; what was told twice is played once."""
    path = record(heard_bar(make_bar(0)), heard_bar(make_bar(2)), heard_bar(make_bar(1, source="backfill")))

    tape = load([path], "1min")

    assert [row.bar.start_ns for row in tape.bars] == [OPEN_NS + minute * MINUTE_NS for minute in range(3)]


def test_other_bar_size_is_told_with_those_there_are(record: Callable[..., Path]):
    """Instead of an empty replay."""
    with pytest.raises(ConfigError, match="no bars of 5min here; there are 1min"):
        load([record(heard_bar(make_bar(0)))], "5min")


def test_broken_file_is_named(record: Callable[..., Path], tmp_path: Path):
    """A file that was cut, one of something else, and a mixture."""
    path = record(heard_bar(make_bar(0)))
    broken = next(path.glob("*/bars-*.parquet"))
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(ConfigError, match=r"bars-\d+\.parquet: no table of a recording"):
        load([path], "1min")
    write(tmp_path / "bars.jsonl", [TapeBar("SPY", make_bar(0))])
    with pytest.raises(ConfigError, match="not both at once"):
        load([path, tmp_path / "bars.jsonl"], "1min")


# ---------------------------------------------------------------- commands

CONFIG = """
[engines.alpha]
strategy = "scalp"
symbols = ["SPY"]
window = 60
[engines.alpha.parameters]
entry = "trend"
ema_fast = 5
ema_slow = 13
[engines.beta]
strategy = "reversion"
symbols = ["SPY"]
window = 60
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "engines.toml"
    path.write_text(CONFIG)
    return str(path)


def test_replay_command_plays_every_engine_and_writes_one_report(
    record: Callable[..., Path], config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """`python -m engine --replay DIRECTORY`: a line per engine, one for all, decisions and a page if wanted."""
    path = record(*(heard_bar(make_bar(minute)) for minute in range(20)))
    page, log = tmp_path / "page.html", tmp_path / "decisions.jsonl"

    code = main(["--config", config, "--replay", str(path), "--html", str(page), "--decisions", str(log)])

    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [line.get("engine", line.get("engines")) for line in lines] == ["alpha", "beta", 2]
    assert len(log.read_bytes().splitlines()) == lines[0]["decisions"] + lines[1]["decisions"] == 42
    assert "Replay of alpha, beta" in page.read_text()


def test_replay_against_a_log_finds_the_first_decision_that_differs(
    record: Callable[..., Path], config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Exit code 0 when all agree, 1 with both decisions when one does not, 2 for a question without an answer."""
    path = record(*(heard_bar(make_bar(minute)) for minute in range(20)))
    log = tmp_path / "live.jsonl"
    command = ["replay", "--config", config, "--name", "alpha", str(path)]
    main([*command, "--decisions", str(log)])
    capsys.readouterr()

    assert main([*command, "--against", str(log)]) == 0
    assert orjson.loads(capsys.readouterr().out)["identical"] is True
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    lines[7]["reason"] = "because"
    log.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    assert main([*command, "--against", str(log)]) == 1
    assert '"reason":"because"' in capsys.readouterr().out
    assert main(["replay", "--config", config, str(path), "--against", str(log)]) == 2
    assert "--name with one of alpha, beta" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({"reason": "other"}, False), ({"guard": "cool_down"}, False), ({"side": "SELL"}, False),
        ({"guard_reason": "a trade is sending"}, True), ({"values": {"close": 600.0 * (1 + 1e-12), "rsi": None}}, True),
        ({"values": {"close": 600.0 * (1 + 1e-8), "rsi": None}}, False), ({"values": {"close": 600.0}}, False),
        ({"values": {"close": 600.0, "rsi": 1.0}}, False),
    ],
)  # fmt: skip
def test_decisions_are_equal_but_for_rounding_and_the_phase_of_a_busy_trade(change: dict[str, Any], equal: bool):
    """A window that held one bar more rounds otherwise; a phase hangs on answers that are not on the bus."""
    busy = {"side": "BUY", "reason": "up", "guard": "busy", "guard_reason": "a trade is choosing",
            "values": {"close": 600.0, "rsi": None}}  # fmt: skip

    assert same(busy, {**busy, **change}) is equal


def test_other_guards_are_compared_to_the_word():
    """Only the phase of a trade is excused."""
    cooling = {"guard": "cool_down", "guard_reason": "2 of 5 bars", "values": {}}

    assert not same(cooling, {**cooling, "guard_reason": "3 of 5 bars"})
