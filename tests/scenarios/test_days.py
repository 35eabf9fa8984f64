"""Trading days in virtual time: nightly resets, restarts, random faults. All comes back, nothing is hidden."""

from __future__ import annotations

import pytest

from gateway_proxy.core.effects import Log
from tests.scenarios.days import alarms_told_twice, run_days, unsound


def state(before: str, after: str, reason: str = "the socket closed") -> Log:
    level = "info" if after == "ready" else "warning"
    return Log(level, "gateway state", {"from": before, "to": after, "reason": reason})


def test_one_alarm_for_each_outage_is_in_order():
    """The same cause again after all was well is news."""
    fine = [state("ready", "disconnected"), state("disconnected", "ready"), state("ready", "disconnected")]

    assert alarms_told_twice(fine) == []


def test_the_same_alarm_within_one_outage_is_found():
    """Dialing again is not another outage."""
    storm = [state("ready", "disconnected"), state("disconnected", "connecting", "dialing")]
    storm.append(state("connecting", "disconnected"))

    assert len(alarms_told_twice(storm)) == 1


def test_a_transition_that_nobody_told_of_is_found():
    """The chain of states has a break."""
    assert len(alarms_told_twice([state("ready", "disconnected"), state("ready", "degraded")])) == 1


def test_a_trading_day_with_faults_heals_every_time():
    """From 09:00 on: every stream is fresh again within its bound after each fault, nothing is hidden or doubled."""
    world, days = run_days(seed=7, until="2026-06-15 12:00")

    assert unsound(world, days) == []
    assert len(world.events("fault")) >= 4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_days_and_nights_heal(seed: int):
    """A day and a night: resets and restarts while nobody looks, and the morning's first bars on time."""
    world, days = run_days(seed=seed, until="2026-06-16 11:00")

    assert unsound(world, days) == []
