"""Trading hours: may a position be opened on this instrument at this moment? Pure.

Half days, holidays and unscheduled closes are in the contract's own liquid hours, never in a table of ours (A22).
"""

from __future__ import annotations

from datetime import UTC, datetime

from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.sessions import intervals, is_open

_SECOND = 1_000_000_000


def hours_bar(details: ContractDetails, wall_ns: int, *, close_cutoff_s: float, expiry_cutoff_s: float) -> str:
    """Why not, or "". Hours that IB did not give, or that say nothing about today, forbid nothing.

    `wall_ns`: Gateway time. The cut-offs are seconds before the close; an option's last day has its own.
    """
    key = details.contract.key
    expiry = details.contract.last_trade_date
    if len(expiry) == 8 and expiry < _date(wall_ns):
        return f"{key} has expired"
    if is_open(details.liquid_hours, details.time_zone, wall_ns) is False:
        return f"{key} is closed: outside its liquid hours"
    closes = [end for start, end in intervals(details.liquid_hours, details.time_zone) if start <= wall_ns < end]
    if not closes:
        return ""
    left_s = (closes[0] - wall_ns) / _SECOND
    is_last_day = bool(expiry) and expiry == _date(closes[0])
    cutoff_s = max(close_cutoff_s, expiry_cutoff_s if is_last_day else 0.0)
    if left_s < cutoff_s:
        kind = "expires" if is_last_day else "closes"
        return f"{key} {kind} in {left_s:.0f} s; nothing is opened in the last {cutoff_s:.0f} s"
    return ""


def _date(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns // _SECOND, UTC).strftime("%Y%m%d")
