"""Market time: what the Gateway's clock says, carried forward between its answers. Pure.

Dates and sessions must follow the Gateway (its clock may be simulated, and ours may be wrong), never our wall clock.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
_SECOND = 1_000_000_000
#: How far ahead our guess of the Gateway's clock may be: its answers have whole seconds.
CLOCK_ERROR_NS = _SECOND


class MarketTime:
    """Unknown until the first answer to reqCurrentTime; steps, forwards or back, only when an answer proves it wrong.

    A `simulated` market has a time of its own: then there is no skew to speak of.
    """

    def __init__(self, *, simulated: bool = False) -> None:
        self._simulated = simulated
        self._offset_ns: int | None = None
        self.skew_s: float | None = None

    def sync(self, epoch_s: int, round_trip_s: float, now: float, our_wall_ns: int) -> None:
        """`epoch_s` has whole seconds, so half a second and half the round trip are added as the best guess.

        A guess that agrees with what we carried forward within both their errors (1 s, and half the round trip)
        changes nothing: a slow answer proves little.
        """
        guess_ns = epoch_s * _SECOND + int((0.5 + round_trip_s / 2) * _SECOND)
        offset_ns = guess_ns - int(now * _SECOND)
        error_ns = _SECOND + int(round_trip_s / 2 * _SECOND)
        if self._offset_ns is None or abs(offset_ns - self._offset_ns) > error_ns:
            self._offset_ns = offset_ns
        if not self._simulated:
            self.skew_s = round((guess_ns - our_wall_ns) / _SECOND, 1)

    @property
    def is_known(self) -> bool:
        return self._offset_ns is not None

    def wall_ns(self, now: float) -> int:
        """Nanoseconds since 1970 UTC by the Gateway's clock; 0 while unknown."""
        return 0 if self._offset_ns is None else int(now * _SECOND) + self._offset_ns

    def surely_ns(self, now: float) -> int:
        """A time that the Gateway's clock had certainly reached; what had ended by then had ended for it, too."""
        return max(0, self.wall_ns(now) - CLOCK_ERROR_NS)

    def date(self, now: float) -> str:
        """The exchange's date, YYYYMMDD in New York; "" while unknown."""
        if self._offset_ns is None:
            return ""
        return datetime.fromtimestamp(self.wall_ns(now) / _SECOND, NEW_YORK).strftime("%Y%m%d")
