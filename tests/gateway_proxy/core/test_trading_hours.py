"""When positions may be opened: the contract's own hours, its last day, and never by a table of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.sessions import intervals
from gateway_proxy.core.trading_hours import hours_bar
from tests.gateway_proxy.core.core_world import CoreWorld
from tests.gateway_proxy.core.order_world import OrderWorld, single

NEW_YORK = ZoneInfo("America/New_York")
HOURS = "20260615:0930-20260615:1600;20260616:CLOSED;20261127:0930-20261127:1300;20261130:0930-20261130:1600"
STOCK = ContractDetails(Contract("SPY"), 0.01, time_zone="America/New_York", liquid_hours=HOURS)
OPTION = replace(STOCK, contract=Contract("SPY", "OPT", last_trade_date="20260615", strike=600.0, right="C"))


def at(text: str) -> int:
    return int(datetime.strptime(text, "%Y%m%d %H:%M:%S").replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("details", "when", "text"),
    [
        (STOCK, "20260615 09:29:59", "closed"),
        (STOCK, "20260615 09:30:00", ""),
        (STOCK, "20260615 15:49:59", ""),
        (STOCK, "20260615 15:50:01", "closes in 599 s"),
        (STOCK, "20260615 16:00:00", "closed"),
        (STOCK, "20260616 12:00:00", "closed"),
        (STOCK, "20261127 12:00:00", ""),
        (STOCK, "20261127 13:00:00", "closed"),
        (STOCK, "20261201 12:00:00", ""),
        (replace(STOCK, liquid_hours=""), "20260615 03:00:00", ""),
        (OPTION, "20260615 15:29:59", ""),
        (OPTION, "20260615 15:30:01", "expires in 1799 s"),
        (OPTION, "20260617 12:00:00", "has expired"),
    ],
)
def test_positions_are_opened_in_liquid_hours_and_not_at_their_end(details, when, text):
    """Half days and holidays come from IB; what IB does not say forbids nothing; an option's last day ends earlier."""
    reason = hours_bar(details, at(when), close_cutoff_s=600.0, expiry_cutoff_s=1800.0)

    assert text in reason
    assert bool(text) is bool(reason)


def test_hours_are_read_when_the_contract_arrives_and_not_with_its_first_order():
    """Reading them, and the zone's file, takes longer than all the rest of an order's decision."""
    world = CoreWorld().start()
    hours = "20310106:0931-20310106:1559"
    world.gateway.stocks["SPY"] = replace(world.gateway.stocks["SPY"], liquid_hours=hours, time_zone="Asia/Tokyo")
    world.ask("contract", contract="SPY")
    world.advance(1)
    details = world.core.directory.known(Contract("SPY"))
    assert details is not None and details.liquid_hours == hours
    read_before = intervals.cache_info().misses

    hours_bar(details, at("20260615 12:00:00"), close_cutoff_s=0.0, expiry_cutoff_s=0.0)

    assert intervals.cache_info().misses == read_before


def test_a_closed_market_is_for_getting_out_only():
    """An order that reduces the position may wait for the open; one that opens is refused."""
    world = OrderWorld().start()
    world.ask("order.place", single())
    world.gateway.fill(world.order_ids("p1")[0])
    world.run()
    closed = replace(STOCK, liquid_hours="20990101:0930-20990101:1600")

    opening = world.ask("order.place", single("more"), details=closed)
    closing = world.ask("order.place", single("less", action="SELL"), details=closed)

    assert (world.answer(opening), world.answer(closing)) == ("refused", "accepted")
    assert "outside its liquid hours" in str(world.reply(opening).error)
