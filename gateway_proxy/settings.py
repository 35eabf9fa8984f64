"""Every setting of the proxy and its launcher: frozen, with default, unit and bounds; handed in, never looked up.

Sections whose rules live in a module are defined there; the sections of engines and monitor stay raw tables, because
those processes check their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Interval

from gateway_proxy.bus.messages import Mode
from gateway_proxy.bus.server import BusSettings
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.bars import BarSettings
from gateway_proxy.core.breaker import BreakerSettings
from gateway_proxy.core.chains import ChainSettings
from gateway_proxy.core.health import HealthSettings
from gateway_proxy.core.quotes import QuoteSettings
from gateway_proxy.core.recovery import RecoverySettings
from gateway_proxy.core.risk import RiskSettings
from gateway_proxy.core.rules import PacingSettings
from gateway_proxy.core.supervisor import LauncherSettings
from gateway_proxy.core.windows import WindowSettings
from gateway_proxy.logs import LogSettings

Port = Annotated[int, Interval(ge=1, le=65535)]
PositiveSeconds = Annotated[float, Gt(0)]
_FORBID_UNKNOWN = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class ClockSettings:
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    speed: Annotated[float, Interval(gt=0, le=1000)] = 1.0  # clock seconds per real second; 1 on a real Gateway


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    host: str = "127.0.0.1"
    port: Port = 4002  # IB Gateway: 4002 paper, 4001 live; TWS: 7497 paper, 7496 live
    client_id: Annotated[int, Ge(0)] = 1  # fixed for ever: orders of another client id cannot be changed
    connect_timeout_s: PositiveSeconds = 10.0  # from opening the socket until the session is ready
    retry_s: PositiveSeconds = 1.0  # before the first new attempt; doubles with every failure
    # The longest pause between two attempts: a refused one costs nobody anything, and who is back is found this soon.
    retry_max_s: PositiveSeconds = 4.0


@dataclass(frozen=True, slots=True)
class TradingSettings:
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    mode: Mode = "dry-run"  # dry-run never sends an order; live also needs --live and the account typed
    account: str = ""  # the IB account that trades; "" takes the only one of the login


@dataclass(frozen=True, slots=True)
class JournalSettings:
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    path: str = ""  # the order journal; "": one per mode in ~/.local/state/gateway-proxy


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Read by the launcher only: whether and how it starts gateway_sim. The port is [gateway] port."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    enabled: bool = False
    seed: Annotated[int, Ge(0)] = 1  # the same seed is the same market
    start: str = ""  # New York date and time at the start, "2026-06-18 09:25"; "" lets the simulator choose
    skip_closed: bool = True  # leap over nights and weekends
    scenario: str = ""  # a file of faults to play
    ledger: str = ""  # the simulator's judgement, JSON lines; "" puts it into the directory of the run


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """What `gateway-proxy record` keeps, and where. A crash loses what came within `every_s`, or `rows_max` rows."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    enabled: bool = False  # the launcher starts a recorder too
    dir: str = ""  # "": recording/ in the directory of a simulated run, else in ~/.local/state/gateway-proxy
    topics: tuple[str, ...] = ()  # left out: bars and chain of every engine's symbols
    every_s: Annotated[float, Interval(ge=1, le=3600)] = 60.0  # real seconds between two files of one table
    rows_max: Annotated[int, Interval(ge=1, le=1_000_000)] = 50_000  # in memory, all tables together


@dataclass(frozen=True, slots=True)
class Settings:
    """One configuration file. Unknown sections and keys are errors."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    clock: ClockSettings = ClockSettings()
    bus: BusSettings = BusSettings()
    gateway: GatewaySettings = GatewaySettings()
    trading: TradingSettings = TradingSettings()
    orders: OrderSettings = OrderSettings()
    risk: RiskSettings = field(default_factory=RiskSettings)
    journal: JournalSettings = JournalSettings()
    pacing: PacingSettings = PacingSettings()
    health: HealthSettings = HealthSettings()
    breaker: BreakerSettings = BreakerSettings()
    bars: BarSettings = BarSettings()
    quotes: QuoteSettings = QuoteSettings()
    chain: ChainSettings = ChainSettings()
    recovery: RecoverySettings = RecoverySettings()
    windows: WindowSettings = WindowSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    launcher: LauncherSettings = LauncherSettings()
    record: RecordSettings = RecordSettings()
    logs: LogSettings = LogSettings()
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    monitor: dict[str, Any] = field(default_factory=dict)
