"""Causes that live in processes: who does not read his socket, and who was stopped. Named by doctor and health."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ear import Ear
from tests.support.pair import Pair

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc"),
]


@pytest.fixture
def pair(short_dir: Path) -> Iterator[Pair]:
    made = Pair(short_dir)
    yield made
    made.close()


def test_the_old_bots_fault_is_named_from_outside(pair: Pair):
    """A new loop in every cycle: the Gateway has answered, nobody reads; doctor names loop mismatch and the program."""
    pair.start_simulator()
    bot = pair.spawn("examples/old_bot.py", "--port", str(pair.port), "--cycles", "3", "--timeout", "6", "--pause", "1")
    assert bot.stdout is not None
    first = [bot.stdout.readline() for _ in range(3)]
    time.sleep(3.0)

    report = pair.doctor()

    assert all("60 bars" in line or "61 bars" in line for line in first), first
    assert report["verdict"] == "loop_mismatch"
    assert str(bot.pid) in report["sign"]


@pytest.mark.slow
def test_a_stopped_proxy_says_so_when_it_wakes(pair: Pair):
    """SIGSTOP of the proxy for 2.5 s: its own lag is published as the cause, not the Gateway's silence."""
    pair.start()
    assert pair.proxy is not None
    with Ear(pair.runtime, "health/gateway/") as ear:
        pair.wait_until(lambda: ear.state_since(0.0, "ready"), "ready")
        os.kill(pair.proxy.pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.kill(pair.proxy.pid, signal.SIGCONT)
        woke = time.monotonic()
        pair.wait_until(
            lambda: any(at > woke and body.get("verdict") == "proxy_stalled" for at, _, body in list(ear.heard)),
            "proxy_stalled",
        )
        pair.wait_until(lambda: ear.heard[-1][2].get("state") == "ready", "ready again")


@pytest.mark.slow
def test_doctor_names_a_gateway_that_is_not_there(pair: Pair):
    """Nothing listens and no proxy runs: the address is the answer."""
    report = pair.doctor()

    assert report["verdict"] == "gateway_down"


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "verdict"), [("mute", "gateway_hung"), ("half_open", "session_dead")])
def test_doctor_tells_a_hung_gateway_from_a_dead_connection(pair: Pair, fault: str, verdict: str):
    """The same silence on our session; the fresh client makes the difference."""
    pair.start()
    with Ear(pair.runtime, "health/gateway/") as ear:
        pair.wait_until(lambda: ear.state_since(0.0, "ready"), "ready")
        since = time.monotonic()
        pair.inject(fault, "30s")
        pair.wait_until(lambda: ear.state_since(since, "degraded"), "degraded")

        report = pair.doctor()

    assert report["verdict"] == verdict
