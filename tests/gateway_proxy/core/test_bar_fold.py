"""Folding 5-second bars: cut where IB cuts, weighted by volume, and never finished without every part."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway_proxy.bus.messages import Bar
from gateway_proxy.core.bar_fold import PART_NS, Fold, Step, joined, span_of

NEW_YORK = ZoneInfo("America/New_York")
HOURS = "20260615:0930-20260615:1600;20260616:0930-20260616:1600"
MINUTE_S = 60


def at(text: str) -> int:
    """A moment of that Monday in New York."""
    return int(datetime.fromisoformat(f"2026-06-15 {text}").replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


def part(text: str, price: float = 10.0, volume: float = 100.0, wap: float | None = None) -> Bar:
    return Bar(at(text), price, price + 1, price - 1, price + 0.5, volume, price if wap is None else wap, 2)


def steps(fold: Fold, *parts: Bar, bar_s: int = MINUTE_S) -> list[Step]:
    return [fold.add(each, span_of(each.start_ns, bar_s, HOURS, "US/Eastern")) for each in parts]


@pytest.mark.parametrize(
    ("moment", "bar_s", "start", "end"),
    [
        ("11:00:25", 10, "11:00:20", "11:00:30"),
        ("11:00:25", 60, "11:00:00", "11:01:00"),
        ("09:30:00", 1_200, "09:30:00", "09:40:00"),  # 20 minutes from 09:20, cut by the opening
        ("09:45:00", 3_600, "09:30:00", "10:00:00"),
        ("10:00:00", 3_600, "10:00:00", "11:00:00"),
        ("13:29:55", 7_200, "11:30:00", "13:30:00"),  # more than an hour: counted from the opening
        ("15:59:55", 7_200, "15:30:00", "16:00:00"),
        ("12:00:00", 28_800, "09:30:00", "16:00:00"),
        ("20:00:05", 60, "20:00:00", "20:01:00"),
    ],
)
def test_bars_are_cut_by_the_clock_and_by_the_session(moment: str, bar_s: int, start: str, end: str):
    """As IB aligns them; outside a session by the clock alone."""
    span = span_of(at(moment), bar_s, HOURS, "US/Eastern")

    assert (span.start_ns, span.end_ns) == (at(start), at(end))


def test_clock_of_the_exchange_is_followed_where_it_is_half_an_hour_off():
    """An hour in Mumbai begins on its own hour."""
    start = int(datetime(2026, 6, 15, 11, 0, tzinfo=ZoneInfo("Asia/Kolkata")).timestamp()) * 1_000_000_000

    assert span_of(start + 20 * PART_NS, 3_600, "", "Asia/Kolkata").start_ns == start


def test_twelve_parts_end_a_minute():
    """All of it was seen, so the last part finishes it, without waiting for the next."""
    fold = Fold()
    fold.begin(at("11:00:00"))

    done = steps(fold, *(part(f"11:00:{second:02d}") for second in range(0, 60, 5)))

    assert done == [Step.GROWS] * 11 + [Step.ENDS]


def test_fold_is_the_bar_of_all_its_trades():
    """Open of the first, close of the last, extremes of all, sums, and the price by volume: (10*300 + 20*100) / 400."""
    bar = joined(part("11:00:00", 10.0, 300.0), part("11:00:05", 20.0, 100.0))

    assert bar == Bar(at("11:00:00"), 10.0, 21.0, 9.0, 20.5, 400.0, 12.5, 4)


def test_five_seconds_without_a_trade_change_nothing():
    """IB repeats the last price; a bar that begins so opens with its first trade."""
    quiet, traded = Bar(at("11:00:00"), 9.0, 9.0, 9.0, 9.0, 0.0, None, 0), part("11:00:05")

    assert joined(traded, quiet) == traded
    assert joined(quiet, traded) == Bar(at("11:00:00"), 10.0, 11.0, 9.0, 10.5, 100.0, 10.0, 2)


def test_index_without_volume_still_moves():
    """No count is not the same as no trade."""
    first, second = (Bar(at(f"11:00:0{n}"), 5.0 + n, 5.0 + n, 5.0 + n, 5.0 + n, 0.0, None, None) for n in (0, 5))

    bar = joined(first, second)

    assert (bar.high, bar.close, bar.wap, bar.count) == (10.0, 10.0, None, None)


def test_bar_joined_in_its_middle_grows_but_is_never_finished_here():
    """History's view of it is the start; volume inside the 5 seconds of the answer may be counted or not."""
    fold = Fold()
    seed = Bar(at("11:00:00"), 10.0, 12.0, 9.0, 11.0, 700.0, 10.5, 9)
    fold.begin(at("11:00:00"), seed)

    assert steps(fold, *(part(f"11:00:{second}") for second in (45, 50))) == [Step.GROWS] * 2
    assert fold.bar is not None and (fold.bar.open, fold.bar.high, fold.bar.volume) == (10.0, 12.0, 900.0)
    assert steps(fold, part("11:00:55")) == [Step.LACKS]


def test_seed_is_not_needed_when_the_first_part_begins_the_bar():
    """The answer came within the bar's first five seconds."""
    fold = Fold()
    fold.begin(at("11:00:00"), part("11:00:00", 99.0))

    steps(fold, part("11:00:00", 10.0))

    assert fold.bar == part("11:00:00", 10.0)


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        (("11:00:50", "11:00:55"), [Step.GROWS, Step.LACKS]),  # its start was not seen
        (("11:00:00", "11:00:10", "11:00:55"), [Step.GROWS, Step.GROWS, Step.LACKS]),  # a hole in it
        (("11:00:00", "11:01:00"), [Step.GROWS, Step.LACKS]),  # its end was not seen
        (("11:03:00",), [Step.LACKS]),  # whole bars were not seen
    ],
)
def test_what_was_not_seen_is_lacking(moments: tuple[str, ...], expected: list[Step]):
    """Only history can tell it."""
    fold = Fold()
    fold.begin(at("11:00:00"))

    assert steps(fold, *map(part, moments)) == expected


def test_opening_follows_the_last_close():
    """A night is no hole; a morning whose first seconds are missing is one."""
    fold, late = Fold(), Fold()
    for each in (fold, late):
        each.begin(at("04:00:00"))

    assert steps(fold, part("09:30:00")) == [Step.GROWS]
    assert steps(late, part("09:30:05")) == [Step.LACKS]
