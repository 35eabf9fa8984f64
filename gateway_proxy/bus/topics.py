"""Topic names of the market socket. Pure text: builds, checks and reads them.

Topics are paths that end in "/", because ZeroMQ matches prefixes: "bars/A" would also match "bars/AAPL/1min/".
A contract in a topic is its key: "SPY" for a US stock, "SPY.20260618.C.600" for an option.
"""

from __future__ import annotations

import re
from typing import Final

from gateway_proxy.errors import BadMessage

HEALTH_GATEWAY: Final = "health/gateway/"
HEALTH_PACING: Final = "health/pacing/"
HEALTH_BREAKERS: Final = "health/breakers/"
HEALTH_LATENCY: Final = "health/latency/"
HEALTH_STREAMS: Final = "health/streams/"
HEALTH_BUS: Final = "health/bus/"
FILLS: Final = "fills/"
POSITIONS: Final = "positions/"
ACCOUNT: Final = "account/"
VERDICTS: Final = "verdicts/"

#: Every topic there is, and the kind of message it carries (housekeeping kinds may appear on any of them).
PATTERNS: Final[dict[str, str]] = {
    "bars/<symbol>/<size>/": "bar",
    "quote/<symbol>/": "quote",
    "chain/<symbol>/": "chain",
    "orders/<engine>/": "order",
    FILLS: "fill",
    POSITIONS: "position",
    ACCOUNT: "account",
    HEALTH_GATEWAY: "health",
    HEALTH_PACING: "health",
    HEALTH_BREAKERS: "health",
    HEALTH_LATENCY: "health",
    HEALTH_STREAMS: "health",
    HEALTH_BUS: "heartbeat",
    "health/engine/<name>/": "health",
    "health/process/<name>/": "health",
    VERDICTS: "verdict",
}

#: Our bar sizes and IB's spelling of them (legal list: rule book 1.4).
BAR_SIZES: Final[dict[str, str]] = {
    "1s": "1 secs", "5s": "5 secs", "10s": "10 secs", "15s": "15 secs", "30s": "30 secs",
    "1min": "1 min", "2min": "2 mins", "3min": "3 mins", "5min": "5 mins", "10min": "10 mins",
    "15min": "15 mins", "20min": "20 mins", "30min": "30 mins",
    "1h": "1 hour", "2h": "2 hours", "3h": "3 hours", "4h": "4 hours", "8h": "8 hours",
    "1d": "1 day", "1w": "1W", "1M": "1M",
}  # fmt: skip

#: Length of one bar in seconds; a month counts 31 days, because it is only used to size windows.
BAR_SECONDS: Final[dict[str, int]] = {
    "1s": 1, "5s": 5, "10s": 10, "15s": 15, "30s": 30, "1min": 60, "2min": 120, "3min": 180, "5min": 300,
    "10min": 600, "15min": 900, "20min": 1200, "30min": 1800, "1h": 3600, "2h": 7200, "3h": 10800,
    "4h": 14400, "8h": 28800, "1d": 86400, "1w": 604800, "1M": 2678400,
}  # fmt: skip

_KEY = re.compile(r"[A-Z0-9]{1,12}(?: [A-Z]{1,3})?(?:\.\d{8}\.[CP]\.\d+(?:\.\d+)?)?\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}\Z")

_PLACES = {
    "<symbol>": _KEY.pattern.removesuffix(r"\Z"),
    "<size>": "(?:" + "|".join(BAR_SIZES) + ")",
    "<engine>": _NAME.pattern.removesuffix(r"\Z"),
    "<name>": _NAME.pattern.removesuffix(r"\Z"),
}
_TOPIC = re.compile("|".join(re.sub(r"<\w+>", lambda place: _PLACES[place[0]], p) + r"\Z" for p in PATTERNS))


def bars(key: str, size: str) -> str:
    return f"bars/{key}/{size}/"


def quote(key: str) -> str:
    return f"quote/{key}/"


def chain(symbol: str) -> str:
    return f"chain/{symbol}/"


def orders(engine: str) -> str:
    return f"orders/{engine}/"


def health_engine(name: str) -> str:
    return f"health/engine/{name}/"


def health_process(name: str) -> str:
    return f"health/process/{name}/"


def is_contract_key(text: str) -> bool:
    """True for what may stand for a contract in a topic."""
    return _KEY.match(text) is not None


def is_name(text: str) -> bool:
    """True for an engine or process name: 1 to 48 letters, digits, "-" or "_"."""
    return _NAME.match(text) is not None


def is_topic(text: str) -> bool:
    """True for one whole topic, such as "bars/SPY/1min/"; False for a mere prefix of topics, such as "bars/"."""
    return _TOPIC.match(text) is not None


def stream_of(topic: str) -> tuple[str, str, str] | None:
    """What a subscription asks for: (kind, contract key, bar size or ""), or None if it asks for nothing upstream.

    Prefixes such as "bars/" listen to whatever others asked for and open nothing themselves.
    Raises BadMessage for a bars, quote or chain topic whose key or size cannot exist.
    """
    parts = topic.split("/")
    if len(parts) < 3 or parts[-1] != "" or parts[0] not in ("bars", "quote", "chain"):
        return None
    kind, key = parts[0], parts[1]
    size = parts[2] if kind == "bars" else ""
    if kind == "bars" and len(parts) == 3:
        return None
    if len(parts) != (4 if kind == "bars" else 3):
        raise BadMessage(f"topic {topic!r}: want bars/<symbol>/<size>/, quote/<symbol>/ or chain/<symbol>/")
    if not is_contract_key(key):
        raise BadMessage(f"topic {topic!r}: {key!r} is no symbol")
    if kind == "bars" and size not in BAR_SIZES:
        raise BadMessage(f"topic {topic!r}: no bar size {size!r}; choose one of {' '.join(BAR_SIZES)}")
    return kind, key, size
