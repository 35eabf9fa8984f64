"""The floor: what all desks share, and the base of a desk. Pure.

A desk answers the requests of one subject. It finds the market, the clock, the agenda and the judge here, and hands
bytes to `tell`; the gateway decides what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway_sim import messages
from gateway_sim.accounts import Account
from gateway_sim.agenda import Action, Agenda, Appointment
from gateway_sim.blotter import Blotter
from gateway_sim.calendar import Calendar
from gateway_sim.clock import MarketClock, parse_start
from gateway_sim.contracts import Contract, ContractBook, ContractQuery
from gateway_sim.fault_state import FaultState
from gateway_sim.history import History
from gateway_sim.ledger import Ledger
from gateway_sim.limits import Breach, Judge
from gateway_sim.market import Market
from gateway_sim.prices import PriceSource
from gateway_sim.quotes import mixed
from gateway_sim.session import Session
from gateway_sim.settings import GatewaySettings

Handler = Callable[[Session, Any], None]
"""Answers one decoded request. The dispatch table guarantees the request's type."""

BATCHES_PER_REAL_SECOND_MAX = 20.0
"""However fast simulated time runs, a stream sends no more batches than this per real second."""

NO_DEFINITION = "No security definition has been found for the request"


@dataclass
class Floor:
    """The parts every desk works with. speed: simulated seconds per real second."""

    agenda: Agenda
    clock: MarketClock
    calendar: Calendar
    market: Market
    history: History
    book: ContractBook
    blotter: Blotter
    judge: Judge
    ledger: Ledger
    faults: FaultState
    speed: float
    seed: int
    tell: Callable[[Session, bytes], None]
    sessions: Callable[[], list[Session]]
    _dice: int = 0

    @property
    def now(self) -> float:
        """Elapsed simulated seconds."""
        return self.agenda.now

    @property
    def market_s(self) -> float:
        """Market epoch seconds."""
        return self.clock.market_time(self.agenda.now)

    def dice(self, low: float, high: float) -> float:
        """A reproducible number between `low` and `high`; each call gives another one."""
        self._dice += 1
        return low + (high - low) * mixed(self.seed & 0x7FFFFFFF, self._dice) / 0xFFFFFFFF

    def cadence(self, period_s: float) -> float:
        """`period_s`, longer if the clock runs so fast that a stream would flood its client."""
        return max(period_s, self.speed / BATCHES_PER_REAL_SECOND_MAX)

    def every(self, period_s: float, action: Action) -> Repeater:
        """Run `action` on each multiple of the period from now on, until stopped."""
        return Repeater(self.agenda, self.cadence(period_s), action)

    def error(self, session: Session, req_id: int, code: int, text: str, kind: str | None = None) -> None:
        """Send an error and note it as the answer."""
        self.ledger.record(self.now, session.client_id, "answer", kind=kind, req_id=req_id, code=code, text=text)
        self.tell(session, messages.error(session.version, req_id, code, text))

    def answered(self, session: Session, kind: str, req_id: int | None = None, rows: int | None = None) -> None:
        """Note a request as answered in full."""
        self.ledger.record(self.now, session.client_id, "answer", kind=kind, req_id=req_id, rows=rows)

    def violation(self, session: Session, breach: Breach, **facts: object) -> None:
        """Note a broken rule with the content of its window."""
        self.ledger.record(
            self.now, session.client_id, "violation", rule=breach.rule, limit=breach.limit, seen=breach.seen,
            window=list(breach.window), **facts,
        )  # fmt: skip

    def find_contract(self, session: Session, req_id: int, query: ContractQuery, kind: str) -> Contract | None:
        """The contract meant; tells the client 200 and returns None if there is none."""
        contract = None if self.faults.false_unknown(self.now) else self.book.find_one(query, self.market_s)
        if contract is None:
            self.error(session, req_id, 200, NO_DEFINITION, kind)
        return contract


def open_floor(
    settings: GatewaySettings,
    tell: Callable[[Session, bytes], None],
    sessions: Callable[[], list[Session]],
    write_line: Callable[[str], None],
) -> Floor:
    """A floor for these settings: market, clock, account and judge at their beginning."""
    calendar = Calendar(settings.extra_holidays, settings.extra_half_days)
    prices = PriceSource(settings.seed, calendar)
    market = Market(prices, calendar)
    first_perm_id = 1_700_000_000 + settings.seed % 1000 * 100_000
    return Floor(
        agenda=Agenda(),
        clock=MarketClock(calendar, parse_start(settings.start), settings.skip_closed),
        calendar=calendar,
        market=market,
        history=History(market, calendar),
        book=ContractBook(prices, calendar, settings.extra_listings),
        blotter=Blotter(Account(settings.account, settings.cash), market, first_perm_id),
        judge=Judge(settings.limits),
        ledger=Ledger(write_line),
        faults=FaultState(),
        speed=settings.speed,
        seed=settings.seed,
        tell=tell,
        sessions=sessions,
    )


class Repeater:
    """A repeating entry of the agenda, aligned to multiples of its period so that streams fire together."""

    def __init__(self, agenda: Agenda, period_s: float, action: Action) -> None:
        self._agenda = agenda
        self._period_s = period_s
        self._action = action
        self._stopped = False
        self._next: Appointment = self._book()

    def stop(self) -> None:
        self._stopped = True
        self._next.cancel()

    def _book(self) -> Appointment:
        number = int(self._agenda.now / self._period_s + 1e-9) + 1
        return self._agenda.at(number * self._period_s, self._run)

    def _run(self, now: float) -> None:
        if self._stopped:
            return
        self._next = self._book()
        self._action(now)
