"""What a subscriber notices: gaps, lost tails, duplicates, another life of the proxy."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway_proxy.bus.codec import decode_market
from gateway_proxy.bus.messages import Message
from gateway_proxy.bus.publisher import Publisher
from gateway_proxy.bus.sequence import Gap, Restarted, Sequence

SPY = "bars/SPY/1min/"


def bar(seq: int, epoch: str = "e1", topic: str = SPY) -> Message:
    return Message(topic, "bar", seq, epoch, 0, {})


def welcome(seq: int, epoch: str = "e1") -> Message:
    return Message(SPY, "welcome", seq, epoch, 0, {"topic": SPY, "seq": seq, "snapshot": None})


def heartbeat(seq: int, epoch: str = "e1") -> Message:
    return Message("health/bus/", "heartbeat", 1, epoch, 0, {"topics": {SPY: seq, "quote/SPY/": 9}})


def heard(*messages: Message) -> list[Any]:
    sequence, out = Sequence(), []
    for message in messages:
        notices, wanted = sequence.receive(message)
        out += [*notices, *([message.seq] if wanted else [])]
    return out


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([welcome(4), bar(5), bar(6)], [4, 5, 6]),
        ([welcome(0), bar(1)], [0, 1]),
        ([welcome(0), bar(2)], [0, Gap(SPY, 1, 1), 2]),
        ([welcome(4), bar(8), bar(9)], [4, Gap(SPY, 5, 7), 8, 9]),
        ([bar(5), bar(6)], [5, 6]),
        ([bar(5), bar(5), bar(4), bar(6)], [5, 6]),
        ([bar(5), welcome(5), bar(6)], [5, 5, 6]),
        ([bar(5), welcome(7), bar(8)], [5, Gap(SPY, 6, 7), 7, 8]),
        ([welcome(4), heartbeat(4)], [4, 1]),
        ([welcome(4), heartbeat(6), heartbeat(6), bar(7)], [4, Gap(SPY, 5, 6), 1, 1, 7]),
        ([heartbeat(6), bar(7)], [1, 7]),
        ([bar(5), bar(1, "e2"), bar(2, "e2")], [5, Restarted("e1", "e2"), 1, 2]),
        ([bar(5), heartbeat(3, "e2"), welcome(3, "e2"), bar(4, "e2")], [5, Restarted("e1", "e2"), 1, 3, 4]),
    ],
)
def test_what_a_subscriber_is_told(messages, expected):
    """Numbers of the messages handed out, with the notices where they belong."""
    assert heard(*messages) == expected


def test_unsubscribed_topic_is_not_missed():
    """What nobody wants any more makes no gap."""
    sequence = Sequence()
    sequence.receive(welcome(4))

    sequence.forget(SPY)

    assert sequence.receive(heartbeat(9)) == ([], True)


@pytest.mark.parametrize("seed", range(20))
def test_no_loss_goes_unnoticed(seed):
    """Random drops, duplicates and restarts: received + missed adds up to what was published since the welcome."""
    chance = random.Random(seed)
    sequence, published, received, missed = Sequence(), 0, 0, 0
    for epoch in ("e1", "e2"):
        publisher = Publisher(epoch)
        publisher.subscribed(SPY.encode(), 0.0)
        frames = publisher.welcomes(0.0, 0)
        for _ in range(200):
            frame = publisher.publish(SPY, "bar", {}, 0)
            published += 1
            frames += [frame] * chance.choice([0, 0, 1, 1, 1, 2])
            if chance.random() < 0.1:
                frames.append(publisher.heartbeat({}, 0))
        frames.append(publisher.heartbeat({}, 0))
        for frame in frames:
            notices, wanted = sequence.receive(message := decode_market(frame))
            missed += sum(notice.missed for notice in notices if isinstance(notice, Gap))
            received += wanted and message.kind == "bar"

    assert received + missed == published, f"seed {seed}"
