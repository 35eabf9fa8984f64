"""What clients can ask: one frozen dataclass per request. Words only; `request_decoders` reads them off the wire."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim.contracts import ContractQuery
from gateway_sim.order_request import PlaceOrder


@dataclass(frozen=True, slots=True)
class StartApi:
    client_id: int


@dataclass(frozen=True, slots=True)
class Plain:
    """A request that carries nothing, or nothing that matters."""


@dataclass(frozen=True, slots=True)
class ById:
    """A request or cancel that only names an id."""

    req_id: int


@dataclass(frozen=True, slots=True)
class Switch:
    """A request that turns something on or off. `account` is empty unless the message has one."""

    on: bool
    account: str = ""


@dataclass(frozen=True, slots=True)
class MarketDataRequest:
    req_id: int
    contract: ContractQuery
    generic_ticks: str
    snapshot: bool
    regulatory: bool


@dataclass(frozen=True, slots=True)
class DepthRequest:
    req_id: int
    contract: ContractQuery
    rows: int
    smart: bool


@dataclass(frozen=True, slots=True)
class ContractDetailsRequest:
    req_id: int
    contract: ContractQuery


@dataclass(frozen=True, slots=True)
class HistoricalDataRequest:
    req_id: int
    contract: ContractQuery
    end: str
    bar_size: str
    duration: str
    regular_only: bool
    what: str
    date_format: int
    keep_up_to_date: bool


@dataclass(frozen=True, slots=True)
class RealTimeBarsRequest:
    req_id: int
    contract: ContractQuery
    what: str
    regular_only: bool


@dataclass(frozen=True, slots=True)
class HeadTimeStampRequest:
    req_id: int
    contract: ContractQuery
    regular_only: bool
    what: str
    date_format: int


@dataclass(frozen=True, slots=True)
class HistogramRequest:
    req_id: int
    contract: ContractQuery
    regular_only: bool
    period: str


@dataclass(frozen=True, slots=True)
class HistoricalTicksRequest:
    req_id: int
    contract: ContractQuery
    start: str
    end: str
    count: int
    what: str
    regular_only: bool


@dataclass(frozen=True, slots=True)
class TickByTickRequest:
    req_id: int
    contract: ContractQuery
    tick_type: str
    count: int
    ignore_size: bool


@dataclass(frozen=True, slots=True)
class OptionCalculation:
    """calculateImpliedVolatility (`given` is the option price) or calculateOptionPrice (`given` is the volatility)."""

    req_id: int
    contract: ContractQuery
    given: float
    underlying_price: float


@dataclass(frozen=True, slots=True)
class OptionParametersRequest:
    req_id: int
    symbol: str
    exchange: str
    sec_type: str
    con_id: int


@dataclass(frozen=True, slots=True)
class MatchingSymbolsRequest:
    req_id: int
    pattern: str


@dataclass(frozen=True, slots=True)
class ScannerRequest:
    """rows: -1 or 0 means as many as there may be. Filters that the client left open are 0 and infinity."""

    req_id: int
    rows: int
    instrument: str
    location: str
    scan_code: str
    above_price: float
    below_price: float
    above_volume: int


@dataclass(frozen=True, slots=True)
class CancelOrder:
    order_id: int


@dataclass(frozen=True, slots=True)
class ExecutionsRequest:
    req_id: int
    client_id: int
    account: str
    time: str
    symbol: str
    sec_type: str
    side: str


@dataclass(frozen=True, slots=True)
class AccountSummaryRequest:
    req_id: int
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """reqAccountUpdatesMulti, reqPositionsMulti, reqPnL and reqPnLSingle (the only one with a con_id)."""

    req_id: int
    account: str
    model: str
    con_id: int = 0


Request = (
    StartApi | Plain | ById | Switch | MarketDataRequest | DepthRequest | ContractDetailsRequest | HistoricalDataRequest
    | RealTimeBarsRequest | HeadTimeStampRequest | HistogramRequest | HistoricalTicksRequest | TickByTickRequest
    | OptionCalculation | OptionParametersRequest | MatchingSymbolsRequest | ScannerRequest | CancelOrder
    | ExecutionsRequest | AccountSummaryRequest | AccountRequest | PlaceOrder
)  # fmt: skip
