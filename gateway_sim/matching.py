"""When and at what price an order trades against a quote. Pure functions; the blotter acts on the answers.

Stops on stocks are triggered by the last price, stops on options by bid or ask (rule book 5.4). A limit order that was
already resting fills at its limit, one that arrives marketable at the other side of the market. At most the displayed
size trades at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim.contracts import Contract
from gateway_sim.orders import Order
from gateway_sim.quotes import Quote

ORDER_KINDS = frozenset({"MKT", "LMT", "STP", "STP LMT", "MIT", "LIT", "TRAIL", "TRAIL LIMIT", "MTL"})
STOP_KINDS = frozenset({"STP", "STP LMT", "TRAIL", "TRAIL LIMIT"})
TOUCH_KINDS = frozenset({"MIT", "LIT"})
LIMIT_KINDS = frozenset({"LMT", "STP LMT", "LIT", "TRAIL LIMIT"})
NEEDS_AUX = frozenset({"STP", "STP LMT", "MIT", "LIT"})


@dataclass(frozen=True, slots=True)
class Fill:
    price: float
    quantity: float


def on_grid(contract: Contract, price: float) -> bool:
    """Whether the price conforms to the minimum variation of the contract at that price."""
    steps = price / contract.price_increment(abs(price))
    return abs(steps - round(steps)) < 1e-6


def trigger_price(order: Order) -> float | None:
    """The price that releases a stop or touch order."""
    if order.request.order_type in ("TRAIL", "TRAIL LIMIT"):
        return order.trail_stop
    return order.request.aux_price


def follow_market(order: Order, quote: Quote) -> None:
    """Move a trailing stop behind the market; it never moves back."""
    request = order.request
    if request.order_type not in ("TRAIL", "TRAIL LIMIT") or quote.last <= 0.0:
        return
    reference = quote.last if not order.contract.is_option else quote.mark
    distance = reference * request.trailing_percent / 100.0 if request.trailing_percent else request.aux_price or 0.0
    proposed = reference + order.sign * distance
    if order.trail_stop is None:
        order.trail_stop = request.trail_stop_price if request.trail_stop_price is not None else round(proposed, 2)
    elif order.is_buy:
        order.trail_stop = min(order.trail_stop, round(proposed, 2))
    else:
        order.trail_stop = max(order.trail_stop, round(proposed, 2))


def is_triggered(order: Order, quote: Quote) -> bool:
    """Whether a stop or touch order is released by this quote; True for orders without a trigger."""
    kind = order.request.order_type
    if kind not in STOP_KINDS and kind not in TOUCH_KINDS:
        return True
    level = trigger_price(order)
    if level is None:
        return False
    market_price = quote.ask if order.is_buy else quote.bid
    price = market_price if order.contract.is_option else quote.last
    if price <= 0.0:
        return False
    upwards = order.is_buy if kind in STOP_KINDS else not order.is_buy
    return price >= level if upwards else price <= level


def fill_against(order: Order, quote: Quote, resting: bool) -> Fill | None:
    """What of a released order trades now; None if nothing does."""
    price = quote.ask if order.is_buy else quote.bid
    size = quote.ask_size if order.is_buy else quote.bid_size
    if price <= 0.0 or size <= 0 or quote.halted:
        return None
    request = order.request
    if request.order_type in LIMIT_KINDS:
        limit = request.limit_price
        if limit is None or (price > limit + 1e-9 if order.is_buy else price < limit - 1e-9):
            return None
        price = limit if resting else price
    quantity = min(order.remaining, float(size))
    if quantity < order.remaining and (request.all_or_none or request.tif == "FOK"):
        return None
    return Fill(round(price, 4), quantity)
