"""The scanner desk: rankings of the listed stocks. Pure.

A scan ranks by the day's opening gap, price or usual volume, which are known without making every stock's seconds. Ten
scans may run at a time (rule book 3.4); each is repeated every 30 s until cancelled.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway_sim import messages
from gateway_sim.contracts import Contract
from gateway_sim.floor import Floor, Handler, Repeater
from gateway_sim.limits import Breach
from gateway_sim.requests import ById, Plain, ScannerRequest
from gateway_sim.session import Session

SCANS_MAX = 10
ROWS_MAX = 50
PERIOD_S = 30.0
FIRST_AFTER_S = 0.4
INSTRUMENTS = frozenset({"STK", "ETF.EQ.US"})
SERVICE_TEXT = "Historical Market Data Service error message:"
NOTHING_TEXT = "Historical Market Data Service query message:no items retrieved"
TOO_MANY_TEXT = (
    f"Error processing request.-'bS' : cause - Only {SCANS_MAX} simultaneous API scanner subscriptions are allowed."
)
DUPLICATE_TEXT = "Error processing request.-'bS' : cause - Duplicate ticker ID for API scanner subscription"

Order = Callable[[float, float, int], float]
"""(gap in percent, price, daily volume) -> the figure ranked by, largest first."""

SCANS: dict[str, Order] = {
    "TOP_PERC_GAIN": lambda gap, price, volume: gap,
    "HIGH_OPEN_GAP": lambda gap, price, volume: gap,
    "TOP_PERC_LOSE": lambda gap, price, volume: -gap,
    "LOW_OPEN_GAP": lambda gap, price, volume: -gap,
    "MOST_ACTIVE": lambda gap, price, volume: volume,
    "HOT_BY_VOLUME": lambda gap, price, volume: volume,
    "MOST_ACTIVE_USD": lambda gap, price, volume: volume * price,
    "TOP_TRADE_RATE": lambda gap, price, volume: volume,
}


class ScannerDesk:
    """Answers scanner subscriptions."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._scans: dict[tuple[int, int], Repeater] = {}
        self.handlers: dict[str, Handler] = {
            "reqScannerSubscription": self._subscribe,
            "cancelScannerSubscription": self._cancel,
            "reqScannerParameters": self._parameters,
        }

    def drop(self, session: Session) -> None:
        for key in [key for key in self._scans if key[0] == session.connection]:
            self._scans.pop(key).stop()

    def _subscribe(self, session: Session, request: ScannerRequest) -> None:
        floor, req_id, kind = self._floor, request.req_id, "reqScannerSubscription"
        key = (session.connection, req_id)
        if key in self._scans:
            floor.error(session, req_id, 322, DUPLICATE_TEXT, kind)
            return
        if len(self._scans) >= SCANS_MAX:
            floor.violation(session, Breach("scanner_10", SCANS_MAX, len(self._scans) + 1), kind=kind, req_id=req_id)
            floor.error(session, req_id, 322, TOO_MANY_TEXT, kind)
            return
        if request.scan_code not in SCANS:
            floor.error(session, req_id, 162, f"{SERVICE_TEXT}Scan code {request.scan_code} is not available", kind)
            return

        def send(now: float) -> None:
            if key in self._scans and not floor.faults.feed_frozen(now):
                rows = self.ranked(request)
                floor.tell(session, messages.scanner_data(req_id, rows))
                if not rows:
                    floor.error(session, req_id, 165, NOTHING_TEXT, kind)

        self._scans[key] = floor.every(PERIOD_S, send)
        floor.agenda.after(FIRST_AFTER_S, send)
        floor.answered(session, kind, req_id)

    def ranked(self, request: ScannerRequest) -> list[Contract]:
        """The stocks that pass the request's filters, best first, at most 50."""
        if request.instrument not in INSTRUMENTS:
            return []
        day = self._floor.calendar.current(self._floor.market_s)
        figure, rows = SCANS[request.scan_code], []
        for symbol, listing in sorted(self._floor.book.listings.items()):
            before, opened = self._floor.market.prices.listed_open(listing, day.index)
            passes = request.above_price <= opened <= request.below_price
            if listing.sec_type == "STK" and passes and listing.daily_volume >= request.above_volume:
                gap = (opened / before - 1.0) * 100.0
                rows.append((-figure(gap, opened, listing.daily_volume), symbol))
        limit = request.rows if 0 < request.rows < ROWS_MAX else ROWS_MAX
        found = (self._floor.book.underlying(symbol) for _, symbol in sorted(rows)[:limit])
        return [contract for contract in found if contract is not None]

    def _cancel(self, session: Session, request: ById) -> None:
        scan = self._scans.pop((session.connection, request.req_id), None)
        if scan is not None:
            scan.stop()
            text = f"{SERVICE_TEXT}API scanner subscription cancelled: {request.req_id}"
            self._floor.error(session, request.req_id, 162, text, "cancelScannerSubscription")

    def _parameters(self, session: Session, request: Plain) -> None:
        self._floor.tell(session, messages.scanner_parameters(sorted(SCANS)))
