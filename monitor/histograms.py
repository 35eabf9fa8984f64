"""Latency histograms as they travel on the bus (HDR, base64): read, merge, subtract, percentiles. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from hdrh.codec import HdrCookieException, HdrLengthException
from hdrh.histogram import HdrHistogram

from monitor.view import PercentilesView

#: Microseconds -> how many requests took that long.
Counts = dict[int, int]
#: The proxy's own take less than 1 KB; anything beyond this is not one of ours.
ENCODED_MAX = 100_000


def decode(encoded: str) -> Counts:
    """The counts of an encoded histogram; empty for "" and for what cannot be read."""
    if not encoded or len(encoded) > ENCODED_MAX or not encoded.isascii():
        return {}
    try:
        histogram = HdrHistogram.decode(encoded)
    except (HdrCookieException, HdrLengthException, ValueError, IndexError, zlib.error):
        return {}
    return {step.value_iterated_to: step.count_at_value_iterated_to for step in histogram.get_recorded_iterator()}


def merged(all_counts: Iterable[Counts]) -> Counts:
    """One histogram of all, as if every request had been counted in it."""
    total: Counts = {}
    for counts in all_counts:
        for value_us, count in counts.items():
            total[value_us] = total.get(value_us, 0) + count
    return total


def since(now: Counts, before: Counts) -> Counts:
    """What came after `before`. A count that shrank belongs to a new life of the proxy: then all of `now` is new."""
    if any(now.get(value_us, 0) < count for value_us, count in before.items()):
        return now
    return {value_us: left for value_us, count in now.items() if (left := count - before.get(value_us, 0)) > 0}


def percentiles(counts: Counts) -> PercentilesView:
    """In milliseconds."""
    total = sum(counts.values())
    if not total:
        return PercentilesView()
    return PercentilesView(_at(counts, 0.50, total), _at(counts, 0.99, total), max(counts) / 1000, total)


def _at(counts: Counts, share: float, total: int) -> float:
    """The smallest value that at least `share` of all requests do not exceed, in milliseconds."""
    wanted, seen = share * total, 0
    for value_us in sorted(counts):
        seen += counts[value_us]
        if seen >= wanted:
            return value_us / 1000
    raise AssertionError("the counts add up to their total")


def cumulative(counts: Counts, bounds_s: Iterable[float]) -> list[tuple[float, int]]:
    """How many requests took at most each of the bounds (seconds), as Prometheus counts buckets."""
    return [(bound_s, sum(n for value_us, n in counts.items() if value_us <= bound_s * 1e6)) for bound_s in bounds_s]


def total_s(counts: Counts) -> float:
    return sum(value_us * count for value_us, count in counts.items()) / 1e6
