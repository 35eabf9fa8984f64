"""The farm map: which of IB's data farms are up, from the connectivity codes (rule book 6). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from typing import Any, Final

#: code -> (farm type, state). Dormant (idle) farms are healthy: they wake on demand.
_CODES: Final[dict[int, tuple[str, str]]] = {
    2103: ("market", "down"),
    2104: ("market", "up"),
    2105: ("history", "down"),
    2106: ("history", "up"),
    2107: ("history", "idle"),
    2108: ("market", "idle"),
    2119: ("market", "connecting"),
    2157: ("secdef", "down"),
    2158: ("secdef", "up"),
}
#: Every code that is about farms or the link to IB; all other messages without a request id are about something else.
CONNECTIVITY: Final = frozenset({*_CODES, 1100, 1101, 1102, 2110})
#: The farm's name ends the text, after a colon, or after "demand." in the dormant notices. Names may have dots.
_NAME = re.compile(r"(?:demand\.|:)\s*([A-Za-z0-9_.]*[A-Za-z0-9_])\.?\s*$")
#: 1102 lists names between semicolons; a full stop before a blank or the end closes the list.
_LIST = re.compile(r"(not )?connected: (.+?)\.?(?=\.\s|\s*$)")
#: Which farm type a request class lives on.
FARM_OF_CLASS: Final[dict[str, str]] = {
    "history_small": "history",
    "history_large": "history",
    "head_stamp": "history",
    "quote": "market",
    "snapshot": "market",
    "realtime_bars": "market",
    "contract": "secdef",
    "secdef": "secdef",
}


@dataclass(frozen=True, slots=True)
class Farm:
    type: str
    state: str
    since: float


class FarmMap:
    """Farms by name, and the link between the Gateway and IB (1100, 1101, 1102, 2110)."""

    def __init__(self) -> None:
        self._farms: dict[str, Farm] = {}
        self.link_lost_at: float | None = None
        #: When the link, and the farms of each type, were last mended.
        self._link_back_at = -inf
        self._healed_at: dict[str, float] = {}

    def receive(self, code: int, text: str, now: float) -> bool:
        """Take one connectivity code in. True when it was one and changed something."""
        if code in (1100, 2110):
            if self.link_lost_at is not None:
                return False
            self.link_lost_at = now
            return True
        if code in (1101, 1102):
            if self.link_lost_at is not None:
                self._link_back_at = now
            self.link_lost_at = None
            self._read_list(text, now)
            return True
        if code not in _CODES:
            return False
        kind, state = _CODES[code]
        named = _NAME.search(text)
        name = named[1] if named else kind
        known = self._farms.get(name)
        if known is not None and known.state == state:
            return False
        self._set(name, Farm(kind, state, now))
        return True

    def _set(self, name: str, farm: Farm) -> None:
        """A farm's new state; what was broken and no longer is, is remembered as mended now."""
        known = self._farms.get(name)
        if known is not None and known.state == "down" and farm.state != "down":
            self._healed_at[known.type] = farm.since
        self._farms[name] = farm

    def _read_list(self, text: str, now: float) -> None:
        """1102 lists farms: "… are connected: usfarm; ushmds. The following farms are not connected: secdefnj." """
        for negated, names in _LIST.findall(text):
            for name in (part.strip(" .") for part in names.split(";")):
                if name:
                    kind = self._farms[name].type if name in self._farms else _type_of(name)
                    self._set(name, Farm(kind, "down" if negated else "up", now))

    def session_opened(self) -> None:
        self._farms.clear()
        self.link_lost_at = None

    def down(self, kind: str | None = None) -> list[str]:
        """Names of broken farms, of one type or all. Another farm that is up does not heal them."""
        return [name for name, farm in self._farms.items() if farm.state == "down" and kind in (None, farm.type)]

    def was_down(self, kind: str, since: float) -> bool:
        """Whether a farm of this type is, or after `since` was, broken: what it had to say then is lost."""
        return bool(self.down(kind)) or self._healed_at.get(kind, -inf) >= since

    def link_was_lost(self, since: float) -> bool:
        """The same of the Gateway's link to IB."""
        return self.link_lost_at is not None or self._link_back_at >= since

    def rows(self, since_ns: Any) -> dict[str, dict[str, Any]]:
        """For `health/gateway/`; `since_ns` turns our time into the bus's."""
        return {
            name: {"type": farm.type, "state": farm.state, "since_ns": since_ns(farm.since)}
            for name, farm in sorted(self._farms.items())
        }


def _type_of(name: str) -> str:
    if "hmds" in name:
        return "history"
    return "secdef" if name.startswith("secdef") else "market"
