"""Market time from bar timestamps: sessions, daylight saving, half days."""

from __future__ import annotations

import datetime

import pytest

from engine.sessions import NEW_YORK, close_minute, market_clock, session_of
from tests.engine.conftest import OPEN_NS


def ns(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


def test_first_bar_of_the_session_ends_one_minute_after_the_open():
    """The clock of a bar is the moment it ended."""
    clock = market_clock(OPEN_NS, 60)

    assert (clock.minutes_since_open, clock.minutes_to_close, clock.is_regular) == (1.0, 389.0, True)
    assert clock.date == datetime.date(2026, 6, 18)


@pytest.mark.parametrize("day", ["2026-03-06", "2026-03-09", "2026-10-30", "2026-11-02"])
def test_open_is_the_open_on_both_sides_of_a_clock_change(day):
    """New York's wall time counts, not UTC's."""
    assert market_clock(ns(f"{day}T09:30"), 60).minutes_since_open == 1.0
    assert session_of(ns(f"{day}T23:59")) == datetime.date.fromisoformat(day).toordinal()


@pytest.mark.parametrize(
    ("day", "hour"),
    [
        ("2026-11-27", 13),  # the day after Thanksgiving
        ("2026-11-26", 16),
        ("2026-12-24", 13),
        ("2025-07-03", 13),
        ("2026-07-03", 16),  # a Friday: Independence Day itself is observed then, there is no session
        ("2026-06-18", 16),
    ],
)
def test_half_days_close_at_one(day, hour):
    """Exits at the end of the day must know when the day ends."""
    assert close_minute(datetime.date.fromisoformat(day)) == hour * 60


def test_bar_outside_regular_hours_says_so():
    """Before the open and after the close."""
    assert not market_clock(ns("2026-06-18T09:00"), 60).is_regular
    assert not market_clock(ns("2026-06-18T16:00"), 60).is_regular
    assert not market_clock(ns("2026-11-27T13:30"), 60).is_regular
