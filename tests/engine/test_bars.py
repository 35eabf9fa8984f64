"""The window of bars: only completed, believable bars, once, in order; late ones fill their hole."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from engine.bars import BarWindow, Taken
from tests.engine.conftest import make_bar


def filled(*minutes: int, capacity: int = 5) -> BarWindow:
    window = BarWindow(capacity)
    window.take_all(make_bar(minute, close=600.0 + minute) for minute in minutes)
    return window


def test_forming_bar_does_not_enter():
    """A bar that still grows would make indicators repaint."""
    window = BarWindow(5)

    assert window.take(make_bar(0, complete=False)) is Taken.FORMING
    assert len(window) == 0


def test_window_keeps_the_newest_bars_contiguous():
    """Forty bars through a window of five: always the last five, oldest first."""
    window = BarWindow(5)

    for minute in range(40):
        window.take(make_bar(minute, close=600.0 + minute))

        assert window.close.tolist() == [600.0 + kept for kept in range(max(0, minute - 4), minute + 1)]
        assert window.close.flags.c_contiguous


def test_same_bar_twice_changes_nothing_and_a_corrected_one_replaces():
    """History may repeat what was live, and correct it."""
    window = filled(0, 1, 2)

    assert window.take(make_bar(1, close=601.0)) is Taken.DUPLICATE
    assert window.take(make_bar(1, close=650.0)) is Taken.REVISED
    assert window.close.tolist() == [600.0, 650.0, 602.0]


@pytest.mark.parametrize("start", [0, 7])
def test_late_bar_fills_its_hole(start):
    """Out of order is put in order; a full window loses its oldest."""
    window = filled(*(start + minute for minute in (0, 1, 2, 4, 5)))

    taken = window.take(make_bar(start + 3, close=600.0 + start + 3))

    assert taken is Taken.FILLED
    assert window.close.tolist() == [600.0 + start + kept for kept in (1, 2, 3, 4, 5)]
    assert window.take(make_bar(start)) is Taken.TOO_OLD


def test_history_that_comes_after_live_bars_goes_in_front():
    """The first live bar may overtake the backfill."""
    window = filled(3)

    window.take_all(make_bar(minute, close=600.0 + minute) for minute in range(4))

    assert window.close.tolist() == [600.0, 601.0, 602.0, 603.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"close": float("nan")},
        {"open": -1.0},
        {"low": 0.0},
        {"volume": -5.0},
        {"volume": float("inf")},
        {"high": 1.0},
        {"start_ns": 0},
    ],
)
def test_bar_that_cannot_be_is_refused(wrong):
    """NaN, negative and impossible numbers never reach an indicator."""
    window = filled(0)

    assert window.take(replace(make_bar(1), **wrong)) is Taken.REFUSED
    assert len(window) == 1


def test_bar_without_trades_is_a_bar():
    """Zero volume happens."""
    assert BarWindow(3).take(make_bar(0, volume=0.0)) is Taken.APPENDED


def test_gap_mark_counts_bars_since_and_heals():
    """A hole that could not be filled is remembered until history answers for it."""
    window = filled(0, 1)

    window.take(make_bar(5, gap=True))
    window.take(make_bar(6))
    marked = window.bars_since_gap
    window.heal()

    assert (marked, window.bars_since_gap) == (2, 4)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_arrival_gives_the_same_window(seed):
    """Whatever came first, the window is the newest bars in order."""
    minutes = list(range(20)) * 2
    random.Random(seed).shuffle(minutes)
    window = BarWindow(30)

    window.take_all(make_bar(minute, close=600.0 + minute) for minute in minutes)

    assert window.close.tolist() == [600.0 + minute for minute in range(20)], f"seed {seed}"
