"""From an option chain to a complete bracket order: which option, at which prices, how many. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from engine.brackets import PriceGrid, bracket
from engine.rules import DeskRules
from engine.sizing import size
from engine.strikes import Pick, pick
from engine.trades import Trade
from gateway_proxy import AccountValues, Chain


@dataclass(frozen=True, slots=True)
class Proposal:
    """`order` is the payload of order.bracket, to be repeated unchanged if it must be."""

    order: dict[str, Any]
    pick: Pick
    quantity: int


def propose(
    engine: str, trade: Trade, chain_body: Any, account: AccountValues | None, rules: DeskRules
) -> Proposal | str:
    """The order for this trade's side, or a sentence saying why there is none. `chain_body` as the bus gave it."""
    try:
        chain = msgspec.convert({"symbol": trade.symbol, **chain_body}, Chain)
    except (msgspec.ValidationError, TypeError) as error:
        return f"the option chain cannot be read: {error}"
    chosen = pick(chain, "C" if trade.side == "BUY" else "P", rules.strikes)
    if isinstance(chosen, str):
        return f"no option to trade: {chosen}"
    prices = bracket(
        chosen.bid, chosen.ask, rules.bracket, PriceGrid.of_pick(trade.symbol, chosen.min_tick, chosen.price_bands)
    )
    if isinstance(prices, str):
        return prices
    sized = size(
        net_liquidation=account.net_liquidation if account else None,
        available_funds=account.available_funds if account else None,
        entry=prices.limit_price,
        stop_distance=prices.stop_distance,
        multiplier=chosen.multiplier,
        rules=rules.sizing,
    )
    if isinstance(sized, str):
        return sized
    order = {
        "engine": engine,
        "client_order_id": trade.trade_id,
        "contract": asdict(chosen.contract),
        "action": "BUY",
        "quantity": sized.quantity,
        "limit_price": prices.limit_price,
        "take_profit": prices.take_profit,
        "stop_loss": prices.stop_loss,
        "tif": "DAY",
        "cites": list(trade.cites),
    }
    return Proposal(order, chosen, sized.quantity)
