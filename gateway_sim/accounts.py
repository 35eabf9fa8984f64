"""The account: cash, positions, profit and the values IB reports about them. Pure.

Margin is simple on purpose: 25 % of stock value to hold, 50 % to open, long options paid in full, short options 20 %
of the underlying. Numbers of a real margin engine would be no more useful to a test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway_sim.contracts import Contract

STOCK_HOLD_SHARE = 0.25
STOCK_OPEN_SHARE = 0.5
SHORT_OPTION_SHARE = 0.2

MarkOf = Callable[[Contract], float]


@dataclass
class Position:
    """Holding of one contract. average_cost: per contract, multiplier and commission included."""

    contract: Contract
    quantity: float = 0.0
    average_cost: float = 0.0
    realized: float = 0.0
    day_start_value: float = 0.0
    """Market value at the last day change, for daily profit."""
    day_cash: float = 0.0
    """Cash the contract brought since the last day change, commissions taken off."""

    def unrealized(self, mark: float) -> float:
        return self.quantity * (mark * self.contract.unit - self.average_cost)

    def value(self, mark: float) -> float:
        return self.quantity * mark * self.contract.unit

    def daily(self, mark: float) -> float:
        return self.value(mark) - self.day_start_value + self.day_cash


def commission_of(contract: Contract, quantity: float, price: float) -> float:
    """IB's fixed plan, dollars: 0.65 per option contract, 0.005 per share, at least 1.00, at most 1 % of a stock
    trade."""
    if contract.is_option:
        return max(1.0, 0.65 * quantity)
    return min(max(1.0, 0.005 * quantity), max(0.01 * quantity * price, 0.01))


class Account:
    """One paper account in dollars."""

    def __init__(self, name: str, cash: float) -> None:
        self.name = name
        self.cash = cash
        self.realized = 0.0
        self.positions: dict[int, Position] = {}

    def apply_fill(self, contract: Contract, signed_quantity: float, price: float, commission: float) -> float | None:
        """Book a fill. Returns the profit of the part it closed, None if it only opened."""
        position = self.positions.setdefault(contract.con_id, Position(contract))
        amount = signed_quantity * price * contract.unit
        self.cash -= amount + commission
        position.day_cash -= amount + commission
        held = position.quantity
        closing = min(abs(signed_quantity), abs(held)) if held * signed_quantity < 0 else 0.0
        opening = abs(signed_quantity) - closing
        profit: float | None = None
        if closing:
            direction = 1.0 if held > 0 else -1.0
            share = commission * closing / abs(signed_quantity)
            profit = direction * closing * (price * contract.unit - position.average_cost) - share
            self.realized += profit
            position.realized += profit
        if opening:
            side = 1.0 if signed_quantity > 0 else -1.0
            cost = price * contract.unit + side * commission * opening / abs(signed_quantity) / opening
            kept = abs(held) if held * signed_quantity > 0 else 0.0
            position.average_cost = (kept * position.average_cost + opening * cost) / (kept + opening)
        position.quantity = held + signed_quantity
        if position.quantity == 0.0:
            position.average_cost = 0.0
        return profit

    def open_positions(self) -> list[Position]:
        return [position for position in self.positions.values() if position.quantity]

    def equity(self, mark_of: MarkOf) -> float:
        """Net liquidation value."""
        return self.cash + sum(p.value(mark_of(p.contract)) for p in self.open_positions())

    def maintenance(self, mark_of: MarkOf) -> float:
        total = 0.0
        for position in self.open_positions():
            mark = mark_of(position.contract)
            if not position.contract.is_option:
                total += STOCK_HOLD_SHARE * abs(position.value(mark))
            elif position.quantity < 0:
                total += SHORT_OPTION_SHARE * abs(position.quantity) * position.contract.strike * position.contract.unit
        return total

    def opening_margin(self, contract: Contract, signed_quantity: float, price: float) -> float:
        """Funds an order ties up; 0 for one that reduces the position."""
        held = self.positions.get(contract.con_id)
        current = held.quantity if held else 0.0
        growth = abs(current + signed_quantity) - abs(current)
        if growth <= 0:
            return 0.0
        if not contract.is_option:
            return STOCK_OPEN_SHARE * growth * price
        if signed_quantity > 0:
            return growth * price * contract.unit
        return SHORT_OPTION_SHARE * growth * contract.strike * contract.unit

    def available(self, mark_of: MarkOf) -> float:
        """Funds for new positions: long options cannot be borrowed against."""
        options = sum(
            p.value(mark_of(p.contract)) for p in self.open_positions() if p.contract.is_option and p.quantity > 0
        )
        return self.equity(mark_of) - self.maintenance(mark_of) - options

    def unrealized(self, mark_of: MarkOf) -> float:
        return sum(p.unrealized(mark_of(p.contract)) for p in self.open_positions())

    def daily(self, mark_of: MarkOf) -> float:
        """Profit since the last day change."""
        return sum(p.daily(mark_of(p.contract)) for p in self.positions.values())

    def change_day(self, mark_of: MarkOf) -> None:
        """Start a new day: daily and realized profit begin at zero, closed positions are forgotten."""
        self.positions = {con_id: p for con_id, p in self.positions.items() if p.quantity}
        self.realized = 0.0
        for position in self.positions.values():
            position.day_start_value = position.value(mark_of(position.contract))
            position.day_cash = 0.0
            position.realized = 0.0

    def values(self, mark_of: MarkOf) -> list[tuple[str, str, str]]:
        """(key, value, currency) as reqAccountUpdates sends them."""
        equity, maintenance = self.equity(mark_of), self.maintenance(mark_of)
        available, unrealized = self.available(mark_of), self.unrealized(mark_of)
        stocks = sum(p.value(mark_of(p.contract)) for p in self.open_positions() if not p.contract.is_option)
        options = equity - self.cash - stocks
        gross = sum(abs(p.value(mark_of(p.contract))) for p in self.open_positions())
        money = {
            "AvailableFunds": available, "BuyingPower": max(0.0, 4.0 * available), "CashBalance": self.cash,
            "EquityWithLoanValue": equity - options, "ExcessLiquidity": available,
            "FullAvailableFunds": available, "FullExcessLiquidity": available, "FullInitMarginReq": maintenance,
            "FullMaintMarginReq": maintenance, "GrossPositionValue": gross, "InitMarginReq": maintenance,
            "LookAheadAvailableFunds": available, "LookAheadExcessLiquidity": available,
            "LookAheadInitMarginReq": maintenance, "LookAheadMaintMarginReq": maintenance,
            "MaintMarginReq": maintenance, "NetLiquidation": equity, "OptionMarketValue": options,
            "RealizedPnL": self.realized, "StockMarketValue": stocks, "TotalCashBalance": self.cash,
            "TotalCashValue": self.cash, "UnrealizedPnL": unrealized, "AccruedCash": 0.0, "SettledCash": self.cash,
        }  # fmt: skip
        rows = [("AccountCode", self.name, ""), ("AccountReady", "true", ""), ("AccountType", "INDIVIDUAL", "")]
        rows += [(key, f"{value:.2f}", "USD") for key, value in money.items()]
        rows += [("Currency", "USD", "USD"), ("Cushion", f"{available / equity if equity else 0:.4f}", "")]
        rows += [("DayTradesRemaining", "-1", ""), ("ExchangeRate", "1.00", "USD"), ("Leverage-S", "0.00", "")]
        return rows
