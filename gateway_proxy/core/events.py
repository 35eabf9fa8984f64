"""What the Gateway side can tell the core. One frozen class per fact; `upstream.py` makes them, the core consumes them.

Prices, sizes and times follow `bus.messages`. IB's "no value" numbers are already None here.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_proxy.bus.messages import Action, Bar, Contract

# ---------------------------------------------------------------- the session


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The handshake is complete: both managed accounts and a first order id have arrived."""

    server_version: int
    accounts: tuple[str, ...]
    next_order_id: int


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """A connection attempt ended without a session. `refused` is True when nothing listens at the address."""

    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The socket of an open session is gone, from either side."""

    reason: str


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """IB's message 4. `req_id` is -1 when it belongs to no request."""

    req_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class DecodeFailed:
    """A frame the decoder could not read; the session is suspect."""

    text: str


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """The Gateway's clock in whole seconds, and ours when it arrived."""

    epoch_s: int
    our_wall_ns: int


@dataclass(frozen=True, slots=True)
class NextOrderId:
    order_id: int


# ---------------------------------------------------------------- contracts


@dataclass(frozen=True, slots=True)
class ContractDetails:
    """What IB knows of one contract. Hours are IB's strings ("20260615:0930-20260615:1600;…") in `time_zone`.

    `market_rules` pairs each valid exchange with the id of its price-increment rule; `price_bands` is that rule for
    the contract's own exchange, (lower edge, increment) from 0 up, once it is known.
    """

    contract: Contract
    min_tick: float
    long_name: str = ""
    primary_exchange: str = ""
    time_zone: str = ""
    trading_hours: str = ""
    liquid_hours: str = ""
    market_rules: tuple[tuple[str, int], ...] = ()
    price_bands: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ContractReceived:
    req_id: int
    details: ContractDetails


@dataclass(frozen=True, slots=True)
class ContractsEnded:
    req_id: int


@dataclass(frozen=True, slots=True)
class MarketRuleReceived:
    """One price-increment rule: (lower edge, increment), lowest edge first."""

    rule_id: int
    bands: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class OptionParametersReceived:
    """One row of reqSecDefOptParams: the union of strikes of all expirations; not every pair of them exists."""

    req_id: int
    exchange: str
    trading_class: str
    multiplier: str
    expirations: tuple[str, ...]
    strikes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OptionParametersEnded:
    req_id: int


# ---------------------------------------------------------------- market data


@dataclass(frozen=True, slots=True)
class HistoryReceived:
    """The whole answer to a historical request; bars oldest first, the last one possibly unfinished."""

    req_id: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class HistoryUpdated:
    """keepUpToDate: the newest bar grew, or a new one began."""

    req_id: int
    bar: Bar


@dataclass(frozen=True, slots=True)
class RealTimeBarReceived:
    """One 5-second bar."""

    req_id: int
    bar: Bar


@dataclass(frozen=True, slots=True)
class TickReceived:
    """One price or size tick. `tick_type` is IB's number (1 bid, 2 ask, 4 last, 0/3/5 sizes, 8 volume)."""

    req_id: int
    tick_type: int
    value: float | None


@dataclass(frozen=True, slots=True)
class OptionTickReceived:
    """Option computation: tick types 10 bid, 11 ask, 12 last, 13 model; numbers IB did not compute are None."""

    req_id: int
    tick_type: int
    iv: float | None
    delta: float | None
    gamma: float | None
    theta: float | None
    vega: float | None
    price: float | None
    underlying_price: float | None


@dataclass(frozen=True, slots=True)
class MarketDataTypeReceived:
    """1 live, 2 frozen, 3 delayed, 4 delayed-frozen, announced per request."""

    req_id: int
    data_type: int


@dataclass(frozen=True, slots=True)
class SnapshotEnded:
    req_id: int


# ---------------------------------------------------------------- orders


@dataclass(frozen=True, slots=True)
class OpenOrderReceived:
    """IB's openOrder: carries the order_ref that survives everything."""

    order_id: int
    client_id: int
    perm_id: int
    parent_id: int
    order_ref: str
    contract: Contract
    account: str
    action: Action
    quantity: float
    order_type: str
    limit_price: float | None
    stop_price: float | None
    tif: str
    status: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class OrderStatusReceived:
    order_id: int
    client_id: int
    perm_id: int
    parent_id: int
    status: str
    filled: float
    remaining: float
    average_price: float
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionReceived:
    """`req_id` is -1 for a live execution, otherwise an answer. A correction differs only after exec_id's last dot."""

    req_id: int
    exec_id: str
    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    contract: Contract
    account: str
    action: Action
    quantity: float
    price: float
    cumulative_quantity: float
    average_price: float
    time_ns: int


@dataclass(frozen=True, slots=True)
class CommissionReceived:
    exec_id: str
    commission: float
    currency: str
    realized_pnl: float | None


@dataclass(frozen=True, slots=True)
class CompletedOrderReceived:
    """No order id and no client id here: match by perm_id or order_ref."""

    perm_id: int
    order_ref: str
    contract: Contract
    account: str
    action: Action
    status: str
    filled: float
    completed_status: str


@dataclass(frozen=True, slots=True)
class OpenOrdersEnded:
    pass


@dataclass(frozen=True, slots=True)
class CompletedOrdersEnded:
    pass


@dataclass(frozen=True, slots=True)
class ExecutionsEnded:
    req_id: int


# ---------------------------------------------------------------- account


@dataclass(frozen=True, slots=True)
class PositionReceived:
    account: str
    contract: Contract
    quantity: float
    average_cost: float


@dataclass(frozen=True, slots=True)
class PositionsEnded:
    pass


@dataclass(frozen=True, slots=True)
class AccountValueReceived:
    account: str
    key: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True)
class AccountEnded:
    account: str


OrderEvent = (
    OpenOrderReceived
    | OrderStatusReceived
    | ExecutionReceived
    | CommissionReceived
    | CompletedOrderReceived
    | OpenOrdersEnded
    | CompletedOrdersEnded
    | ExecutionsEnded
)

UpstreamEvent = (
    SessionOpened
    | SessionFailed
    | SessionClosed
    | ErrorReceived
    | DecodeFailed
    | CurrentTime
    | NextOrderId
    | ContractReceived
    | ContractsEnded
    | MarketRuleReceived
    | OptionParametersReceived
    | OptionParametersEnded
    | HistoryReceived
    | HistoryUpdated
    | RealTimeBarReceived
    | TickReceived
    | OptionTickReceived
    | MarketDataTypeReceived
    | SnapshotEnded
    | OrderEvent
    | PositionReceived
    | PositionsEnded
    | AccountValueReceived
    | AccountEnded
)
