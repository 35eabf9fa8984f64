"""Trading days in virtual time: nightly resets, restarts, random faults. All comes back, nothing is hidden."""

from __future__ import annotations

import pytest

from tests.scenarios.days import run_days, unsound


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
