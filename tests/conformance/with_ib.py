"""The conversation held by ib_async or ib_insync, which share their interface: `python with_ib.py ib_async PORT`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.steps import Report

HOST = "127.0.0.1"


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> bool:
    """Whether the condition came true in time."""
    for _ in range(int(timeout_s / 0.02)):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return False


async def reference_steps(lib: Any, ib: Any, report: Report) -> Any:
    now = await ib.reqCurrentTimeAsync()
    report.check("time", now.year >= 2020, now)
    [spy] = await ib.qualifyContractsAsync(lib.Stock("SPY", "SMART", "USD"))
    [details] = await ib.reqContractDetailsAsync(spy)
    report.check("contract details", spy.conId == 756733 and details.longName and details.liquidHours, details.longName)
    errors: list[int] = []
    ib.errorEvent += lambda number, code, *rest: errors.append(code)
    nothing = await ib.reqContractDetailsAsync(lib.Stock("ZZZZ", "SMART", "USD"))
    report.check("unknown symbol", not nothing and 200 in errors, errors)
    chains = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", spy.conId)
    chain = next(chain for chain in chains if chain.exchange == "SMART")
    report.check("chain", len(chains) > 5 and len(chain.strikes) > 100, f"{len(chain.expirations)} expiries")
    return spy, chain


async def history_steps(ib: Any, spy: Any, report: Report) -> None:
    counts = []
    for size, duration in (
        ("5 secs", "600 S"),
        ("1 min", "3600 S"),
        ("5 mins", "2 D"),
        ("1 hour", "1 W"),
        ("1 day", "1 M"),
    ):
        for date_format in (1, 2):
            bars = await ib.reqHistoricalDataAsync(spy, "", duration, size, "TRADES", True, date_format, timeout=10)
            counts.append(len(bars))
            await asyncio.sleep(3.2 if size == "5 secs" else 0)
    report.check("history", min(counts) >= 18, counts)
    bars = await ib.reqHistoricalDataAsync(
        spy, "", "300 S", "10 secs", "TRADES", True, 1, keepUpToDate=True, timeout=10
    )
    first = bars[-1].date
    grown = await until(lambda: bars[-1].date > first)
    report.check("keep up to date", grown, bars[-1].date)
    ib.cancelHistoricalData(bars)


async def quote_steps(lib: Any, ib: Any, spy: Any, chain: Any, report: Report) -> Any:
    ticker = ib.reqMktData(spy, "233")
    good = await until(lambda: ticker.bid > 0 and ticker.ask >= ticker.bid and ticker.last > 0 and ticker.volume > 0)
    report.check("streaming", good, f"{ticker.bid} {ticker.ask}")
    [aapl] = await ib.qualifyContractsAsync(lib.Stock("AAPL", "SMART", "USD"))
    [snapshot] = await asyncio.wait_for(ib.reqTickersAsync(aapl), 10)
    report.check("snapshot", snapshot.ask > 0, snapshot.ask)
    strike = min(chain.strikes, key=lambda value: abs(value - ticker.last))
    [option] = await ib.qualifyContractsAsync(lib.Option("SPY", sorted(chain.expirations)[0], strike, "C", "SMART"))
    quoted = ib.reqMktData(option, "100,101,106")
    good = await until(lambda: quoted.modelGreeks is not None and quoted.callOpenInterest > 0 and quoted.volume > 0)
    report.check("option greeks", good and 0 < quoted.modelGreeks.delta < 1, quoted.modelGreeks)
    return ticker


async def order_steps(lib: Any, ib: Any, spy: Any, ticker: Any, report: Report) -> None:
    trade = ib.placeOrder(spy, lib.MarketOrder("BUY", 10))
    good = await until(lambda: trade.orderStatus.status == "Filled" and trade.fills[-1].commissionReport.commission > 0)
    report.check("order round trip", good, [entry.status for entry in trade.log])
    resting = ib.placeOrder(spy, lib.LimitOrder("BUY", 1, 500))
    await until(lambda: resting.orderStatus.status == "Submitted")
    resting.order.lmtPrice = 505
    ib.placeOrder(spy, resting.order)
    good = await until(lambda: any(entry.status == "Submitted" for entry in resting.log[2:]) or resting.isActive())
    await asyncio.sleep(0.3)
    opened = await ib.reqOpenOrdersAsync()
    report.check("modify", good and any(row.order.lmtPrice == 505 for row in opened), len(opened))
    ib.cancelOrder(resting.order)
    report.check("cancel", await until(lambda: resting.orderStatus.status == "Cancelled"))
    legs = ib.bracketOrder("BUY", 3, round(ticker.ask + 1, 2), round(ticker.ask + 60, 2), round(ticker.ask - 60, 2))
    parent, target, stop = [ib.placeOrder(spy, leg) for leg in legs]
    good = await until(lambda: parent.orderStatus.status == "Filled" and target.orderStatus.status == "Submitted")
    ib.cancelOrder(target.order)
    ib.cancelOrder(stop.order)
    good = good and await until(lambda: target.isDone() and stop.isDone())
    report.check("bracket", good, stop.orderStatus.status)
    [ford] = await ib.qualifyContractsAsync(lib.Stock("F", "SMART", "USD"))
    partial = ib.placeOrder(ford, lib.LimitOrder("BUY", 5000, 15))
    good = await until(lambda: partial.orderStatus.status == "Filled")
    report.check("partial fill", good and len(partial.fills) > 1, len(partial.fills))


async def account_steps(lib: Any, ib: Any, report: Report) -> None:
    held = {position.contract.symbol: position.position for position in await ib.reqPositionsAsync()}
    report.check("positions", held.get("SPY") == 13 and held.get("F") == 5000, held)
    values = {value.tag: value.value for value in ib.accountValues()}
    summary = await ib.accountSummaryAsync()
    report.check("account", float(values["NetLiquidation"]) > 0 and summary and ib.portfolio(), len(summary))
    fills = await ib.reqExecutionsAsync()
    report.check("executions", len(fills) >= 4, len(fills))
    completed = await ib.reqCompletedOrdersAsync(False)
    report.check("completed orders", len(completed) >= 5, len(completed))
    pnl = ib.reqPnL(ib.managedAccounts()[0])
    report.check("pnl", await until(lambda: pnl.unrealizedPnL == pnl.unrealizedPnL), pnl.unrealizedPnL)


async def connection_steps(lib: Any, ib: Any, port: int, report: Report) -> None:
    errors: list[int] = []
    second = lib.IB()
    second.errorEvent += lambda number, code, *rest: errors.append(code)
    with contextlib.suppress(TimeoutError, ConnectionError):
        await second.connectAsync(HOST, port, clientId=1, timeout=2)
    report.check("duplicate client id", not second.isConnected() and ib.isConnected() and 326 in errors, errors)
    ib.disconnect()
    await asyncio.sleep(0.2)
    await ib.connectAsync(HOST, port, clientId=1)
    report.check("reconnect", ib.isConnected() and len(ib.fills()) >= 4 and ib.client.getReqId() > 5, len(ib.fills()))
    ib.disconnect()


async def converse(lib: Any, port: int, report: Report) -> None:
    ib = lib.IB()
    await ib.connectAsync(HOST, port, clientId=1)
    report.check("connect", ib.isConnected() and ib.managedAccounts(), f"server version {ib.client.serverVersion()}")
    spy, chain = await reference_steps(lib, ib, report)
    await history_steps(ib, spy, report)
    ticker = await quote_steps(lib, ib, spy, chain, report)
    await order_steps(lib, ib, spy, ticker, report)
    await account_steps(lib, ib, report)
    await connection_steps(lib, ib, port, report)


def main() -> int:
    logging.disable(logging.CRITICAL)
    library, port = sys.argv[1], int(sys.argv[2])
    report = Report()
    asyncio.run(converse(importlib.import_module(library), port, report))
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
