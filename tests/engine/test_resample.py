"""Longer bars: anchored at the open, never over two sessions, honest about what is missing."""

from __future__ import annotations

import pytest

from engine.resample import resample
from tests.engine.conftest import OPEN_NS, make_bar


def test_five_minutes_are_made_of_five_bars():
    """First open, highest high, lowest low, last close, all volume."""
    bars = [make_bar(minute, close=600.0 + minute) for minute in range(10)]

    first, second = resample(bars, 60, 300)

    assert (first.start_ns, second.start_ns) == (OPEN_NS, OPEN_NS + 300_000_000_000)
    assert (first.open, first.high, first.low, first.close, first.volume) == (599.95, 604.1, 599.9, 604.0, 5000.0)
    assert (first.complete, second.complete, first.gap) == (True, True, False)


def test_last_bar_stays_open_until_its_last_part_is_there():
    """Indicators must not see half a bar as a whole one."""
    made = resample([make_bar(minute) for minute in range(7)], 60, 300)

    assert [bar.complete for bar in made] == [True, False]


def test_missing_part_marks_the_whole():
    """A bar of four minutes is not a bar of five."""
    made = resample([make_bar(minute) for minute in (0, 1, 3, 4, 5)], 60, 300)

    assert [(bar.complete, bar.gap) for bar in made] == [(True, True), (False, False)]


def test_hours_begin_at_the_open_and_end_with_the_session():
    """60-minute bars run 9:30, 10:30, …; the last one of the day is half and the next day begins anew."""
    bars = [make_bar(minute) for minute in (*range(390), *range(1440, 1442))]

    made = resample(bars, 60, 3600)

    assert [(bar.start_ns - OPEN_NS) // 60_000_000_000 for bar in made] == [0, 60, 120, 180, 240, 300, 360, 1440]


def test_no_multiple_is_refused():
    """90 seconds cannot be made of minutes."""
    with pytest.raises(ValueError, match="no multiple"):
        resample([], 60, 90)
