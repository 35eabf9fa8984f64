"""Histograms: merged, subtracted, and read without trusting them."""

from __future__ import annotations

import random

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from monitor import histograms


def encoded(values_us: list[int]) -> str:
    histogram = HdrHistogram(1, 3_600_000_000, 2)
    for value_us in values_us:
        histogram.record_value(value_us)
    text: str = histogram.encode().decode()
    return text


def test_percentiles_come_out_in_milliseconds_within_a_hundredth():
    counts = histograms.decode(encoded([1000] * 98 + [50_000] + [900_000]))

    measured = histograms.percentiles(counts)

    assert measured.count == 100
    assert measured.p50 == pytest.approx(1.0, rel=0.01)
    assert measured.p99 == pytest.approx(50.0, rel=0.01)
    assert measured.max == pytest.approx(900.0, rel=0.01)


def test_merging_two_is_recording_into_one():
    seed = 42
    values = [random.Random(seed).randint(1, 10_000_000) for _ in range(400)]

    one = histograms.decode(encoded(values))
    two = histograms.merged([histograms.decode(encoded(values[:150])), histograms.decode(encoded(values[150:]))])

    assert two == one, f"seed {seed}"


def test_difference_is_what_came_since():
    before, now = encoded([1000, 2000]), encoded([1000, 2000, 2000, 7000])

    new = histograms.since(histograms.decode(now), histograms.decode(before))

    assert sum(new.values()) == 2
    assert histograms.percentiles(new).max == pytest.approx(7.0, rel=0.01)


def test_histogram_of_a_restarted_proxy_counts_from_its_start():
    """After a restart counts are smaller than before; then everything in it is new."""
    new = histograms.since(histograms.decode(encoded([5000])), histograms.decode(encoded([1000, 2000])))

    assert sum(new.values()) == 1


def test_buckets_are_cumulative_and_end_at_the_total():
    counts = histograms.decode(encoded([900, 4000, 40_000]))

    assert [count for _, count in histograms.cumulative(counts, (0.001, 0.005, 0.01, 1.0))] == [1, 2, 2, 3]


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")))
def test_garbage_is_an_empty_histogram(text):
    assert sum(histograms.decode(text).values()) >= 0
