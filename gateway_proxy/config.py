"""The configuration file: reads it, lays the environment over it, checks all of it, and names every fault at once.

Engines and monitor check their own tables with the same three steps: `read_toml`, `apply_environment`, `validate`.
"""

from __future__ import annotations

import copy
import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway_proxy import schema
from gateway_proxy.errors import ConfigError

if TYPE_CHECKING:
    from gateway_proxy.settings import Settings

ENVIRONMENT_PREFIX = "GATEWAY_PROXY__"
#: Sections whose tables the file names itself; the environment may change them, not invent them.
_NAMED_SECTIONS = ("engines",)

Location = Sequence[str | int]
T = TypeVar("T")


class _FromEnvironment(str):
    """A raw value of the environment, together with the variable that brought it."""

    variable: str

    @classmethod
    def of(cls, variable: str, value: str) -> _FromEnvironment:
        made = cls(value)
        made.variable = variable
        return made


def load(path: str | Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the proxy and its launcher from one file and the environment (default: the process's own).

    Raises ConfigError with one line per fault: missing file, no TOML, unknown section or key, wrong type or bound.
    """
    # Loaded here, because an engine that checks its own table needs none of the proxy's rules.
    from gateway_proxy.settings import Settings

    table = apply_environment(read_toml(path), environ, where=str(path))
    settings = validate(table, Settings, where=str(path))
    _check_together(settings, str(path))
    return settings


def read_toml(path: str | Path) -> dict[str, Any]:
    """The file's tables. Raises ConfigError when it is missing, unreadable or not TOML (with line and column)."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{_other_files(Path(path))}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _other_files(path: Path) -> str:
    here = sorted(str(other) for other in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    return f"; there are {', '.join(here[:5])}" if here else ""


def apply_environment(
    table: Mapping[str, Any], environ: Mapping[str, str] | None = None, *, where: str = "the configuration"
) -> dict[str, Any]:
    """A copy of `table` with every GATEWAY_PROXY__SECTION__KEY=value laid over it; names fit in any case, "-" as "_".

    Values are TOML where they can be (5, true, ["SPY"]) and plain text otherwise. Misspelt names stay visible for
    `validate`, which reports the variable. Raises ConfigError for a variable that can name no key.
    """
    result: dict[str, Any] = copy.deepcopy(dict(table))
    faults = []
    for variable, value in sorted((os.environ if environ is None else environ).items()):
        if variable.startswith(ENVIRONMENT_PREFIX):
            fault = _overlay(result, variable, value, where)
            faults += [fault] if fault else []
    if faults:
        raise ConfigError("\n".join(faults))
    return result


def _overlay(table: dict[str, Any], variable: str, value: str, where: str) -> str | None:
    """Puts one variable into its place; the fault as text when it has none."""
    words = variable.removeprefix(ENVIRONMENT_PREFIX).split("__")
    if len(words) < 2 or not all(words):
        return f"{variable}: want {ENVIRONMENT_PREFIX}SECTION__KEY=value"
    place = table
    for depth, word in enumerate(words[:-1]):
        key = _matching_key(place, word)
        if depth == 1 and _matching_key(table, words[0]) in _NAMED_SECTIONS and key not in place:
            return f"{variable}: {where} has no [{words[0].lower()}.{key}]{schema.did_you_mean(key, place)}"
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            return f"{variable}: {key} is no section of {where}"
        place = inner
    place[_matching_key(place, words[-1])] = _FromEnvironment.of(variable, value)
    return None


def _matching_key(table: Mapping[str, Any], word: str) -> str:
    """The key of the table that an environment word means, or the word in lower case when there is none."""
    plain = word.lower().replace("-", "_")
    return next((key for key in table if key.lower().replace("-", "_") == plain), word.lower())


def validate(table: Mapping[str, Any], kind: type[T], *, where: str, section: str = "") -> T:
    """The table as an object of `kind`, a frozen dataclass; types are strict, an integer will do for a number.

    `where` names the file and `section` the table in it ("engines.scalp") for the messages.
    Raises ConfigError with one line per fault.
    """
    # Loaded here, because `import gateway_proxy` must not cost what pydantic costs.
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import to_json

    adapter = TypeAdapter(kind)
    plain = _plain(table)
    for attempt in ("as TOML", "as text"):
        try:
            return adapter.validate_json(to_json(plain), strict=True)
        except ValidationError as error:
            faults = error.errors(include_url=False)
            wanted_text = [f["loc"] for f in faults if f["type"] in ("string_type", "literal_error")]
            if attempt == "as text" or not any([_replace_by_text(plain, table, place) for place in wanted_text]):
                lines = dict.fromkeys(_fault_line(fault, kind, table, where, section) for fault in faults)
                raise ConfigError("\n".join(lines)) from None
    raise AssertionError("the second attempt returns or raises")


def _plain(value: Any) -> Any:
    """The value as JSON can carry it. A number that is none becomes text, so that it is refused as what it is."""
    if isinstance(value, _FromEnvironment):
        return _plain(_as_toml(value))
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def _as_toml(raw: _FromEnvironment) -> Any:
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return str(raw)
    value = parsed["value"]
    return value if len(parsed) == 1 and isinstance(value, bool | int | float | str | list | dict) else str(raw)


def _replace_by_text(plain: Any, table: Any, place: Location) -> bool:
    """True if the value at `place` came from the environment, looked like a number, and is now text again."""
    raw = _value_at(table, place)
    if not isinstance(raw, _FromEnvironment):
        return False
    _value_at(plain, place[:-1])[place[-1]] = str(raw)
    return True


def _value_at(table: Any, place: Location) -> Any:
    for step in place:
        try:
            table = table[step]
        except (KeyError, IndexError, TypeError):
            return None
    return table


def _fault_line(fault: Mapping[str, Any], kind: type, table: Mapping[str, Any], where: str, section: str) -> str:
    """One fault in the reader's words: what, where, what would be right."""
    place: tuple[str | int, ...] = fault["loc"]
    value = _value_at(table, place)
    variables = list(_variables(value))
    origin = ", ".join(variables) if variables else where
    depth = next((depth for depth in range(len(place), 0, -1) if isinstance(place[depth - 1], str)), 1) - 1
    holder, name = schema.spell(section, place[:depth]), schema.dotted(place[depth:])
    if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = schema.keys(kind, place[:depth])
        if not holder:
            return f"{origin}: no section [{name}]{schema.did_you_mean(name, known, '[{}]')}"
        return f'{origin}: {holder} has no key "{name}"{schema.did_you_mean(name, known)}'
    if fault["type"] in ("value_error", "assertion_error"):
        return f"{origin}: {f'{schema.spell(section, place)} ' if section or place else ''}{fault['ctx']['error']}"
    wanted = schema.describe(schema.kind_at(kind, place)) or fault["msg"]
    if fault["type"] in ("missing", "missing_argument"):
        return f'{origin}: {holder} lacks the key "{name}": want {wanted}'
    if not holder:
        return f"{origin}: {schema.spell(section, place)}: want {wanted}, got {schema.toml(value)}"
    return f"{origin}: {holder} {name}: want {wanted}, got {schema.toml(value)}"


def _variables(value: Any) -> Iterator[str]:
    """The environment variables that brought the value or every part of it; nothing if the file has a share."""
    if isinstance(value, _FromEnvironment):
        yield value.variable
    elif isinstance(value, dict) and value:
        found = [list(_variables(inner)) for inner in value.values()]
        if all(found):
            yield from (variable for part in found for variable in part)


def _check_together(settings: Settings, where: str) -> None:
    """Rules that need more than one section."""
    faults = []
    if settings.trading.mode == "live" and settings.clock.speed != 1.0:
        faults.append(f'{where}: [clock] speed: want 1.0 when [trading] mode is "live", got {settings.clock.speed}')
    if settings.trading.mode == "live" and not settings.trading.account:
        faults.append(f'{where}: [trading] account: want the account id when mode is "live", got ""')
    if settings.trading.mode == "live" and settings.simulator.enabled:
        faults.append(f'{where}: [simulator] enabled: want false when [trading] mode is "live", got true')
    if settings.orders.live_confirmed:
        faults.append(f"{where}: [orders] live_confirmed: want --account on the command line instead")
    for name in settings.launcher.engines or ():
        if name not in settings.engines:
            hint = schema.did_you_mean(name, settings.engines)
            faults.append(f"{where}: [launcher] engines: no [engines.{name}]{hint}")
    if settings.gateway.retry_max_s < settings.gateway.retry_s:
        faults.append(f"{where}: [gateway] retry_max_s: want at least retry_s = {settings.gateway.retry_s}")
    if faults:
        raise ConfigError("\n".join(faults))


def require_live_keys(settings: Settings, *, live: bool, account: str | None) -> None:
    """The interlock of live trading: mode "live" in the file, --live, and --account equal to the file's, all three.

    Does nothing when neither the mode nor the flag says live. Raises ConfigError otherwise; never shows the account.
    """
    if settings.trading.mode != "live" and not live:
        return
    turned = {
        '[trading] mode = "live"': settings.trading.mode == "live",
        "--live": live,
        "--account equal to [trading] account": bool(account) and account == settings.trading.account,
    }
    missing = [key for key, is_turned in turned.items() if not is_turned]
    if missing:
        raise ConfigError(f"live trading refused: it needs {', '.join(turned)}; missing: {', '.join(missing)}")
