"""Collecting garbage when nobody waits, and only then."""

from __future__ import annotations

import gc

import pytest

from gateway_proxy import garbage
from gateway_proxy.garbage import Collector


class Knot:
    """A cycle: reference counts alone never free it."""

    living = 0

    def __init__(self) -> None:
        self.self = self
        Knot.living += 1

    def __del__(self) -> None:
        Knot.living -= 1


@pytest.fixture
def collector():
    threshold = gc.get_threshold()
    Knot.living = 0
    yield Collector()
    gc.set_threshold(*threshold)
    gc.unfreeze()
    gc.collect()


def test_cycles_are_collected_in_quiet_moments_and_not_between_them(collector):
    """However many requests there are, the loop does not stop to look for cycles until told that nobody waits."""
    for _ in range(garbage.YOUNG_WORTH):
        Knot()
    busy = Knot.living

    collector.quiet()

    assert (busy, Knot.living) == (garbage.YOUNG_WORTH, 0)


def test_without_quiet_moments_garbage_is_bounded_all_the_same(collector):
    """A loop that is never quiet must not grow for ever."""
    for _ in range(3 * garbage.YOUNG_MAX):
        Knot()

    assert Knot.living <= garbage.YOUNG_MAX + 1


def test_old_cycles_are_found_after_some_looks(collector):
    """What survived the looks at young objects is looked at once in a while as well."""
    old = [Knot() for _ in range(10)]
    gc.collect(1)
    old.clear()
    for _ in range(garbage.YOUNG_PER_FULL):
        young: list[list[int]] = [[] for _ in range(2 * garbage.YOUNG_WORTH)]
        collector.quiet()
        young.clear()

    assert Knot.living == 0
