"""Scanners rank the listed stocks."""

import pytest

from tests.gateway_sim.direct import Bench
from tests.gateway_sim.test_limits import scan


def rows_of(fields: list[str]) -> list[list[str]]:
    """(rank, contract id, symbol, …) of a scan's answer."""
    return [fields[4 + 16 * row : 20 + 16 * row] for row in range(int(fields[3]))]


def test_best_first_and_as_many_as_asked_for():
    bench = Bench()
    client = bench.connect(1)
    scan(client, 1, rows=5)
    scan(client, 2, "TOP_PERC_LOSE")
    bench.advance(1)

    best, worst = [rows_of(fields) for fields in client.of(20)]
    assert [row[0] for row in best] == ["0", "1", "2", "3", "4"]
    assert [row[2] for row in best] == [row[2] for row in reversed(worst)][:5]
    assert len({row[2] for row in worst}) == len(worst) > 30


def test_filters_apply():
    bench = Bench()
    client = bench.connect(1)
    scan(client, 1, "MOST_ACTIVE")
    scan(client, 2, "MOST_ACTIVE", above=500)
    bench.advance(1)

    every, dear = [[row[2] for row in rows_of(fields)] for fields in client.of(20)]
    assert 0 < len(dear) < len(every) and dear == [symbol for symbol in every if symbol in dear]


def test_a_scan_is_repeated_until_cancelled():
    bench = Bench()
    client = bench.connect(1)
    scan(client, 1)
    bench.advance(61)
    assert len(client.of(20)) == 3

    client.send(23, 1, 1)
    bench.advance(60)

    assert len(client.of(20)) == 3


def test_nothing_found_is_165():
    bench = Bench()
    client = bench.connect(1)
    scan(client, 1, above=1_000_000)
    bench.advance(1)

    assert client.errors() == [(1, 165, "Historical Market Data Service query message:no items retrieved")]


@pytest.mark.parametrize(("code", "number"), [("NO_SUCH_SCAN", 162)])
def test_unknown_scan_is_refused(code, number):
    client = Bench().connect(1)

    scan(client, 1, code)

    assert client.codes() == [number]


def test_a_client_that_leaves_gives_its_scans_back():
    bench = Bench()
    client = bench.connect(1)
    for number in range(10):
        scan(client, number)
    bench.disconnect(client)

    again = bench.connect(2)
    scan(again, 1)

    assert again.codes() == []
