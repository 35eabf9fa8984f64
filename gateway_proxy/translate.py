"""ib_async objects <-> our words. The one place where IB's spelling (camelCase, magic unset numbers) ends.

Sentinels by rule book 9: -1 volatility or price, -2 greeks, 1.797e308 and 2147483647 all mean "not computed".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, get_args

import ib_async as ib
from ib_async.util import UNSET_DOUBLE, UNSET_INTEGER

from gateway_proxy.bus.messages import Bar, Contract, SecType
from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.events import (
    CompletedOrderReceived,
    ContractDetails,
    ExecutionReceived,
    OpenOrderReceived,
    OptionTickReceived,
)

_SEC_TYPES = get_args(SecType)


def number(value: Any) -> float | None:
    """A finite number, or None for everything IB uses instead of "no value"."""
    if value is None or value == "":
        return None
    result = float(value)
    if not math.isfinite(result) or abs(result) >= UNSET_DOUBLE / 2 or result == UNSET_INTEGER:
        return None
    return result


def contract_out(contract: Contract) -> ib.Contract:
    return ib.Contract(
        secType=contract.sec_type,
        conId=contract.con_id,
        symbol=contract.symbol,
        lastTradeDateOrContractMonth=contract.last_trade_date,
        strike=contract.strike,
        right=contract.right,
        multiplier=contract.multiplier,
        exchange=contract.exchange,
        currency=contract.currency,
        tradingClass=contract.trading_class,
    )


def _contract_fields(contract: ib.Contract) -> str:
    fields = (
        contract.conId, contract.symbol, contract.secType, contract.lastTradeDateOrContractMonth, contract.strike,
        contract.right, contract.multiplier, contract.exchange, contract.primaryExchange, contract.currency,
        contract.localSymbol, contract.tradingClass,
    )  # fmt: skip
    return "\0".join(map(str, fields))


def _other_out(value: Any) -> str:
    return _contract_fields(value) if isinstance(value, ib.Contract) else str(value)


#: How a field of each type is written.
_FIELD_OUT: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: lambda value: "1" if value else "0",
    int: lambda value: "" if value == UNSET_INTEGER else str(value),
    float: lambda value: "" if value == UNSET_DOUBLE else "Infinite" if value == math.inf else str(value),
    type(None): lambda _: "",
    list: lambda tags: "".join(f"{each.tag}={each.value};" for each in tags),
}


def message_out(fields: Iterable[Any]) -> str:
    """The text of one message to the Gateway, each field ended by a NUL; ib_async's unset numbers are empty fields."""
    written = [_FIELD_OUT.get(type(field), _other_out)(field) for field in fields]
    written.append("")
    return "\0".join(written)


def contract_in(contract: ib.Contract) -> Contract:
    """A kind of instrument that we have no word for becomes "BAG", which nobody here prices or trades.

    IB writes right "0" or "?" and strike 0.0 for stocks; options may carry "CALL"/"PUT".
    """
    right = contract.right[:1] if contract.right[:1] in ("C", "P") else ""
    return Contract(
        symbol=contract.symbol,
        sec_type=contract.secType if contract.secType in _SEC_TYPES else "BAG",  # type: ignore[arg-type]
        exchange=contract.exchange or "SMART",
        currency=contract.currency or "USD",
        last_trade_date=contract.lastTradeDateOrContractMonth.split(" ")[0],
        strike=number(contract.strike) or 0.0,
        right=right,  # type: ignore[arg-type]
        multiplier=str(contract.multiplier or ""),
        trading_class=contract.tradingClass,
        con_id=contract.conId,
    )


def details_in(details: ib.ContractDetails) -> ContractDetails:
    assert details.contract is not None, "the decoder always sets it"
    exchanges = details.validExchanges.split(",")
    rules = [int(rule) if rule.isdigit() else 0 for rule in details.marketRuleIds.split(",")]
    return ContractDetails(
        contract=contract_in(details.contract),
        min_tick=number(details.minTick) or 0.01,
        long_name=details.longName,
        primary_exchange=details.contract.primaryExchange,
        time_zone=details.timeZoneId,
        trading_hours=details.tradingHours,
        liquid_hours=details.liquidHours,
        market_rules=tuple(zip(exchanges, rules, strict=False)),
    )


def bar_start_ns(date: Any) -> int:
    """Start of a bar: epoch seconds (formatDate 2) for intraday bars, YYYYMMDD for daily and longer (00:00 UTC)."""
    text = str(date)
    if len(text) == 8:
        return int(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    return int(text) * 1_000_000_000


def bar_in(bar: ib.BarData, *, complete: bool, live: bool) -> Bar:
    """wap, volume and count are -1 where IB has none (quotes instead of trades)."""
    return Bar(
        start_ns=bar_start_ns(bar.date),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=max(bar.volume, 0.0),
        wap=bar.average if bar.average > 0 else None,
        count=bar.barCount if bar.barCount >= 0 else None,
        complete=complete,
        source="live" if live else "backfill",
    )


def option_tick_in(
    req_id: int,
    tick_type: int,
    iv: float,
    delta: float,
    price: float,
    gamma: float,
    vega: float,
    theta: float,
    spot: float,
) -> OptionTickReceived:
    def greek(value: float) -> float | None:
        return None if value == -2 else number(value)

    def positive(value: float) -> float | None:
        return None if value < 0 else number(value)

    return OptionTickReceived(
        req_id=req_id,
        tick_type=tick_type,
        iv=positive(iv),
        delta=greek(delta),
        gamma=greek(gamma),
        theta=greek(theta),
        vega=greek(vega),
        price=positive(price),
        underlying_price=positive(spot),
    )


def order_out(ticket: OrderTicket) -> ib.Order:
    """Only the fields we mean; eTradeOnly and the like keep ib_async's safe defaults (rule book 5.3, 10268)."""
    order = ib.Order(
        orderId=ticket.order_id,
        action=ticket.action,
        totalQuantity=ticket.quantity,
        orderType=ticket.order_type,
        tif=ticket.tif,
        account=ticket.account,
        orderRef=ticket.order_ref,
        transmit=ticket.transmit,
        parentId=ticket.parent_id,
        ocaGroup=ticket.oca_group,
        ocaType=1 if ticket.oca_group else 0,
        goodTillDate=ticket.good_till,
    )
    if ticket.limit_price is not None:
        order.lmtPrice = ticket.limit_price
    if ticket.stop_price is not None:
        order.auxPrice = ticket.stop_price
    return order


def open_order_in(contract: ib.Contract, order: ib.Order, state: ib.OrderState) -> OpenOrderReceived:
    return OpenOrderReceived(
        order_id=order.orderId,
        client_id=order.clientId,
        perm_id=order.permId,
        parent_id=order.parentId,
        order_ref=order.orderRef,
        contract=contract_in(contract),
        account=order.account,
        action="BUY" if order.action == "BUY" else "SELL",
        quantity=float(order.totalQuantity),
        order_type=order.orderType,
        limit_price=number(order.lmtPrice),
        stop_price=number(order.auxPrice),
        tif=order.tif,
        status=state.status,
        warning=state.warningText,
    )


def completed_order_in(contract: ib.Contract, order: ib.Order, state: ib.OrderState) -> CompletedOrderReceived:
    return CompletedOrderReceived(
        perm_id=order.permId,
        order_ref=order.orderRef,
        contract=contract_in(contract),
        account=order.account,
        action="BUY" if order.action == "BUY" else "SELL",
        status=state.status,
        filled=number(order.filledQuantity) or 0.0,
        completed_status=state.completedStatus,
    )


def execution_in(req_id: int, contract: ib.Contract, execution: ib.Execution) -> ExecutionReceived:
    return ExecutionReceived(
        req_id=req_id,
        exec_id=execution.execId,
        order_id=execution.orderId,
        client_id=execution.clientId,
        perm_id=execution.permId,
        order_ref=execution.orderRef,
        contract=contract_in(contract),
        account=execution.acctNumber,
        action="BUY" if execution.side == "BOT" else "SELL",
        quantity=float(execution.shares),
        price=float(execution.price),
        cumulative_quantity=float(execution.cumQty),
        average_price=float(execution.avgPrice),
        time_ns=int(execution.time.timestamp() * 1_000_000_000),
    )
