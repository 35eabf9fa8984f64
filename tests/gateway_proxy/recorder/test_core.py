"""The recorder's rules: what it listens to, what it keeps, and how little a crash can lose."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from gateway_proxy import Bar, ConfigError, Gap, Message, Restarted
from gateway_proxy.recorder.command import rules
from gateway_proxy.recorder.core import (
    FOLLOWED_MAX,
    AskBars,
    RecorderCore,
    RecordRules,
    Subscribe,
    Unsubscribe,
    Write,
)

#: 2026-06-18 09:30 New York, and this host's clock, which lies months later.
OPEN_NS, WALL_NS = 1_781_789_400_000_000_000, 1_795_000_000_000_000_000
BARS = "bars/SPY/1min/"
ENGINES: dict[str, dict[str, Any]] = {
    "one": {"symbols": ["SPY", "QQQ"], "window": 60},
    "two": {"symbols": ["SPY"], "bar": "5min"},
}


def bar(minute: int, **changes: Any) -> Bar:
    return Bar(OPEN_NS + minute * 60_000_000_000, 600.0, 601.0, 599.0, 600.5, 1000.0, **changes)


def message(topic: str, kind: str, body: Any, seq: int = 1) -> Message:
    return Message(topic, kind, seq, "e", WALL_NS, body)


def core(**changes: Any) -> RecorderCore:
    made = RecorderCore(RecordRules((BARS,), **changes))
    made.start(0.0, WALL_NS)
    return made


def written(recorder: RecorderCore) -> dict[tuple[str, str], list[dict[str, Any]]]:
    return {(one.day, one.table): one.rows for one in recorder.effects() if isinstance(one, Write)}


def order(number: int, state: str, exits: str) -> dict[str, Any]:
    contract = {
        "symbol": "SPY",
        "sec_type": "OPT",
        "last_trade_date": "20260618",
        "strike": 600.0 + number,
        "right": "C",
    }
    leg = {"leg": "stop_loss", "order_id": 2, "perm_id": 0, "state": exits, "action": "SELL", "quantity": 1,
           "filled": 0.0, "average_price": None, "limit_price": None, "stop_price": 1.0}  # fmt: skip
    return {
        "engine": "one", "client_order_id": f"id-{number}", "state": state, "symbol": "SPY", "action": "BUY",
        "quantity": 1, "filled": 0.0, "order_ids": [1], "simulated": False, "legs": [leg], "contract": contract,
    }  # fmt: skip


def test_engines_of_the_configuration_say_what_is_recorded():
    """Their bars and the chains of their symbols are opened; everything else is only listened to."""
    what = rules((), ENGINES, 60.0, 1000)

    assert what.streams == ("bars/SPY/1min/", "bars/QQQ/1min/", "bars/SPY/5min/", "chain/SPY/", "chain/QQQ/")
    assert (what.history[BARS].count, what.history["bars/SPY/5min/"].count) == (60, 480)
    assert {"orders/", "fills/", "verdicts/", "quote/"} <= set(what.listening)


def test_named_topics_replace_those_of_the_engines():
    """A whole topic is opened, a prefix is listened to."""
    what = rules(("bars/IWM/1min/", "health/"), ENGINES, 60.0, 1000)

    assert what.streams == ("bars/IWM/1min/",)
    assert "health/" in what.listening


@pytest.mark.parametrize("topic", ["bars/SPY/7min/", "bars", "nonsense/", "quote/spy/", ""])
def test_impossible_topic_is_refused_by_name(topic: str):
    """Before anything is connected."""
    with pytest.raises(ConfigError, match="topic|bar size|symbol"):
        rules((topic,), {}, 60.0, 1000)


def test_configuration_without_engines_has_nothing_to_record():
    """Said at the door."""
    with pytest.raises(ConfigError, match="nothing to record"):
        rules((), {}, 60.0, 1000)


def test_start_listens_before_it_opens_and_asks_for_the_past_once():
    """A welcome that comes early is not missed; the past is what the engines ask for too."""
    effects = core().effects()

    topics = [one.topic for one in effects if isinstance(one, Subscribe)]
    assert topics[-1] == BARS and "orders/" in topics
    assert [one for one in effects if isinstance(one, AskBars)] == [AskBars(BARS, "SPY", "1min", 480, True)]


def test_rows_lie_under_the_exchanges_day_not_under_ours():
    """Also what came before the market's time was known, and a bar of yesterday under yesterday."""
    recorder = core()
    recorder.receive_message(message("verdicts/", "verdict", {"verdict": "ok"}), 0.0, WALL_NS)
    recorder.receive_message(message(BARS, "bar", asdict(bar(0))), 1.0, WALL_NS)
    recorder.receive_bars(BARS, [bar(-1440), bar(1, complete=False)], 2.0, WALL_NS)

    recorder.handle_timer(60.0)

    found = written(recorder)
    assert {key: len(rows) for key, rows in found.items()} == {
        ("2026-06-17", "bars"): 1, ("2026-06-18", "bars"): 1, ("2026-06-18", "marks"): 1, ("2026-06-18", "verdicts"): 1,
    }  # fmt: skip
    assert found["2026-06-17", "bars"][0]["kind"] == "history"


@pytest.mark.parametrize(("every_s", "rows_max", "at"), [(10.0, 1000, 10.0), (3600.0, 5, 4.0)])
def test_crash_loses_no_more_than_was_promised(every_s: float, rows_max: int, at: float):
    """The time of the oldest row and the number of rows are both bounds."""
    recorder = core(every_s=every_s, rows_max=rows_max)
    recorder.effects()
    moment = 0.0
    while not (found := written(recorder)):
        moment += 1.0
        recorder.receive_message(message(BARS, "bar", asdict(bar(int(moment))), int(moment)), moment, WALL_NS)
        recorder.handle_timer(moment)

    assert moment == at
    assert recorder.waiting_rows == 0
    assert sum(map(len, found.values())) == moment + 1, "and the mark of the start"


def test_order_of_hearing_survives_a_clock_that_stands_or_steps_back():
    """received_ns only goes up."""
    recorder = core()
    for seq, wall_ns in enumerate((WALL_NS, WALL_NS, WALL_NS - 5_000_000_000), 1):
        recorder.receive_message(message(BARS, "bar", asdict(bar(seq)), seq), 0.0, wall_ns)
    recorder.finish(1.0, WALL_NS)

    found = written(recorder)
    times = [row["received_ns"] for rows in found.values() for row in rows]
    bars = [row for (_, table), rows in found.items() if table == "bars" for row in rows]
    assert len(set(times)) == len(times) == 5
    assert [row["seq"] for row in sorted(bars, key=lambda row: row["received_ns"])] == [1, 2, 3]


def test_gap_is_marked_and_its_bars_are_asked_for_again():
    """Never hidden: which topic, from where to where."""
    recorder = core()
    recorder.effects()

    recorder.receive_message(Gap(BARS, 5, 9), 1.0, WALL_NS)

    asked = [one.topic for one in recorder.effects() if isinstance(one, AskBars)]
    recorder.finish(2.0, WALL_NS)
    marks = next(rows for (_, table), rows in written(recorder).items() if table == "marks")
    assert asked == [BARS]
    assert [(row["mark"], row["topic"], row["first_seq"], row["last_seq"]) for row in marks] == [
        ("started", "", 0, 0), ("gap", BARS, 5, 9), ("stopped", "", 0, 0),
    ]  # fmt: skip


def test_new_life_of_the_proxy_is_marked_and_the_past_asked_again():
    """What happened in between is filled in where it can be."""
    recorder = core()
    recorder.effects()

    recorder.receive_message(Restarted("a", "b"), 1.0, WALL_NS)

    assert [one.topic for one in recorder.effects() if isinstance(one, AskBars)] == [BARS]


def test_history_that_was_refused_is_asked_for_again_later():
    """Not at once: the Gateway may be away for an hour."""
    recorder = core()
    recorder.effects()

    recorder.receive_failure(BARS, 30.0, 1.0)

    recorder.handle_timer(30.0)
    assert recorder.effects() == []
    assert recorder.next_timer() is not None
    recorder.handle_timer(31.0)
    assert [type(one) for one in recorder.effects()] == [AskBars]


@pytest.mark.parametrize("body", [{"close": "dear"}, [], None, 7, {}])
def test_body_that_is_none_becomes_a_mark_and_stops_nothing(body: Any):
    """Whatever a broken sender may say."""
    recorder = core()
    for kind in ("bar", "quote", "chain", "order", "fill", "position", "account"):
        recorder.receive_message(message(BARS, kind, body), 0.0, WALL_NS)
    recorder.finish(1.0, WALL_NS)

    marks = next(rows for (_, table), rows in written(recorder).items() if table == "marks")
    assert [row["mark"] for row in marks].count("unreadable") == 7


def test_option_is_followed_while_an_order_about_it_lives():
    """Its quotes decide over fills; when all legs are over, the market data line is given back."""
    recorder = core()
    recorder.effects()
    topic = "quote/SPY.20260618.C.601/"

    def told(state: str, exits: str) -> list[Any]:
        recorder.receive_message(message("orders/one/", "order", order(1, state, exits)), 0.0, WALL_NS)
        return recorder.effects()

    assert told("working", "working") == [Subscribe(topic)]
    assert told("filled", "working") == []
    assert told("filled", "cancelled") == [Unsubscribe(topic)]


def test_followed_options_are_bounded():
    """A hundred open orders do not take the Gateway's market data lines away from others."""
    recorder = core()
    recorder.effects()

    for number in range(FOLLOWED_MAX + 80):
        recorder.receive_message(message("orders/one/", "order", order(number, "working", "working")), 0.0, WALL_NS)

    assert len(recorder.effects()) == FOLLOWED_MAX
