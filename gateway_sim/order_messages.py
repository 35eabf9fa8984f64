"""Server messages about orders, executions and accounts: one encoder per message. Pure.

Values a plain order leaves open are those recorded from real servers (wire reference b4): right `?` and strike 0 for
stocks, delta-neutral type `None` with its block, unset margins as DBL_MAX.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim import versions
from gateway_sim.contracts import Contract
from gateway_sim.messages import stamp
from gateway_sim.orders import Execution, Order
from gateway_sim.wire import UNSET_DOUBLE, UNSET_INTEGER, UNSET_LONG, Field, encode

OPTION_VENUE = "CBOE"
STOCK_VENUE = "ARCA"


@dataclass(frozen=True, slots=True)
class Margins:
    """Answer of a what-if order, dollars."""

    before: float
    change: float
    equity: float
    commission: float


def quantity_text(value: float) -> Field:
    """Whole quantities as integer text."""
    return int(value) if value == int(value) else value


def contract_fields(contract: Contract, exchange: str, unknown_right: str = "") -> list[Field]:
    """C11: the contract without primaryExchange. unknown_right: what stands in `right` of anything but options."""
    strike: Field = contract.strike if contract.is_option else 0 if unknown_right else 0.0
    return [
        contract.con_id, contract.symbol, contract.sec_type, contract.expiry, strike,
        contract.right if contract.is_option else unknown_right, contract.multiplier, exchange, "USD",
        contract.local_symbol, contract.trading_class,
    ]  # fmt: skip


def order_status(order: Order, status: str | None = None) -> bytes:
    return encode(
        3, order.order_id, status or str(order.status), quantity_text(order.filled), quantity_text(order.remaining),
        round(order.average_price, 6), order.perm_id, order.request.parent_id, order.last_fill_price, order.client_id,
        order.why_held, 0.0,
    )  # fmt: skip


def _conditions(order: Order) -> list[Field]:
    conditions = order.request.conditions
    fields: list[Field] = [len(conditions)]
    for condition in conditions:
        fields += [condition.kind, *condition.values]
    return fields + [0, 0] if conditions else fields


def _algo(order: Order) -> list[Field]:
    request = order.request
    if not request.algo_strategy:
        return [""]
    pairs = [value for pair in request.algo_parameters for value in pair]
    return [request.algo_strategy, len(request.algo_parameters), *pairs]


def _trail_stop(order: Order) -> Field:
    return order.trail_stop if order.trail_stop is not None else order.request.trail_stop_price


def _state(order: Order, status: str, margins: Margins | None) -> list[Field]:
    """whatIf, status, nine margins, commissions, currency and warning of openOrder."""
    if margins is None:
        commission: list[Field] = [order.commission, "", "", "USD"] if order.commission else ["", "", "", ""]
        return [False, status, *[UNSET_DOUBLE] * 9, *commission, ""]
    before, change, equity = margins.before, margins.change, margins.equity
    return [
        True, status, before, before, equity, change, change, -margins.commission, before + change, before + change,
        equity - margins.commission, margins.commission, "", "", "USD", "",
    ]  # fmt: skip


def _tail(version: int) -> list[Field]:
    fields: list[Field] = []
    if version >= versions.DURATION:
        fields.append("")
    if version >= versions.POST_TO_ATS:
        fields.append("")
    if version >= versions.AUTO_CANCEL_PARENT:
        fields.append(0)
    if version >= versions.PEG_BEST_PEG_MID:
        fields += ["", "", "", "", ""]
    return fields


def open_order(version: int, order: Order, status: str | None = None, margins: Margins | None = None) -> bytes:
    """openOrder (5)."""
    request = order.request
    fields: list[Field] = [5, order.order_id, *contract_fields(order.contract, order.contract.exchange, "?")]
    fields += [
        request.action, quantity_text(request.quantity), request.order_type, _price(request.limit_price),
        _price(request.aux_price), request.tif, request.oca_group, request.account, request.open_close, request.origin,
        request.order_ref, order.client_id, order.perm_id, request.outside_rth, request.hidden, 0, request.good_after,
        f"{order.perm_id}.0/{request.account}/{quantity_text(request.quantity)}", "", "", "",
    ]  # fmt: skip
    if version < versions.NO_FA_PROFILE:
        fields.append("")
    fields += [
        request.model_code, request.good_till, "", "", "", 0, "", -1, 0, "", "", "", "", "", UNSET_INTEGER,
        request.block_order, request.sweep_to_fill, request.all_or_none, request.min_quantity or "", request.oca_type,
        0, 0, "", request.parent_id, request.trigger_method, "", 0,
    ]  # fmt: skip
    fields += ["None", "", 0, "", "", "", "?", 0, 0, ""]  # delta neutral: type, aux price and its block of eight
    fields += [0, 0, _trail_stop(order), request.trailing_percent, "", "", "", 0, 0, 0]
    fields += [UNSET_INTEGER, UNSET_INTEGER, "", ""]  # scale sizes, scale price increment, hedgeType
    fields += [0, "", "IB", 0, 0, *_algo(order), 0]
    fields += _state(order, status or str(order.status), margins)
    fields += [0, 0, *_conditions(order)]
    fields += ["None", UNSET_DOUBLE, _trail_stop(order), UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, UNSET_DOUBLE, 0]
    fields += ["", "", "", request.cash_quantity or 0, 0, 0, 0, 0]
    return encode(*fields, *_tail(version))


def _price(value: float | None) -> Field:
    return 0.0 if value is None else value


def open_order_end() -> bytes:
    return encode(53, 1)


def completed_order(version: int, order: Order) -> bytes:
    """completedOrder (101): totalQuantity is the unfilled rest, filledQuantity carries the number."""
    request = order.request
    fields: list[Field] = [101, *contract_fields(order.contract, order.contract.exchange, "?")]
    fields += [
        request.action, quantity_text(order.remaining), request.order_type, _price(request.limit_price),
        _price(request.aux_price), request.tif, request.oca_group, request.account, request.open_close, request.origin,
        request.order_ref, order.perm_id, request.outside_rth, request.hidden, 0, request.good_after, "", "", "",
    ]  # fmt: skip
    if version < versions.NO_FA_PROFILE:
        fields.append("")
    fields += [
        request.model_code, request.good_till, "", "", "", 0, "", -1, "", "", "", "", "", UNSET_INTEGER,
        request.sweep_to_fill, request.all_or_none, request.min_quantity or "", request.oca_type,
        request.trigger_method, "", 0, "None", "", 0, 0, 0, "",
    ]  # fmt: skip
    fields += [0, 0, _trail_stop(order), request.trailing_percent, "", 0, 0, 0, UNSET_INTEGER, UNSET_INTEGER, "", ""]
    fields += ["", "IB", 0, 0, *_algo(order), 0, str(order.status), 0, 0, *_conditions(order)]
    fields += [
        _trail_stop(order), UNSET_DOUBLE, request.cash_quantity or 0, 0, 0, "", quantity_text(order.filled), 0, 0,
        "Not an insider or substantial shareholder", 0, 0, UNSET_LONG, stamp(order.completed_s, versions.ZONE_IN_DATES),
        order.completed_status,
    ]  # fmt: skip
    if version >= versions.PEG_BEST_PEG_MID:
        fields += ["", "", "", "", ""]
    return encode(*fields)


def completed_orders_end() -> bytes:
    return encode(102)


def execution_details(version: int, req_id: int, execution: Execution) -> bytes:
    """execDetails (11). req_id -1 for a live fill."""
    order = execution.order
    fields: list[Field] = [11, req_id, order.order_id, *contract_fields(order.contract, execution.exchange)]
    fields += [
        execution.exec_id, stamp(execution.time_s, version), order.request.account, execution.exchange,
        "BOT" if order.is_buy else "SLD", quantity_text(execution.quantity), execution.price, order.perm_id,
        order.client_id, 0, quantity_text(execution.cumulative), round(execution.average_price, 6),
        order.request.order_ref, "", "", order.request.model_code, 2,
    ]  # fmt: skip
    if version >= versions.PENDING_PRICE_REVISION:
        fields.append(0)
    return encode(*fields)


def execution_details_end(req_id: int) -> bytes:
    return encode(55, 1, req_id)


def commission_report(execution: Execution) -> bytes:
    realized: Field = UNSET_DOUBLE if execution.realized is None else round(execution.realized, 6)
    return encode(59, 1, execution.exec_id, round(execution.commission, 6), "USD", realized, UNSET_DOUBLE, "")


def order_bound(order: Order) -> bytes:
    return encode(100, order.perm_id, order.client_id, order.order_id)


# --- account ----------------------------------------------------------------------------------------------------------


def account_value(key: str, value: str, currency: str, account: str) -> bytes:
    return encode(6, 2, key, value, currency, account)


def portfolio_value(
    contract: Contract,
    position: float,
    mark: float,
    average_cost: float,
    unrealized: float,
    realized: float,
    account: str,
) -> bytes:
    """portfolioValue (7). average_cost includes the multiplier."""
    fields: list[Field] = [7, 8, *contract_fields(contract, contract.primary_exchange, "0")]
    fields += [
        quantity_text(position), round(mark, 6), round(position * mark * contract.unit, 2), round(average_cost, 6),
        round(unrealized, 2), round(realized, 2), account,
    ]  # fmt: skip
    return encode(*fields)


def account_update_time(text: str) -> bytes:
    return encode(8, 1, text)


def account_download_end(account: str) -> bytes:
    return encode(54, 1, account)


def position_row(account: str, contract: Contract, position: float, average_cost: float) -> bytes:
    return encode(61, 3, account, *contract_fields(contract, ""), quantity_text(position), round(average_cost, 6))


def position_end() -> bytes:
    return encode(62, 1)


def position_multi(
    req_id: int, account: str, contract: Contract, position: float, average_cost: float, model: str
) -> bytes:
    return encode(
        71, 1, req_id, account, *contract_fields(contract, ""), quantity_text(position), round(average_cost, 6), model
    )


def position_multi_end(req_id: int) -> bytes:
    return encode(72, 1, req_id)


def account_summary(req_id: int, account: str, tag: str, value: str, currency: str) -> bytes:
    return encode(63, 1, req_id, account, tag, value, currency)


def account_summary_end(req_id: int) -> bytes:
    return encode(64, 1, req_id)


def account_update_multi(req_id: int, account: str, model: str, key: str, value: str, currency: str) -> bytes:
    return encode(73, 1, req_id, account, model, key, value, currency)


def account_update_multi_end(req_id: int) -> bytes:
    return encode(74, 1, req_id)


def pnl(req_id: int, daily: float, unrealized: float, realized: float) -> bytes:
    return encode(94, req_id, round(daily, 4), round(unrealized, 4), round(realized, 4))


def pnl_single(req_id: int, position: float, daily: float, unrealized: float, realized: float, value: float) -> bytes:
    return encode(
        95, req_id, quantity_text(position), round(daily, 4), round(unrealized, 4), round(realized, 4), round(value, 4)
    )
