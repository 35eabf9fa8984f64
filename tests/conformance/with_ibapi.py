"""The conversation held by the official ibapi: `python with_ibapi.py PORT`."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.steps import Report

client_module: Any = importlib.import_module("ibapi.client")
wrapper_module: Any = importlib.import_module("ibapi.wrapper")
Contract: Any = importlib.import_module("ibapi.contract").Contract
Order: Any = importlib.import_module("ibapi.order").Order
execution_module: Any = importlib.import_module("ibapi.execution")

HOST = "127.0.0.1"
RECORDED = (
    "nextValidId", "managedAccounts", "error", "currentTime", "contractDetails", "contractDetailsEnd",
    "securityDefinitionOptionParameter", "securityDefinitionOptionParameterEnd", "historicalData",
    "historicalDataEnd", "historicalDataUpdate", "tickPrice", "tickSize", "tickString", "tickSnapshotEnd",
    "tickOptionComputation", "openOrder", "orderStatus", "openOrderEnd", "execDetails", "execDetailsEnd",
    "commissionReport", "position", "positionEnd", "updateAccountValue", "accountDownloadEnd", "accountSummary",
    "accountSummaryEnd", "completedOrder", "completedOrdersEnd", "pnl",
)  # fmt: skip


def until(condition: Callable[[], Any], timeout_s: float = 12.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


class App(wrapper_module.EWrapper, client_module.EClient):  # type: ignore[misc]
    """Records every callback by name."""

    def __init__(self) -> None:
        client_module.EClient.__init__(self, self)
        self.got: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for name in RECORDED:
            setattr(self, name, self._recorder(name))

    def _recorder(self, name: str) -> Callable[..., None]:
        def record(*values: Any) -> None:
            self.got[name].append(values)

        return record

    def begin(self, port: int, client_id: int) -> bool:
        """Connect and read in a thread; whether the next valid id came."""
        self.connect(HOST, port, client_id)
        threading.Thread(target=self.run, daemon=True).start()
        return until(lambda: self.got["nextValidId"] or self.codes(326), 4.0)

    def codes(self, code: int) -> list[tuple[Any, ...]]:
        return [row for row in self.got["error"] if row[1] == code]

    def statuses(self, order_id: int) -> list[str]:
        return [row[1] for row in self.got["orderStatus"] if row[0] == order_id]


def contract(symbol: str, **more: Any) -> Any:
    made = Contract()
    made.symbol, made.secType, made.exchange, made.currency = symbol, "STK", "SMART", "USD"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def order(action: str, quantity: int, kind: str, limit: float = 0.0, **more: Any) -> Any:
    made = Order()
    made.action, made.totalQuantity, made.orderType = action, quantity, kind
    made.eTradeOnly = made.firmQuoteOnly = False
    if limit:
        made.lmtPrice = limit
    for name, value in more.items():
        setattr(made, name, value)
    return made


def reference_steps(app: App, report: Report) -> Any:
    app.reqCurrentTime()
    report.check("time", until(lambda: app.got["currentTime"]), app.got["currentTime"])
    app.reqContractDetails(1, contract("SPY"))
    until(lambda: app.got["contractDetailsEnd"])
    details = app.got["contractDetails"][0][1]
    report.check("contract details", details.contract.conId == 756733, details.longName)
    app.reqContractDetails(2, contract("ZZZZ"))
    report.check("unknown symbol", until(lambda: app.codes(200)))
    app.reqSecDefOptParams(3, "SPY", "", "STK", 756733)
    until(lambda: app.got["securityDefinitionOptionParameterEnd"])
    row = next(row for row in app.got["securityDefinitionOptionParameter"] if row[1] == "SMART")
    report.check("chain", len(row[6]) > 100, f"{len(row[5])} expiries")
    return row


def history_steps(app: App, report: Report) -> None:
    sizes = (("5 secs", "600 S"), ("1 min", "3600 S"), ("5 mins", "2 D"), ("1 hour", "1 W"), ("1 day", "1 M"))
    for number, (size, duration) in enumerate(sizes):
        app.reqHistoricalData(10 + number, contract("SPY"), "", duration, size, "TRADES", 1, 1 + number % 2, False, [])
    until(lambda: len(app.got["historicalDataEnd"]) == len(sizes))
    counts = [sum(row[0] == 10 + number for row in app.got["historicalData"]) for number in range(len(sizes))]
    report.check("history", min(counts) >= 18, counts)
    app.reqHistoricalData(20, contract("SPY"), "", "300 S", "10 secs", "TRADES", 1, 1, True, [])
    good = until(lambda: len({row[1].date for row in app.got["historicalDataUpdate"]}) > 1)
    report.check("keep up to date", good, len(app.got["historicalDataUpdate"]))
    app.cancelHistoricalData(20)


def price(app: App, req_id: int, kind: int) -> float:
    """The last price tick of a kind, 0 if there is none."""
    found = [row[2] for row in app.got["tickPrice"] if row[0] == req_id and row[1] == kind]
    return float(found[-1]) if found else 0.0


def quote_steps(app: App, chain: Any, report: Report) -> None:
    app.reqMktData(30, contract("SPY"), "", False, False, [])
    good = until(lambda: price(app, 30, 1) and price(app, 30, 4) and any(row[1] == 8 for row in app.got["tickSize"]))
    report.check("streaming", good, price(app, 30, 1))
    app.reqMktData(31, contract("AAPL"), "", True, False, [])
    report.check("snapshot", until(lambda: app.got["tickSnapshotEnd"]) and price(app, 31, 2) > 0, price(app, 31, 2))
    strike = min(chain[6], key=lambda value: abs(value - price(app, 30, 4)))
    option = contract(
        "SPY", secType="OPT", lastTradeDateOrContractMonth=min(chain[5]), strike=strike, right="C", multiplier="100"
    )
    app.reqMktData(32, option, "100,101,106", False, False, [])
    good = until(lambda: [row for row in app.got["tickOptionComputation"] if row[0] == 32 and row[1] == 13])
    report.check("option greeks", good, app.got["tickOptionComputation"][-1:])


def order_steps(app: App, first: int, report: Report) -> None:
    app.placeOrder(first, contract("SPY"), order("BUY", 10, "MKT"))
    good = until(lambda: "Filled" in app.statuses(first) and app.got["commissionReport"])
    report.check("order round trip", good, app.statuses(first))
    app.placeOrder(first + 1, contract("SPY"), order("BUY", 1, "LMT", 500.0))
    until(lambda: "Submitted" in app.statuses(first + 1))
    app.placeOrder(first + 1, contract("SPY"), order("BUY", 1, "LMT", 505.0))
    good = until(lambda: any(row[0] == first + 1 and row[2].lmtPrice == 505.0 for row in app.got["openOrder"]))
    report.check("modify", good)
    app.cancelOrder(first + 1)
    report.check("cancel", until(lambda: "Cancelled" in app.statuses(first + 1)) and app.codes(202))
    ask = price(app, 30, 2)
    app.placeOrder(first + 2, contract("SPY"), order("BUY", 3, "LMT", round(ask + 1, 2), transmit=False))
    child = {"parentId": first + 2}
    app.placeOrder(first + 3, contract("SPY"), order("SELL", 3, "LMT", round(ask + 60, 2), transmit=False, **child))
    app.placeOrder(first + 4, contract("SPY"), order("SELL", 3, "STP", auxPrice=round(ask - 60, 2), **child))
    good = until(lambda: "Filled" in app.statuses(first + 2) and "Submitted" in app.statuses(first + 3))
    app.cancelOrder(first + 3)
    app.cancelOrder(first + 4)
    report.check("bracket", good and until(lambda: "Cancelled" in app.statuses(first + 4)), app.statuses(first + 4))
    app.placeOrder(first + 5, contract("F"), order("BUY", 5000, "LMT", 15.0))
    good = until(lambda: "Filled" in app.statuses(first + 5))
    fills = [row for row in app.got["execDetails"] if row[2].orderId == first + 5]
    report.check("partial fill", good and len(fills) > 1, len(fills))


def account_steps(app: App, report: Report) -> None:
    app.reqPositions()
    until(lambda: app.got["positionEnd"])
    held = {row[1].symbol: row[2] for row in app.got["position"]}
    report.check("positions", held.get("SPY") == 13 and held.get("F") == 5000, held)
    app.reqAccountUpdates(True, "")
    app.reqAccountSummary(40, "All", "NetLiquidation,BuyingPower")
    good = until(lambda: app.got["accountDownloadEnd"] and app.got["accountSummaryEnd"])
    report.check("account", good and len(app.got["updateAccountValue"]) > 20, len(app.got["accountSummary"]))
    before = len(app.got["execDetails"])
    app.reqExecutions(41, execution_module.ExecutionFilter())
    good = until(lambda: app.got["execDetailsEnd"])
    report.check("executions", good and len(app.got["execDetails"]) > before + 3, len(app.got["execDetails"]) - before)
    app.reqCompletedOrders(False)
    report.check(
        "completed orders", until(lambda: app.got["completedOrdersEnd"]) and len(app.got["completedOrder"]) >= 5
    )
    app.reqPnL(42, app.got["managedAccounts"][0][0], "")
    report.check("pnl", until(lambda: app.got["pnl"]), app.got["pnl"][:1])


def connection_steps(app: App, port: int, report: Report) -> None:
    second = App()
    second.begin(port, 1)
    report.check("duplicate client id", bool(second.codes(326)) and app.isConnected(), second.codes(326))
    app.disconnect()
    time.sleep(1.5)  # its reader thread keeps the socket open for up to a second
    again = App()
    good = again.begin(port, 1)
    report.check("reconnect", good and again.got["nextValidId"][0][0] > 5, again.got["nextValidId"])
    again.disconnect()


def main() -> int:
    logging.disable(logging.CRITICAL)
    port = int(sys.argv[1])
    report = Report()
    app = App()
    good = app.begin(port, 1)
    report.check("connect", good and app.got["managedAccounts"], f"server version {app.serverVersion()}")
    chain = reference_steps(app, report)
    history_steps(app, report)
    quote_steps(app, chain, report)
    order_steps(app, app.got["nextValidId"][0][0], report)
    account_steps(app, report)
    connection_steps(app, port, report)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
