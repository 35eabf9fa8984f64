"""Server messages about the session, reference data and market data: one encoder per message. Pure.

Each returns a whole frame. Layouts: wire reference b3, b5. Integers stay integer text everywhere, because ibapi 9.81
drops a message whose size is `100.0`; a field too few ends the message loop of ibapi 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from gateway_sim import versions
from gateway_sim.bars import DAY, Bars
from gateway_sim.calendar import ZONE_NAME, local
from gateway_sim.contracts import (
    MARKET_RULES,
    OPTION_EXCHANGES,
    STOCK_EXCHANGES,
    Contract,
    market_rule,
)
from gateway_sim.pricing import Greeks
from gateway_sim.wire import Field, encode, frame, number_text

ORDER_TYPES = (
    "ACTIVETIM,AD,ADJUST,ALERT,ALGO,ALLOC,AVGCOST,BASKET,COND,CONDORDER,DAY,GAT,GTC,GTD,GTT,IOC,LIT,LMT,MIT,MKT,"
    "NONALGO,OCA,OPG,SCALE,SNAPMID,STP,STPLMT,TRAIL,WHATIF"
)


def stamp(epoch_s: float, version: int) -> str:
    """A date and time in exchange time: with zone from 174 on, before with two blanks and no zone (wire reference
    b6)."""
    moment: datetime = local(epoch_s)
    if version >= versions.ZONE_IN_DATES:
        return f"{moment:%Y%m%d %H:%M:%S} {ZONE_NAME}"
    return f"{moment:%Y%m%d  %H:%M:%S}"


def server_hello(version: int, epoch_s: float) -> bytes:
    """The handshake answer; no message id, exactly two fields."""
    return encode(version, f"{local(epoch_s):%Y%m%d %H:%M:%S %Z}")


def managed_accounts(accounts: Sequence[str]) -> bytes:
    return encode(15, 1, ",".join(accounts))


def next_valid_id(order_id: int) -> bytes:
    return encode(9, 1, order_id)


def error(version: int, req_id: int, code: int, text: str) -> bytes:
    """req_id -1: not tied to a request."""
    fields: list[Field] = [4, 2, req_id, code, text]
    if version >= versions.ADVANCED_ORDER_REJECT:
        fields.append("")
    return encode(*fields)


def current_time(epoch_s: int) -> bytes:
    return encode(49, 1, epoch_s)


# --- reference data ---------------------------------------------------------------------------------------------------


def contract_details(
    version: int,
    req_id: int,
    contract: Contract,
    exchange: str,
    trading_hours: str,
    liquid_hours: str,
    under_con_id: int,
) -> bytes:
    """contractData (10). exchange: the one the client asked for."""
    listing = contract.listing
    option = contract.is_option
    exchanges = OPTION_EXCHANGES if option else ("CBOE",) if contract.sec_type == "IND" else STOCK_EXCHANGES
    fields: list[Field] = [10] if version >= versions.SIZE_RULES else [10, 8]
    fields += [
        req_id, contract.symbol, contract.sec_type, contract.expiry, contract.strike if option else "0", contract.right,
        exchange or contract.exchange, "USD", contract.local_symbol,
        contract.trading_class if option else _market_name(contract), contract.trading_class, contract.con_id,
        0.01,
    ]  # fmt: skip
    if version < versions.SIZE_RULES:
        fields.append(1)
    fields += [
        contract.multiplier, ORDER_TYPES, ",".join(exchanges), 1, under_con_id, listing.name,
        contract.primary_exchange, contract.expiry[:6], "", "", "", "US/Eastern", trading_hours, liquid_hours, "", "",
        0,
        1, contract.symbol if option else "", listing.sec_type if option else "",
        ",".join(str(market_rule(contract)) for _ in exchanges), contract.expiry, "" if option else listing.stock_type,
    ]  # fmt: skip
    if version == versions.SUGGESTED_SIZE:
        fields.append(1)
    if version >= versions.SIZE_RULES:
        fields += [1, 1, 1] if option else [0.0001, 0.0001, 100]
    return encode(*fields)


def _market_name(contract: Contract) -> str:
    return {"ARCA": contract.symbol, "NASDAQ": "NMS"}.get(contract.listing.primary_exchange, contract.symbol)


def contract_details_end(req_id: int) -> bytes:
    return encode(52, 1, req_id)


def option_parameters(
    req_id: int, exchange: str, under_con_id: int, trading_class: str, expiries: Sequence[str], strikes: Sequence[float]
) -> bytes:
    return encode(
        75, req_id, exchange, under_con_id, trading_class, "100", len(expiries), *expiries, len(strikes), *strikes
    )


def option_parameters_end(req_id: int) -> bytes:
    return encode(76, req_id)


def market_rule_rows(rule_id: int) -> bytes:
    rows = MARKET_RULES[rule_id]
    return encode(93, rule_id, len(rows), *(value for row in rows for value in row))


def symbol_samples(version: int, req_id: int, contracts: Sequence[Contract]) -> bytes:
    fields: list[Field] = [79, req_id, len(contracts)]
    for contract in contracts:
        derivatives = () if contract.listing.cycle == "none" else ("OPT",)
        fields += [contract.con_id, contract.symbol, contract.sec_type, contract.primary_exchange, "USD"]
        fields += [len(derivatives), *derivatives]
        if version >= versions.BOND_ISSUER_ID:
            fields += [contract.listing.name, ""]
    return encode(*fields)


def soft_dollar_tiers(req_id: int) -> bytes:
    return encode(77, req_id, 0)


def family_codes(accounts: Sequence[str]) -> bytes:
    return encode(78, len(accounts), *(value for account in accounts for value in (account, "")))


def depth_exchanges() -> bytes:
    rows = (("ISLAND", "STK", "", "Deep2", ""), ("ARCA", "STK", "", "Deep", ""), ("BATS", "STK", "", "Deep", ""))
    return encode(
        80, len(rows), *(value or (0 if place == 4 else "") for row in rows for place, value in enumerate(row))
    )


def smart_components(req_id: int) -> bytes:
    rows = ((0, "AMEX", "A"), (1, "ARCA", "P"), (2, "BATS", "Z"), (3, "NASDAQ", "Q"), (4, "NYSE", "N"))
    return encode(82, req_id, len(rows), *(value for row in rows for value in row))


def news_providers() -> bytes:
    return encode(85, 0)


def historical_news_end(req_id: int) -> bytes:
    return encode(87, req_id, 0)


def scanner_data(req_id: int, contracts: Sequence[Contract]) -> bytes:
    """One scan's rows, best first."""
    fields: list[Field] = [20, 3, req_id, len(contracts)]
    for rank, contract in enumerate(contracts):
        fields += [rank, contract.con_id, contract.symbol, contract.sec_type, "", 0, "", "SMART", "USD"]
        fields += [contract.local_symbol, _market_name(contract), contract.trading_class, "", "", "", ""]
    return encode(*fields)


def scanner_parameters(scan_codes: Sequence[str]) -> bytes:
    """The document in short: the scan codes there are."""
    rows = "".join(f"<ScanType><scanCode>{code}</scanCode></ScanType>" for code in scan_codes)
    return encode(19, 1, f"<ScanParameterResponse><ScanTypeList>{rows}</ScanTypeList></ScanParameterResponse>")


def user_info(req_id: int) -> bytes:
    return encode(107, req_id, "")


# --- streaming market data --------------------------------------------------------------------------------------------


def tick_request_parameters(req_id: int, increment: float) -> bytes:
    return encode(81, req_id, increment, "9c0001", 3)


def market_data_type(req_id: int, kind: int) -> bytes:
    return encode(58, 1, req_id, kind)


# The ticks are the bulk of what is sent: these give a payload's text, `wire.frames` makes bytes of a batch of them.


def tick_price(req_id: int, tick_type: int, price: float, size: int, attributes: int = 1) -> str:
    """attributes: bit 1 canAutoExecute, 2 pastLimit, 4 preOpen."""
    return f"1\0006\0{req_id}\0{tick_type}\0{number_text(price)}\0{size}\0{attributes}\0"


def tick_size(req_id: int, tick_type: int, size: int) -> str:
    return f"2\0006\0{req_id}\0{tick_type}\0{size}\0"


def tick_generic(req_id: int, tick_type: int, value: float) -> str:
    return f"45\0006\0{req_id}\0{tick_type}\0{number_text(value)}\0"


def tick_string(req_id: int, tick_type: int, value: str) -> str:
    return f"46\0006\0{req_id}\0{tick_type}\0{value}\0"


def tick_option_computation(req_id: int, tick_type: int, computed: str) -> str:
    """computed: as made by `option_computation`, the same for every request."""
    return f"21\0{req_id}\0{tick_type}\0{computed}"


NOT_COMPUTED = "0\0-1\0-2\0-1\0-1\0-2\0-2\0-2\0-1\0"
"""IB's -1 and -2 marks: nothing could be computed."""


def option_computation(volatility: float, price: float, values: Greeks, spot: float) -> str:
    """The fields of an option computation behind its type."""
    return option_computations(((volatility, price),), values, spot)[0]


def option_computations(rows: Iterable[tuple[float, float]], values: Greeks, spot: float) -> list[str]:
    """As `option_computation` for several (volatility, price) of one second: what they share is written once."""
    head, tail = (
        f"\0{values.delta:.8f}\0",
        f"\0000.0\0{values.gamma:.8f}\0{values.vega:.8f}\0{values.theta:.8f}\0{spot:.4f}\0",
    )
    return [f"0\0{volatility:.8f}{head}{price:.6f}{tail}" for volatility, price in rows]


def tick_snapshot_end(req_id: int) -> bytes:
    return encode(57, 1, req_id)


def market_depth(req_id: int, position: int, operation: int, side: int, price: float, size: int) -> bytes:
    """operation 0 insert, 1 update, 2 delete; side 1 bid, 0 ask."""
    return encode(12, 1, req_id, position, operation, side, price, size)


def market_depth_smart(
    req_id: int, position: int, maker: str, operation: int, side: int, price: float, size: int
) -> bytes:
    return encode(13, 1, req_id, position, maker, operation, side, price, size, 1)


def real_time_bar(req_id: int, row: tuple[int, float, float, float, float, int, float, int]) -> bytes:
    """row: epoch start, open, high, low, close, volume, wap, count."""
    return encode(50, 3, req_id, *row)


def tick_by_tick_last(req_id: int, kind: int, epoch_s: int, price: float, size: int, exchange: str) -> bytes:
    """kind 1 Last, 2 AllLast."""
    return encode(99, req_id, kind, epoch_s, price, size, 0, exchange, "")


def tick_by_tick_bid_ask(req_id: int, epoch_s: int, bid: float, ask: float, bid_size: int, ask_size: int) -> bytes:
    return encode(99, req_id, 3, epoch_s, bid, ask, bid_size, ask_size, 0)


def tick_by_tick_midpoint(req_id: int, epoch_s: int, price: float) -> bytes:
    return encode(99, req_id, 4, epoch_s, price)


# --- history ----------------------------------------------------------------------------------------------------------


def bar_date(version: int, epoch_s: int, size_s: int, date_format: int) -> str:
    """A bar's date: `YYYYMMDD` for days and longer, epoch text for format 2, else exchange time."""
    if size_s >= DAY:
        return f"{local(epoch_s):%Y%m%d}"
    return str(epoch_s) if date_format == 2 else stamp(epoch_s, version)


def historical_data(
    version: int, req_id: int, start_s: float, end_s: float, bars: Bars, size_s: int, date_format: int, traded: bool
) -> bytes:
    """The whole answer (17). traded False: volume, wap and count are -1, as IB sends for anything but TRADES."""
    head = f"17\0{req_id}\0{stamp(start_s, version)}\0{stamp(end_s, version)}\0{len(bars)}\0"
    if date_format == 2 and size_s < DAY:
        dates = [str(second) for second in bars.start.tolist()]
    else:
        dates = [bar_date(version, second, size_s, date_format) for second in bars.start.tolist()]
    prices = zip(
        dates, bars.open.tolist(), bars.high.tolist(), bars.low.tolist(), bars.close.tolist(), bars.volume.tolist(),
        bars.wap.tolist(), bars.count.tolist(), strict=True,
    )  # fmt: skip
    if traded:
        rows = ["%s\0%r\0%r\0%r\0%r\0%d\0%r\0%d\0" % row for row in prices]  # noqa: UP031 - twice as fast as an f-string
    else:
        rows = ["%s\0%r\0%r\0%r\0%r\0-1\0-1\0-1\0" % row[:5] for row in prices]  # noqa: UP031
    return frame((head + "".join(rows)).encode("ascii"))


def historical_data_update(
    version: int, req_id: int, bars: Bars, row: int, size_s: int, date_format: int, traded: bool
) -> bytes:
    """One update of a growing bar (90). The field order differs from message 17: count first, close before high and
    low."""
    date = bar_date(version, int(bars.start[row]), size_s, date_format)
    count, wap, volume = (
        (int(bars.count[row]), float(bars.wap[row]), int(bars.volume[row])) if traded else (-1, -1.0, -1)
    )
    return encode(
        90, req_id, count, date, float(bars.open[row]), float(bars.close[row]), float(bars.high[row]),
        float(bars.low[row]), wap, volume,
    )  # fmt: skip


def historical_schedule(version: int, req_id: int, sessions: Sequence[tuple[float, float, str]]) -> bytes:
    """sessions: open and close epoch seconds and the date `YYYYMMDD`."""

    def dashed(epoch_s: float) -> str:
        return f"{local(epoch_s):%Y%m%d-%H:%M:%S}"

    rows = [value for opened, closed, date in sessions for value in (dashed(opened), dashed(closed), date)]
    first = dashed(sessions[0][0]) if sessions else ""
    last = dashed(sessions[-1][1]) if sessions else ""
    return encode(106, req_id, first, last, "US/Eastern", len(sessions), *rows)


def head_time_stamp(req_id: int, epoch_s: int, date_format: int) -> bytes:
    return encode(88, req_id, str(epoch_s) if date_format == 2 else f"{local(epoch_s):%Y%m%d-%H:%M:%S}")


def histogram(req_id: int, rows: Sequence[tuple[float, int]]) -> bytes:
    return encode(89, req_id, len(rows), *(value for row in rows for value in row))


def historical_ticks(message_id: int, req_id: int, rows: Sequence[tuple[Field, ...]]) -> bytes:
    """message_id 96 MIDPOINT (epoch, 0, price, size), 97 BID_ASK (epoch, mask, bid, ask, sizes), 98 TRADES
    (epoch, mask, price, size, exchange, conditions)."""
    return encode(message_id, req_id, len(rows), *(value for row in rows for value in row), 1)
