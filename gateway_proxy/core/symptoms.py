"""Symptoms: what can be seen of a sick connection, as plain facts for the decision table. Pure data.

None means: not known. `fresh` is what a second client with an id of its own saw; it separates "our client is broken"
from "the Gateway is broken" (rule book 10.4, P7).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """How a probe ended."""

    OK = "ok"
    SLOW = "slow"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Notice:
    """One error message of IB: age in seconds, code, text, and whether it answered a request."""

    age_s: float
    code: int
    text: str
    of_request: bool = False


@dataclass(frozen=True, slots=True)
class Symptoms:
    """Everything the table looks at."""

    socket: bool | None = None  # our session to the Gateway is open
    port_refused: bool | None = None  # nothing listens there
    handshake_rejected: bool | None = None  # closed during the handshake, or error 326
    unread_bytes: int | None = None  # waiting in the kernel for us to read
    unread_grows: bool | None = None  # and never gets less
    unsent_bytes: int | None = None  # the Gateway's side does not take what we write
    loop_lag_s: float | None = None
    owner_reads: bool | None = None  # the loop that runs is the loop that owns the socket
    main: Ending | None = None  # round trip on our session
    fresh_handshake: Ending | None = None
    fresh: Ending | None = None  # round trip of the fresh client
    history: Ending | None = None  # newest historical request on our session
    history_other: Ending | None = None  # newest one for another contract or request
    fresh_history: Ending | None = None
    secdef: Ending | None = None
    ticks_flow: bool | None = None
    weighted_requests: int = 0  # historical units of the last ten minutes
    messages_per_s: float = 0.0
    newest_bar_age_s: float | None = None  # in an open session
    delayed: bool = False
    market_open: bool | None = None
    notices: tuple[Notice, ...] = ()

    def code(self, *codes: int, words: str = "", within_s: float = 120.0) -> bool:
        """Whether one of these codes came lately, with these words in its text if any are given."""
        return any(
            notice.code in codes and notice.age_s <= within_s and words in notice.text.lower()
            for notice in self.notices
        )

    def standing(self, broken: tuple[int, ...], healed: tuple[int, ...]) -> bool:
        """Whether the newest of these codes is a broken one."""
        relevant = [notice for notice in self.notices if notice.code in broken + healed]
        return bool(relevant) and min(relevant, key=lambda notice: notice.age_s).code in broken

    def body(self) -> dict[str, Any]:
        """The known facts, for people: what is None is left out."""
        facts = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in facts.items() if value not in (None, ())}
