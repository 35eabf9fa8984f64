"""What happens when a day ends: with nights that pass, and with nights that are skipped."""

import pytest

from gateway_sim.calendar import local
from gateway_sim.settings import GatewaySettings
from tests.gateway_sim.direct import Bench


def bench_at(start, **more):
    bench = Bench(GatewaySettings(start=start, **more))
    return bench, bench.connect(1)


def test_live_bars_go_on_into_the_next_day_when_nights_are_skipped():
    """15:59 and 09:30 of the next trading day are neighbours; no bar is missing or doubled."""
    bench, client = bench_at("2026-06-15 15:57", skip_closed=True)
    client.history(1, size="1 min", duration="120 S", live=True)
    client.quotes(2)
    bench.advance(359)

    starts = [int(fields[3]) for fields in client.of(90)]
    assert starts == sorted(starts)
    seen = [local(start).strftime("%d %H:%M") for start in dict.fromkeys(starts)]
    assert seen == ["15 15:57", "15 15:58", "15 15:59", "16 09:30", "16 09:31", "16 09:32"]
    assert client.of(1)[-1]


@pytest.mark.parametrize("skip_closed", [True, False])
def test_day_order_ends_once_at_the_close_and_new_ones_live(skip_closed):
    bench, client = bench_at("2026-06-15 15:59", skip_closed=skip_closed)
    client.order(1, kind="LMT", limit=500)
    client.order(2, kind="LMT", limit=500, tif="GTC")
    bench.advance(61)
    assert client.statuses(1) == ["PreSubmitted", "Submitted", "Cancelled"]
    assert client.statuses(2)[-1] == "Submitted"
    client.order(3, kind="LMT", limit=500)
    bench.advance(60)

    assert client.statuses(3)[-1] == ("Submitted" if skip_closed else "PreSubmitted")


def test_many_days_pass():
    """Over a holiday, nights skipped: each close ends its day orders, ids and cash stay sound."""
    bench, client = bench_at("2026-06-17 09:30", skip_closed=True)
    for day in range(4):
        client.order(2 * day + 1, quantity=1)
        bench.advance(5 * 3600)
        client.order(2 * day + 2, kind="LMT", limit=400)
        bench.advance(1.5 * 3600)

    floor = bench.gateway.floor
    assert local(floor.market_s).strftime("%m-%d %H:%M") == "06-24 09:30"  # Juneteenth was closed
    assert client.codes().count(202) == 4
    assert [position.quantity for position in floor.blotter.account.open_positions()] == [4]


def test_limits_know_no_jump():
    """A request at 15:59:59 and one at 09:30 of the next day are one elapsed second apart."""
    bench, client = bench_at("2026-06-15 15:59:58", skip_closed=True)
    client.history(1)
    bench.advance(4)
    client.history(2)

    assert client.codes() == [162]


def test_history_farm_wakes_and_goes_to_sleep():
    """2106 before the first answer, 2107 exactly 360 s after the last request."""
    bench, client = bench_at("2026-06-15 11:00")
    client.history(1)
    bench.advance(1)
    assert [fields[3] for fields in client.of(4)] == ["2106"]
    bench.advance(358.9)
    assert "2107" not in [fields[3] for fields in client.of(4)]
    bench.advance(0.2)

    assert [fields[3] for fields in client.of(4)] == ["2106", "2107"]


def test_snapshot_of_an_option_without_a_bid_ends_after_eleven_seconds():
    bench, client = bench_at("2026-06-15 15:30")
    option = (0, "SPY", "OPT", "20260615", 650.0, "C", "100", "SMART", "", "USD", "", "")
    client.quotes(1, contract=option, snapshot=True)
    client.quotes(2, "AAPL", snapshot=True)
    bench.advance(1)
    assert [fields[2] for fields in client.of(57)] == ["2"]
    bench.advance(9.9)
    assert len(client.of(57)) == 1
    bench.advance(0.2)

    assert [fields[2] for fields in client.of(57)] == ["2", "1"]


def test_account_values_are_pushed_every_three_minutes():
    bench, client = bench_at("2026-06-15 11:00")
    client.send(6, 2, 1, "")
    client.take()
    bench.advance(181)

    assert len(client.of(8)) == 1


def test_client_zero_binds_orders_placed_by_hand():
    """reqAutoOpenOrders gives a manual order a positive id and tells orderBound."""
    bench = Bench()
    client = bench.connect(0)
    bench.gateway.faults.inject("foreign_order", None, {"symbol": "SPY"})
    bench.collect()
    client.take()
    client.send(15, 1, 1)

    [bound] = client.of(100)
    assert bound[2:] == ["0", "1"]
    client.send(5, 1)
    assert [fields[1] for fields in client.of(5)] == ["1"]
    client.cancel(1)
    assert client.statuses(1)[-1] == "Cancelled"
