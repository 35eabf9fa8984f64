"""Settings of the monitor: section [monitor] of the one configuration file, written once and checked at the door."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Interval, Le

from gateway_proxy import apply_environment, read_toml, validate

_FORBID_UNKNOWN = {"extra": "forbid"}
Port = Annotated[int, Interval(ge=1, le=65535)]


@dataclass(frozen=True, slots=True)
class StateSettings:
    """How much is remembered, and when silence is a fault. What exceeds a limit drops the oldest."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    silent_after_s: Annotated[float, Gt(0)] = 2.0  # heartbeats come every 250 ms; eight missed ones are a silent proxy
    engine_silent_after_s: Annotated[float, Gt(0)] = 15.0  # engines report also when there is nothing to trade
    events_max: Annotated[int, Ge(10), Le(100_000)] = 1000
    orders_max: Annotated[int, Ge(10), Le(100_000)] = 300
    fills_max: Annotated[int, Ge(10), Le(100_000)] = 300
    verdicts_max: Annotated[int, Ge(10), Le(100_000)] = 200
    workers_max: Annotated[int, Ge(1), Le(10_000)] = 100  # engines, and as many processes


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The dashboard. It shows positions and profit, so it stays on this machine unless you say otherwise."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    enabled: bool = True  # beside the plain lines; the terminal app serves it only with --web
    host: str = "127.0.0.1"  # the address to listen on; every visitor needs the token in any case
    port: Port = 8765
    hosts: tuple[str, ...] = ()  # further names under which browsers may call it, for example behind a tunnel
    refresh_s: Annotated[float, Interval(ge=0.1, le=60)] = 1.0  # how often a browser gets a new view
    visitors_max: Annotated[int, Interval(ge=1, le=1000)] = 20  # open dashboards; one more is refused


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Prometheus. Figures only, no account data; on a port of its own, because scrapers carry no token."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Port = 9464


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """What survives a restart: one row of figures every few seconds, and every event, in one file a day."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    enabled: bool = True
    directory: str = ""  # "" is $XDG_STATE_HOME/gateway-proxy/monitor, or ~/.local/state/gateway-proxy/monitor
    every_s: Annotated[float, Interval(ge=1, le=600)] = 10.0
    days: Annotated[int, Interval(ge=1, le=3660)] = 14  # older files are deleted
    megabytes: Annotated[int, Interval(ge=1, le=100_000)] = 200  # of all files; the oldest go first


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One thing to be told about: `when` names the figure, `equals` or `above` the condition.

    An alert is sent when it begins and when it is over; while it lasts, again every `again_s` (0: never), then also
    to the channels of `escalate`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    name: str
    when: Literal[
        "state", "light", "breaker", "budget", "stream_age", "engine_silent", "order_unknown", "daily_loss",
        "queue_age", "round_trip", "loop_lag",
    ]  # fmt: skip
    equals: tuple[str, ...] = ()  # for words (state, light, breaker): any of these
    above: float | None = None  # for figures: more than this; shares 0 to 1, ages in seconds, times in milliseconds
    for_s: Annotated[float, Ge(0)] = 0.0  # it must hold that long first
    channels: tuple[str, ...] = ()  # names of [monitor.alerts.channels]; none: all of them
    escalate: tuple[str, ...] = ()
    again_s: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True, slots=True)
class AlertSettings:
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    rules: tuple[AlertRule, ...] = ()  # none: the built-in rules of monitor/alerts.py
    channels: dict[str, str] = field(default_factory=dict)  # name = "https://…" (webhook) or any apprise address
    timeout_s: Annotated[float, Interval(gt=0, le=60)] = 5.0
    tries_max: Annotated[int, Interval(ge=1, le=10)] = 3  # per channel and alert, with growing pauses; then it is told
    waiting_max: Annotated[int, Interval(ge=1, le=10_000)] = 100  # notices under way; one more drops the oldest


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """Section [monitor]."""

    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID_UNKNOWN

    status_every_s: Annotated[float, Interval(ge=0.2, le=3600)] = 5.0  # between two plain status lines
    state: StateSettings = StateSettings()
    web: WebSettings = WebSettings()
    metrics: MetricsSettings = MetricsSettings()
    history: HistorySettings = HistorySettings()
    alerts: AlertSettings = AlertSettings()


@dataclass(frozen=True, slots=True)
class BusPlace:
    """What the monitor takes from section [bus]: where the proxy's runtime directory is; None is the default place."""

    runtime_dir: Path | None = None


def load(path: str | Path) -> tuple[MonitorSettings, BusPlace]:
    """The monitor's part of a configuration file with the environment laid over it.

    Raises ConfigError with one line per fault.
    """
    table = apply_environment(read_toml(path), where=str(path))
    section = table.get("monitor", {})
    settings = validate(section, MonitorSettings, where=str(path), section="monitor")
    return settings, bus_place(table)


def bus_place(table: dict[str, Any]) -> BusPlace:
    """The environment's GATEWAY_PROXY_RUNTIME wins over the file, as everywhere."""
    bus = table.get("bus")
    named = bus.get("runtime_dir") if isinstance(bus, dict) else None
    if os.environ.get("GATEWAY_PROXY_RUNTIME") or not named:
        return BusPlace()
    return BusPlace(Path(str(named)).expanduser())


def history_directory(settings: HistorySettings) -> Path:
    if settings.directory:
        return Path(settings.directory).expanduser()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "gateway-proxy" / "monitor"
