"""Historical ticks: one print per second out of the same seconds as the bars. Pure."""

from __future__ import annotations

from datetime import timedelta

from gateway_sim.calendar import Calendar, local
from gateway_sim.contracts import Contract
from gateway_sim.history import History
from gateway_sim.requests import HistoricalTicksRequest
from gateway_sim.timestamps import parse_when
from gateway_sim.wire import Field

TICKS_MAX = 1000
MESSAGE_IDS = {"MIDPOINT": 96, "BID_ASK": 97, "TRADES": 98}
REFUSED = "Failed to request historical ticks:"

Rows = list[tuple[Field, ...]]


def historical_tick_rows(
    history: History, calendar: Calendar, contract: Contract, request: HistoricalTicksRequest, now_s: float
) -> tuple[int, Rows] | str:
    """(message id, rows) of the answer, or the text of error 10187. One session per answer (rule book 1.1)."""
    message_id = MESSAGE_IDS.get(request.what)
    if message_id is None:
        return f"{REFUSED}What to show value of {request.what} rejected."
    if bool(request.start) == bool(request.end):
        return f"{REFUSED}Exactly one of start time and end time must be specified."
    if not 1 <= request.count <= TICKS_MAX:
        return f"{REFUSED}Number of ticks {request.count} is not in 1..{TICKS_MAX}."
    today = local(now_s).date()
    anchor = parse_when(request.start or request.end, today)
    if anchor is None:
        return f"{REFUSED}The date, time, or time-zone entered is invalid."
    if local(anchor).date() < today - timedelta(days=3 * 365):
        return f"{REFUSED}No data older than three years."
    day = calendar.current(min(anchor, now_s))
    series = history.series(contract, day, request.regular_only, min(now_s + 1.0, day.post_close))
    if series is None:
        return message_id, []
    first = max(0, int(anchor) - series.start) if request.start else 0
    last = len(series.last) if request.start else max(0, min(len(series.last), int(anchor) - series.start))
    seconds = [second for second in range(first, last) if request.what != "TRADES" or series.volume[second] > 0]
    seconds = seconds[: request.count] if request.start else seconds[-request.count :]
    rows: Rows = []
    for second in seconds:
        at = series.start + second
        bid, ask = float(series.bid[second]), float(series.ask[second])
        if message_id == 96:
            rows.append((at, 0, round((bid + ask) / 2.0, 4), 0))
        elif message_id == 97:
            rows.append((at, 0, bid, ask, 100 + at % 9 * 100, 100 + at % 7 * 100))
        else:
            rows.append((at, 0, float(series.last[second]), int(series.volume[second]), "ARCA", ""))
    return message_id, rows
