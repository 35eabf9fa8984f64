"""Positions and account values as IB reports them. Pure: a fold over the Gateway's messages."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import AccountValues, Position
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev

#: IB's keys -> our fields. Values come as text, in the base currency or "BASE".
_KEYS: Final[dict[str, str]] = {
    "NetLiquidation": "net_liquidation",
    "AvailableFunds": "available_funds",
    "BuyingPower": "buying_power",
    "TotalCashValue": "total_cash",
    "RealizedPnL": "realized_pnl",
    "UnrealizedPnL": "unrealized_pnl",
    "DailyPnL": "daily_pnl",
}
assert set(_KEYS.values()) <= {field.name for field in fields(AccountValues)}


class AccountBook:
    """Everything IB told us about positions and money; `publish_s` conflates the values."""

    def __init__(self, publish_s: float = 1.0) -> None:
        self._publish_s = publish_s
        self._positions: dict[tuple[str, int], Position] = {}
        self._values: dict[str, AccountValues] = {}
        self._publish_at: float | None = None
        self.heard_at: float | None = None
        self._effects: list[fx.Effect] = []

    def receive_position(self, event: ev.PositionReceived) -> None:
        key = event.account, event.contract.con_id
        position = Position(event.account, event.contract, event.quantity, event.average_cost)
        if event.quantity == 0:
            self._positions.pop(key, None)
        else:
            self._positions[key] = position
        self._effects.append(fx.Publish(topics.POSITIONS, "position", position))

    def receive_value(self, event: ev.AccountValueReceived, wall_ns: int, now: float) -> None:
        self.heard_at = now
        name = _KEYS.get(event.key)
        if name is None or event.account == "":
            return
        try:
            value = float(event.value)
        except ValueError:
            return
        known = self._values.get(event.account, AccountValues(event.account))
        currency = event.currency if event.currency not in ("", "BASE") else known.currency
        self._values[event.account] = replace(known, **{name: value}, currency=currency, time_ns=wall_ns)  # type: ignore[arg-type]
        if self._publish_at is None:
            self._publish_at = now + self._publish_s

    def session_opened(self) -> None:
        """A new session reports everything afresh; positions closed meanwhile would never be mentioned again."""
        self._positions.clear()

    def positions(self) -> list[Position]:
        return list(self._positions.values())

    def values(self) -> list[AccountValues]:
        return list(self._values.values())

    def next_timer(self) -> float | None:
        return self._publish_at

    def handle_timer(self, now: float) -> None:
        if self._publish_at is not None and self._publish_at <= now:
            self._publish_at = None
            self._effects += [fx.Publish(topics.ACCOUNT, "account", values) for values in self._values.values()]

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done
