"""Random lives of the order path, by Hypothesis (which shortens what it finds) and by the hundred from plain seeds."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings, strategies

from tests.gateway_proxy.core.order_life import OrderLife

SEEDS = 30
STEPS = 60


@given(
    turns=strategies.lists(strategies.integers(0, 2**32 - 1), min_size=5, max_size=40),
    good_for_s=strategies.sampled_from([0.0, 30.0]),
)
@settings(max_examples=25, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
def test_no_sequence_of_events_breaks_a_promise(turns, good_for_s):
    """One order per id, one answer per request, one id per order, replay equals memory, and it all comes to rest."""
    life = OrderLife(good_for_s)

    for number, turn in enumerate(turns):
        life.step(Random(turn + number))
    note(" ".join(life.trace))

    life.settle()


@pytest.mark.parametrize("decade", range(SEEDS // 10))
def test_long_lives_keep_the_promises_too(decade):
    """Ten seeds each; the seed and the turns taken are in the message."""
    for seed in range(decade * 10, decade * 10 + 10):
        rng, life = Random(seed), OrderLife(30.0 if seed % 2 else 0.0)
        try:
            for _ in range(STEPS):
                life.step(rng)
            life.settle()
        except Exception as error:
            raise AssertionError(f"seed {seed}, after {' '.join(life.trace)}") from error
