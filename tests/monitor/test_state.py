"""The fold: from any mix of messages to one truthful view."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proxy import Message
from monitor.config import StateSettings
from monitor.render import report, status_line
from monitor.state import PREFIXES, MonitorState
from monitor.view import Light
from tests.monitor.conftest import Watched
from tests.monitor.messages import WALL_NS, Bus, farms


def test_nothing_heard_is_unreachable_and_not_healthy(watched):
    """Before the first message the monitor claims nothing."""
    view = watched.view

    assert (view.state, view.healthy, view.light) == ("unreachable", False, Light.RED)
    assert view.gateway.age_s is None


def test_bus_without_gateway_health_is_unknown(watched, bus):
    """A proxy that only beats is reachable, but whether it is well is not known."""
    watched.hear(bus.heartbeat())

    assert (watched.view.state, watched.view.healthy, watched.view.light) == ("unknown", False, Light.DARK)


def test_ready_gateway_is_healthy_green(watched, bus):
    watched.hear(bus.gateway(farms=farms(usfarm="ok", ushmds="inactive")))

    view = watched.view

    assert (view.state, view.healthy, view.light, view.problems) == ("ready", True, Light.GREEN, ())
    assert view.gateway.since_s == 60.0
    assert [farm.name for farm in view.gateway.farms] == ["usfarm", "ushmds"]


def test_welcome_snapshot_counts_like_a_message(watched, bus):
    """A late joiner sees the state at once, from the welcome alone."""
    watched.hear(bus.welcome("health/gateway/", {"state": "ready", "mode": "paper"}))

    assert (watched.view.state, watched.view.gateway.mode) == ("ready", "paper")


def test_empty_welcome_changes_nothing(watched, bus):
    """A topic nobody published on yet welcomes with no snapshot."""
    watched.hear(bus.gateway(), bus.welcome("health/pacing/", None))

    assert watched.view.pacing.age_s is None
    assert watched.view.healthy


def test_broken_farm_turns_red_and_recovers(watched, bus):
    """A farm flap is a red light and two events; after it all is green again."""
    watched.hear(bus.gateway(farms=farms(usfarm="ok")))
    watched.hear(bus.gateway("degraded", farms=farms(usfarm="broken"), reason="usfarm broken"))
    broken = watched.view
    watched.hear(bus.gateway(farms=farms(usfarm="ok")))

    assert (broken.light, broken.healthy) == (Light.RED, False)
    assert {problem.key for problem in broken.problems} == {"gateway.state", "farm.usfarm"}
    assert watched.view.light is Light.GREEN
    assert watched.told() == [
        ("gateway", "gateway", "unknown -> ready"),
        ("gateway", "gateway", "ready -> degraded: usfarm broken"),
        ("farm", "usfarm", "farm ok -> broken"),
        ("gateway", "gateway", "degraded -> ready"),
        ("farm", "usfarm", "farm broken -> ok"),
    ]


def test_dialling_in_vain_is_told_once_for_each_reason(watched, bus):
    """A proxy that dials all night changes its state twice a minute; people hear what is new, and since when."""
    since_ns = WALL_NS - 3_600_000_000_000
    watched.hear(bus.gateway())
    refused = {"since_ns": since_ns, "reason": "nothing listens there", "dials": 1}
    for number, reason in enumerate(("closed by peer", "nothing listens there", "nothing listens there", "time-out")):
        outage = {"since_ns": since_ns, "reason": reason, "dials": number}
        watched.hear(bus.gateway("disconnected", reason=reason, outage=outage))
        watched.hear(bus.gateway("connecting", reason="dialling", outage={**outage, "dials": number + 1}))
    away_s = watched.view.gateway.since_s
    watched.hear(bus.gateway("synchronizing", outage=refused))
    watched.hear(bus.gateway(outage=None))

    assert away_s == pytest.approx(3600.0)
    assert [text for kind, _, text in watched.told() if kind == "gateway"] == [
        "unknown -> ready",
        "ready -> disconnected: closed by peer",
        "connecting -> disconnected: nothing listens there",
        "connecting -> disconnected: time-out",
        "connecting -> synchronizing",
        "synchronizing -> ready",
    ]


def test_silence_makes_the_view_unreachable_whatever_was_heard_last(watched, bus):
    """Old good news is no good news."""
    watched.hear(bus.gateway())

    watched.advance(StateSettings().silent_after_s + 0.1)

    assert (watched.view.state, watched.view.healthy) == ("unreachable", False)
    assert [problem.key for problem in watched.view.problems] == ["gateway.state"]


def test_silence_is_told_once_and_its_end_once(watched, bus):
    watched.hear(bus.gateway())
    for _ in range(3):
        watched.state.receive_silence("no frame for 2 s", WALL_NS)
    watched.hear(bus.heartbeat())

    assert watched.told()[1:] == [("proxy", "proxy", "not heard: no frame for 2 s"), ("proxy", "proxy", "heard again")]
    assert watched.view.state == "ready"


def test_restarted_proxy_forgets_its_old_health_and_keeps_orders(watched, bus):
    """After a new epoch the old life's health is unknown, not shown as if it were fresh."""
    watched.hear(bus.gateway(), bus.order(), bus.fill(), bus.heartbeat())

    watched.hear(Bus("second").heartbeat())

    assert watched.view.state == "unknown"
    assert (watched.view.orders_open, watched.view.fills_total) == (1, 1)
    assert ("proxy", "proxy", "restarted (new epoch)") in watched.told()


def test_open_breaker_is_red_with_its_cause(watched, bus):
    watched.hear(
        bus.gateway(),
        bus.health(
            "breakers",
            breakers={"history": {"state": "open", "failures": 5, "retry_in_s": 12.0, "cause": "gateway_silent"}},
        ),
    )

    assert watched.view.problems[0].text == "open (gateway_silent), next probe in 12 s"
    assert not watched.view.healthy
    assert watched.told()[-1] == ("breaker", "history", "breaker closed -> open (gateway_silent), next probe in 12 s")


def test_stopped_openings_are_told_until_they_are_resumed(watched, bus):
    """A kill switch survives restarts, so whoever looks must see it, with its reason."""
    watched.hear(bus.gateway(openings_stopped="kill: too many losses"))
    stopped = watched.view
    watched.hear(bus.gateway(openings_stopped=""))

    assert [problem.key for problem in stopped.problems] == ["orders.stopped"]
    assert "too many losses" in stopped.problems[0].text
    assert watched.view.problems == ()


def test_queue_wait_is_never_shown_as_gateway_time(watched, bus):
    """A request held 40 s by pacing and answered in 80 ms shows 40 s of queue and 80 ms of Gateway."""
    one = {"queue_ms": {"p50": 0.1, "p99": 40_000.0, "max": 40_000.0, "count": 9}}
    one |= {"gateway_ms": {"p50": 60.0, "p99": 80.0, "max": 80.0, "count": 9}}
    watched.hear(bus.gateway(), bus.health("latency", classes={"history": one}))

    (latency,) = watched.view.latency

    assert (latency.queue_ms.p99, latency.gateway_ms.p99) == (40_000.0, 80.0)
    assert "history p99 queue 40s gw 80ms" in status_line(watched.view)


def test_pacing_rules_stand_with_the_fullest_first(watched, bus):
    rules = [
        {"rule": "messages", "scope": "all", "used": 5, "limit": 45, "window_s": 1, "next_free_s": 0},
        {"rule": "history_600s", "scope": "all", "used": 60, "limit": 60, "window_s": 600, "next_free_s": 31.5},
    ]
    watched.hear(
        bus.gateway(), bus.health("pacing", rules=rules, lanes={"interactive": {"depth": 4, "oldest_s": 31.0}})
    )

    assert [rule.rule for rule in watched.view.pacing.rules] == ["history_600s", "messages"]
    assert watched.view.problems[0].subject == "lane interactive"
    assert watched.view.healthy  # waiting is worth a look, not an alarm


def test_stale_stream_is_told_and_aged(watched, bus):
    """The age of a stream grows while no new health arrives, so it is never shown too young."""
    stream = {"topic": "bars/SPY/1min/", "state": "live", "age_s": 3.0, "bars": 61, "feed": "history"}
    watched.hear(bus.gateway(), bus.health("streams", streams=[stream]))
    watched.advance(1.5)
    fresh = watched.view.streams[0]
    watched.hear(bus.health("streams", streams=[stream | {"state": "stale", "age_s": 95.0}]))

    assert (fresh.age_s, fresh.light) == (4.5, Light.GREEN)
    assert watched.view.streams[0].light is Light.RED
    assert watched.told()[-1] == ("stream", "bars/SPY/1min/", "live -> stale")


def test_a_stream_says_how_it_is_fed_and_what_it_waits_for(watched, bus):
    """Beyond IB's slots a series comes by 5-second bars, or waits for the rule that is full."""
    live = {"topic": "bars/IWM/1min/", "state": "live", "age_s": 1.0, "bars": 9, "feed": "real_time", "held_by": ""}
    waiting = live | {"topic": "bars/TSLA/1min/", "state": "waiting", "age_s": None, "feed": "", "held_by": "bar_lines"}
    watched.hear(bus.gateway(), bus.health("streams", streams=[live, waiting]))

    text = "\n".join(report(watched.view, colour=False))

    assert "bars/IWM/1min/ live by 5-second bars, last data 1.0s ago" in text
    assert "bars/TSLA/1min/ waiting, last data - ago, waits for bar_lines" in text


def test_engine_that_stops_reporting_turns_red(watched, bus):
    watched.hear(bus.health("engine/scalp", state="running", symbols=["SPY"], signals=0))
    watched.advance(StateSettings().engine_silent_after_s + 1)
    watched.hear(bus.gateway())

    assert watched.view.engines[0].state == "silent (running)"
    assert [problem.subject for problem in watched.view.problems] == ["engine scalp"]


def test_new_signal_of_an_engine_is_an_event(watched, bus):
    watched.hear(bus.health("engine/scalp", state="running", signals=0))
    watched.hear(bus.health("engine/scalp", state="running", signals=1, last_decision="BUY SPY call"))
    watched.hear(bus.health("engine/scalp", state="running", signals=1, last_decision="hold"))

    assert watched.told() == [("engine", "scalp", "new -> running"), ("signal", "scalp", "BUY SPY call")]


def test_late_joiner_does_not_tell_old_signals_as_new(watched, bus):
    watched.hear(bus.health("engine/scalp", state="running", signals=7, last_decision="BUY SPY call"))

    assert [kind for kind, _, _ in watched.told()] == ["engine"]


def test_restarted_process_is_an_event(watched, bus):
    watched.hear(bus.health("process/proxy", state="running", pid=10, restarts=0))
    watched.hear(bus.health("process/proxy", state="running", pid=11, restarts=1))

    assert watched.told() == [("process", "proxy", "restarted (1 times so far)")]


def test_order_life_line_is_kept(watched, bus):
    """Every state an order went through stays readable, with its time."""
    watched.hear(bus.order(state="sent"), bus.order(state="working"), bus.order(state="filled", filled=2))

    (order,) = watched.view.orders

    assert [state for _, state, _ in order.life] == ["sent", "working", "filled"]
    assert (order.open, order.contract) == (False, "SPY.20260618.C.600")


def test_unknown_order_is_red(watched, bus):
    """An order nobody knows the fate of is the one thing a trader must hear about."""
    watched.hear(bus.gateway(), bus.order(state="unknown"))

    assert (watched.view.light, watched.view.healthy) == (Light.RED, False)


def test_commission_completes_a_fill_instead_of_doubling_it(watched, bus):
    watched.hear(bus.fill(), bus.fill(commission=1.3, realized_pnl=42.5))

    assert watched.view.fills_total == 1
    assert watched.view.fills[0].realized_pnl == 42.5
    assert watched.told()[-1][2] == "BUY 2 SPY @ 1.25: realized +42.50"


def test_verdicts_of_ordinary_life_are_kept_but_not_told(watched, bus):
    watched.hear(
        bus.message("verdicts/", "verdict", {"verdict": "ok", "request_class": "history"}),
        bus.message(
            "verdicts/", "verdict", {"verdict": "gateway_silent", "request_class": "history", "advice": "wait"}
        ),
    )

    assert [one.verdict for one in watched.view.verdicts] == ["gateway_silent", "ok"]
    assert watched.told() == [("verdict", "history", "gateway_silent: wait")]


def test_verdict_names_what_was_asked_about(watched, bus):
    """Six unknown strikes are six different lines."""
    body = {"verdict": "contract_unknown", "evidence": {"request_class": "contract", "about": "SPY.20260615.C.601"}}

    watched.hear(bus.message("verdicts/", "verdict", body | {"advice": "check it"}))

    assert watched.told() == [("verdict", "contract", "contract_unknown SPY.20260615.C.601: check it")]


def test_snapshots_of_orders_are_facts_but_no_news(watched, bus):
    watched.hear(bus.welcome("orders/scalp/", bus.order().body), bus.welcome("fills/", bus.fill().body))

    assert (watched.view.orders_open, watched.view.fills_total) == (1, 1)
    assert watched.told() == []


def test_bus_delay_is_measured_on_heartbeats(watched, bus):
    watched.hear(*(bus.heartbeat(sent_ns=WALL_NS - delay_ms * 1_000_000) for delay_ms in (1, 2, 3, 4, 50)))

    delay = watched.view.bus.delay_ms

    assert (delay.p50, delay.p99, delay.max, delay.count) == (3.0, 50.0, 50.0, 5)


def test_everything_remembered_is_bounded():
    """A flood of orders, fills, verdicts, engines and events never grows past the limits; open orders survive it."""
    state = MonitorState(StateSettings(events_max=10, orders_max=10, fills_max=10, verdicts_max=10, workers_max=5))
    bus = Bus()
    state.receive_message(bus.order("keep", "working"), 0.0, WALL_NS)
    for i in range(100):
        state.receive_message(bus.order(f"o{i}", "filled"), 0.0, WALL_NS)
        state.receive_message(bus.fill(f"e{i}"), 0.0, WALL_NS)
        state.receive_message(bus.message("verdicts/", "verdict", {"verdict": "pacing"}), 0.0, WALL_NS)
        state.receive_message(bus.health(f"engine/n{i}", state="running"), float(i), WALL_NS)

    view = state.view(100.0, WALL_NS)

    assert (len(view.orders), len(view.fills), len(view.verdicts), len(view.engines)) == (10, 10, 10, 5)
    assert len(state.events_since(0)) == 10
    assert view.orders[0].client_order_id == "keep"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = """state farms rules lanes owners breakers classes streams symbols signals snapshot topic client_order_id
    exec_id verdict contract legs last_decision quantity price filled since_ns used limit timeline evidence"""
KEYS = st.sampled_from(WORDS.split())
PLACES = """health/gateway/ health/pacing/ health/breakers/ health/latency/ health/streams/ health/bus/ health/engine/a/
    health/process/b/ orders/a/ fills/ positions/ account/ verdicts/ odd"""
TOPICS = st.sampled_from(["", *PLACES.split()])
BODIES = st.dictionaries(KEYS, ODD | st.dictionaries(st.text(max_size=5), st.dictionaries(KEYS, ODD, max_size=4)))
KINDS = st.sampled_from(["health", "welcome", "heartbeat", "order", "fill", "gap", "odd"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(TOPICS, KINDS, BODIES | ODD), max_size=8))
def test_odd_bodies_never_break_the_monitor(frames: list[tuple[str, str, Any]]):
    """Whatever others publish, the view and its lines come out, and the lines carry no control characters."""
    state = MonitorState()
    for seq, (topic, kind, body) in enumerate(frames):
        state.receive_message(Message(topic, kind, seq, "e", WALL_NS, body), 1.0, WALL_NS)

    lines = list(report(state.view(2.0, WALL_NS)))

    assert all(line.isprintable() for line in lines)


def test_any_order_of_arrival_ends_in_the_same_view():
    """Topics are independent: shuffling them changes the view not at all."""
    seed = 20260618
    bus = Bus()
    frames = [
        bus.gateway(),
        bus.order(),
        bus.fill(),
        bus.heartbeat(),
        bus.health("engine/a", state="running", signals=1),
    ]
    views = []
    for shuffle in range(10):
        random.Random(seed + shuffle).shuffle(frames)
        watched = Watched().hear(*frames)
        views.append(watched.view)

    assert all(view == views[0] for view in views), f"seed {seed}"


def test_monitor_only_listens_to_prefixes():
    """No subscription of the monitor names a stream, so none can open one upstream."""
    assert not any(prefix.count("/") > 1 for prefix in PREFIXES if prefix.startswith(("bars", "quote", "chain")))


def test_reason_of_the_silence_is_in_the_problem(watched, bus):
    """Whoever looks reads why nothing comes, not just that nothing comes."""
    watched.hear(bus.gateway())
    watched.state.receive_silence("connection.json names process 7, which is gone", WALL_NS)

    assert watched.view.problems[0].text == "unreachable: connection.json names process 7, which is gone"


def test_bracket_whose_exits_still_work_counts_as_open(watched, bus):
    """The entry is filled, but the position still hangs on two live orders."""
    exits = [{"leg": leg, "state": "working"} for leg in ("take_profit", "stop_loss")]
    watched.hear(bus.order(state="filled", legs=[{"leg": "entry", "state": "filled"}, *exits]))
    during = watched.view.orders_open
    over = [{"leg": "take_profit", "state": "filled"}, {"leg": "stop_loss", "state": "cancelled"}]
    watched.hear(bus.order(state="filled", legs=[{"leg": "entry", "state": "filled"}, *over]))

    assert (during, watched.view.orders_open) == (1, 0)


def test_farm_that_falls_asleep_is_no_news(watched, bus):
    """Up, idle and up again is how a data farm saves energy, several times an hour."""
    for state in ("up", "idle", "up"):
        watched.hear(bus.gateway(farms=farms(ushmds=state)))

    assert [kind for kind, _, _ in watched.told()] == ["gateway"]


def test_verdicts_keep_request_and_timeline_from_their_evidence(watched, bus):
    """As the proxy publishes them: everything about the request stands in the evidence."""
    evidence = {
        "request_class": "history_small",
        "topic": "bars/SPY/1min/",
        "timeline": {"queued_ms": 5.0},
        "code": 162,
    }
    watched.hear(bus.message("verdicts/", "verdict", {"verdict": "pacing", "evidence": evidence, "advice": "wait"}))

    (verdict,) = watched.view.verdicts

    assert (verdict.request_class, verdict.subject) == ("history_small", "bars/SPY/1min/")
    assert verdict.timeline == {"queued_ms": 5.0}
    assert verdict.evidence == {"topic": "bars/SPY/1min/", "code": 162}
