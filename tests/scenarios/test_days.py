"""Trading days in virtual time: nightly resets, restarts, random faults. All comes back, nothing is hidden.

That the judge of these days can fail is shown in test_judge.py.
"""

from __future__ import annotations

import pytest

from tests.scenarios.days import QUOTE, TOPICS, run_days
from tests.scenarios.judge import STALLED, unsound


def test_a_trading_day_with_faults_heals_every_time():
    """From 09:00 on: every stream is fresh again within its bound after each fault, nothing is hidden or doubled."""
    history, days = run_days(seed=7, until="2026-06-15 12:00")

    assert [*days.wrong, *unsound(history)] == []
    assert len(history.blows) >= 4
    assert len(history.openings()) == len(TOPICS)
    assert any(one.blow is not None for one in history.silences()), "no fault was felt: nothing was judged"


def test_a_feed_that_stays_frozen_is_told_once():
    """Minutes in which every try is in vain: one warning for each stream."""
    frozen = (("freeze_feed", 1_200.0),)
    history, days = run_days(seed=1, until="2026-06-15 09:31", topics=(*TOPICS, QUOTE), kinds=frozen)

    assert [*days.wrong, *unsound(history)] == []
    [blow] = history.blows
    assert blow.ended_s - blow.began_s > 240.0
    stalled = {log.fields["topic"] for _, log in history.logs if log.level == "warning" and log.event in STALLED}
    assert stalled == {*TOPICS, QUOTE}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_quote_heals_as_bars_do():
    """Its ticks come several times a second, and are judged by that."""
    history, days = run_days(seed=7, until="2026-06-15 11:00", topics=(*TOPICS, QUOTE))

    assert [*days.wrong, *unsound(history)] == []
    assert {one.topic for one in history.silences() if one.blow is not None} == {*TOPICS, QUOTE}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_days_and_nights_heal(seed: int):
    """A day and a night: resets and restarts while nobody looks, and the morning's first bars on time."""
    history, days = run_days(seed=seed, until="2026-06-16 11:00")

    assert [*days.wrong, *unsound(history)] == []
    assert len(history.openings()) == 2 * len(TOPICS)
