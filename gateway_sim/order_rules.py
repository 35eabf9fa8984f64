"""What an order must satisfy to be accepted or modified: code and text of every refusal. Pure.

Codes and texts: rule book 5.2, 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim.accounts import Account, MarkOf
from gateway_sim.calendar import local
from gateway_sim.contracts import Contract
from gateway_sim.matching import LIMIT_KINDS, NEEDS_AUX, ORDER_KINDS, on_grid
from gateway_sim.order_request import PlaceOrder
from gateway_sim.orders import Order, Status
from gateway_sim.quotes import Quote
from gateway_sim.timestamps import parse_when

ORDERS_PER_SIDE_MAX = 15
"""Working orders per contract, side and account (rule book 5.2)."""
TIFS = frozenset({"DAY", "GTC", "IOC", "GTD", "FOK"})
PRICE_GRID_TEXT = "The price does not conform to the minimum price variation for this contract."


@dataclass(frozen=True, slots=True)
class Refusal:
    code: int
    text: str


def acceptance_refusal(
    request: PlaceOrder,
    contract: Contract,
    account: Account,
    quote: Quote,
    working_same_side: int,
    mark_of: MarkOf,
    market_s: float,
) -> Refusal | None:
    """Why a new order is refused, None if it is accepted."""
    return (
        _form_refusal(request, contract, account, market_s)
        or _price_refusal(request, contract)
        or _limit_refusal(working_same_side)
        or _margin_refusal(request, contract, account, quote, mark_of)
    )


def modification_refusal(order: Order, request: PlaceOrder, contract: Contract | None) -> Refusal | None:
    """Why a change of an order is refused; the working order then stays as it is."""
    if order.status is Status.FILLED:
        return Refusal(104, "Cannot modify a filled order.")
    if order.is_done:
        return Refusal(103, "Duplicate order id")
    before = order.request
    if contract is not order.contract or request.action != before.action:
        return Refusal(105, "Order being modified does not match original order.")
    if request.parent_id != before.parent_id:
        return Refusal(10341, "Parent order id cannot be modified.")
    if request.quantity <= 0 or request.quantity < order.filled:
        return Refusal(201, "Order rejected - reason:The order size is smaller than the quantity already filled.")
    return _price_refusal(request, order.contract)


def _form_refusal(request: PlaceOrder, contract: Contract, account: Account, market_s: float) -> Refusal | None:
    if request.action not in ("BUY", "SELL"):
        return Refusal(321, f"Error validating request.-'bW' : cause - Invalid side '{request.action}'.")
    if contract.sec_type == "IND":
        return Refusal(201, "Order rejected - reason:Index cannot be traded.")
    if request.quantity <= 0:
        return Refusal(434, "The order size cannot be zero.")
    if request.quantity != int(request.quantity):
        return Refusal(10318, "This order doesn't support fractional quantity trading.")
    if request.account not in ("", account.name):
        return Refusal(321, "Error validating request.-'bW' : cause - Invalid account code.")
    if request.order_type not in ORDER_KINDS:
        return Refusal(387, "Unsupported order type for this exchange and security type.")
    if request.tif not in TIFS:
        return Refusal(329, f"Order modify failed. Cannot change to the new Time in Force.{request.tif}")
    if request.e_trade_only:
        return Refusal(10268, "The 'EtradeOnly' order attribute is not supported.")
    if request.firm_quote_only:
        return Refusal(10269, "The 'FirmQuoteOnly' order attribute is not supported.")
    if request.tif == "GTD" and parse_when(request.good_till, local(market_s).date()) is None:
        return Refusal(
            391, "The time or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx."
        )
    return None


def _price_refusal(request: PlaceOrder, contract: Contract) -> Refusal | None:
    kind = request.order_type
    if kind in LIMIT_KINDS and request.limit_price is None and kind != "TRAIL LIMIT":
        return Refusal(107, "Cannot transmit incomplete order.")
    if kind in NEEDS_AUX and request.aux_price is None:
        return Refusal(107, "Cannot transmit incomplete order.")
    if kind in LIMIT_KINDS and request.limit_price is not None and request.limit_price <= 0.0:
        return Refusal(110, PRICE_GRID_TEXT)
    prices = [request.limit_price if kind in LIMIT_KINDS else None, request.aux_price if kind in NEEDS_AUX else None]
    if any(price is not None and not on_grid(contract, price) for price in prices):
        return Refusal(110, PRICE_GRID_TEXT)
    return None


def _limit_refusal(working_same_side: int) -> Refusal | None:
    if working_same_side < ORDERS_PER_SIDE_MAX:
        return None
    return Refusal(
        201,
        f"Order rejected - reason:Your account has a minimum of {ORDERS_PER_SIDE_MAX} orders working on either the buy "
        "or sell side for this particular contract",
    )


def _margin_refusal(
    request: PlaceOrder, contract: Contract, account: Account, quote: Quote, mark_of: MarkOf
) -> Refusal | None:
    if request.parent_id:
        return None  # an exit of the parent's position
    price = request.limit_price or request.aux_price or (quote.ask if quote.ask > 0 else quote.last)
    sign = 1.0 if request.action == "BUY" else -1.0
    needed = account.opening_margin(contract, sign * request.quantity, price)
    if needed == 0.0:
        return None
    available = account.available(mark_of)
    if needed <= available:
        return None
    return Refusal(
        201,
        "Order rejected - reason:We are unable to accept your order. Your Available Funds are insufficient to cover "
        f"the order. Available Funds: {available:.2f} USD, Initial Margin: {needed:.2f} USD",
    )
