"""Reading the date-times clients send. Pure.

Accepted (wire reference b1): `YYYYMMDD-HH:MM:SS` (UTC), `YYYYMMDD HH:MM:SS[ zone]`, `HH:MM:SS[ zone]` (today),
`YYYYMMDD` (end of that day). Without a zone New York time is meant.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

from gateway_sim.calendar import NEW_YORK

_FORM = re.compile(r"^(?:(\d{8})(?:(-)|\s+|$))?(?:(\d{1,2}):(\d{2})(?::(\d{2}))?)?(?:\s+([A-Za-z_/+\-0-9]+))?$")
_ALIASES = {"US/EASTERN": "America/New_York", "EST": "America/New_York", "EDT": "America/New_York", "UTC": "UTC",
            "GMT": "UTC", "US/CENTRAL": "America/Chicago", "US/PACIFIC": "America/Los_Angeles"}  # fmt: skip


def parse_when(text: str, today: date) -> float | None:
    """Epoch seconds of an IB date-time, None if it cannot be read. today: the date a bare time refers to."""
    match = _FORM.match(text.strip())
    if match is None or not (match[1] or match[3]):
        return None
    zone = _zone(match[6]) if match[6] else UTC if match[2] else NEW_YORK
    if zone is None:
        return None
    try:
        day = datetime.strptime(match[1], "%Y%m%d").date() if match[1] else today
        if match[3] is None:
            moment = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=zone)
        else:
            moment = datetime(
                day.year, day.month, day.day, int(match[3]), int(match[4]), int(match[5] or 0), tzinfo=zone
            )
    except ValueError:
        return None
    return moment.timestamp()


def _zone(name: str) -> tzinfo | None:
    known = _ALIASES.get(name.upper(), name)
    if known == "UTC":
        return UTC
    try:
        return ZoneInfo(known)
    except (KeyError, ValueError, OSError):
        return None
