"""The words on the bus: frozen dataclasses for every body, request and reply. No behaviour beyond a contract key.

Units: prices in the contract's currency, sizes in shares or contracts, times in nanoseconds since 1970 UTC
(names end in `_ns`), durations in seconds or milliseconds (names end in `_s`, `_ms`). None means: IB gave no value.
Field limits live in the annotations and are enforced by `codec.convert` at the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from gateway_proxy.bus.citation import Citation as Citation
from gateway_proxy.bus.citation import Citations
from gateway_proxy.bus.frame import Message as Message

PROTOCOL_VERSION = "1.0"

Price = Annotated[float, Meta(gt=0, lt=1e7)]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$")]
#: Printable ASCII only: a NUL in a string would inject fields into the TWS protocol.
ClientOrderId = Annotated[str, Meta(pattern=r"^[!-~]{1,64}$")]
Symbol = Annotated[str, Meta(pattern=r"^[A-Z0-9]{1,12}(?: [A-Z]{1,3})?$")]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ._-]{0,32}$")]
ContractKey = Annotated[str, Meta(min_length=1, max_length=64)]
BarSize = Literal[
    "1s", "5s", "10s", "15s", "30s", "1min", "2min", "3min", "5min", "10min", "15min", "20min", "30min",
    "1h", "2h", "3h", "4h", "8h", "1d", "1w", "1M",
]  # fmt: skip
What = Literal["TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK"]
#: IB's kinds of instruments.
SecType = Literal[
    "STK", "OPT", "IND", "FUT", "CONTFUT", "FOP", "CASH", "CFD", "CMDTY", "CRYPTO", "BOND", "FUND", "WAR", "IOPT",
    "BAG",
]  # fmt: skip
Action = Literal["BUY", "SELL"]
Layout = Literal["rows", "columns", "binary"]
Mode = Literal["dry-run", "paper", "live"]


# ---------------------------------------------------------------- market data


@dataclass(frozen=True, slots=True)
class Contract:
    """IB's names in snake case. `last_trade_date` is YYYYMMDD, `right` "C" or "P", `con_id` 0 when not known yet."""

    symbol: Symbol
    sec_type: SecType = "STK"
    exchange: Word = "SMART"
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")] = "USD"
    last_trade_date: Annotated[str, Meta(pattern=r"^(\d{8}|\d{6})?$")] = ""
    strike: Annotated[float, Meta(ge=0, lt=1e7)] = 0.0
    right: Literal["", "C", "P"] = ""
    multiplier: Word = ""
    trading_class: Word = ""
    con_id: Annotated[int, Meta(ge=0, lt=2**31)] = 0

    @property
    def key(self) -> str:
        """The name of this contract in topics: "SPY", or "SPY.20260618.C.600" for an option.

        Any other instrument or currency has a longer name of its own, so that nobody is given the data of a namesake:
        "ES" is a stock in New York and a future in Chicago. The exchange is no part of it: IB reports fills and
        positions under the venue of the moment.
        """
        if self.sec_type == "OPT":
            return f"{self.symbol}.{self.last_trade_date}.{self.right}.{self.strike:.10g}"
        if (self.sec_type, self.currency) == ("STK", "USD"):
            return self.symbol
        date = f".{self.last_trade_date}" if self.last_trade_date else ""
        return f"{self.symbol}.{self.sec_type}.{self.currency}{date}"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. `start_ns` is the start of its interval; `complete` is False while it still grows.

    `gap` is True on the first bar after bars that could not be had. `wap` and `count` are None where IB gives none.
    """

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    wap: float | None = None
    count: int | None = None
    complete: bool = True
    source: Literal["backfill", "live"] = "live"
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask and last trade, conflated. `time_ns` is when the proxy had it; `delayed` as announced by IB."""

    symbol: str
    bid: float | None = None
    bid_size: float | None = None
    ask: float | None = None
    ask_size: float | None = None
    last: float | None = None
    last_size: float | None = None
    volume: float | None = None
    close: float | None = None
    time_ns: int = 0
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class ChainRow:
    """One option of a chain, with IB's model greeks per share and volatility as a fraction (0.18 = 18 %)."""

    strike: float
    right: Literal["C", "P"]
    con_id: int
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    volume: float | None = None
    open_interest: float | None = None
    iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Rows around the money of one expiry (YYYYMMDD), by strike and then right; `time_ns` is when it was complete.

    `price_bands`: the price grid, (lower edge, increment) from 0 up; `min_tick` is only its smallest increment.
    """

    symbol: str
    expiry: str
    underlying_price: float
    rows: tuple[ChainRow, ...]
    multiplier: str = "100"
    trading_class: str = ""
    time_ns: int = 0
    min_tick: float = 0.01
    price_bands: tuple[tuple[float, float], ...] = ()


# ---------------------------------------------------------------- orders and account


@dataclass(frozen=True, slots=True)
class OrderLeg:
    """One IB order of a request. `leg` is entry, take_profit or stop_loss; `state` a word of the order table."""

    leg: Literal["entry", "take_profit", "stop_loss"]
    order_id: int
    perm_id: int
    state: str
    action: Action
    quantity: int
    filled: float
    average_price: float | None
    limit_price: float | None
    stop_price: float | None


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """The life of one client order. `state` is that of the entry; `reason` explains refusals and rejections."""

    engine: str
    client_order_id: str
    state: str
    symbol: str
    action: Action
    quantity: int
    filled: float
    order_ids: tuple[int, ...]
    simulated: bool
    reason: str = ""
    legs: tuple[OrderLeg, ...] = ()
    contract: Contract | None = None
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class OrderReply:
    """The answer to every order op: what is known now; `orders/<engine>/` tells what happens later.

    An OrderUpdate answers as well: it says the same and more.
    """

    client_order_id: str
    state: str
    order_ids: tuple[int, ...] = ()
    simulated: bool = False
    reason: str = ""
    filled: float = 0.0
    legs: tuple[OrderLeg, ...] = ()


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, once. `commission` follows later under the same `exec_id`; `simulated` in dry-run."""

    exec_id: str
    engine: str
    client_order_id: str
    leg: str
    order_id: int
    symbol: str
    contract: Contract
    action: Action
    quantity: float
    price: float
    time_ns: int
    commission: float | None = None
    realized_pnl: float | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """`average_cost` as IB gives it (per share; options with the multiplier in it)."""

    account: str
    contract: Contract
    quantity: float
    average_cost: float


@dataclass(frozen=True, slots=True)
class AccountValues:
    """The account numbers that sizing and guards use, in the base currency; None until IB sent them."""

    account: str
    currency: str = "USD"
    net_liquidation: float | None = None
    available_funds: float | None = None
    buying_power: float | None = None
    total_cash: float | None = None
    realized_pnl: float | None = None
    unrealized_pnl: float | None = None
    daily_pnl: float | None = None
    time_ns: int = 0


# ---------------------------------------------------------------- requests


@dataclass(frozen=True, slots=True)
class BarsArgs:
    """`count` newest bars, the unfinished one last. `fresh` asks upstream even when a live series is held.

    max_age_s: when the Gateway cannot be asked now, held bars of at most this age will do.
    """

    contract: ContractKey | Contract
    size: BarSize = "1min"
    count: Annotated[int, Meta(ge=1, le=20_000)] = 60
    what: What = "TRADES"
    rth: bool = True
    layout: Layout = "rows"
    fresh: bool = False
    max_age_s: Annotated[float, Meta(ge=0, le=604_800)] | None = None


@dataclass(frozen=True, slots=True)
class ChainArgs:
    """`width` strikes on each side of the one nearest to `around` (default: the underlying's price)."""

    contract: ContractKey | Contract
    expiry: Annotated[str, Meta(pattern=r"^(nearest|\d{8})$")] = "nearest"
    around: Price | None = None
    width: Annotated[int, Meta(ge=0, le=20)] = 1
    layout: Literal["rows", "columns"] = "rows"


@dataclass(frozen=True, slots=True)
class QuoteArgs:
    contract: ContractKey | Contract


@dataclass(frozen=True, slots=True)
class ContractArgs:
    contract: ContractKey | Contract


@dataclass(frozen=True, slots=True)
class NoArgs:
    pass


@dataclass(frozen=True, slots=True)
class ExplainArgs:
    """Would this request go now, which rule holds it, until when?"""

    op: Literal["bars", "chain", "quote", "contract", "order"] = "bars"
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnapshotArgs:
    """The last value of every topic that starts with `prefix`, with its seq."""

    prefix: Annotated[str, Meta(max_length=128)] = ""


@dataclass(frozen=True, slots=True)
class ReportArgs:
    """A heartbeat of an engine or a process, published on `health/engine/<name>/` or `health/process/<name>/`."""

    kind: Literal["engine", "process"]
    name: Name
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BracketArgs:
    """An entry with a take-profit and a stop-loss, placed whole or not at all."""

    engine: Name
    client_order_id: ClientOrderId
    contract: ContractKey | Contract
    action: Action
    quantity: Quantity
    limit_price: Price
    take_profit: Price
    stop_loss: Price
    tif: Literal["DAY", "GTC"] = "DAY"
    cites: Citations = ()


@dataclass(frozen=True, slots=True)
class PlaceArgs:
    """One order. LMT and STP LMT need `limit_price`; STP and STP LMT need `stop_price`."""

    engine: Name
    client_order_id: ClientOrderId
    contract: ContractKey | Contract
    action: Action
    quantity: Quantity
    order_type: Literal["MKT", "LMT", "STP", "STP LMT"]
    limit_price: Price | None = None
    stop_price: Price | None = None
    tif: Literal["DAY", "GTC", "IOC"] = "DAY"
    cites: Citations = ()


@dataclass(frozen=True, slots=True)
class OrderRefArgs:
    client_order_id: ClientOrderId


@dataclass(frozen=True, slots=True)
class CancelArgs:
    """Cancels what is unfilled of the entry; its exits then end with it. `exits` cancels the exits of a filled entry
    too, and so leaves the position to the engine."""

    client_order_id: ClientOrderId
    exits: bool = False


@dataclass(frozen=True, slots=True)
class ModifyArgs:
    """Moves the price of one working leg in place. Nothing else can change: for that, cancel and place anew."""

    client_order_id: ClientOrderId
    leg: Literal["entry", "take_profit", "stop_loss"] = "entry"
    limit_price: Price | None = None
    stop_price: Price | None = None


@dataclass(frozen=True, slots=True)
class OpenOrdersArgs:
    engine: Name | None = None


@dataclass(frozen=True, slots=True)
class KillArgs:
    """Stop every opening order until `resume`; `cancel_open` also cancels unfilled entries."""

    reason: Annotated[str, Meta(pattern=r"^[ -~]{0,200}$")] = ""
    cancel_open: bool = True


REQUEST_ARGS: dict[str, type] = {
    "bars": BarsArgs,
    "chain": ChainArgs,
    "quote": QuoteArgs,
    "contract": ContractArgs,
    "status": NoArgs,
    "health": NoArgs,
    "explain": ExplainArgs,
    "positions": NoArgs,
    "account": NoArgs,
    "executions": NoArgs,
    "diagnose": NoArgs,
    "snapshot": SnapshotArgs,
    "report": ReportArgs,
}

TRADE_ARGS: dict[str, type] = {
    "order.place": PlaceArgs,
    "order.bracket": BracketArgs,
    "order.modify": ModifyArgs,
    "order.cancel": CancelArgs,
    "order.status": OrderRefArgs,
    "orders.open": OpenOrdersArgs,
    "kill": KillArgs,
    "resume": NoArgs,
}

#: The kinds of market messages, so that readers can tell data from housekeeping.
KINDS = (
    "bar", "quote", "chain", "order", "fill", "position", "account", "health", "verdict", "welcome", "heartbeat", "gap",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One well-formed question. `expires_in_s` is None when the caller set no deadline."""

    id: str | int
    op: str
    args: Any
    expires_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where a request's time went, in milliseconds: our queue and the Gateway are never mixed.

    `held_by` names the pacing rule that held it longest, "" if none did.
    """

    queued_ms: float = 0.0
    held_by: str = ""
    gateway_ms: float = 0.0
    total_ms: float = 0.0
    cache: Literal["", "hit", "merged", "stale"] = ""
