"""The life of one trade, as a table: from a signal to a flat position. Pure.

What is not in the table raises and changes nothing. A late fill after a confirmed cancel is in it, because it happens.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from engine.sessions import market_clock
from engine.strategy import Side
from engine.strikes import Pick
from gateway_proxy import Contract, OrderLeg, OrderUpdate


class Phase(enum.Enum):
    CHECKING = "checking"  # an earlier life of this engine may have sent it: order.status is asked first
    CHOOSING = "choosing"  # the chain was asked
    SENDING = "sending"  # the bracket went out, no answer yet
    UNKNOWN = "unknown"  # it may be live: same id, no other entry on this symbol, ask until told
    WORKING = "working"  # accepted, nothing bought yet
    OPEN = "open"  # contracts are held, exits stand at the broker
    LEAVING = "leaving"  # time is up: its open legs are being cancelled
    CLOSING = "closing"  # contracts without a living exit: a closing order sells them
    ENDED = "ended"


class Event(enum.Enum):
    ABSENT = "the proxy has no such order"
    CHOSEN = "option, price and size are set"
    DROPPED = "nothing was sent and nothing will be"
    LOST = "no answer, or the outcome is unknown"
    ACCEPTED = "alive, nothing bought"
    BOUGHT = "contracts are held and protected"
    DEAD = "over without a fill"
    LEAVE = "time is up"
    EXPOSED = "contracts are held and no exit is alive"
    FLAT = "everything bought was sold"


_P, _E = Phase, Event
_EVIDENCE: Final = {
    _E.ACCEPTED: _P.WORKING,
    _E.BOUGHT: _P.OPEN,
    _E.DEAD: _P.ENDED,
    _E.EXPOSED: _P.CLOSING,
    _E.FLAT: _P.ENDED,
}
_ROWS: Final[dict[Phase, dict[Event, Phase]]] = {
    _P.CHECKING: {_E.ABSENT: _P.CHOOSING, _E.LOST: _P.CHECKING, **_EVIDENCE},
    _P.CHOOSING: {_E.CHOSEN: _P.SENDING, _E.DROPPED: _P.ENDED},
    _P.SENDING: {_E.LOST: _P.UNKNOWN, **_EVIDENCE},
    _P.UNKNOWN: {_E.LOST: _P.UNKNOWN, _E.ABSENT: _P.UNKNOWN, _E.CHOSEN: _P.SENDING, _E.DROPPED: _P.ENDED, **_EVIDENCE},
    _P.WORKING: {_E.LOST: _P.UNKNOWN, _E.LEAVE: _P.LEAVING, **_EVIDENCE},
    _P.OPEN: {_E.LOST: _P.OPEN, _E.LEAVE: _P.LEAVING, **_EVIDENCE, _E.ACCEPTED: _P.OPEN},
    _P.LEAVING: {
        _E.LOST: _P.LEAVING,
        _E.LEAVE: _P.LEAVING,
        **_EVIDENCE,
        _E.ACCEPTED: _P.LEAVING,
        _E.BOUGHT: _P.LEAVING,
    },
    _P.CLOSING: {_E.LOST: _P.CLOSING, **_EVIDENCE, _E.ACCEPTED: _P.CLOSING, _E.BOUGHT: _P.CLOSING, _E.DEAD: _P.CLOSING},
    _P.ENDED: {_E.LOST: _P.ENDED, **_EVIDENCE, _E.ACCEPTED: _P.WORKING},
}
TRANSITIONS: Final[dict[tuple[Phase, Event], Phase]] = {
    (phase, event): target for phase, row in _ROWS.items() for event, target in row.items()
}

#: Leg states of the proxy after which nothing of ours is pending.
TERMINAL: Final = frozenset({"refused", "expired_unsent", "filled", "cancelled", "rejected", "not_placed"})
_DUST: Final = 1e-9


class ImpossibleTransition(AssertionError):
    """The table has no such row: a broken promise inside the engine."""


def client_order_id(
    engine: str, strategy: str, version: int, symbol: str, bar_start_ns: int, side: Side, attempt: int
) -> str:
    """The same decision always gets the same id, in this life of the engine and in the next (reliability 6.3).

    Readable in front, unique behind: "SPY-20260618-1031-B-5b1f0a9c2e".
    """
    identity = "|".join((engine, strategy, str(version), symbol, str(bar_start_ns), side, str(attempt)))
    digest = hashlib.blake2b(identity.encode(), digest_size=5).hexdigest()
    clock = market_clock(bar_start_ns, 0)
    minute = int(clock.minutes_since_open) + 570
    return f"{symbol.replace(' ', '.')}-{clock.date:%Y%m%d}-{minute // 60:02d}{minute % 60:02d}-{side[0]}-{digest}"


@dataclass(slots=True)
class Trade:
    """One entry with its exits. Prices per share; `quantity` contracts; `bought` and `sold` from order updates.

    `cites`: the messages its signal was decided on. `order` is the exact payload that was sent, so that a repeat is
    identical. `adopted` trades come from an earlier
    life of the engine and know only what the proxy told about them.
    """

    trade_id: str
    symbol: str
    side: Side | None
    bar_start_ns: int
    phase: Phase = Phase.CHOOSING
    reason: str = ""
    cites: tuple[dict[str, Any], ...] = ()
    order: dict[str, Any] | None = None
    pick: Pick | None = None
    quantity: int = 0
    bought: float = 0.0
    bought_at: float | None = None
    sold_by_exits: float = 0.0
    opened_bar_ns: int | None = None
    sends: int = 0
    contract: Contract | None = None
    closings: dict[str, float] = field(default_factory=dict)
    closing_alive: str = ""
    adopted: bool = False
    ending: str = ""

    def advance(self, event: Event) -> bool:
        """Follow the table; True when the phase changed. Raises ImpossibleTransition for what it does not know."""
        try:
            after = TRANSITIONS[self.phase, event]
        except KeyError:
            raise ImpossibleTransition(f"{self.trade_id}: {self.phase.value} cannot follow {event.value!r}") from None
        before, self.phase = self.phase, after
        return before is not after

    @property
    def held(self) -> float:
        """Contracts bought and not yet sold."""
        return max(0.0, self.bought - self.sold_by_exits - sum(self.closings.values()))

    @property
    def may_be_live(self) -> bool:
        return self.phase is not Phase.ENDED

    def learn(self, update: OrderUpdate) -> Event:
        """Take over what an update of the bracket says, and name it."""
        entry, exits = legs_of(update)
        self.quantity = update.quantity
        self.contract = update.contract or self.contract
        self.bought = max(self.bought, entry.filled if entry else update.filled)
        if entry is not None and entry.average_price is not None:
            self.bought_at = entry.average_price
        self.sold_by_exits = max(self.sold_by_exits, sum(leg.filled for leg in exits))
        entry_over = (entry.state if entry else update.state) in TERMINAL
        if self.bought <= _DUST:
            if entry_over:
                return Event.DEAD
            return Event.LOST if update.state == "unknown" else Event.ACCEPTED
        if self.held <= _DUST and entry_over:
            return Event.FLAT
        protected = any(leg.state not in TERMINAL for leg in exits)
        return Event.BOUGHT if protected or not entry_over else Event.EXPOSED


def legs_of(update: OrderUpdate) -> tuple[OrderLeg | None, list[OrderLeg]]:
    """(the entry, the exits) of an update."""
    entry = next((leg for leg in update.legs if leg.leg == "entry"), None)
    return entry, [leg for leg in update.legs if leg.leg != "entry"]
