"""Unmodified ib_async in virtual time, byte for byte reproducible."""

import asyncio
import logging
import time

import ib_async
import pytest

from gateway_sim.testing import Stalled, run_virtual

pytest_plugins = ["gateway_sim.pytest_plugin"]


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)


async def spy_contract(ib) -> ib_async.Contract:
    [contract] = await ib.qualifyContractsAsync(ib_async.Stock("SPY", "SMART", "USD"))
    assert isinstance(contract, ib_async.Contract)
    return contract


async def trading(world):
    """An hour of a small bot: bars, quotes, a bracket every ten minutes."""
    ib = ib_async.IB()
    await ib.connectAsync(world.host, world.port, clientId=1)
    spy = await spy_contract(ib)
    bars = await ib.reqHistoricalDataAsync(spy, "", "3600 S", "1 min", "TRADES", True, 2, keepUpToDate=True)
    ticker = ib.reqMktData(spy)
    for _ in range(6):
        await asyncio.sleep(600)
        price = round(ticker.last, 2)
        for order in ib.bracketOrder("BUY", 5, price + 0.05, round(price + 0.5, 2), round(price - 0.5, 2)):
            ib.placeOrder(spy, order)
    await asyncio.sleep(10)
    world.notes["bars"] = len(bars)
    ib.disconnect()
    await asyncio.sleep(0)


def test_an_hour_passes_in_seconds():
    began = time.perf_counter()

    world = run_virtual(trading)

    assert world.now > 3600
    assert time.perf_counter() - began < 20
    assert world.notes["bars"] >= 120
    assert len(world.events("fill")) >= 6
    assert world.violations() == []


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, second, other = run_virtual(trading), run_virtual(trading), run_virtual(trading, seed=2)

    assert first.wire_digest == second.wire_digest
    assert first.ledger == second.ledger
    assert first.wire_digest != other.wire_digest


def test_faults_and_time_outs_follow_virtual_time(virtual_gateway):
    """A mute gateway: the client's own time-out of 60 s fires in no time."""

    async def conversation(world):
        ib = ib_async.IB()
        await ib.connectAsync(world.host, world.port, clientId=1)
        spy = await spy_contract(ib)
        world.inject("hmds_silent", 100)
        before = world.now
        assert len(await ib.reqHistoricalDataAsync(spy, "", "60 S", "5 secs", "TRADES", True)) == 0
        assert 60 <= world.now - before < 61
        ib.disconnect()

    world = virtual_gateway(conversation)

    assert [line["name"] for line in world.events("fault")] == ["hmds_silent"]


def test_throttled_client_does_not_spin_on_its_deadline(virtual_gateway):
    """ib_async sends 45 messages a second at most; 200 requests take four virtual seconds and no violation."""

    async def conversation(world):
        ib = ib_async.IB()
        await ib.connectAsync(world.host, world.port, clientId=1)
        await asyncio.gather(*(ib.reqContractDetailsAsync(ib_async.Stock("SPY", "SMART", "USD")) for _ in range(200)))
        assert 3.5 < world.now < 6
        ib.disconnect()

    assert virtual_gateway(conversation).violations() == []


def test_waiting_for_nothing_is_an_error():
    async def conversation(world):
        world.server._timer.cancel()
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled):
        run_virtual(conversation)


def test_unknown_address_is_refused():
    async def conversation(world):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, "elsewhere", 1)

    run_virtual(conversation)
