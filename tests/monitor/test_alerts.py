"""Alerts: once per transition, with recovery, escalation and patience; and their delivery."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gateway_proxy import ConfigError
from monitor.alerts import BUILT_IN, AlertBook, Notice
from monitor.config import AlertRule, AlertSettings
from monitor.delivery import Delivery
from monitor.view import Light
from tests.monitor.conftest import Watched
from tests.monitor.messages import WALL_NS

DOWN = AlertRule("down", "state", equals=("disconnected",), for_s=30.0)


def phases(book: AlertBook, watched: Watched) -> list[str]:
    return [notice.phase for notice in book.receive_view(watched.view, watched.now)]


def test_alert_begins_once_and_ends_once(watched, bus):
    """However long the trouble lasts and however often we look, two notices tell its story."""
    book = AlertBook(AlertSettings(rules=(DOWN,)))
    told = []
    for state in ["ready", *["disconnected"] * 50, "ready", "ready"]:
        watched.advance(1.0)
        told += phases(book, watched.hear(bus.gateway(state)))

    assert told == ["begins", "over"]


def test_expected_outage_wakes_nobody_until_it_outlasts_its_window(watched, bus):
    """Inside a reset window the state is no alarm; the one that the proxy has escalated is."""
    book = AlertBook(AlertSettings(rules=(DOWN,)))
    told = []
    for facts in [{"expected": "nightly reset"}] * 50 + [{"expected": "", "escalated": True}] * 50:
        watched.advance(1.0)
        told += phases(book, watched.hear(bus.gateway("disconnected", **facts)))

    assert told == ["begins"]


def test_short_trouble_wakes_nobody(watched, bus):
    """A condition that does not hold for its whole time is never told, and neither is its end."""
    book = AlertBook(AlertSettings(rules=(DOWN,)))
    told = []
    for state in ["disconnected", "ready"] * 20:
        watched.advance(20.0)
        told += phases(book, watched.hear(bus.gateway(state)))

    assert told == []


def test_lasting_trouble_escalates_to_more_channels(watched, bus):
    """Reminders go to the wider circle, and so does the end: whoever was woken hears that it is over."""
    rule = AlertRule("down", "state", equals=("halted",), channels=("me",), escalate=("boss",), again_s=60.0)
    book = AlertBook(AlertSettings(rules=(rule,), channels={"me": "https://a", "boss": "https://b"}))
    notices = []
    for state in ["halted"] * 3 + ["ready"]:
        notices += book.receive_view(watched.hear(bus.gateway(state)).view, watched.now)
        watched.advance(40.0)

    assert [(notice.phase, notice.channels) for notice in notices] == [
        ("begins", ("me",)),
        ("continues", ("me", "boss")),
        ("over", ("me", "boss")),
    ]


def test_each_breaker_has_an_alert_of_its_own(watched, bus):
    book = AlertBook(AlertSettings(rules=(AlertRule("breaker", "breaker", equals=("open",)),)))
    breaker: dict[str, Any] = {"failures": 3, "cause": "history_silent"}
    both = {"history": breaker | {"state": "open"}, "secdef": breaker | {"state": "open"}}
    watched.hear(bus.gateway(), bus.health("breakers", breakers=both))

    first = book.receive_view(watched.view, watched.now)
    watched.hear(bus.health("breakers", breakers=both | {"secdef": {"state": "closed"}}))
    second = book.receive_view(watched.view, watched.now)

    assert {notice.subject for notice in first} == {"history", "secdef"}
    assert [(notice.subject, notice.phase) for notice in second] == [("secdef", "over")]
    assert book.firing() == [("breaker", "history")]


@pytest.mark.parametrize(
    ("rule", "topic", "body"),
    [
        (AlertRule("r", "budget", above=0.9), "pacing", {"rules": [{"rule": "x", "used": 58, "limit": 60}]}),
        (AlertRule("r", "queue_age", above=5), "pacing", {"lanes": {"order": {"depth": 1, "oldest_s": 6.0}}}),
        (
            AlertRule("r", "stream_age", above=60),
            "streams",
            {"streams": [{"topic": "t", "state": "live", "age_s": 61}]},
        ),
        (AlertRule("r", "round_trip", above=500), "gateway", {"state": "ready", "rtt_ms": 600.0}),
        (AlertRule("r", "loop_lag", above=100), "gateway", {"state": "ready", "loop_lag_ms": 101.0}),
    ],
)
def test_figures_alert_above_their_limit(watched, bus, rule, topic, body):
    book = AlertBook(AlertSettings(rules=(rule,)))
    watched.hear(bus.gateway(), bus.health(topic, **body))

    assert phases(book, watched) == ["begins"]


def test_daily_loss_alerts_on_the_money_lost_today(watched, bus):
    book = AlertBook(AlertSettings(rules=(AlertRule("loss", "daily_loss", above=500.0),)))
    watched.hear(bus.gateway(), bus.message("account/", "account", {"daily_pnl": -499.0}))
    before = phases(book, watched)
    watched.hear(bus.message("account/", "account", {"daily_pnl": -501.0}))

    assert (before, phases(book, watched)) == ([], ["begins"])


def test_silent_proxy_proves_neither_trouble_nor_its_end(watched, bus):
    """While no proxy is heard, an open alert about an engine stays open instead of flapping."""
    rules = (AlertRule("gone", "state", equals=("unreachable",)), AlertRule("unknown", "order_unknown", above=0))
    book = AlertBook(AlertSettings(rules=rules))
    watched.hear(bus.gateway(), bus.order(state="unknown"))
    first = [notice.rule for notice in book.receive_view(watched.view, watched.now)]
    watched.advance(10.0)
    second = [(notice.rule, notice.phase) for notice in book.receive_view(watched.view, watched.now)]

    assert first == ["unknown"]
    assert second == [("gone", "begins")]


def test_built_in_rules_are_sound():
    assert AlertBook(AlertSettings()).rules == BUILT_IN


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (AlertRule("a", "state", above=1.0), "is a word: want equals"),
        (AlertRule("a", "budget", equals=("x",)), "is a figure: want above"),
        (AlertRule("a", "light", equals=("red",), channels=("nobody",)), 'no channel "nobody"'),
    ],
)
def test_rule_that_cannot_work_is_refused_at_the_door(rule, said):
    with pytest.raises(ConfigError, match=said):
        AlertBook(AlertSettings(rules=(rule,)))


class Webhook(http.server.BaseHTTPRequestHandler):
    received: list[dict[str, Any]]
    answers: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = type(self).answers.pop(0) if type(self).answers else 200
        if status == 200:
            type(self).received.append(json.loads(body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[tuple[str, type[Webhook]]]:
    handler = type("Handler", (Webhook,), {"received": [], "answers": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", handler
    server.shutdown()
    server.server_close()
    thread.join()


NOTICE = Notice("down", "gateway", "begins", Light.RED, "gateway begins: disconnected", WALL_NS, ())


def test_webhook_gets_one_json_object(webhook):
    address, handler = webhook
    delivery = Delivery(AlertSettings(channels={"hook": address}))

    faults = delivery.deliver(NOTICE)

    assert faults == {}
    assert handler.received[0]["text"] == "[down] gateway begins: disconnected"
    assert handler.received[0]["notice"]["phase"] == "begins"


def test_webhook_that_fails_is_tried_again_and_then_told_without_its_address(webhook, monkeypatch):
    """The address may hold a secret; only the channel's name and the answer are told."""
    monkeypatch.setattr("monitor.delivery.RETRY_S", 0.01)
    address, handler = webhook
    handler.answers = [500, 500]
    delivery = Delivery(AlertSettings(channels={"hook": address}, tries_max=3))
    recovered = delivery.deliver(NOTICE)
    handler.answers = [503, 503, 503]
    failed = delivery.deliver(NOTICE)

    assert recovered == {}
    assert failed == {"hook": "the webhook answered 503"}


def test_full_queue_of_notices_drops_the_oldest_and_says_so():
    """A channel that hangs costs old notices, never memory."""
    told: list[str] = []
    delivery = Delivery(AlertSettings(channels={"hook": "http://127.0.0.1:9/"}, waiting_max=2), told.append)

    for _ in range(5):
        delivery.send(NOTICE)

    assert told == ["too many notices wait; dropped: down"] * 3


def test_address_nobody_understands_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"channels\] chat: "):
        Delivery(AlertSettings(channels={"chat": "nonsense://x"}))
