"""Which feed a series gets: history first, then one line of 5-second bars a contract, then a place in the queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.core.bar_feeds import Feed, Identity, Room, can_fold, places

PLENTY = Room(slots=45, lines=80)
H, R = Feed.HISTORY, Feed.REAL_TIME


def feeds(series: list[Identity], room: Room) -> list[Feed | None]:
    return [place.feed for place in places(series, room).values()]


def held_by(series: list[Identity], room: Room) -> list[str]:
    return [place.held_by for place in places(series, room).values() if place.feed is None]


def singles(count: int) -> list[Identity]:
    return [(f"S{number}", "1min") for number in range(count)]


def test_history_serves_all_while_slots_and_lines_last():
    """Even many sizes of one symbol: live bars are then of the same making as the backfill."""
    series = [*singles(40), *(("SPY", size) for size in ("5s", "1min", "5min", "1h"))]

    assert feeds(series, PLENTY) == [H] * 44


def test_newest_series_beyond_the_slots_take_real_time_bars():
    """What has run for long is not touched."""
    assert feeds(singles(80), PLENTY) == [H] * 45 + [R] * 35


def test_symbol_with_most_sizes_gives_its_slots_back_first():
    """One line serves all of them, so one move is enough however old they are."""
    series = [("SPY", "1min"), ("SPY", "5min"), ("SPY", "15min"), *singles(3)]

    assert feeds(series, Room(slots=4, lines=80)) == [R, R, R, H, H, H]


def test_sizes_share_a_line_when_lines_run_short():
    """Slots are no shortage here: four series, three lines."""
    series = [("SPY", "1min"), ("QQQ", "1min"), ("SPY", "5min"), ("IWM", "1min")]

    assert feeds(series, Room(slots=45, lines=3)) == [R, H, R, H]


def test_newest_waits_for_a_line_and_is_told_so():
    """Real-time bars cannot help single sizes out of a shortage of lines."""
    assert feeds(singles(4), Room(slots=45, lines=3)) == [H, H, H, None]
    assert held_by(singles(4), Room(slots=45, lines=3)) == ["bar_lines"]
    assert held_by(singles(2), Room(slots=45, lines=0)) == ["bar_lines"] * 2


def test_bars_of_a_day_are_history_or_wait_for_a_slot():
    """Minutes make room for them."""
    days = [("SPY", "1d"), ("QQQ", "1w"), ("IWM", "1M")]

    assert feeds([("SPY", "1min"), *days], Room(slots=3, lines=80)) == [R, H, H, H]
    assert held_by(days, Room(slots=2, lines=80)) == ["history_open"]


@pytest.mark.parametrize(
    ("size", "folds"), [("1s", False), ("5s", True), ("30s", True), ("1min", True), ("8h", True), ("1d", False)]
)
def test_sizes_that_5_second_bars_make(size: str, folds: bool):
    """From 5 s to less than a day."""
    assert can_fold(size) is folds


SERIES = st.lists(
    st.tuples(st.sampled_from("ABCDEFGH"), st.sampled_from(("5s", "1min", "5min", "1h", "1d"))), unique=True
)


@given(SERIES, st.integers(0, 12), st.integers(0, 12))
def test_no_room_is_ever_exceeded_and_nothing_waits_in_vain(series: list[Identity], slots: int, lines: int):
    """Every series has a place; the waiting ones could not have been served by what is left."""
    found = places(series, Room(slots, lines))

    history = [identity for identity, place in found.items() if place.feed is H]
    folded = {key for (key, _), place in found.items() if place.feed is R}
    assert list(found) == series
    assert len(history) <= slots and len(history) + len(folded) <= lines
    for (key, size), place in found.items():
        assert (place.held_by == "") is (place.feed is not None)
        if place.feed is None and can_fold(size):
            assert key not in folded and len(history) + len(folded) == lines
