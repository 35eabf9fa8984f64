"""Trading sessions from IB's hour strings: time zones, DST, closed days, the unreadable."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway_proxy.core.sessions import intervals, is_open

NEW_YORK = "America/New_York"


def at(text: str, zone: str = NEW_YORK) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-06-15 09:29:59", False),
        ("2026-06-15 09:30", True),
        ("2026-06-15 15:59:59", True),
        ("2026-06-15 16:00", False),
        ("2026-06-16 12:00", False),
        ("2026-06-17 12:59", True),
        ("2026-06-17 13:00", None),
    ],
)
def test_open_closed_and_unknown_by_the_hours_of_each_day(moment: str, expected: bool | None):
    """A closed day is closed, a half day ends early, and past the last known day nothing is claimed."""
    hours = "20260615:0930-20260615:1600;20260616:CLOSED;20260617:0930-20260617:1300"

    assert is_open(hours, NEW_YORK, at(moment)) is expected


@pytest.mark.parametrize(("day", "utc_hour"), [("20260306", 14), ("20260309", 13), ("20261030", 13), ("20261102", 14)])
def test_open_follows_daylight_saving_of_the_exchange(day: str, utc_hour: int):
    """Half past nine in New York on both sides of both changes of 2026 (8 March, 1 November)."""
    ((start, _),) = intervals(f"{day}:0930-{day}:1600", NEW_YORK)

    opened = datetime.fromtimestamp(start / 1e9, ZoneInfo("UTC"))
    assert (opened.hour, opened.minute) == (utc_hour, 30)


def test_session_over_midnight_is_one_interval():
    """Futures: opens in the evening of the day before."""
    hours = "20260614:1800-20260615:1700"

    assert is_open(hours, "US/Central", at("2026-06-15 00:00", "US/Central")) is True


@pytest.mark.parametrize(
    "hours",
    [
        "",
        "20260615:CLOSED",
        "garbage",
        "20269915:0930-20260615:1600",
        "20260615:0960-20260615:1600",
        "20260615:2400-20260615:2500",
        "2026+615:0930-20260615:1600",
        "20260615 0930-20260615 1600",
        "20260615:-930-20260615:1600",
    ],
)
def test_hours_that_say_nothing_are_no_claim(hours: str):
    """None is not "closed": a stream must not be called silent, nor healthy, on such grounds."""
    assert is_open(hours, NEW_YORK, at("2026-06-15 12:00")) is None


def test_unknown_zone_is_read_as_new_york():
    """Old Gateways write "EST (Eastern Standard Time)"."""
    assert intervals("20260615:0930-20260615:1600", "EST (Eastern)") == intervals(
        "20260615:0930-20260615:1600", NEW_YORK
    )


def test_time_that_is_not_known_yet_is_no_claim():
    """Zero stands for: the Gateway's clock has not been read."""
    assert is_open("20260615:0930-20260615:1600", NEW_YORK, 0) is None
