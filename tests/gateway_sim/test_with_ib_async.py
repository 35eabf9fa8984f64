"""Unmodified ib_async against a real process: the conversation every bot has."""

import asyncio
import logging

import ib_async
import pytest

from tests.gateway_sim.processes import simulator

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def port():
    with simulator("--speed", "5") as number:
        yield number


@pytest.fixture
async def ib(port):
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    client = ib_async.IB()
    await client.connectAsync("127.0.0.1", port, clientId=1, raiseSyncErrors=True)
    yield client
    client.disconnect()
    await asyncio.sleep(0.05)


async def spy(ib):
    [contract] = await ib.qualifyContractsAsync(ib_async.Stock("SPY", "SMART", "USD"))
    return contract


async def until(condition, timeout_s=8.0):
    """Wait until the condition holds; fails if it does not in time."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_history_ends_with_the_unfinished_bar(ib):
    contract = await spy(ib)

    bars = await ib.reqHistoricalDataAsync(contract, "", "3600 S", "1 min", "TRADES", True, 2)

    assert len(bars) in (60, 61)
    assert all((b.date - a.date).total_seconds() == 60 for a, b in zip(bars, bars[1:], strict=False))
    assert all(bar.low <= min(bar.open, bar.close) and bar.high >= max(bar.open, bar.close) for bar in bars)


async def test_bars_kept_up_to_date_grow_and_move_on(ib):
    contract = await spy(ib)
    bars = await ib.reqHistoricalDataAsync(contract, "", "600 S", "10 secs", "TRADES", True, 1, keepUpToDate=True)
    first = bars[-1].date

    await until(lambda: bars[-1].date > first and len({bar.date for bar in bars}) == len(bars))

    ib.cancelHistoricalData(bars)


async def test_chain_quotes_and_greeks_agree_with_the_underlying(ib):
    contract = await spy(ib)
    chains = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", contract.conId)
    chain = next(chain for chain in chains if chain.exchange == "SMART")
    ticker = ib.reqMktData(contract)
    await until(lambda: ticker.bid > 0)
    nearest = min(chain.strikes, key=lambda strike: abs(strike - ticker.last))
    options = [ib_async.Option("SPY", sorted(chain.expirations)[0], nearest, right, "SMART") for right in "CP"]
    call, put = [ib.reqMktData(option, "100,101,106") for option in await ib.qualifyContractsAsync(*options)]

    await until(lambda: call.modelGreeks and put.modelGreeks)

    assert ticker.bid <= ticker.ask and call.bid < call.ask
    assert 0.2 < call.modelGreeks.delta < 0.8 and -0.8 < put.modelGreeks.delta < -0.2
    assert abs(call.modelGreeks.undPrice - ticker.last) < 1.0
    assert call.volume > 1000 and call.callOpenInterest > 0
    parity = call.modelGreeks.optPrice - put.modelGreeks.optPrice
    assert abs(parity - (call.modelGreeks.undPrice - nearest)) < 0.2


async def test_phantom_strike_is_unknown(ib):
    """The union of strikes holds combinations that do not exist."""
    contract = await spy(ib)
    chains = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", contract.conId)
    chain = next(chain for chain in chains if chain.exchange == "SMART")

    [found] = await ib.qualifyContractsAsync(
        ib_async.Option("SPY", min(chain.expirations), min(chain.strikes), "C", "SMART")
    )

    assert found is None
    assert await ib.reqSecDefOptParamsAsync("SPY", "SMART", "STK", contract.conId) == []


async def test_bracket_fills_activates_and_cancels_its_sibling(ib):
    contract = await spy(ib)
    ticker = ib.reqMktData(contract)
    await until(lambda: ticker.ask > 0)
    orders = ib.bracketOrder("BUY", 10, round(ticker.ask + 1, 2), round(ticker.ask + 50, 2), round(ticker.ask - 50, 2))
    parent, target, stop = [ib.placeOrder(contract, order) for order in orders]
    await until(lambda: parent.orderStatus.status == "Filled" and parent.fills[0].commissionReport.commission > 0)
    await until(lambda: target.orderStatus.status == "Submitted" and stop.orderStatus.status == "PreSubmitted")

    target.order.lmtPrice, target.order.transmit = round(ticker.bid - 5, 2), True
    ib.placeOrder(contract, target.order)

    await until(lambda: target.orderStatus.status == "Filled" and stop.orderStatus.status == "Cancelled")
    await until(lambda: all(position.contract.symbol != "SPY" for position in ib.positions()))
    assert len({fill.execution.execId for fill in ib.fills()}) == len(ib.fills()) >= 2


async def test_cancel_and_late_cancel(ib):
    contract = await spy(ib)
    errors = []
    ib.errorEvent += lambda number, code, text, _: errors.append(code)
    trade = ib.placeOrder(contract, ib_async.LimitOrder("BUY", 1, 500))
    await until(lambda: trade.orderStatus.status == "Submitted")

    ib.cancelOrder(trade.order)
    await until(lambda: trade.orderStatus.status == "Cancelled")
    ib.client.cancelOrder(trade.order.orderId)
    ib.client.cancelOrder(999_999)

    await until(lambda: 10147 in errors)
    assert errors == [202, 10148, 10147]


async def test_account_answers_and_what_if(ib):
    contract = await spy(ib)
    state = await ib.whatIfOrderAsync(contract, ib_async.LimitOrder("BUY", 100, 500))
    values = {value.tag: value.value for value in ib.accountValues()}
    summary = await ib.accountSummaryAsync()

    assert 0 < float(state.initMarginChange) < 1e6
    assert float(values["NetLiquidation"]) > 90_000 and float(values["BuyingPower"]) > 0
    assert {row.tag for row in summary} >= {"NetLiquidation", "AvailableFunds", "TotalCashValue"}


async def test_snapshot_ends_by_itself(ib):
    contract = await spy(ib)

    async with asyncio.timeout(5):
        [ticker] = await ib.reqTickersAsync(contract)

    assert 0 < ticker.bid <= ticker.ask
