"""The words of pacing: lanes, request classes, and a job with the keys that the rules look at.

Knows what a request is to IB's limits, and neither the limits nor the time. Sections are those of the rule book.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from gateway_proxy.bus.messages import Contract


class Lane(IntEnum):
    """Urgency; a lower number always goes first.

    PROTECTIVE: cancels of orders, and exits. PROBE: health questions, and cancels of data: these give back what other
    data wait for, so they must reach the Gateway first.
    """

    PROTECTIVE = 0
    ORDER = 1
    PROBE = 2
    INTERACTIVE = 3
    STREAM = 4
    BACKFILL = 5

    # An enum hashes its name, in Python; these are dictionary keys of the hottest path.
    __hash__ = int.__hash__


class RequestClass(StrEnum):
    """What a message is to IB's limits. SESSION: every other request that is only a message."""

    HISTORY_SMALL = "history_small"  # bars of 30 s or less
    HISTORY_LARGE = "history_large"  # bars of 1 min and more
    HISTORY_TICKS = "history_ticks"
    HEAD_STAMP = "head_stamp"
    REALTIME_BARS = "realtime_bars"
    QUOTE = "quote"
    SNAPSHOT = "snapshot"
    TICK_BY_TICK = "tick_by_tick"
    DEPTH = "depth"
    CONTRACT = "contract"
    SECDEF = "secdef"
    SYMBOLS = "symbols"
    ACCOUNT_SUMMARY = "account_summary"
    SCANNER = "scanner"
    ORDER = "order"
    MODIFY = "modify"
    CANCEL = "cancel"  # of an order
    WHAT_IF = "what_if"
    UNSUBSCRIBE = "unsubscribe"  # cancel of a stream or of a data request
    PROBE = "probe"
    SESSION = "session"

    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True)
class Keys:
    """What the keyed rules look at. An empty key means that the rule does not concern this job.

    identical: the same request again (see `history_keys`).      series: contract + exchange + tick type.
    instrument: for tick-by-tick.                                flight: name of a request without an id of its own.
    sides: ("contract|side|account", orders working there), one pair per side.
    weight: units of the historical budget (BID_ASK 2).          lines: market data lines, None = what the class takes.
    """

    identical: str = ""
    series: str = ""
    instrument: str = ""
    flight: str = ""
    sides: tuple[tuple[str, int], ...] = ()
    weight: int = 1
    lines: int | None = None


NO_KEYS = Keys()


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that wants to go to the Gateway.

    messages: lines it writes (a bracket is 3).   deadline: when it is no longer wanted; it is then never sent.
    stream: a historical request with keepUpToDate: it keeps its slot and line until `Scheduler.release`.
    """

    job_id: int
    lane: Lane
    owner: str
    request_class: RequestClass
    messages: int = 1
    keys: Keys = NO_KEYS
    deadline: float | None = None
    stream: bool = False


SMALL_BARS = frozenset({"1s", "5s", "10s", "15s", "30s"})


def history_class(size: str) -> RequestClass:
    """The class of a historical bar request; `size` in the bus's words ("5s", "1min")."""
    return RequestClass.HISTORY_SMALL if size in SMALL_BARS else RequestClass.HISTORY_LARGE


def contract_key(contract: Contract) -> str:
    """One text per contract and exchange, whether its con_id is known yet or not."""
    return f"{contract.key}@{contract.exchange}/{contract.sec_type}/{contract.currency}/{contract.trading_class}"


def history_keys(contract: Contract, size: str, what: str, rth: bool, duration: str = "", end: str = "") -> Keys:
    """The keys of a historical request.

    For small bars two requests already collide when contract, size, what and rth agree; for larger bars
    duration and end tell them apart (rule book 1.1, "identical").
    """
    name = contract_key(contract)
    identical = f"{name} {size} {what} {rth}"
    if size not in SMALL_BARS:
        identical = f"{identical} {duration} {end}"
    return Keys(identical=identical, series=f"{name} {what}", weight=2 if what == "BID_ASK" else 1)


def side_key(contract: Contract, action: str, account: str) -> str:
    """The key under which working orders are counted."""
    return f"{contract_key(contract)}|{action}|{account}"
