"""What stands between a signal and an order: daily loss, cool-down, trade counts, hours, data. Pure.

Guards only ever stop new entries. Exits live at the broker and are never held back by anything here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from engine.sessions import MarketClock

#: An exit may be dated so many bars after the bar that is judged; one further ahead was in another market.
AHEAD_BARS = 2


@dataclass(frozen=True)
class GuardRules:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    daily_loss: Annotated[float, Gt(0), Le(0.5)] = 0.02  # of net liquidation; beyond it no entry until the next session
    cool_down_bars: Annotated[int, Ge(0)] = 5  # after a trade ended, on that symbol
    max_trades: Annotated[int, Ge(1)] = 20  # per session, all symbols of this engine
    max_trades_per_symbol: Annotated[int, Ge(1)] = 10  # per session
    max_open: Annotated[int, Ge(1)] = 3  # trades at one time, all symbols
    no_entry_first_minutes: Annotated[float, Ge(0)] = 0.0  # after the open
    no_entry_last_minutes: Annotated[float, Ge(0)] = 15.0  # before the close
    regular_hours_only: bool = True
    gap_free_bars: Annotated[int, Ge(0)] = 30  # newest bars that must follow each other without a known hole


@dataclass(frozen=True, slots=True)
class Stop:
    """A guard that stood against an entry: its stable name and a sentence for a trader."""

    guard: str
    reason: str


@dataclass(slots=True)
class _Day:
    """The counts of one session."""

    session: int = 0
    start_equity: float | None = None
    tripped: Stop | None = None
    trades: dict[str, str] = field(default_factory=dict)  # trade id to symbol
    profit: float = 0.0


class Guards:
    """Counts of the running session and the daily-loss latch. A new session starts them again."""

    def __init__(self, rules: GuardRules) -> None:
        self.rules = rules
        self._day = _Day()
        self._equity: float | None = None
        self._account_pnl: float | None = None
        self._ended_bar_ns: dict[str, int] = {}
        self._open: set[str] = set()
        self.gateway_ready: bool | None = None

    # ------------------------------------------------------------ what happened

    def session_is(self, session: int) -> None:
        """Tell the session of the newest bar. Going back to an older one changes nothing.

        The first one takes over what the proxy told at start-up: a restart does not forgive a loss.
        """
        if self._day.session == 0:
            self._day.session = session
        elif session > self._day.session:
            self._day = _Day(session, self._equity)
            self._account_pnl = None

    def account_is(self, net_liquidation: float | None, daily_pnl: float | None) -> None:
        """New account values; None leaves the old ones."""
        self._equity = net_liquidation if net_liquidation is not None else self._equity
        self._day.start_equity = self._day.start_equity if self._day.start_equity is not None else self._equity
        self._account_pnl = daily_pnl if daily_pnl is not None else self._account_pnl
        self._check_loss()

    def trade_started(self, symbol: str, trade_id: str) -> None:
        self._open.add(symbol)
        self._day.trades[trade_id] = symbol

    def entry_seen(self, symbol: str, trade_id: str) -> None:
        """An entry was filled, perhaps in an earlier life of this engine; each trade counts once."""
        self._day.trades[trade_id] = symbol

    def exit_seen(self, symbol: str, time_ns: int) -> None:
        """An exit was filled at that time: the cool-down runs from there, also after a restart."""
        self._ended_bar_ns[symbol] = max(time_ns, self._ended_bar_ns.get(symbol, 0))

    def trade_adopted(self, symbol: str) -> None:
        """A trade of an earlier life of this engine is still open."""
        self._open.add(symbol)

    def trade_void(self, symbol: str, trade_id: str) -> None:
        """The trade never reached the market: it does not count, and there is no cool-down for it."""
        self._open.discard(symbol)
        self._day.trades.pop(trade_id, None)

    def trade_ended(self, symbol: str, bar_start_ns: int, *, cool_down: bool) -> None:
        """`cool_down` False for a signal that never became an order."""
        self._open.discard(symbol)
        if cool_down:
            self._ended_bar_ns[symbol] = bar_start_ns

    def booked(self, profit: float) -> None:
        """Realized profit of this engine, after commission; negative for a loss."""
        self._day.profit += profit
        self._check_loss()

    # ------------------------------------------------------------ may an entry go?

    def against(self, symbol: str, clock: MarketClock, bar_s: int, bars_since_gap: int, bars: int) -> Stop | None:
        """The first guard that stands against a new entry on `symbol` at `clock`, or None."""
        rules, day = self.rules, self._day
        if day.tripped is not None:
            return day.tripped
        if self.gateway_ready is False:
            return Stop("gateway", "the Gateway is not ready")
        if rules.regular_hours_only and not clock.is_regular:
            return Stop("hours", "outside regular trading hours")
        if 0 <= clock.minutes_since_open < rules.no_entry_first_minutes:
            return Stop("hours", f"within {rules.no_entry_first_minutes:g} minutes after the open")
        if clock.is_regular and clock.minutes_to_close < rules.no_entry_last_minutes:
            return Stop("hours", f"within {rules.no_entry_last_minutes:g} minutes before the close")
        if bars_since_gap < min(rules.gap_free_bars, bars):
            return Stop("gap", f"bars are missing {bars_since_gap} bars ago")
        return self._against_counts(symbol, clock, bar_s)

    def _against_counts(self, symbol: str, clock: MarketClock, bar_s: int) -> Stop | None:
        rules, day = self.rules, self._day
        ended_ns = self._ended_bar_ns.get(symbol)
        if ended_ns is not None:
            bars_ago = (clock.bar_start_ns - ended_ns) // (bar_s * 1_000_000_000)
            if -AHEAD_BARS <= bars_ago <= rules.cool_down_bars:
                return Stop(
                    "cool_down", f"{max(0, bars_ago)} bars after the last trade, cool-down is {rules.cool_down_bars}"
                )
        if len(self._open) >= rules.max_open:
            return Stop("max_open", f"{len(self._open)} trades are open, the limit is {rules.max_open}")
        if len(day.trades) >= rules.max_trades:
            return Stop("max_trades", f"{len(day.trades)} trades this session, the limit is {rules.max_trades}")
        if list(day.trades.values()).count(symbol) >= rules.max_trades_per_symbol:
            return Stop("max_trades", f"{rules.max_trades_per_symbol} trades on {symbol} this session, the limit")
        return None

    # ------------------------------------------------------------ daily loss

    @property
    def tripped(self) -> Stop | None:
        """The daily-loss stop, once it is reached; it holds until the next session."""
        return self._day.tripped

    @property
    def own_profit(self) -> float:
        """What this engine's trades booked in this session."""
        return self._day.profit

    @property
    def daily_pnl(self) -> float:
        """The worse of the account's day and this engine's own booked day: one of them may be late."""
        return min(self._account_pnl, self._day.profit) if self._account_pnl is not None else self._day.profit

    def view(self) -> dict[str, object]:
        """For the heartbeat: what a trader wants to see at a glance."""
        return {
            "daily_loss": "tripped" if self._day.tripped else "ok",
            "reason": self._day.tripped.reason if self._day.tripped else "",
            "trades": len(self._day.trades),
            "open": sorted(self._open),
            "gateway": {True: "ready", False: "not ready", None: "unknown"}[self.gateway_ready],
        }

    def _check_loss(self) -> None:
        start = self._day.start_equity
        if start is None or start <= 0 or self._day.tripped is not None:
            return
        limit = start * self.rules.daily_loss
        if self.daily_pnl <= -limit:
            reason = (
                f"daily loss {-self.daily_pnl:,.2f} reached the limit {limit:,.2f}: no entry until the next session"
            )
            self._day.tripped = Stop("daily_loss", reason)
