"""A scenario: one TOML file that is a market, a limits mode and a time line of faults.

Everything is checked at the door: an unknown key, fault or parameter is refused with file, key and the nearest valid
name.

    [market]        seed start skip_closed speed cash account master_client holidays half_days
    [[symbol]]      symbol level volatility daily_volume options     (adds an underlying)
    [[replay]]      symbol date file                                 (a recorded regular session)
    [limits]        messages history lines open_history account_summaries clients message_strikes strict_large_bars
    [[fault]]       name, one of at / market_time / on (+ nth), for, and the fault's own parameters
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from gateway_sim.clock import parse_start
from gateway_sim.fault_state import FaultValue
from gateway_sim.faults import FaultRefused, checked, nearest
from gateway_sim.gateway import Gateway
from gateway_sim.limits import SETTING_NAMES, LimitSettings
from gateway_sim.listings import LISTINGS, Listing, derived_con_id
from gateway_sim.replay import ReplayRefused, read_day
from gateway_sim.request_decoders import DECODERS
from gateway_sim.settings import GatewaySettings

MARKET_KEYS = {
    "seed": int, "start": str, "skip_closed": bool, "speed": float, "cash": float, "account": str, "master_client": int,
    "holidays": list, "half_days": list,
}  # fmt: skip
SYMBOL_KEYS = {
    "symbol": str, "level": float, "volatility": float, "daily_volume": int, "options": str, "name": str,
}  # fmt: skip
REPLAY_KEYS = {"symbol": str, "date": date, "file": str}
FAULT_KEYS = ("name", "at", "market_time", "on", "nth", "for")
MODES = {"messages": ("reject", "pace", "record"), "history": ("explicit", "slow", "silent", "record")}
REQUEST_NAMES = sorted(name for name, _ in DECODERS.values())


class ScenarioRefused(Exception):
    """The scenario cannot be used: file, key and what would be right."""


@dataclass(frozen=True)
class PlannedFault:
    """A fault of the time line. Exactly one of at_s, market_s and on is set."""

    name: str
    lasts_s: float | None
    parameters: dict[str, FaultValue]
    at_s: float | None = None
    market_s: float | None = None
    on: str | None = None
    nth: int = 1


@dataclass(frozen=True)
class Replay:
    symbol: str
    day: date
    path: Path
    key: str
    """The file and the table that ask for it, for messages."""


@dataclass(frozen=True)
class Scenario:
    """What a file says."""

    settings: GatewaySettings
    faults: tuple[PlannedFault, ...] = ()
    replays: tuple[Replay, ...] = ()


def load(path: Path, base: GatewaySettings | None = None) -> Scenario:
    """Read and check a scenario file. Raises ScenarioRefused."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioRefused(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioRefused(f"{path}: {error}") from error
    try:
        return _scenario(document, path, base or GatewaySettings())
    except (FaultRefused, ScenarioRefused) as error:
        raise ScenarioRefused(f"{path}: {error}") from error


def build(scenario: Scenario) -> Gateway:
    """A gateway that plays the scenario. Raises ScenarioRefused if a recorded day cannot be read."""
    gateway = Gateway(scenario.settings)
    floor = gateway.floor
    for replay in scenario.replays:
        day = floor.calendar.on(replay.day)
        if day is None:
            raise ScenarioRefused(f"{replay.key}: {replay.day} is not a trading day")
        try:
            floor.market.prices.overlay.replays[(replay.symbol, replay.day)] = read_day(replay.path, day)
        except ReplayRefused as error:
            raise ScenarioRefused(f"{replay.key}: {error}") from error
    for fault in scenario.faults:
        if fault.on is not None:
            gateway.faults.on_message(fault.on, fault.nth, fault.name, fault.lasts_s, fault.parameters)
            continue
        due = fault.at_s if fault.at_s is not None else floor.clock.elapsed_at(fault.market_s or 0.0)
        gateway.faults.at(due, fault.name, fault.lasts_s, fault.parameters)
    return gateway


def seconds_of(text: str | float | int) -> float:
    """A duration: a number of seconds, `3s`, `500ms`, `2m`, `1h`, `MM:SS` or `HH:MM:SS`. Raises ValueError."""
    if isinstance(text, int | float):
        return float(text)
    for suffix, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(suffix):
            return float(text[: -len(suffix)]) * factor
    total = 0.0
    for part in text.split(":"):
        total = total * 60.0 + float(part)
    return total


def _scenario(document: dict[str, Any], path: Path, base: GatewaySettings) -> Scenario:
    _only("", document, ["market", "symbol", "replay", "limits", "fault"])
    settings = _market(_table(document, "market"), base)
    listings = tuple(_symbol(number, row) for number, row in enumerate(_tables(document, "symbol"), 1))
    settings = replace(settings, limits=_limits(_table(document, "limits")), extra_listings=listings)
    known = {listing.symbol for listing in (*LISTINGS, *listings)}
    replays = []
    for number, row in enumerate(_tables(document, "replay"), 1):
        key = f"[[replay]] {number}"
        _typed(key, row, REPLAY_KEYS)
        for name in REPLAY_KEYS:
            if name not in row:
                raise ScenarioRefused(f'{key} needs "{name}"')
        if row["symbol"] not in known:
            raise ScenarioRefused(f'{key}: unknown symbol "{row["symbol"]}"{nearest(row["symbol"], sorted(known))}')
        replays.append(Replay(row["symbol"], row["date"], path.parent / row["file"], f"{path}: {key}"))
    faults = tuple(_fault(number, row) for number, row in enumerate(_tables(document, "fault"), 1))
    return Scenario(settings, faults, tuple(replays))


def _market(table: dict[str, Any], base: GatewaySettings) -> GatewaySettings:
    _typed("[market]", table, MARKET_KEYS)
    values = dict(table)
    for name, target in (("holidays", "extra_holidays"), ("half_days", "extra_half_days")):
        days = values.pop(name, [])
        if not all(isinstance(day, date) for day in days):
            raise ScenarioRefused(f"[market] {name}: write dates without quotes, such as 2026-06-17")
        values[target] = frozenset(days)
    if "start" in values:
        try:
            parse_start(values["start"])
        except ValueError:
            raise ScenarioRefused(f"[market] start = {values['start']!r} is not 'YYYY-MM-DD HH:MM'") from None
    for name in ("speed", "cash"):
        if name in values and not 0.0 < values[name] < 1e12:
            raise ScenarioRefused(f"[market] {name} = {values[name]} must be positive")
    return replace(base, **values)


def _symbol(number: int, row: dict[str, Any]) -> Listing:
    key = f"[[symbol]] {number}"
    _typed(key, row, SYMBOL_KEYS)
    symbol, level = row.get("symbol", ""), float(row.get("level", 100.0))
    if not symbol or symbol != symbol.upper() or len(symbol) > 12:
        raise ScenarioRefused(f"{key}: symbol {symbol!r} is not an upper-case symbol")
    volatility, volume = float(row.get("volatility", 0.3)), int(row.get("daily_volume", 1_000_000))
    for name, value, lowest, highest in (
        ("level", level, 0.5, 100_000), ("volatility", volatility, 0.01, 3.0), ("daily_volume", volume, 0, 10**10),
    ):  # fmt: skip
        if not lowest <= value <= highest:
            raise ScenarioRefused(f"{key}: {name} = {value:g} is not in {lowest}..{highest}")
    cycle = row.get("options", "none")
    if cycle not in ("daily", "weekly", "none"):
        raise ScenarioRefused(f'{key}: options = "{cycle}"{nearest(cycle, ["daily", "weekly", "none"])}')
    return Listing(
        symbol, derived_con_id(symbol), row.get("name", symbol), "NASDAQ", level, volatility, volume, cycle=cycle
    )


def _limits(table: dict[str, Any]) -> LimitSettings:
    _only("[limits]", table, sorted(SETTING_NAMES))
    for name, value in table.items():
        allowed = MODES.get(name)
        if allowed is not None:
            if value not in allowed:
                raise ScenarioRefused(f'[limits] {name} = "{value}"{nearest(str(value), list(allowed))}')
        elif name == "strict_large_bars":
            if not isinstance(value, bool):
                raise ScenarioRefused(f"[limits] {name} must be true or false")
        elif not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 100_000:
            raise ScenarioRefused(f"[limits] {name} = {value!r} is not a whole number in 1..100000")
    return LimitSettings(**table)


def _fault(number: int, row: dict[str, Any]) -> PlannedFault:
    key = f"[[fault]] {number}"
    name = row.get("name")
    if not isinstance(name, str):
        raise ScenarioRefused(f'{key} needs a "name"')
    when = [option for option in ("at", "market_time", "on") if option in row]
    if len(when) != 1:
        raise ScenarioRefused(f"{key} ({name}): give exactly one of at, market_time and on")
    given = {option: value for option, value in row.items() if option not in FAULT_KEYS}
    try:
        lasts_s = seconds_of(row["for"]) if "for" in row else None
        _, parameters = checked(name, lasts_s, given)
        if "at" in row:
            return PlannedFault(name, lasts_s, parameters, at_s=seconds_of(row["at"]))
        if "market_time" in row:
            return PlannedFault(name, lasts_s, parameters, market_s=parse_start(str(row["market_time"])))
    except FaultRefused as error:
        raise ScenarioRefused(f"{key}: {error}") from error
    except ValueError:
        raise ScenarioRefused(
            f"{key} ({name}): cannot read its time; examples: at = 300, at = '00:05:00', for = '3s'"
        ) from None
    if row["on"] not in REQUEST_NAMES:
        raise ScenarioRefused(f'{key} ({name}): on = "{row["on"]}"{nearest(str(row["on"]), REQUEST_NAMES)}')
    nth = row.get("nth", 1)
    if not isinstance(nth, int) or nth < 1:
        raise ScenarioRefused(f"{key} ({name}): nth = {nth!r} is not 1 or more")
    return PlannedFault(name, lasts_s, parameters, on=row["on"], nth=nth)


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise ScenarioRefused(f"{name} must be a table: [{name}]")
    return table


def _tables(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = document.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ScenarioRefused(f"{name} must be a list of tables: [[{name}]]")
    return rows


def _only(where: str, table: dict[str, Any], known: list[str]) -> None:
    for name in table:
        if name not in known:
            raise ScenarioRefused(f'{where + " " if where else ""}has no key "{name}"{nearest(name, known)}')


def _typed(where: str, table: dict[str, Any], kinds: dict[str, type]) -> None:
    _only(where, table, list(kinds))
    for name, value in table.items():
        kind = kinds[name]
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise ScenarioRefused(f"{where} {name} = {value!r} is not of type {kind.__name__}")
