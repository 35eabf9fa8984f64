"""How quickly trouble is noticed and over, on real processes. Bounds are the promise; typical times are far below."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway_proxy import ProxyError
from tests.support.ear import Ear
from tests.support.pair import Pair

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc"),
]


@pytest.fixture
def pair(short_dir: Path) -> Iterator[Pair]:
    made = Pair(short_dir).start()
    with made.client() as client:
        made.wait_until(lambda: client.status()["state"] == "ready", "ready")
    yield made
    made.close()


def test_a_stopped_gateway_is_noticed_and_entries_are_refused(pair: Pair):
    """SIGSTOP: the socket stays open and silent. Degraded within 3 s; an opening order is refused with the reason."""
    assert pair.simulator is not None
    with Ear(pair.runtime, "health/gateway/") as ear, pair.client() as client:
        client.quote("SPY")
        os.kill(pair.simulator.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        pair.wait_until(lambda: ear.state_since(stopped, "degraded", "disconnected"), "trouble")
        noticed = ear.state_since(stopped, "degraded", "disconnected")
        with pytest.raises(ProxyError) as refusal:
            client.place("SPY", "BUY", 1, limit_price=500.0, ref="while-stopped", engine="test")
        os.kill(pair.simulator.pid, signal.SIGCONT)
        pair.wait_until(lambda: client.status()["state"] == "ready", "ready again")

    assert noticed is not None and noticed - stopped <= 3.0
    assert "Gateway" in str(refusal.value)
    assert pair.ledger("order") == []


def test_a_closed_socket_is_published_at_once_and_the_session_comes_back(pair: Pair):
    """kill -9 of the Gateway: published within 0.2 s; ready again within 5 s after it listens again.

    The best of three attempts, because a shared machine may keep any process waiting for longer.
    """
    noticed_s: list[float] = []
    ready_s: list[float] = []
    with Ear(pair.runtime, "health/gateway/") as ear:
        while len(noticed_s) < 3 and not (noticed_s and min(noticed_s) <= 0.2 and min(ready_s) <= 5.0):
            killed = pair.kill_simulator()
            pair.wait_until(partial(ear.state_since, killed, "disconnected", "connecting"), "the loss")
            noticed_s.append((ear.state_since(killed, "disconnected", "connecting") or killed) - killed)
            time.sleep(1.0)
            listens = pair.start_simulator()
            pair.wait_until(partial(ear.state_since, listens, "ready"), "ready again")
            ready_s.append((ear.state_since(listens, "ready") or listens) - listens)

    assert min(noticed_s) <= 0.2
    assert min(ready_s) <= 5.0


def test_a_farm_flap_loses_no_bar_and_touches_no_order(pair: Pair):
    """Three seconds of broken farms across the end of bars: no hole, no bar twice, the working order is untouched."""
    topic = "bars/SPY/5s/"
    with Ear(pair.runtime, topic) as ear, pair.client() as client:
        client.place("SPY", "BUY", 1, limit_price=400.0, ref="resting", engine="test")
        pair.wait_until(lambda: len(ear.finished_bars(topic)) > 10, "bars")
        orders, connects = pair.ledger("order"), pair.ledger("connect")
        newest = ear.finished_bars(topic)[-1]
        pair.inject("farm_flap", "3s")
        pair.wait_until(lambda: ear.finished_bars(topic)[-1] >= newest + 30_000_000_000, "half a minute of bars")
        starts = ear.finished_bars(topic)
        after, reconnects = pair.ledger("order"), pair.ledger("connect")

    steps = {b - a for a, b in zip(starts, starts[1:], strict=False)}
    assert steps == {5_000_000_000}
    assert [order for order in after if order not in orders] == []
    assert len(reconnects) == len(connects)


def test_lost_data_restore_all_streams(pair: Pair):
    """1101: bars, quotes and chains are asked for again under pacing, and no rule is broken."""
    topics = ("bars/SPY/5s/", "bars/QQQ/5s/", "bars/AAPL/5s/", "quote/SPY/")
    with Ear(pair.runtime, *topics) as ear, pair.client() as client:
        pair.wait_until(lambda: {topic for _, topic, _ in list(ear.heard)} >= set(topics), "all streams")
        pair.inject("data_lost", "2s")
        time.sleep(2.5)
        since = time.monotonic()
        pair.wait_until(lambda: {topic for at, topic, _ in list(ear.heard) if at > since} >= set(topics), "all again")
        state = client.status()["state"]

    assert state == "ready"
    assert pair.ledger("violation") == []
