"""The history desk: bars on request, bars kept up to date, head time stamps, histograms, historical ticks. Pure.

Timing as seen on real servers: a warm answer takes 0.07-0.15 s, the first after idling wakes the farm (2106, +0.3 s),
which goes dormant (2107) 360 s after the last request (rule book 8, 12).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from gateway_sim import messages
from gateway_sim.agenda import Appointment
from gateway_sim.bars import SMALL_BAR_MAX_S, Bars
from gateway_sim.calendar import local
from gateway_sim.contracts import Contract
from gateway_sim.floor import Floor, Handler, Repeater
from gateway_sim.history_rules import Plan, Rejection, plan, step_rejection
from gateway_sim.limits import SLOW_PER_REQUEST_S, Breach, HistoryCharge
from gateway_sim.requests import (
    ById,
    HeadTimeStampRequest,
    HistogramRequest,
    HistoricalDataRequest,
    HistoricalTicksRequest,
)
from gateway_sim.session import Session
from gateway_sim.tick_history import historical_tick_rows

SERVICE_ERROR = "Historical Market Data Service error message:"
PACING_TEXT = SERVICE_ERROR + "Historical data request pacing violation"
TOO_MANY_TEXT = (
    "Error processing request.-'bS' : cause - Only {limit} simultaneous API historical data requests allowed."
)
DUPLICATE_TEXT = "Error processing request.-'bS' : cause - Duplicate ticker ID for API historical data query"
DELAYED_S = 900.0
WARM_DELAY_S = (0.07, 0.15)
WAKE_DELAY_S = 0.3
DORMANT_AFTER_S = 360.0
UPDATE_PERIOD_S = 5.0
DAYS_PER_TURN = 4
"""Days of bars made in one go: 20 ms when they are new."""
Key = tuple[int, int]
"""Connection and request id."""
HEAD_YEARS = {"STK": 20, "IND": 20, "OPT": 0}


@dataclass
class Query:
    """A historical request the Gateway holds: one of the 50 slots, until answered or cancelled."""

    session: Session
    request: HistoricalDataRequest
    contract: Contract
    plan: Plan
    answer: Appointment | None = None
    updates: Repeater | None = None
    told_until: int = 0
    """Start of the last bar sent."""


class HistoryDesk:
    """Answers everything that is historical-like."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._queries: dict[Key, Query] = {}
        self._last_request_s = float("-inf")
        self._dormancy: Appointment | None = None
        self._late = 0
        self.handlers: dict[str, Handler] = {
            "reqHistoricalData": self._historical_data,
            "cancelHistoricalData": self._cancel,
            "reqHeadTimeStamp": self._head_time_stamp,
            "cancelHeadTimeStamp": self._ignore_cancel,
            "reqHistogramData": self._histogram,
            "cancelHistogramData": self._ignore_cancel,
            "reqHistoricalTicks": self._historical_ticks,
        }

    def drop(self, session: Session) -> None:
        """The client is gone: its queries with it."""
        for key in [key for key in self._queries if key[0] == session.connection]:
            self._release(key)

    def live_queries(self) -> list[Query]:
        """Queries being kept up to date."""
        return [query for query in self._queries.values() if query.updates is not None]

    def kill_live(self, code: int, text: str) -> None:
        """End every live bar subscription with an error (10182 after a farm break; 10225 on a bust)."""
        for key, query in list(self._queries.items()):
            if query.updates is not None:
                self._release(key)
                self._floor.error(query.session, query.request.req_id, code, text, "reqHistoricalData")

    def freeze_live(self) -> None:
        """Stop every live bar subscription without a word."""
        for query in self._queries.values():
            if query.updates is not None:
                query.updates.stop()

    # --- bars ---

    def _historical_data(self, session: Session, request: HistoricalDataRequest) -> None:
        floor = self._floor
        key = (session.connection, request.req_id)
        if key in self._queries:
            floor.error(session, request.req_id, 322, DUPLICATE_TEXT, "reqHistoricalData")
            return
        planned = plan(request, local(floor.market_s).date())
        if isinstance(planned, Rejection):
            floor.error(session, request.req_id, planned.code, planned.text, "reqHistoricalData")
            return
        limit = floor.judge.settings.open_history
        if len(self._queries) >= limit:
            floor.violation(session, Breach("historical_open_50", limit, len(self._queries) + 1), req_id=request.req_id)
            floor.error(session, request.req_id, 322, TOO_MANY_TEXT.format(limit=limit), "reqHistoricalData")
            return
        contract = floor.find_contract(session, request.req_id, request.contract, "reqHistoricalData")
        if contract is None:
            return
        delay = self._admission_delay(session, request, contract, planned)
        if delay is None:
            return
        query = Query(session, request, contract, planned)
        self._queries[key] = query
        if self._silenced(counted=True):
            return
        query.answer = floor.agenda.after(delay, lambda now: self._answer(key, query))

    def _admission_delay(
        self, session: Session, request: HistoricalDataRequest, contract: Contract, planned: Plan
    ) -> float | None:
        """Seconds until the answer, None if the request was refused for pacing."""
        floor = self._floor
        small = planned.size_s <= SMALL_BAR_MAX_S
        charge = HistoryCharge(
            identity=(
                contract.con_id,
                request.end,
                request.duration,
                planned.size_s,
                request.what,
                request.regular_only,
            ),
            instrument=(contract.con_id, request.contract.exchange, request.what),
            weight=2 if request.what == "BID_ASK" else 1,
            small=small,
        )
        refused, extra = self.judge_history(session, charge, request.req_id, "reqHistoricalData")
        if refused:
            return None
        if not small:
            extra += floor.judge.soft_delay(floor.now)
        return floor.dice(*WARM_DELAY_S) + self._wake() + extra

    def judge_history(self, session: Session, charge: HistoryCharge, req_id: int, kind: str) -> tuple[bool, float]:
        """Count a historical-like request. Returns whether it is refused or ignored, and how much later it is
        answered."""
        floor = self._floor
        if floor.faults.is_on("pacing_explicit", floor.now):
            floor.error(session, req_id, 162, PACING_TEXT, kind)
            return True, 0.0
        breach = floor.judge.history(charge, floor.now)
        if breach is None:
            self._late = 0
            return False, 0.0
        floor.violation(session, breach, kind=kind, req_id=req_id)
        mode = floor.judge.settings.history
        if mode == "explicit":
            floor.error(session, req_id, 162, PACING_TEXT, kind)
        if mode in ("explicit", "silent"):
            return True, 0.0
        if mode == "record":
            return False, 0.0
        self._late += 1
        return False, min(120.0, SLOW_PER_REQUEST_S * self._late)

    def _silenced(self, counted: bool = False) -> bool:
        """Whether a fault keeps historical requests unanswered; a counted one brings the lock-out nearer."""
        faults, now = self._floor.faults, self._floor.now
        if faults.is_on("hmds_lockout", now):
            left = int(faults.number("hmds_lockout", "after", 0))
            if left <= 0:
                return True
            if counted:
                faults.set_number("hmds_lockout", "after", left - 1)
        return faults.history_silent(now)

    def _wake(self) -> float:
        """Wake the history farm if it sleeps; returns the seconds that takes. Slowness of a sick farm is added here."""
        floor = self._floor
        slow = floor.faults.number("hmds_slow", "seconds", 20.0) if floor.faults.is_on("hmds_slow", floor.now) else 0.0
        idle = floor.now - self._last_request_s
        self._last_request_s = floor.now
        if self._dormancy is not None:
            self._dormancy.cancel()
        self._dormancy = floor.agenda.after(DORMANT_AFTER_S, self._fall_asleep)
        if idle < DORMANT_AFTER_S:
            return slow
        self._announce(2106, "HMDS data farm connection is OK:ushmds")
        return slow + WAKE_DELAY_S

    def _fall_asleep(self, now: float) -> None:
        self._announce(2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds")

    def _announce(self, code: int, text: str) -> None:
        for session in self._floor.sessions():
            self._floor.tell(session, messages.error(session.version, -1, code, text))

    def _answer(self, key: Key, query: Query) -> None:
        floor, request, planned = self._floor, query.request, query.plan
        if self._floor.faults.history_silent(floor.now):
            return
        query.answer = None
        session, req_id, now_s = query.session, request.req_id, floor.market_s
        if floor.faults.is_on("competing_session", floor.now):
            self._release(key)
            text = SERVICE_ERROR + "Trading TWS session is connected from a different IP address"
            floor.error(session, req_id, 162, text, "reqHistoricalData")
            return
        refusal = step_rejection(planned)
        if refusal is not None:
            self._release(key)
            floor.error(session, req_id, refusal.code, refusal.text, "reqHistoricalData")
            return
        if floor.faults.is_on("delayed_only", floor.now):
            now_s -= DELAYED_S
        end_s = min(now_s, planned.end_s) if planned.end_s is not None else now_s
        start_s = floor.history.start_of(planned.duration, end_s, request.regular_only)
        if request.what == "SCHEDULE":
            self._send_schedule(key, query, start_s, end_s)
            return
        steps = floor.history.bars_by_day(
            query.contract, request.what, planned.size_s, start_s, end_s, now_s, request.regular_only
        )
        self._gather(key, query, steps, lambda bars: self._send_bars(key, query, start_s, end_s, bars))

    def _gather(self, key: Key, query: Query, steps: Generator[None, None, Bars], then: Callable[[Bars], None]) -> None:
        """Make a few days' bars now and the rest in later turns, so that a long request delays nobody else."""
        if self._queries.get(key) is not query:
            return
        for _ in range(DAYS_PER_TURN):
            try:
                next(steps)
            except StopIteration as finished:
                then(finished.value)
                return
        self._floor.agenda.next_turn(lambda now: self._gather(key, query, steps, then))

    def _send_bars(self, key: Key, query: Query, start_s: float, end_s: float, bars: Bars) -> None:
        floor, request, session = self._floor, query.request, query.session
        req_id, size_s = request.req_id, query.plan.size_s
        if len(bars) == 0:
            self._release(key)
            label = request.what.capitalize()
            text = f"{SERVICE_ERROR}HMDS query returned no data: {query.contract.local_symbol}@SMART {label}"
            floor.error(session, req_id, 162, text, "reqHistoricalData")
            return
        traded = request.what in ("TRADES", "ADJUSTED_LAST") and query.contract.sec_type != "IND"
        floor.tell(session, messages.historical_data(
            session.version, req_id, start_s, end_s, bars, size_s, request.date_format, traded
        ))  # fmt: skip
        floor.answered(session, "reqHistoricalData", req_id, len(bars))
        if request.keep_up_to_date:
            query.told_until = int(bars.start[-1])
            query.updates = floor.every(UPDATE_PERIOD_S, lambda now: self._update(query))
        else:
            self._release(key)

    def _update(self, query: Query) -> None:
        """Send the growing bar; when it has ended, its final form first and then the new one."""
        floor, request = self._floor, query.request
        if floor.faults.feed_frozen(floor.now):
            return
        now_s = floor.market_s - (DELAYED_S if floor.faults.is_on("delayed_only", floor.now) else 0.0)
        bars = floor.history.bars(
            query.contract, request.what, query.plan.size_s, float(query.told_until), now_s, now_s, request.regular_only
        )
        traded = request.what == "TRADES" and query.contract.sec_type != "IND"
        for row in range(len(bars)):
            if int(bars.start[row]) < query.told_until:
                continue
            query.told_until = int(bars.start[row])
            floor.tell(query.session, messages.historical_data_update(
                query.session.version, request.req_id, bars, row, query.plan.size_s, request.date_format, traded
            ))  # fmt: skip

    def _send_schedule(self, key: Key, query: Query, start_s: float, end_s: float) -> None:
        floor = self._floor
        self._release(key)
        sessions = []
        day = floor.calendar.current(start_s)
        while day.pre_open < end_s:
            opened, closed = (day.open, day.close) if query.request.regular_only else (day.pre_open, day.post_close)
            sessions.append((float(opened), float(closed), f"{day.day:%Y%m%d}"))
            day = floor.calendar.at_index(day.index + 1)
        req_id = query.request.req_id
        floor.tell(query.session, messages.historical_schedule(query.session.version, req_id, sessions))
        floor.answered(query.session, "reqHistoricalData", req_id, len(sessions))

    def _cancel(self, session: Session, request: ById) -> None:
        """Pending: 162 cancelled. Live updates: quietly ended. Anything else: 366 (rule book 1.3)."""
        key = (session.connection, request.req_id)
        query = self._queries.get(key)
        if query is None:
            text = f"No historical data query found for ticker id:{request.req_id}"
            self._floor.error(session, request.req_id, 366, text, "cancelHistoricalData")
            return
        was_live = query.updates is not None
        self._release(key)
        if not was_live:
            text = f"{SERVICE_ERROR}API historical data query cancelled: {request.req_id}"
            self._floor.error(session, request.req_id, 162, text, "cancelHistoricalData")

    def _release(self, key: tuple[int, int]) -> None:
        query = self._queries.pop(key, None)
        if query is None:
            return
        if query.answer is not None:
            query.answer.cancel()
        if query.updates is not None:
            query.updates.stop()

    # --- relatives ---

    def _ignore_cancel(self, session: Session, request: ById) -> None:
        """Answered long ago; nothing to do."""

    def _head_time_stamp(self, session: Session, request: HeadTimeStampRequest) -> None:
        floor = self._floor
        contract = floor.find_contract(session, request.req_id, request.contract, "reqHeadTimeStamp")
        if contract is None:
            return
        identity = ("head", contract.con_id, request.what, request.regular_only)
        charge = HistoryCharge(identity, (contract.con_id, request.contract.exchange, request.what), 1, True)
        refused, extra = self.judge_history(session, charge, request.req_id, "reqHeadTimeStamp")
        if refused or self._silenced(counted=True):
            return
        day = floor.calendar.current(floor.market_s)
        years = HEAD_YEARS.get(contract.sec_type, 0)
        first = floor.calendar.at_index(max(1, day.index - (252 * years or 20)))

        def send(now: float) -> None:
            floor.tell(session, messages.head_time_stamp(request.req_id, first.open, request.date_format))
            floor.answered(session, "reqHeadTimeStamp", request.req_id)

        floor.agenda.after(floor.dice(*WARM_DELAY_S) + self._wake() + extra, send)

    def _histogram(self, session: Session, request: HistogramRequest) -> None:
        floor = self._floor
        contract = floor.find_contract(session, request.req_id, request.contract, "reqHistogramData")
        if contract is None:
            return

        def send(now: float) -> None:
            day = floor.calendar.current(floor.market_s)
            bars = floor.history.bars(
                contract, "TRADES", 60, day.pre_open, floor.market_s, floor.market_s, request.regular_only
            )
            rows: dict[float, int] = {}
            for price, volume in zip(bars.close.tolist(), bars.volume.tolist(), strict=True):
                rows[price] = rows.get(price, 0) + volume
            floor.tell(session, messages.histogram(request.req_id, sorted(rows.items())))
            floor.answered(session, "reqHistogramData", request.req_id, len(rows))

        floor.agenda.after(floor.dice(*WARM_DELAY_S) + self._wake(), send)

    def _historical_ticks(self, session: Session, request: HistoricalTicksRequest) -> None:
        floor = self._floor
        contract = floor.find_contract(session, request.req_id, request.contract, "reqHistoricalTicks")
        if contract is None:
            return
        charge = HistoryCharge(
            ("ticks", contract.con_id, request.start, request.end, request.what, request.count),
            (contract.con_id, request.contract.exchange, request.what), 2 if request.what == "BID_ASK" else 1, True,
        )  # fmt: skip
        refused, extra = self.judge_history(session, charge, request.req_id, "reqHistoricalTicks")
        if refused or self._silenced(counted=True):
            return

        def send(now: float) -> None:
            answer = historical_tick_rows(floor.history, floor.calendar, contract, request, floor.market_s)
            if isinstance(answer, str):
                floor.error(session, request.req_id, 10187, answer, "reqHistoricalTicks")
                return
            message_id, rows = answer
            floor.tell(session, messages.historical_ticks(message_id, request.req_id, rows))
            floor.answered(session, "reqHistoricalTicks", request.req_id, len(rows))

        floor.agenda.after(floor.dice(*WARM_DELAY_S) + self._wake() + extra, send)
