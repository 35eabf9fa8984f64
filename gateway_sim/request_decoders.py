"""Reading client requests off the wire: message ids, IB's names, one decoder each. Pure.

A decoder turns fields into a dataclass of `requests` (wire reference b1, b2). It takes the FieldReader positioned
behind the id, and the negotiated server version.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from gateway_sim.contracts import ContractQuery
from gateway_sim.order_request import read_place_order
from gateway_sim.requests import (
    AccountRequest,
    AccountSummaryRequest,
    ById,
    CancelOrder,
    ContractDetailsRequest,
    DepthRequest,
    ExecutionsRequest,
    HeadTimeStampRequest,
    HistogramRequest,
    HistoricalDataRequest,
    HistoricalTicksRequest,
    MarketDataRequest,
    MatchingSymbolsRequest,
    OptionCalculation,
    OptionParametersRequest,
    Plain,
    RealTimeBarsRequest,
    Request,
    ScannerRequest,
    StartApi,
    Switch,
    TickByTickRequest,
)
from gateway_sim.wire import FieldReader, WireError

Decoder = Callable[[FieldReader, int], Request]


def read_contract(fields: FieldReader) -> ContractQuery:
    """The 12 contract fields."""
    return ContractQuery(
        fields.integer(), fields.text(), fields.text(), fields.text(), fields.number(), fields.text(), fields.text(),
        fields.text(), fields.text(), fields.text(), fields.text(), fields.text(),
    )  # fmt: skip


def _start_api(fields: FieldReader, version: int) -> Request:
    fields.text()
    return StartApi(fields.integer())


def _plain(fields: FieldReader, version: int) -> Request:
    return Plain()


def _by_id(fields: FieldReader, version: int) -> Request:
    return ById(fields.integer())


def _versioned_id(fields: FieldReader, version: int) -> Request:
    fields.text()
    return ById(fields.integer())


def _versioned_switch(fields: FieldReader, version: int) -> Request:
    fields.text()
    return Switch(fields.flag())


def _switch(fields: FieldReader, version: int) -> Request:
    return Switch(fields.flag())


def _account_updates(fields: FieldReader, version: int) -> Request:
    fields.text()
    return Switch(fields.flag(), fields.text())


def _skip_combo(fields: FieldReader, contract: ContractQuery) -> None:
    if contract.sec_type == "BAG":
        for _ in range(fields.count(100) * 4):
            fields.text()


def _market_data(fields: FieldReader, version: int) -> Request:
    fields.text()
    req_id, contract = fields.integer(), read_contract(fields)
    _skip_combo(fields, contract)
    if fields.flag():
        for _ in range(3):
            fields.text()
    return MarketDataRequest(req_id, contract, fields.text(), fields.flag(), fields.flag())


def _depth(fields: FieldReader, version: int) -> Request:
    fields.text()
    return DepthRequest(fields.integer(), read_contract(fields), fields.integer(), fields.flag())


def _contract_details(fields: FieldReader, version: int) -> Request:
    fields.text()
    return ContractDetailsRequest(fields.integer(), read_contract(fields))


def _historical_data(fields: FieldReader, version: int) -> Request:
    req_id, contract = fields.integer(), read_contract(fields)
    fields.text()
    end, bar_size, duration = fields.text(), fields.text(), fields.text()
    regular_only, what, date_format = fields.flag(), fields.text(), fields.integer()
    _skip_combo(fields, contract)
    return HistoricalDataRequest(
        req_id, contract, end, bar_size, duration, regular_only, what, date_format, fields.flag()
    )


def _real_time_bars(fields: FieldReader, version: int) -> Request:
    fields.text()
    req_id, contract = fields.integer(), read_contract(fields)
    fields.text()
    return RealTimeBarsRequest(req_id, contract, fields.text(), fields.flag())


def _head_time_stamp(fields: FieldReader, version: int) -> Request:
    req_id, contract = fields.integer(), read_contract(fields)
    fields.text()
    return HeadTimeStampRequest(req_id, contract, fields.flag(), fields.text(), fields.integer())


def _histogram(fields: FieldReader, version: int) -> Request:
    req_id, contract = fields.integer(), read_contract(fields)
    fields.text()
    return HistogramRequest(req_id, contract, fields.flag(), fields.text())


def _historical_ticks(fields: FieldReader, version: int) -> Request:
    req_id, contract = fields.integer(), read_contract(fields)
    fields.text()
    return HistoricalTicksRequest(
        req_id, contract, fields.text(), fields.text(), fields.integer(), fields.text(), fields.flag()
    )


def _tick_by_tick(fields: FieldReader, version: int) -> Request:
    return TickByTickRequest(fields.integer(), read_contract(fields), fields.text(), fields.integer(), fields.flag())


def _option_calculation(fields: FieldReader, version: int) -> Request:
    fields.text()
    req_id, contract = fields.integer(), read_contract(fields)
    given, underlying = fields.number(), fields.number()
    if given is None or underlying is None:
        raise WireError("option calculation without its two numbers")
    return OptionCalculation(req_id, contract, given, underlying)


def _option_parameters(fields: FieldReader, version: int) -> Request:
    return OptionParametersRequest(fields.integer(), fields.text(), fields.text(), fields.text(), fields.integer())


def _matching_symbols(fields: FieldReader, version: int) -> Request:
    return MatchingSymbolsRequest(fields.integer(), fields.text())


def _scanner(fields: FieldReader, version: int) -> Request:
    req_id, rows = fields.integer(), fields.integer()
    instrument, location, scan_code = fields.text(), fields.text(), fields.text()
    above, below, volume = fields.number(), fields.number(), fields.integer()
    return ScannerRequest(
        req_id, rows, instrument, location, scan_code, above or 0.0, inf if below is None else below, volume
    )


def _cancel_order(fields: FieldReader, version: int) -> Request:
    fields.text()
    return CancelOrder(fields.integer())


def _executions(fields: FieldReader, version: int) -> Request:
    fields.text()
    req_id, client_id, account, time = fields.integer(), fields.integer(), fields.text(), fields.text()
    symbol, sec_type = fields.text(), fields.text()
    fields.text()
    return ExecutionsRequest(req_id, client_id, account, time, symbol, sec_type, fields.text())


def _account_summary(fields: FieldReader, version: int) -> Request:
    fields.text()
    req_id = fields.integer()
    fields.text()
    return AccountSummaryRequest(req_id, tuple(tag.strip() for tag in fields.text().split(",") if tag.strip()))


def _account_multi(fields: FieldReader, version: int) -> Request:
    fields.text()
    return AccountRequest(fields.integer(), fields.text(), fields.text())


def _pnl(fields: FieldReader, version: int) -> Request:
    return AccountRequest(fields.integer(), fields.text(), fields.text())


def _pnl_single(fields: FieldReader, version: int) -> Request:
    return AccountRequest(fields.integer(), fields.text(), fields.text(), fields.integer())


def _market_data_type(fields: FieldReader, version: int) -> Request:
    fields.text()
    return ById(fields.integer())


DECODERS: dict[int, tuple[str, Decoder]] = {
    1: ("reqMktData", _market_data), 2: ("cancelMktData", _versioned_id), 3: ("placeOrder", read_place_order),
    4: ("cancelOrder", _cancel_order), 5: ("reqOpenOrders", _plain), 6: ("reqAccountUpdates", _account_updates),
    7: ("reqExecutions", _executions), 8: ("reqIds", _plain), 9: ("reqContractDetails", _contract_details),
    10: ("reqMktDepth", _depth), 11: ("cancelMktDepth", _versioned_id), 12: ("reqNewsBulletins", _plain),
    13: ("cancelNewsBulletins", _plain), 14: ("setServerLogLevel", _plain),
    15: ("reqAutoOpenOrders", _versioned_switch), 16: ("reqAllOpenOrders", _plain), 17: ("reqManagedAccts", _plain),
    20: ("reqHistoricalData", _historical_data), 24: ("reqScannerParameters", _plain),
    25: ("cancelHistoricalData", _versioned_id), 49: ("reqCurrentTime", _plain),
    50: ("reqRealTimeBars", _real_time_bars), 51: ("cancelRealTimeBars", _versioned_id),
    54: ("calculateImpliedVolatility", _option_calculation), 55: ("calculateOptionPrice", _option_calculation),
    56: ("cancelCalculateImpliedVolatility", _versioned_id), 57: ("cancelCalculateOptionPrice", _versioned_id),
    58: ("reqGlobalCancel", _plain), 59: ("reqMarketDataType", _market_data_type), 61: ("reqPositions", _plain),
    62: ("reqAccountSummary", _account_summary), 63: ("cancelAccountSummary", _versioned_id),
    64: ("cancelPositions", _plain), 71: ("startApi", _start_api), 74: ("reqPositionsMulti", _account_multi),
    75: ("cancelPositionsMulti", _versioned_id), 76: ("reqAccountUpdatesMulti", _account_multi),
    77: ("cancelAccountUpdatesMulti", _versioned_id), 78: ("reqSecDefOptParams", _option_parameters),
    79: ("reqSoftDollarTiers", _by_id), 80: ("reqFamilyCodes", _plain), 81: ("reqMatchingSymbols", _matching_symbols),
    82: ("reqMktDepthExchanges", _plain), 83: ("reqSmartComponents", _by_id), 85: ("reqNewsProviders", _plain),
    86: ("reqHistoricalNews", _by_id), 87: ("reqHeadTimeStamp", _head_time_stamp),
    88: ("reqHistogramData", _histogram), 89: ("cancelHistogramData", _by_id), 90: ("cancelHeadTimeStamp", _by_id),
    91: ("reqMarketRule", _by_id), 92: ("reqPnL", _pnl), 93: ("cancelPnL", _by_id),
    94: ("reqPnLSingle", _pnl_single), 95: ("cancelPnLSingle", _by_id), 96: ("reqHistoricalTicks", _historical_ticks),
    97: ("reqTickByTickData", _tick_by_tick), 98: ("cancelTickByTickData", _by_id),
    99: ("reqCompletedOrders", _switch), 104: ("reqUserInfo", _by_id),
    18: ("requestFA", _plain), 19: ("replaceFA", _plain), 21: ("exerciseOptions", _versioned_id),
    22: ("reqScannerSubscription", _scanner), 23: ("cancelScannerSubscription", _versioned_id),
    52: ("reqFundamentalData", _versioned_id), 53: ("cancelFundamentalData", _plain), 65: ("verifyRequest", _plain),
    66: ("verifyMessage", _plain), 67: ("queryDisplayGroups", _plain), 68: ("subscribeToGroupEvents", _plain),
    69: ("updateDisplayGroup", _plain), 70: ("unsubscribeFromGroupEvents", _plain),
    72: ("verifyAndAuthRequest", _plain), 73: ("verifyAndAuthMessage", _plain), 84: ("reqNewsArticle", _by_id),
    100: ("reqWshMetaData", _by_id), 101: ("cancelWshMetaData", _plain), 102: ("reqWshEventData", _by_id),
    103: ("cancelWshEventData", _plain),
}  # fmt: skip
"""Message id -> (IB's name, decoder)."""


def request_name(message_id: int) -> str:
    known = DECODERS.get(message_id)
    return known[0] if known else f"message{message_id}"


def decode_request(fields: list[str], version: int) -> Request:
    """The request of a message. Raises WireError if the id is unknown or a field is missing or unreadable."""
    reader = FieldReader(fields)
    message_id = reader.integer(default=-1)
    if message_id not in DECODERS:
        raise WireError(f"unknown message id {fields[0][:20]!r}")
    return DECODERS[message_id][1](reader, version)
