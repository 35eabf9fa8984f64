"""Local validation of historical requests, in the Gateway's order; the first failure is the only one told. Pure.

Order and texts: rule book 1.4 (captured from a real Gateway).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from gateway_sim.bars import BAR_SIZES, DAY
from gateway_sim.history import Duration
from gateway_sim.requests import HistoricalDataRequest
from gateway_sim.timestamps import parse_when

VALIDATING = "Error validating request.-'bM' : cause - "
DATE_TEXT = (
    "End Date/Time: The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss "
    "xx/xxxx where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a "
    "space between the date and time, and between the time and time-zone.  If no date is specified, current date "
    "is assumed. If no time-zone is specified, local time-zone is assumed(deprecated).  You can also provide "
    "yyyymmddd-hh:mm:ss time is in UTC. Note that there is a dash between the date and time in UTC notation."
)
LEGAL_SIZES = (
    "1 secs, 5 secs, 10 secs, 15 secs, 30 secs, 1 min, 2 mins, 3 mins, 5 mins, 10 mins, 15 mins, 20 mins, 30 mins, "
    "1 hour, 2 hours, 3 hours, 4 hours, 8 hours, 1 day, 1W, 1M"
)
SOURCES = frozenset({
    "TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "HISTORICAL_VOLATILITY",
    "OPTION_IMPLIED_VOLATILITY", "FEE_RATE", "YIELD_ASK", "YIELD_BID", "YIELD_BID_ASK", "YIELD_LAST", "SCHEDULE",
    "AGGTRADES",
})  # fmt: skip
LIVE_SOURCES = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})
SECONDS_MAX = 86_400
ONE_SECOND_BARS_MAX_S = 2000
_DURATION = re.compile(r"^(-?\d+) ([SDWMY])$")


@dataclass(frozen=True, slots=True)
class Plan:
    """A valid request. end_s None: now."""

    end_s: float | None
    duration: Duration
    size_s: int


@dataclass(frozen=True, slots=True)
class Rejection:
    code: int
    text: str


def plan(request: HistoricalDataRequest, today: date) -> Plan | Rejection:
    """What the request means, or why it is refused."""
    end_s = parse_when(request.end, today) if request.end.strip() else None
    if request.end.strip() and end_s is None:
        return Rejection(10314, DATE_TEXT)
    duration = _duration(request.duration)
    if isinstance(duration, str):
        return _refused(duration)
    if request.what == "ADJUSTED_LAST" and end_s is not None:
        return _refused("End date not supported with adjusted last")
    size_s = BAR_SIZES.get(request.bar_size.strip().lower())
    if size_s is None:
        return _refused(f"Historical data bar size setting is invalid. Legal ones are: {LEGAL_SIZES}")
    if request.what not in SOURCES:
        return _refused(f"What to show value of {request.what} rejected.")
    if request.date_format not in (1, 2, 3):
        return _refused(f"Date formatting selection of {request.date_format} rejected.")
    if request.keep_up_to_date:
        if end_s is not None:
            return _refused("End date not supported with live updates")
        if request.contract.sec_type == "BAG":
            return _refused("Combos not supported with live updates")
        if request.what not in LIVE_SOURCES:
            return _refused("Source price not supported with live updates")
    if request.what == "SCHEDULE" and size_s != DAY:
        return _refused("SCHEDULE is only supported with 1 day bars")
    return Plan(end_s, duration, size_s)


def step_rejection(plan_: Plan) -> Rejection | None:
    """Bar sizes the history servers refuse for a duration (rule book 1.5): seconds bars only over short spans."""
    if plan_.size_s == 1 and (plan_.duration.unit != "S" or plan_.duration.amount > ONE_SECOND_BARS_MAX_S):
        return Rejection(162, "Historical Market Data Service error message:invalid step: 1")
    return None


def _refused(cause: str) -> Rejection:
    return Rejection(321, VALIDATING + cause)


def _duration(text: str) -> Duration | str:
    """The duration, or the cause of its refusal."""
    match = _DURATION.match(text.strip().upper())
    if match is None:
        return "When specifying a unit, historical data request duration format is integer{SPACE}unit (S|D|W|M|Y)."
    amount, unit = int(match[1]), match[2]
    if amount < 1 or (unit == "S" and amount < 30):
        return "Historical data requested duration is invalid."
    if unit == "S" and amount > SECONDS_MAX:
        return f"Historical data requests for durations greater than {SECONDS_MAX} seconds rejected."
    limits = {"D": (365, "365 days"), "W": (52, "52 weeks"), "M": (12, "12 months")}
    if unit in limits and amount > limits[unit][0]:
        return f"Historical data requests for durations longer than {limits[unit][1]} must be made in years."
    if unit == "Y" and amount > 68:
        return "Historical data requested duration is invalid."
    return Duration(amount, unit)
