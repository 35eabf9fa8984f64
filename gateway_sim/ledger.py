"""The ledger: the simulator's judgement of its clients, one JSON object per line. Pure; the shell writes the lines.

Every line has `t` (elapsed simulated seconds), `client_id` (-1 before a client named itself) and `event`, one of
connect request answer violation order fill cancel fault disconnect.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from gateway_sim.requests import HistoricalDataRequest, Request

EVENTS = frozenset({"connect", "request", "answer", "violation", "order", "fill", "cancel", "fault", "disconnect"})
CONTRACT_FACTS = ("symbol", "sec_type", "expiry", "strike", "right", "con_id")
HISTORY_FACTS = ("bar_size", "duration", "keep_up_to_date")


class Ledger:
    """Makes the lines and hands them to `write`; counts them by event."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.counts: dict[str, int] = dict.fromkeys(sorted(EVENTS), 0)

    def record(self, now: float, client_id: int, event: str, **facts: object) -> None:
        """One line; facts whose value is None are left out."""
        if event not in EVENTS:
            raise AssertionError(f"no ledger event {event!r}")
        self.counts[event] += 1
        line = {"t": round(now, 6), "client_id": client_id, "event": event}
        line.update({name: value for name, value in facts.items() if value is not None})
        self._write(json.dumps(line, separators=(",", ":"), ensure_ascii=True))


def asked_for(request: Request) -> dict[str, object]:
    """What a request line says besides its kind and id: enough to tell which of two requests is one too many.

    The contract as the client wrote it, each part only if it was given: `symbol sec_type expiry strike right con_id`;
    of historical data also `bar_size`, `duration` and `keep_up_to_date`.
    """
    named = getattr(request, "contract", request)
    facts = {name: getattr(named, name, None) or None for name in CONTRACT_FACTS}
    if facts["strike"] == math.inf:  # readable on the wire, and nothing JSON has a word for
        facts["strike"] = None
    if isinstance(request, HistoricalDataRequest):
        facts |= {name: getattr(request, name) for name in HISTORY_FACTS}
    return facts
