"""The placeOrder message: reading its 110-odd fields. Pure.

Kept are the fields that the matching engine obeys or that openOrder echoes; the others are read past (wire reference
b2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway_sim import versions
from gateway_sim.contracts import ContractQuery
from gateway_sim.wire import FieldReader

CONDITION_FIELDS = {1: 5, 3: 2, 4: 2, 5: 3, 6: 4, 7: 4}
"""Condition type -> number of fields behind the conjunction."""


@dataclass(frozen=True, slots=True)
class Condition:
    kind: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class PlaceOrder:
    """An order as sent. Prices are None when unset; quantity in shares or contracts."""

    order_id: int
    contract: ContractQuery
    action: str = "BUY"
    quantity: float = 0.0
    order_type: str = "MKT"
    limit_price: float | None = None
    aux_price: float | None = None
    tif: str = "DAY"
    oca_group: str = ""
    account: str = ""
    open_close: str = ""
    origin: int = 0
    order_ref: str = ""
    transmit: bool = True
    parent_id: int = 0
    block_order: bool = False
    sweep_to_fill: bool = False
    display_size: int = 0
    trigger_method: int = 0
    outside_rth: bool = False
    hidden: bool = False
    good_after: str = ""
    good_till: str = ""
    model_code: str = ""
    oca_type: int = 0
    all_or_none: bool = False
    min_quantity: int = 0
    e_trade_only: bool = False
    firm_quote_only: bool = False
    trail_stop_price: float | None = None
    trailing_percent: float | None = None
    algo_strategy: str = ""
    algo_parameters: tuple[tuple[str, str], ...] = ()
    what_if: bool = False
    conditions: tuple[Condition, ...] = field(default=())
    cash_quantity: float | None = None


def _skip(fields: FieldReader, count: int) -> None:
    for _ in range(count):
        fields.text()


def _combo_legs(fields: FieldReader) -> None:
    _skip(fields, 8 * fields.count(100))
    _skip(fields, fields.count(100))
    fields.pairs()


def _conditions(fields: FieldReader) -> tuple[Condition, ...]:
    count = fields.count(100)
    found = []
    for _ in range(count):
        kind = fields.integer()
        found.append(Condition(kind, tuple(fields.text() for _ in range(1 + CONDITION_FIELDS.get(kind, 0)))))
    if count:
        _skip(fields, 2)
    return tuple(found)


def read_place_order(fields: FieldReader, version: int) -> PlaceOrder:
    """Read a whole placeOrder of that server version. Raises WireError if a field is missing or unreadable."""
    order_id = fields.integer()
    contract = ContractQuery(
        fields.integer(), fields.text(), fields.text(), fields.text(), fields.number(), fields.text(), fields.text(),
        fields.text(), fields.text(), fields.text(), fields.text(), fields.text(),
    )  # fmt: skip
    _skip(fields, 2)  # secIdType, secId
    action, quantity, order_type = fields.text().upper(), fields.number() or 0.0, fields.text().upper()
    limit_price, aux_price = fields.number(), fields.number()
    tif, oca_group, account, open_close = fields.text().upper(), fields.text(), fields.text(), fields.text()
    origin, order_ref, transmit, parent_id = fields.integer(), fields.text(), fields.flag(), fields.integer()
    block_order, sweep, display_size = fields.flag(), fields.flag(), fields.integer()
    trigger_method, outside_rth, hidden = fields.integer(), fields.flag(), fields.flag()
    if contract.sec_type == "BAG":
        _combo_legs(fields)
    _skip(fields, 2)  # sharesAllocation, discretionaryAmt
    good_after, good_till = fields.text(), fields.text()
    _skip(fields, 3 if version >= versions.NO_FA_PROFILE else 4)
    model_code = fields.text()
    _skip(fields, 3)  # shortSaleSlot, designatedLocation, exemptCode
    oca_type = fields.integer()
    _skip(fields, 2)  # rule80A, settlingFirm
    all_or_none, min_quantity = fields.flag(), fields.integer()
    fields.text()  # percentOffset
    e_trade_only, firm_quote_only = fields.flag(), fields.flag()
    _skip(fields, 10)  # nbboPriceCap … volatilityType
    if fields.text():  # deltaNeutralOrderType
        _skip(fields, 9)
    else:
        _skip(fields, 1)
    _skip(fields, 2)  # continuousUpdate, referencePriceType
    trail_stop_price, trailing_percent = fields.number(), fields.number()
    _skip(fields, 2)
    if 0.0 < (fields.number() or 0.0) < float("inf"):  # scalePriceIncrement
        _skip(fields, 7)
    _skip(fields, 3)  # scaleTable, activeStartTime, activeStopTime
    if fields.text():  # hedgeType
        fields.text()
    _skip(fields, 4)  # optOutSmartRouting, clearingAccount, clearingIntent, notHeld
    if fields.flag():  # delta-neutral contract
        _skip(fields, 3)
    algo_strategy = fields.text()
    algo_parameters = fields.pairs() if algo_strategy else ()
    fields.text()  # algoId
    what_if = fields.flag()
    _skip(fields, 4)  # orderMiscOptions, solicited, randomizeSize, randomizePrice
    if order_type in ("PEG BENCH", "PEGBENCH"):
        _skip(fields, 5)
    conditions = _conditions(fields)
    _skip(fields, 10)  # adjustedOrderType … softDollarTier
    cash_quantity = fields.number()
    _skip(fields, 8 + _tail_length(version))  # mifid2 … usePriceMgmtAlgo, then what newer versions added
    return PlaceOrder(
        order_id, contract, action, quantity, order_type, limit_price, aux_price, tif or "DAY", oca_group, account,
        open_close, origin, order_ref, transmit, parent_id, block_order, sweep, display_size, trigger_method,
        outside_rth, hidden, good_after, good_till, model_code, oca_type, all_or_none, min_quantity, e_trade_only,
        firm_quote_only, trail_stop_price, trailing_percent, algo_strategy, algo_parameters, what_if, conditions,
        cash_quantity,
    )  # fmt: skip


def _tail_length(version: int) -> int:
    """How many fields newer versions added behind usePriceMgmtAlgo."""
    added_at = (
        versions.DURATION, versions.POST_TO_ATS, versions.AUTO_CANCEL_PARENT, versions.ADVANCED_ORDER_REJECT,
        versions.MANUAL_ORDER_TIME,
    )  # fmt: skip
    return sum(version >= since for since in added_at)
