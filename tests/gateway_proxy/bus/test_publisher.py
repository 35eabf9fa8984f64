"""Numbers, last values, welcomes and heartbeats, with a clock that the test owns."""

from __future__ import annotations

import pytest

from gateway_proxy.bus.codec import decode_market
from gateway_proxy.bus.messages import Message
from gateway_proxy.bus.publisher import WELCOMES_PER_TURN, Publisher
from gateway_proxy.errors import BadMessage, QueueFull

SPY = "bars/SPY/1min/"


def welcomes(publisher: Publisher, now: float) -> list[Message]:
    return [decode_market(frame) for frame in publisher.welcomes(now, 0)]


def test_every_topic_counts_for_itself():
    """seq starts at 1 per topic and never skips."""
    publisher = Publisher("e1")

    frames = [publisher.publish(topic, "bar", {}, 0) for topic in (SPY, "bars/QQQ/1min/", SPY)]

    assert [decode_market(frame).seq for frame in frames] == [1, 1, 2]


def test_welcome_has_the_last_value_and_consumes_no_number():
    """Its seq is where the topic stands; the next message continues."""
    publisher = Publisher("e1")
    publisher.publish(SPY, "bar", {"close": 1.0}, 0)

    publisher.subscribed(SPY.encode(), 0.0)
    [welcome] = welcomes(publisher, 0.0)

    assert (welcome.topic, welcome.kind, welcome.seq) == (SPY, "welcome", 1)
    assert welcome.body == {"topic": SPY, "seq": 1, "snapshot": {"close": 1.0}}
    assert decode_market(publisher.publish(SPY, "bar", {}, 0)).seq == 2


def test_stream_without_a_value_yet_is_welcomed_at_zero():
    """So that its first message cannot be lost unnoticed; a bare prefix has nothing to welcome to."""
    publisher = Publisher("e1")

    publisher.subscribed(SPY.encode(), 0.0)
    publisher.subscribed(b"quote/", 0.0)

    assert [(m.topic, m.seq, m.body["snapshot"]) for m in welcomes(publisher, 0.0)] == [(SPY, 0, None)]


def test_crowd_that_joins_together_shares_welcomes():
    """At most one per topic in 100 ms, and nobody waits longer than that."""
    publisher = Publisher("e1")
    publisher.publish(SPY, "bar", {}, 0)

    sent = 0
    for step in range(100):
        publisher.subscribed(SPY.encode(), step * 0.01)
        sent += len(welcomes(publisher, step * 0.01))

    assert sent == 10
    assert publisher.next_timer() == pytest.approx(1.0, abs=0.05)
    assert len(welcomes(publisher, 1.1)) == 1
    assert publisher.next_timer() is None


def test_subscriber_to_everything_is_welcomed_in_bounded_turns():
    """A thousand topics do not block the loop at once; all are welcomed in the end."""
    publisher = Publisher("e1")
    for number in range(1000):
        publisher.publish(f"bars/S{number}/1min/", "bar", {}, 0)
    publisher.subscribed(b"", 0.0)

    turns = []
    while publisher.next_timer() is not None:
        turns.append(len(welcomes(publisher, 0.0)))

    assert max(turns) == WELCOMES_PER_TURN
    assert sum(turns) == 1000


def test_only_the_first_and_the_last_subscriber_open_and_close():
    """The calls in between return None."""
    publisher = Publisher("e1")

    assert publisher.subscribed(SPY.encode(), 0.0) == SPY
    assert publisher.subscribed(SPY.encode(), 0.0) is None
    assert publisher.unsubscribed(SPY.encode()) == SPY
    assert publisher.unsubscribed(SPY.encode()) is None


@pytest.mark.parametrize("prefix", [b"bars/\x00", b"\xff", b"x" * 129, b"a\n"])
def test_prefix_that_no_topic_can_have_is_refused(prefix):
    """Control characters, bytes beyond ASCII, endless ones; nothing is remembered."""
    publisher = Publisher("e1")

    with pytest.raises(BadMessage):
        publisher.subscribed(prefix, 0.0)

    assert publisher.subscriptions == frozenset()


def test_topics_and_subscriptions_are_bounded():
    """One too many is refused; those that exist go on, and a topic that was only waited for gives its place back."""
    publisher = Publisher("e1", topics_max=2)
    publisher.publish(SPY, "bar", {}, 0)
    publisher.subscribed(b"quote/QQQ/", 0.0)

    with pytest.raises(QueueFull):
        publisher.publish("fills/", "fill", {}, 0)
    assert decode_market(publisher.publish(SPY, "bar", {}, 0)).seq == 2

    publisher.unsubscribed(b"quote/QQQ/")
    assert decode_market(publisher.publish("fills/", "fill", {}, 0)).seq == 1


def test_heartbeat_names_where_every_topic_stands():
    """All but its own topic, with the counters."""
    publisher = Publisher("e1")
    publisher.publish(SPY, "bar", {}, 0)
    publisher.subscribed(b"quote/SPY/", 0.0)

    beat = decode_market(publisher.heartbeat({"requests": 5, "refused": 1, "dropped": 0}, 0))

    assert (beat.topic, beat.kind) == ("health/bus/", "heartbeat")
    assert beat.body == {
        "topics": {SPY: 1, "quote/SPY/": 0},
        "subscriptions": 1,
        "published": 1,
        "requests": 5,
        "refused": 1,
        "dropped": 0,
    }


def test_snapshot_is_what_the_proxy_says_it_is():
    """The newest bars instead of the last one; topics without an own snapshot give their last body."""
    publisher = Publisher("e1", lambda topic: [{"close": 1.0}, {"close": 2.0}] if topic == SPY else None)
    publisher.publish(SPY, "bar", {"close": 2.0}, 0)
    publisher.publish("quote/SPY/", "quote", {"bid": 1.0}, 0)

    assert publisher.snapshot("bars/") == {SPY: {"seq": 1, "kind": "bar", "body": [{"close": 1.0}, {"close": 2.0}]}}
    assert publisher.snapshot("")["quote/SPY/"]["body"] == {"bid": 1.0}
