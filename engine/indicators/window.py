"""Sums, extremes and moments of the newest `period` values, O(1) a bar and without drift.

A running sum that subtracts what leaves keeps the rounding of everything it ever saw; one huge value spoils it for
good. Here values come in blocks of `period`: the window is the end of the last block plus the beginning of this one.
When a block is full its suffix aggregates are computed once, so nothing is ever subtracted (van Herk 1992; two stacks).

Each aggregate owns some rows of a state array, from row `at`, in column `s`. `count` is how many values came before.
The answer is right once count >= period - 1.
"""

from __future__ import annotations

from engine.indicators.compile import FloatArray, step


@step
def sum_rows(period: int) -> int:
    """State rows of `push_sum`, `push_highest` and `push_lowest`."""
    return 1 + 2 * period


@step
def moment_rows(period: int) -> int:
    return 2 + 3 * period


@step
def push_sum(state: FloatArray, s: int, at: int, count: int, period: int, value: float) -> float:
    i = count % period
    back = value if i == 0 else state[at, s] + value
    state[at, s] = back
    state[at + 1 + i, s] = value
    if i < period - 1:
        return back + state[at + 2 + period + i, s] if count >= period else back
    suffix = 0.0
    for j in range(period - 1, -1, -1):
        suffix += state[at + 1 + j, s]
        state[at + 1 + period + j, s] = suffix
    return back


@step
def push_highest(state: FloatArray, s: int, at: int, count: int, period: int, value: float) -> float:
    i = count % period
    # "not <=" lets a NaN through: it stays for as long as it is in the window.
    back = value if i == 0 or not value <= state[at, s] else state[at, s]
    state[at, s] = back
    state[at + 1 + i, s] = value
    if i < period - 1:
        suffix = state[at + 2 + period + i, s]
        return suffix if count >= period and not suffix <= back else back
    suffix = value
    for j in range(period - 1, -1, -1):
        suffix = state[at + 1 + j, s] if not state[at + 1 + j, s] <= suffix else suffix
        state[at + 1 + period + j, s] = suffix
    return back


@step
def push_lowest(state: FloatArray, s: int, at: int, count: int, period: int, value: float) -> float:
    return -push_highest(state, s, at, count, period, -value)


@step
def push_moments(state: FloatArray, s: int, at: int, count: int, period: int, value: float) -> tuple[float, float]:
    """(mean, sum of squared distances from the mean), joined as Chan, Golub and LeVeque (1983) do."""
    i = count % period
    mean = 0.0 if i == 0 else state[at, s]
    spread = 0.0 if i == 0 else state[at + 1, s]
    far = value - mean
    mean += far / (i + 1)
    spread += far * (value - mean)
    state[at, s] = mean
    state[at + 1, s] = spread
    state[at + 2 + i, s] = value
    if i < period - 1:
        if count >= period:
            older = period - 1 - i
            apart = state[at + 2 + period + i + 1, s] - mean
            spread += state[at + 2 + 2 * period + i + 1, s] + apart * apart * (i + 1) * older / period
            mean += apart * older / period
        return mean, spread
    suffix_mean = 0.0
    suffix_spread = 0.0
    for j in range(period - 1, -1, -1):
        far = state[at + 2 + j, s] - suffix_mean
        suffix_mean += far / (period - j)
        suffix_spread += far * (state[at + 2 + j, s] - suffix_mean)
        state[at + 2 + period + j, s] = suffix_mean
        state[at + 2 + 2 * period + j, s] = suffix_spread
    return mean, spread
