"""What the core asks its shell to do, in order. The order is a promise: an Append stands before the Send it allows.

`Call` is one message to the Gateway; everything else happens on our side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gateway_proxy.bus.messages import Action, Contract
from gateway_proxy.errors import ProxyError

# ---------------------------------------------------------------- calls: one message to the Gateway each


@dataclass(frozen=True, slots=True)
class RequestTime:
    pass


@dataclass(frozen=True, slots=True)
class RequestContract:
    req_id: int
    contract: Contract


@dataclass(frozen=True, slots=True)
class RequestMarketRule:
    rule_id: int


@dataclass(frozen=True, slots=True)
class RequestOptionParameters:
    req_id: int
    symbol: str
    sec_type: str
    con_id: int


@dataclass(frozen=True, slots=True)
class RequestHistory:
    """`duration` and `bar_size` in IB's words; `end` "" means now and is the only form with `keep_up_to_date`."""

    req_id: int
    contract: Contract
    duration: str
    bar_size: str
    what: str
    rth: bool
    keep_up_to_date: bool = False
    end: str = ""


@dataclass(frozen=True, slots=True)
class CancelHistory:
    req_id: int


@dataclass(frozen=True, slots=True)
class RequestRealTimeBars:
    """5-second bars, the only size IB streams; each subscription is a market data line."""

    req_id: int
    contract: Contract
    what: str
    rth: bool


@dataclass(frozen=True, slots=True)
class CancelRealTimeBars:
    req_id: int


@dataclass(frozen=True, slots=True)
class RequestQuote:
    """Streaming market data; `generic_ticks` as IB's comma list."""

    req_id: int
    contract: Contract
    generic_ticks: str = ""


@dataclass(frozen=True, slots=True)
class CancelQuote:
    req_id: int


@dataclass(frozen=True, slots=True)
class RequestAccountUpdates:
    account: str
    subscribe: bool = True


@dataclass(frozen=True, slots=True)
class RequestPositions:
    pass


@dataclass(frozen=True, slots=True)
class RequestOpenOrders:
    """`all_clients` asks for every client's orders once; otherwise only for our own."""

    all_clients: bool = False


@dataclass(frozen=True, slots=True)
class RequestCompletedOrders:
    pass


@dataclass(frozen=True, slots=True)
class RequestExecutions:
    req_id: int


@dataclass(frozen=True, slots=True)
class RequestNextOrderId:
    pass


@dataclass(frozen=True, slots=True)
class RequestMarketDataType:
    """1 live, 2 frozen, 3 delayed, 4 delayed-frozen: the permission to degrade, set once per session."""

    data_type: int


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """One order as it goes on the wire. Children of a bracket carry `parent_id`; only the last leg transmits."""

    order_id: int
    contract: Contract
    account: str
    action: Action
    quantity: int
    order_type: str
    limit_price: float | None
    stop_price: float | None
    tif: str
    order_ref: str
    transmit: bool = True
    parent_id: int = 0
    oca_group: str = ""
    good_till: str = ""


@dataclass(frozen=True, slots=True)
class PlaceOrders:
    """All legs of one client order: written together, the only calls that may open a position."""

    tickets: tuple[OrderTicket, ...]


@dataclass(frozen=True, slots=True)
class CancelOrder:
    order_id: int


Call = (
    RequestTime
    | RequestContract
    | RequestMarketRule
    | RequestOptionParameters
    | RequestHistory
    | CancelHistory
    | RequestRealTimeBars
    | CancelRealTimeBars
    | RequestQuote
    | CancelQuote
    | RequestAccountUpdates
    | RequestPositions
    | RequestOpenOrders
    | RequestCompletedOrders
    | RequestExecutions
    | RequestNextOrderId
    | RequestMarketDataType
    | PlaceOrders
    | CancelOrder
)


# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Connect:
    """Open the one Gateway session; the shell knows host, port and client id."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    reason: str


@dataclass(frozen=True, slots=True)
class CommandGateway:
    """Ask IBC, which runs the Gateway, for one of its commands: RECONNECTDATA, RECONNECTACCOUNT, RESTART."""

    command: str


@dataclass(frozen=True, slots=True)
class Send:
    """Write one call to the Gateway now. Pacing has already been paid."""

    call: Call


@dataclass(frozen=True, slots=True)
class Append:
    """Make one journal record durable before anything after it happens. `body` is plain JSON."""

    kind: str
    client_order_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Publish:
    """One message on the market socket; the shell numbers it. `body` is a message dataclass or a plain dict."""

    topic: str
    kind: str
    body: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """The one terminal answer to a request. `body` on success, otherwise `error`. `columns`: a second frame."""

    client: Any
    request_id: str | int
    body: Any = None
    error: ProxyError | None = None
    columns: bytes | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """`level` is error, warning, info or debug; `event` a constant phrase, facts in `fields`."""

    level: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


Effect = Connect | Disconnect | CommandGateway | Send | Append | Publish | Reply | Log
