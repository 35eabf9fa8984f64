"""The ops of the request socket: bodies as the protocol says, refusals that name their cause."""

from __future__ import annotations

import struct

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core.request_ops import ENGINES_MAX
from tests.gateway_proxy.core.core_world import CoreWorld, stock


@pytest.fixture
def world() -> CoreWorld:
    return CoreWorld().start()


def test_status_has_the_fields_of_the_protocol(world: CoreWorld):
    """Section 8, with the state of health/gateway/."""
    body = world.body(world.ask("status"))

    assert set(body) >= {"state", "mode", "accounts", "gateway", "streams", "since_ns", "engines", "orders"}
    assert (body["state"], body["accounts"], body["mode"]) == ("ready", ["DU1"], "dry-run")
    assert body["state"] == body["gateway"]["state"]


def test_health_has_the_bodies_of_the_topics_by_their_second_word(world: CoreWorld):
    """The same as published, with the fields of section 6."""
    body = world.body(world.ask("health"))

    assert set(body) >= {"gateway", "pacing", "latency", "streams", "breakers"}
    assert set(body["gateway"]) >= {
        "state", "since_ns", "reason", "verdict", "mode", "connected", "server_version", "rtt_ms", "farms",
        "clock_skew_s", "loop_lag_ms", "last_message_age_s", "market_time_ns", "accounts",
    }  # fmt: skip
    assert set(body["pacing"]) >= {"rules", "lanes", "owners", "granted", "expired", "cancelled", "refused"}
    assert isinstance(body["latency"]["classes"], dict)


def test_contract_has_the_fields_of_the_protocol(world: CoreWorld):
    """What IB knows, with its con_id and its key."""
    number = world.ask("contract", contract="SPY")
    world.advance(1)

    body = world.body(number)
    assert set(body) == {
        "contract", "key", "min_tick", "long_name", "primary_exchange", "time_zone", "trading_hours", "liquid_hours",
        "market_rules", "price_bands", "timeline",
    }  # fmt: skip
    assert (body["key"], body["contract"]["con_id"]) == ("SPY", 1)


@pytest.mark.parametrize("phase", ["disconnected", "connecting", "synchronizing"])
def test_without_a_session_the_gateway_is_unavailable_and_never_a_refusal_of_ib(phase: str):
    """Nobody was asked, so nobody refused; come back in a second."""
    world = CoreWorld()
    if phase == "disconnected":
        world.reachable = False
        world.advance(0.2)
    elif phase == "connecting":
        world.advance(0.0)
    else:
        world.advance(0.06)

    number = world.ask("bars", contract="SPY")

    assert world.core.health.state.value == phase
    assert (world.failure(number).code, world.failure(number).retry_in_s) == ("gateway_unavailable", 1.0)


@pytest.mark.parametrize("op", ["status", "health", "positions", "account", "executions", "diagnose"])
def test_what_the_proxy_knows_is_answered_without_a_session(op: str):
    """Monitors must see why there is none."""
    world = CoreWorld()

    assert isinstance(world.body(world.ask(op)), dict)


def test_explain_says_when_and_which_rule_and_queues_nothing(world: CoreWorld):
    """An identical request within 15 s is held by that rule."""
    world.ask("bars", contract="SPY", count=60)
    world.advance(2)
    before = world.core.desk.open_count()

    body = world.body(world.ask("explain", op="bars", args={"contract": "SPY", "count": 60}))

    assert set(body) >= {"goes_in_s", "expected_in_s", "held_by", "ahead", "request_class", "rules"}
    assert (body["request_class"], body["held_by"] != "", 10 < body["goes_in_s"] < 17) == ("history_large", True, True)
    assert world.core.desk.open_count() == before


def test_explain_answers_for_every_operation(world: CoreWorld):
    """A chain costs its lines once the options are known; a bracket counts on both sides."""
    order = {"engine": "one", "client_order_id": "a", "contract": "SPY", "action": "BUY", "quantity": 1}
    bracket = order | {"limit_price": 600.0, "take_profit": 610.0, "stop_loss": 590.0}
    single = order | {"order_type": "LMT", "limit_price": 600.0}
    unknown = world.body(world.ask("explain", op="chain", args={"contract": "SPY"}))
    world.ask("chain", contract="SPY")
    world.advance(5)

    known = world.body(world.ask("explain", op="chain", args={"contract": "SPY", "width": 2}))
    told = {
        name: world.body(world.ask("explain", op=op, args=args))
        for name, op, args in (
            ("quote", "quote", {"contract": "SPY"}), ("contract", "contract", {"contract": "SPY"}),
            ("order", "order", single), ("bracket", "order", bracket), ("any", "order", {}),
        )
    }  # fmt: skip

    assert (unknown["request_class"], known["request_class"]) == ("secdef", "quote")
    assert [rule["takes"] for rule in known["rules"] if rule["rule"] == "lines"] == [10]
    takes = {
        name: sorted(rule["takes"] for rule in body["rules"] if rule["rule"] == "orders_per_side")
        for name, body in told.items()
    }
    assert takes == {"quote": [], "contract": [], "order": [1], "bracket": [1, 2], "any": []}
    assert all(body["goes_in_s"] < 1 for body in told.values())


def test_live_series_leave_slots_for_questions():
    """IB opens 50 historical requests; 60 series would take them all for ever. The others live on real-time bars."""
    world = CoreWorld()
    world.gateway.stocks |= {f"S{number}": stock(f"S{number}", 1000 + number) for number in range(60)}
    world.start()
    for number in range(60):
        world.subscribe(f"bars/S{number}/1min/")
    world.advance(15)

    number = world.ask("bars", contract="SPY", count=10)
    world.advance(5)

    rows = world.core.bars.health(world.now)
    assert len(world.gateway.live) == 45
    assert [row["feed"] for row in rows] == ["history"] * 45 + ["real_time"] * 15
    assert len(world.body(number)["bars"]) == 10


def test_explain_of_a_broken_request_says_what_is_wrong_with_it(world: CoreWorld):
    """As the op itself would."""
    number = world.ask("explain", op="bars", args={"contract": "SPY", "count": "many"})

    assert world.failure(number).code == "bad_message"


def test_report_is_published_with_its_name_and_engines_are_counted(world: CoreWorld):
    """A heartbeat of an engine; too many names are refused, known ones never."""
    world.body(world.ask("report", kind="engine", name="alpha", body={"state": "ready"}))
    assert world.on("health/engine/alpha/", "health") == [{"state": "ready", "name": "alpha"}]

    for number in range(ENGINES_MAX - 1):
        world.body(world.ask("report", kind="engine", name=f"e{number}"))
    assert world.failure(world.ask("report", kind="engine", name="one-more")).code == "refused"
    assert world.body(world.ask("report", kind="engine", name="alpha")) == {}


def test_diagnose_carries_verdict_evidence_and_advice(world: CoreWorld):
    """The contract of outside checks."""
    assert set(world.body(world.ask("diagnose"))) >= {"verdict", "evidence", "advice"}


def test_bars_come_as_rows_columns_or_bytes_of_the_same_numbers(world: CoreWorld):
    """The binary columns are little-endian float64, one after the other, NaN for null."""
    world.subscribe("bars/SPY/1min/")
    world.advance(1)
    rows = world.body(world.ask("bars", contract="SPY", count=5))["bars"]

    columns = world.body(world.ask("bars", contract="SPY", count=5, layout="columns"))["columns"]
    number = world.ask("bars", contract="SPY", count=5, layout="binary")

    assert columns["close"] == [bar.close for bar in rows]
    assert columns["complete"] == [True] * 4 + [False]
    body, frame = world.body(number), world.replies[number].columns
    assert (body["count"], body["dtype"]) == (5, "<f8")
    numbers = struct.unpack(f"<{5 * len(body['columns'])}d", frame or b"")
    at = body["columns"].index("close") * 5
    assert list(numbers[at : at + 5]) == columns["close"]


def test_unfinished_bar_comes_last_and_is_marked(world: CoreWorld):
    """From one historical answer as from a live series."""
    number = world.ask("bars", contract="QQQ", count=3)
    world.advance(1)

    assert [bar.complete for bar in world.body(number)["bars"]] == [True, True, False]


def test_errands_in_flight_are_told_when_the_session_goes(world: CoreWorld):
    """At once, each exactly once, whatever they waited for."""
    world.gateway.mute |= {fx.RequestContract, fx.RequestHistory, fx.RequestQuote}
    numbers = [world.ask(op, contract="SPY") for op in ("bars", "chain", "quote", "contract")]

    world.cut("network down")

    assert {world.failure(number).code for number in numbers} == {"gateway_unavailable"}
    assert len(world.core.errands) == 0
