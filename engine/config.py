"""Settings of one engine: its [engines.<name>] table, checked at the door, with the strategy it names already made."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from engine.brackets import BracketRules
from engine.core import CoreRules
from engine.exits import ExitRules
from engine.guards import GuardRules
from engine.rules import DeskRules, OrderRules
from engine.sizing import SizingRules
from engine.strategy import Strategy, StrategyNotFound, load_strategy
from engine.strikes import StrikeRules
from gateway_proxy import ConfigError, LogSettings, apply_environment, read_toml, topics, validate

BarSize = Literal["5s", "10s", "15s", "30s", "1min", "2min", "3min", "5min", "10min", "15min", "20min", "30min", "1h"]


@dataclass(frozen=True)
class EngineSettings:
    """One [engines.<name>] table."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    strategy: str  # a file in engine/strategies/, a module beside this file, or any importable one
    symbols: tuple[str, ...]  # the underlyings; hundreds are fine
    bar: BarSize = "1min"  # decisions are made when a bar of this size is complete
    window: Annotated[int, Ge(2), Le(20_000)] = 480  # bars held and asked for at the start; a session has 390 minutes
    rth: bool = True  # bars of regular trading hours only
    decision_log: str = ""  # a file that gets every decision as a line of JSON, answers beside it; "" keeps none
    recording: str = ""  # a file that gets everything this engine is told, for `gateway-engine repeat`; "" keeps none
    parameters: dict[str, Any] = field(default_factory=dict)  # of the strategy, checked against its Parameters
    strikes: StrikeRules = field(default_factory=StrikeRules)
    sizing: SizingRules = field(default_factory=SizingRules)
    bracket: BracketRules = field(default_factory=BracketRules)
    exits: ExitRules = field(default_factory=ExitRules)
    guards: GuardRules = field(default_factory=GuardRules)
    orders: OrderRules = field(default_factory=OrderRules)

    def __post_init__(self) -> None:
        if not self.symbols:
            raise ValueError('symbols: want at least one, such as ["SPY"]')
        wrong = [symbol for symbol in self.symbols if not topics.is_contract_key(symbol)]
        if wrong:
            raise ValueError(f'symbols: {wrong[0]!r} is no symbol; want upper case, such as "SPY"')
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("symbols: one stands there twice")


@dataclass(frozen=True)
class EngineConfig:
    """Everything a running engine needs: settings, its strategy made and warm-able, and where the proxy is."""

    name: str
    settings: EngineSettings
    strategy: Strategy
    logs: LogSettings
    runtime_dir: Path | None

    @property
    def core_rules(self) -> CoreRules:
        settings = self.settings
        return CoreRules(
            name=self.name,
            symbols=settings.symbols,
            size=settings.bar,
            window=settings.window,
            rth=settings.rth,
            desk=DeskRules(settings.strikes, settings.sizing, settings.bracket, settings.exits, settings.orders),
            guards=settings.guards,
        )


def load(path: str | Path, name: str | None = None, environ: Mapping[str, str] | None = None) -> EngineConfig:
    """The engine `name` of a configuration file with the environment laid over it; the only one when name is None.

    Raises ConfigError with one line per fault.
    """
    table = apply_environment(read_toml(path), environ, where=str(path))
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # your own strategies may lie beside your configuration
    return from_table(table, name, str(path))


def load_all(path: str | Path, environ: Mapping[str, str] | None = None) -> list[EngineConfig]:
    """Every engine of a configuration file. Raises ConfigError with one line per fault."""
    names = read_toml(path).get("engines", {})
    return [load(path, name, environ) for name in names] or [load(path, None, environ)]


def from_table(table: Mapping[str, Any], name: str | None, where: str) -> EngineConfig:
    """As `load`, from tables already read; `where` names them in messages."""
    engines = table.get("engines", {})
    if not isinstance(engines, dict) or not engines:
        raise ConfigError(f"{where}: no [engines.<name>]; an engine needs strategy and symbols")
    if name is None and len(engines) > 1:
        raise ConfigError(f"{where}: which engine? say --name with one of {', '.join(engines)}")
    chosen = name if name is not None else next(iter(engines))
    if chosen not in engines:
        raise ConfigError(f"{where}: no [engines.{chosen}]; there are {', '.join(engines)}")
    if not topics.is_name(chosen):
        raise ConfigError(f"{where}: [engines.{chosen}]: a name has 1 to 48 letters, digits, - or _")
    settings, strategy = _settings_and_strategy(engines[chosen], where, f"engines.{chosen}")
    logs = validate(table.get("logs", {}), LogSettings, where=where, section="logs")
    return EngineConfig(chosen, settings, strategy, logs, _runtime_dir(table))


def _settings_and_strategy(table: Mapping[str, Any], where: str, section: str) -> tuple[EngineSettings, Strategy]:
    """Both parts of the table are checked before anything is said, so that all faults are named at once."""
    faults: list[str] = []
    try:
        settings = validate(table, EngineSettings, where=where, section=section)
    except ConfigError as error:
        faults.append(str(error))
    try:
        module, parameters = table.get("strategy"), table.get("parameters", {})
        if isinstance(module, str) and isinstance(parameters, dict):
            strategy = make_strategy(str(module), parameters, where, f"{section}.parameters")
    except ConfigError as error:
        faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return settings, strategy


def make_strategy(module: str, parameters: Mapping[str, Any], where: str, section: str) -> Strategy:
    """The strategy with its parameters checked. Raises ConfigError."""
    try:
        kind = load_strategy(module)
    except StrategyNotFound as error:
        raise ConfigError(f"{where}: {error}") from error
    made: Strategy = kind(validate(parameters, kind.Parameters, where=where, section=section))
    return made


def _runtime_dir(table: Mapping[str, Any]) -> Path | None:
    """The environment's GATEWAY_PROXY_RUNTIME wins over the file; None means the default place."""
    bus = table.get("bus")
    named = bus.get("runtime_dir") if isinstance(bus, dict) else None
    if os.environ.get("GATEWAY_PROXY_RUNTIME") or not named:
        return None
    return Path(str(named)).expanduser()
