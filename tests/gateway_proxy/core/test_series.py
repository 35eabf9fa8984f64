"""One series of bars: whatever IB answers, what is finished stays, the order is strict and holes are marked."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proxy.bus.messages import Bar
from gateway_proxy.core.series import Series

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def bar(minute: int, close: float = 10.0) -> Bar:
    return Bar(minute * MINUTE, 10.0, 12.0, 8.0, close, 100.0)


def at(minute: float) -> int:
    return int(minute * MINUTE)


def filled(*minutes: int, now: float = 100) -> Series:
    series = Series(60, keep=50)
    series.merge([bar(minute) for minute in minutes], at(now))
    return series


def starts(bars: list[Bar]) -> list[int]:
    return [each.start_ns // MINUTE for each in bars]


def test_answer_is_finished_but_for_the_bar_whose_time_is_not_over():
    """IB includes the growing bar in its answers (rule book 8)."""
    series = Series(60, keep=50)

    fresh = series.merge([bar(1), bar(2), bar(3)], at(3.5))

    assert [(each.start_ns // MINUTE, each.complete, each.source) for each in fresh] == [
        (1, True, "backfill"), (2, True, "backfill"), (3, False, "backfill"),
    ]  # fmt: skip


def test_later_bar_finishes_the_growing_one():
    """The last form it was seen in is final."""
    series = filled(1)
    series.update(bar(2, close=11.0))
    series.update(bar(2, close=12.0))

    fresh = series.update(bar(3))

    assert [(each.start_ns // MINUTE, each.close, each.complete) for each in fresh] == [
        (2, 12.0, True),
        (3, 10.0, False),
    ]


def test_growing_bar_is_finished_by_time_when_nothing_trades():
    """A quiet minute must not keep a strategy waiting for the next trade."""
    series = filled(1)
    series.update(bar(2))

    assert series.settle(at(3) + 6 * SECOND, delay_s=7.0) == []
    assert series.settles_in_s(at(3) + 6 * SECOND, delay_s=7.0) == 1.0
    assert [each.complete for each in series.settle(at(3) + 7 * SECOND, delay_s=7.0)] == [True]
    assert series.settle(at(9), delay_s=7.0) == []


def test_late_update_of_a_finished_bar_is_ignored():
    """Engines have acted on it."""
    series = filled(1, 2)

    assert series.update(bar(2, close=99.0)) == []
    assert series.last_finished == replace(bar(2), source="backfill")


def test_interrupted_bar_comes_back_in_its_true_form():
    """What was missed while the stream was broken is in the refill, not in the half-seen bar."""
    series = filled(1)
    series.update(bar(2, close=11.0))
    series.interrupt()

    fresh = series.merge([bar(1), bar(2, close=15.0), bar(3)], at(3.5))

    assert [(each.start_ns // MINUTE, each.close, each.complete, each.gap) for each in fresh] == [
        (2, 15.0, True, False), (3, 10.0, False, False),
    ]  # fmt: skip


def test_refill_that_does_not_reach_back_is_marked():
    """A hole is told on the first bar after it."""
    series = filled(1, 2)

    fresh = series.merge([bar(7), bar(8)], at(20))

    assert [(each.start_ns // MINUTE, each.gap) for each in fresh] == [(7, True), (8, False)]


def test_quiet_minutes_inside_an_answer_are_no_hole():
    """IB leaves out minutes without trades; it knew them."""
    series = filled(1, 2)

    assert [each.gap for each in series.merge([bar(2), bar(7)], at(20))] == [False]


def test_only_the_newest_are_kept():
    """Bounded memory; the oldest go first."""
    series = Series(60, keep=3)

    series.merge([bar(minute) for minute in range(10)], at(20))

    assert starts(series.newest(10)) == [7, 8, 9]


@st.composite
def lives(draw: st.DrawFn) -> list[tuple[str, list[int], float]]:
    """Answers, updates, interruptions and settling in any order, with bars that differ from what was seen before."""
    steps = st.tuples(
        st.sampled_from(["merge", "update", "interrupt", "settle"]),
        st.lists(st.integers(0, 30), min_size=1, max_size=8).map(sorted),
        st.floats(0, 40),
    )
    return draw(st.lists(steps, max_size=25))


def test_the_past_is_put_before_what_is_held_and_changes_nothing_of_it():
    """Only bars older than the oldest; the held ones stay as they were."""
    series = filled(10, 11)

    series.precede([bar(minute, close=9.0) for minute in (8, 9, 10, 11)])

    assert [one.start_ns // MINUTE for one in series.newest(50)] == [8, 9, 10, 11]
    assert [one.close for one in series.newest(50)] == [9.0, 9.0, 10.0, 10.0]
    assert all(one.complete for one in series.newest(50))


def test_a_past_that_does_not_reach_the_held_bars_is_not_taken():
    """It would leave a hole that nobody marked."""
    series = filled(10, 11)

    series.precede([bar(7), bar(8)])

    assert len(series) == 2


def test_a_full_series_drops_none_of_its_newest_for_the_past():
    """As far as there is room, newest first."""
    series = filled(*range(10, 58))

    series.precede([bar(minute) for minute in range(5, 12)])

    assert [one.start_ns // MINUTE for one in series.newest(50)] == list(range(8, 58))


@settings(max_examples=150, deadline=None)
@given(lives())
def test_finished_bars_never_change_and_order_is_strict(steps: list[tuple[str, list[int], float]]):
    """For every sequence of inputs: each start is finished at most once, in rising order, and never altered."""
    series = Series(60, keep=500)
    published: list[Bar] = []
    for number, (step, minutes, wall) in enumerate(steps):
        if step == "merge":
            published += series.merge(
                [bar(minute, close=8 + number / 10) for minute in dict.fromkeys(minutes)], at(wall)
            )
        elif step == "update":
            published += series.update(bar(minutes[0], close=8 + number / 10))
        elif step == "interrupt":
            series.interrupt()
        else:
            published += series.settle(at(wall), 7.0)

        finished = [each for each in published if each.complete]
        times = [each.start_ns for each in finished]
        assert times == sorted(set(times))
        assert series.newest(500)[: len(finished)] == finished


def test_bars_that_are_as_they_are_kept_are_not_copied():
    """Twenty programs that ask for one long history cost twenty walks through it, not twenty copies of each bar."""
    answer = [replace(bar(minute), source="backfill") for minute in range(1, 6)]
    series = Series(60, keep=50)
    series.merge(answer[3:], at(100))

    series.precede(answer)

    assert all(kept is told for kept, told in zip(series.newest(5), answer, strict=True))
