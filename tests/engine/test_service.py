"""The engine's loop with a broker in memory: order of questions, heartbeats, recordings, stops."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.core import CoreRules, EngineCore
from engine.decisions import DecisionLog, read_log
from engine.recording import Recorder, repeat
from engine.service import Service, wait_for_proxy
from gateway_proxy import ConfigError, Message, ProxyUnreachable, Refused, Stop, UnknownOutcome
from tests.engine.conftest import Plan, chain_body, make_bar


class MemoryBroker:
    """Answers at once; `heard` is what it will say on the market socket, then it asks the loop to stop."""

    def __init__(self, stop: Stop, heard: list[Message], failing: dict[str, Exception] | None = None) -> None:
        self.stop = stop
        self.heard = deque(heard)
        self.failing = failing or {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.topics: list[str] = []
        self.quiet_turns = 60

    def subscribe(self, topic: str) -> None:
        self.topics.append(topic)

    def receive(self, timeout_s: float) -> Message | None:
        # One message a turn, and a few quiet turns after it, so that questions are answered in between.
        self.quiet_turns -= 1
        recovered = any(op == "bars" for op, _ in self.asked)
        if self.heard and recovered and self.quiet_turns % 4 == 0:
            return self.heard.popleft()
        self.stop.requested = self.quiet_turns < 0
        return None

    def request(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        self.asked.append((op, args or {}))
        if op in self.failing:
            raise self.failing[op]
        return {
            "bars": {"bars": [asdict(make_bar(minute)) for minute in range(-5, 0)]},
            "executions": {"executions": []},
            "positions": {"positions": []},
            "account": {"accounts": [{"account": "DU1", "net_liquidation": 1e5, "available_funds": 5e4}]},
            "chain": chain_body(),
            "report": {},
        }[op]

    def trade(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        self.asked.append((op, args or {}))
        if op in self.failing:
            raise self.failing[op]
        order_id = (args or {}).get("client_order_id")
        return {"orders": []} if op == "orders.open" else {"client_order_id": order_id, "state": "accepted"}

    def ops(self) -> list[str]:
        return [op for op, _ in self.asked]


def bar(minute: int) -> Message:
    return Message("bars/SPY/1min/", "bar", minute + 1, "e", 0, asdict(make_bar(minute)))


def core(signals: dict[int, str]) -> EngineCore:
    return EngineCore(CoreRules("alpha", ("SPY",), window=60), Plan(signals))


def run(signals: dict[int, str], failing: dict[str, Exception] | None = None, **files: Any) -> tuple[MemoryBroker, Any]:
    stop = Stop()
    broker = MemoryBroker(stop, [bar(minute) for minute in range(6)], failing)
    engine = core(signals)
    ready: list[int] = []
    Service(engine, broker, stop, on_ready=lambda: ready.append(len(broker.topics)), **files).run()
    assert ready == [6], "ready once, after the subscriptions"
    return broker, engine


def test_engine_hears_decides_and_orders():
    """The whole loop without a socket."""
    broker, engine = run({2: "BUY"})

    assert engine.decisions == 7
    assert broker.ops().count("order.bracket") == 1
    report = next(args for op, args in reversed(broker.asked) if op == "report")
    assert report["name"] == "alpha" and report["body"]["orders"] == 1
    assert report["body"]["decide_us"] > 0


@pytest.mark.parametrize("error", [UnknownOutcome("no answer"), ProxyUnreachable("gone")])
def test_order_without_answer_is_asked_about_under_the_same_id(error):
    """The library's errors become facts for the core; only a definitive one ends the trade."""
    broker, engine = run({2: "BUY"}, {"order.bracket": error})

    assert broker.ops().count("order.bracket") == 1
    assert engine.desk.trades[0].phase.value == "unknown"


def test_refused_order_ends_the_trade():
    """Refused means that nothing was sent."""
    _, engine = run({2: "BUY"}, {"order.bracket": Refused("kill switch")})

    assert engine.desk.trades == []


def test_proxy_that_does_not_take_heartbeats_does_not_stop_the_engine(caplog):
    """Told once, not every second."""
    _, engine = run({}, {"report": ProxyUnreachable("gone")})

    assert engine.decisions == 7
    assert [record.message for record in caplog.records].count("proxy does not answer; waiting for it") == 1


def test_recording_of_a_run_decides_the_same_again(tmp_path: Path):
    """Every input in order; a fresh core gives the same decisions, another strategy does not."""
    path = tmp_path / "flight.jsonl"
    recorder = Recorder(path)
    _, engine = run({2: "BUY", 4: "SELL"}, recorder=recorder)
    recorder.close()

    same, other = repeat(path, core({2: "BUY", 4: "SELL"})), repeat(path, core({3: "BUY"}))

    assert (same.is_equal, same.recorded) == (True, engine.decisions)
    assert (other.is_equal, other.first_difference) == (False, 4)


def test_decision_log_has_every_answer_in_its_place(tmp_path: Path):
    """What is not on the bus: of each answer, the decision before it; bars are in the recording of the bus."""
    path = tmp_path / "decisions.jsonl"
    decisions = DecisionLog(path, "alpha")
    _, engine = run({2: "BUY"}, {"order.bracket": Refused("kill switch")}, decisions=decisions)
    decisions.close()

    logged, another = read_log(path, "alpha"), read_log(path, "beta")

    assert [one["bar_start_ns"] for one in logged.decisions] == [make_bar(minute).start_ns for minute in range(-1, 6)]
    assert engine.decisions == len(logged.decisions)
    assert [reply.question.purpose for after, reply in logged.replies if after is None] == ["recover"] * 4
    second = (("SPY", make_bar(2).start_ns, False), "chain"), (("SPY", make_bar(2).start_ns, False), "place")
    assert [(after, reply.question.purpose) for after, reply in logged.replies[4:]] == list(second)
    chain, place = (asdict(reply) for _, reply in logged.replies[4:])
    assert chain["body"] == chain_body()
    assert (place["code"], place["certain"]) == ("refused", True)
    assert (another.decisions, another.replies) == ([], [])


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("decisions.jsonl", '{"side": '),
        ("decisions.jsonl", '{"engine": "alpha"}'),
        ("decisions.answers.jsonl", '{"engine": "alpha", "after": null, "reply": "Rumour"}'),
        ("decisions.answers.jsonl", '{"engine": "alpha", "after": "SPY", "reply": "Answer"}'),
    ],
)
def test_damaged_decision_log_is_named_with_its_line(tmp_path: Path, file: str, line: str):
    """Which file, which line."""
    decisions = DecisionLog(tmp_path / "decisions.jsonl", "alpha")
    run({2: "BUY"}, decisions=decisions)
    decisions.close()
    whole = (tmp_path / file).read_text()
    (tmp_path / file).write_text(whole + line + "\n")

    with pytest.raises(ConfigError, match=rf"{file}:{len(whole.splitlines()) + 1}: no line of a decision log"):
        read_log(tmp_path / "decisions.jsonl", "alpha")


def test_damaged_recording_is_named_with_its_line(tmp_path: Path):
    """Which file, which line."""
    path = tmp_path / "flight.jsonl"
    path.write_bytes(orjson.dumps({"now": 0.0, "start": True}) + b"\n{half a li")

    with pytest.raises(ConfigError, match=r"flight\.jsonl:2"):
        repeat(path, core({}))


def test_missing_proxy_is_waited_for_and_told_once(caplog):
    """The engine may start before its proxy."""
    stop, tries = Stop(), []

    client: Any = object()

    def connect() -> Any:
        tries.append(1)
        if len(tries) < 4:
            raise ProxyUnreachable("no proxy runs here")
        return client

    assert wait_for_proxy(connect, stop) is client
    assert len(caplog.records) == 1
    stop.requested = True
    assert wait_for_proxy(connect, stop) is None
