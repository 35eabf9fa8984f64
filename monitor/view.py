"""What there is to see at one moment: frozen facts with ages, ready to draw or to write as JSON.

Ages are seconds before the moment of the view; None means: never heard. Times in `_ns` are since 1970 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Light(StrEnum):
    """How much to worry. DARK: nothing is known."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    DARK = "dark"


#: From the least to the most worrying.
SEVERITY = {Light.GREEN: 0, Light.DARK: 1, Light.AMBER: 2, Light.RED: 3}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not well. `key` names it for good, so that it can be recognised in the next view."""

    key: str
    light: Light
    subject: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One change worth telling, once. `number` counts up from 1 in one life of the monitor."""

    number: int
    wall_ns: int
    kind: str
    light: Light
    subject: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- the proxy and its Gateway


@dataclass(frozen=True, slots=True)
class FarmView:
    name: str
    type: str
    state: str
    light: Light


@dataclass(frozen=True, slots=True)
class GatewayView:
    state: str = "unknown"
    since_s: float | None = None
    reason: str = ""
    mode: str = ""
    connected: bool = False
    server_version: int | None = None
    client_id: int | None = None
    rtt_ms: float | None = None
    clock_skew_s: float | None = None
    openings_stopped: str = ""
    expected: str = ""  # the window in which IB is expected to be away, "" outside
    escalated: bool = False  # the outage has outlasted what was expected
    loop_lag_ms: float | None = None
    last_message_age_s: float | None = None
    market_time_ns: int | None = None
    accounts: tuple[str, ...] = ()
    farms: tuple[FarmView, ...] = ()
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class RuleView:
    """One pacing rule: `used` of `limit` in its window; `next_free_s` until one more fits (0 when one fits now)."""

    rule: str
    scope: str
    used: float
    limit: float
    window_s: float
    next_free_s: float

    @property
    def share(self) -> float:
        return self.used / self.limit if self.limit > 0 else 0.0


@dataclass(frozen=True, slots=True)
class LaneView:
    name: str
    depth: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class OwnerView:
    name: str
    queued: int
    sent: int
    share: float | None


@dataclass(frozen=True, slots=True)
class PacingView:
    rules: tuple[RuleView, ...] = ()
    lanes: tuple[LaneView, ...] = ()
    owners: tuple[OwnerView, ...] = ()
    granted: int | None = None
    expired: int | None = None
    refused: int | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class BreakerView:
    name: str
    state: str
    failures: int
    retry_in_s: float | None
    cause: str
    light: Light


@dataclass(frozen=True, slots=True)
class PercentilesView:
    """Milliseconds; None where nothing was measured. `hdr`: the whole histogram (microseconds, base64)."""

    p50: float | None = None
    p99: float | None = None
    max: float | None = None
    count: int = 0
    hdr: str = ""


@dataclass(frozen=True, slots=True)
class LatencyView:
    """One request class: the wait in our queue and the Gateway's answer time, never mixed."""

    name: str
    queue_ms: PercentilesView
    gateway_ms: PercentilesView


@dataclass(frozen=True, slots=True)
class BusView:
    """`delay_ms` is what the monitor measures: received minus sent, by the wall clocks."""

    subscriptions: int | None = None
    published: int | None = None
    requests: int | None = None
    refused: int | None = None
    dropped: int | None = None
    gaps: int = 0
    delay_ms: PercentilesView = PercentilesView()
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamView:
    topic: str
    state: str
    age_s: float | None
    bars: int | None
    feed: str
    held_by: str
    light: Light


# ---------------------------------------------------------------- clients of the proxy


@dataclass(frozen=True, slots=True)
class EngineView:
    name: str
    state: str
    symbols: tuple[str, ...]
    last_decision: str
    signals: int | None
    orders: int | None
    lag_ms: float | None
    decide_us: float | None
    last_bar_ns: int | None
    silent_s: float
    light: Light
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProcessView:
    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    restarts: int
    rss_mb: float | None
    silent_s: float
    light: Light


# ---------------------------------------------------------------- orders and money


@dataclass(frozen=True, slots=True)
class LegView:
    leg: str
    state: str
    action: str
    quantity: float
    filled: float
    average_price: float | None
    limit_price: float | None
    stop_price: float | None


@dataclass(frozen=True, slots=True)
class OrderView:
    """One client order and, in `life`, the states it went through as (wall_ns, state, reason)."""

    client_order_id: str
    engine: str
    contract: str
    state: str
    action: str
    quantity: float
    filled: float
    simulated: bool
    reason: str
    open: bool
    light: Light
    legs: tuple[LegView, ...]
    life: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class FillView:
    exec_id: str
    engine: str
    client_order_id: str
    leg: str
    contract: str
    action: str
    quantity: float
    price: float
    wall_ns: int
    commission: float | None
    realized_pnl: float | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class PositionView:
    contract: str
    quantity: float
    average_cost: float


@dataclass(frozen=True, slots=True)
class AccountView:
    currency: str = "USD"
    net_liquidation: float | None = None
    available_funds: float | None = None
    buying_power: float | None = None
    realized_pnl: float | None = None
    unrealized_pnl: float | None = None
    daily_pnl: float | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class VerdictView:
    """How one request ended and why. `timeline` holds milliseconds by stage, as the proxy measured them."""

    number: int
    wall_ns: int
    verdict: str
    request_class: str
    subject: str
    advice: str
    light: Light
    evidence: dict[str, Any]
    timeline: dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """Everything, at one moment. `healthy` is what scripts ask; `problems` says why it is not, worst first."""

    wall_ns: int
    state: str
    healthy: bool
    light: Light
    problems: tuple[Problem, ...]
    epoch: str
    heard_age_s: float | None
    gateway: GatewayView
    pacing: PacingView
    breakers: tuple[BreakerView, ...]
    latency: tuple[LatencyView, ...]
    bus: BusView
    streams: tuple[StreamView, ...]
    engines: tuple[EngineView, ...]
    processes: tuple[ProcessView, ...]
    orders: tuple[OrderView, ...]
    fills: tuple[FillView, ...]
    positions: tuple[PositionView, ...]
    account: AccountView
    verdicts: tuple[VerdictView, ...]
    orders_open: int
    orders_total: int
    fills_total: int
    verdict_counts: dict[str, int]
    event_number: int
