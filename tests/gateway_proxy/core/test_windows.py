"""Windows in New York time: the nightly reset and the weekend."""

from datetime import datetime

import pytest

from gateway_proxy.core.market_time import NEW_YORK
from gateway_proxy.core.windows import Windows, WindowSettings


def wall_ns(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("moment", "name", "ends"),
    [
        ("2026-06-15 23:44", None, ""),
        ("2026-06-15 23:45", "nightly reset", "2026-06-16 01:45"),
        ("2026-06-16 01:44", "nightly reset", "2026-06-16 01:45"),
        ("2026-06-16 01:45", None, ""),
        ("2026-06-19 22:59", None, ""),
        ("2026-06-19 23:00", "weekend", "2026-06-20 03:00"),
        ("2026-06-20 00:30", "weekend", "2026-06-20 03:00"),
        ("2026-06-20 03:00", None, ""),
        ("2026-06-21 23:50", "nightly reset", "2026-06-22 01:45"),
        ("2026-06-22 00:10", "nightly reset", "2026-06-22 01:45"),
        ("2026-06-18 11:00", None, ""),
    ],
)
def test_windows_open_and_close_to_the_minute(moment, name, ends):
    """Monday's night ends on Tuesday, Friday's weekend window outlasts the nightly one inside it."""
    window = Windows(WindowSettings()).current(wall_ns(moment))

    assert (window.name if window else None) == name
    assert window is None or window.ends_ns == wall_ns(ends)


def test_no_window_while_the_time_is_unknown_or_none_is_configured():
    """Before the first answer to reqCurrentTime nothing is expected, and an empty setting expects nothing."""
    assert Windows(WindowSettings()).current(0) is None
    assert Windows(WindowSettings(nightly=(), weekend=())).current(wall_ns("2026-06-15 23:50")) is None


@pytest.mark.parametrize("settings", [{"nightly": ("24:00", "01:45")}, {"weekend": ("Fry 23:00", "Sat 03:00")}])
def test_a_time_that_cannot_be_read_is_refused_by_name(settings):
    """A misspelt day or hour is an error at the start, not a window that never opens."""
    with pytest.raises(ValueError, match="want a"):
        Windows(WindowSettings(**settings))
