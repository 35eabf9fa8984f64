"""Rates over a sliding minute: the count is right, and asking for it costs the same however much happened."""

from __future__ import annotations

import random

import pytest

from gateway_proxy.core import last_minute
from gateway_proxy.core.last_minute import LastMinute


def everybody(_engine: str, _account: str) -> bool:
    return True


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_going_through_all_events(seed):
    """Against the slow twin that keeps every event and looks at each of them, for all, one engine and one account."""
    chance = random.Random(seed)
    recent, events, now = LastMinute(), [], 0.0
    for _ in range(400):
        now += chance.choice((0.0, 0.1, 1.0, 59.9, 60.0) if chance.random() < 0.2 else (0.0, 0.1, 0.5))
        if chance.random() < 0.6:
            whom = chance.choice("ab"), chance.choice(("DU1", "DU2"))
            recent.add(*whom, now)
            events.append((now, *whom))
        for engine, account in ((None, None), ("a", None), (None, "DU2"), ("b", "DU1")):
            covers = lambda e, a, engine=engine, account=account: engine in (None, e) and account in (None, a)  # noqa: E731
            expected = sum(1 for at, e, a in events if at > now - 60.0 and covers(e, a))
            assert recent.count(covers, now) == expected, f"seed {seed} at {now}"


def test_asking_does_not_go_through_what_happened():
    """With a thousand events of one engine the scope is asked about that engine once."""
    recent, asked = LastMinute(), []
    for number in range(1_000):
        recent.add("a", "DU1", number / 100)

    def covers(*whom: str) -> bool:
        asked.append(whom)
        return True

    count = recent.count(covers, 10.0)

    assert count == 1_000
    assert asked == [("a", "DU1")]


def test_beyond_its_bound_the_oldest_is_forgotten(monkeypatch):
    """The bound holds, and what is dropped is no longer counted for anybody."""
    monkeypatch.setattr(last_minute, "EVENTS_MAX", 2)
    recent = LastMinute()
    for engine in "abb":
        recent.add(engine, "DU1", 0.0)

    assert recent.count(everybody, 0.0) == 2
    assert recent.count(lambda engine, _: engine == "a", 0.0) == 0
