"""The quote desk: streaming quotes and snapshots. Pure.

Stocks are sampled every 250 ms, options every 100 ms (rule book 3.4); only what changed is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway_sim import messages
from gateway_sim.contracts import Contract
from gateway_sim.floor import Floor, Handler, Repeater
from gateway_sim.limits import Breach
from gateway_sim.lines import Lines
from gateway_sim.requests import ById, MarketDataRequest
from gateway_sim.session import Session
from gateway_sim.ticks import DELAYED_TYPES, GENERIC_TICKS, Tick, TickBoard, encode_tick

STOCK_PERIOD_S = 0.25
OPTION_PERIOD_S = 0.1
SNAPSHOT_END_S = 11.0
SNAPSHOT_TICKS_AFTER_S = 0.25
DELAY_S = 900.0
DUPLICATE_TEXT = "Error processing request.-'bS' : cause - Duplicate ticker id"
SNAPSHOT_GENERIC_TEXT = (
    "Error validating request.-'bQ' : cause - Snapshot market data subscription is not applicable to generic ticks"
)
SNAPSHOT_RATE_TEXT = (
    "Error validating request.-'bQ' : cause - Snapshot requests limitation exceeded:100 per 1 second(s)"
)
NO_LINES_TEXT = "Max number of tickers has been reached"
COMPETING_TEXT = "No market data during competing live session"
DELAYED_SHOWN_TEXT = "Requested market data is not subscribed. Displaying delayed market data."
DELAYED_AVAILABLE_TEXT = (
    "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog for "
    "more details.Delayed market data is available.{symbol} {exchange}/TOP/ALL"
)


@dataclass
class Subscription:
    """A quote stream of one client, or a snapshot until its end."""

    session: Session
    req_id: int
    contract: Contract
    generic: frozenset[int]
    snapshot: bool
    delayed: bool
    sent: dict[int, Tick] = field(default_factory=dict)
    stream: Repeater | None = None
    silenced: bool = False
    sampled_quarter: int = -1
    """Quarter of a market second that was looked at last; the market does not move inside one."""
    sampled_second: int = -1


class QuoteDesk:
    """Answers reqMktData and its cancel."""

    def __init__(self, floor: Floor, lines: Lines) -> None:
        self._floor = floor
        self._lines = lines
        self._board = TickBoard(floor.market)
        self._subscriptions: dict[tuple[int, int], Subscription] = {}
        self.handlers: dict[str, Handler] = {
            "reqMktData": self._market_data,
            "cancelMktData": self._cancel,
            "reqMarketDataType": self._market_data_type,
        }

    def drop(self, session: Session) -> None:
        for key in [key for key in self._subscriptions if key[0] == session.connection]:
            self._release(key)

    def end_all(self) -> None:
        """The back end lost all subscriptions (1101): streams stay open towards the client and never tick again."""
        for subscription in self._subscriptions.values():
            subscription.silenced = True

    def announce(self, code: int, text: str) -> None:
        """Send an error to every subscription (competing session)."""
        for subscription in list(self._subscriptions.values()):
            self._floor.error(subscription.session, subscription.req_id, code, text, "reqMktData")

    def _market_data_type(self, session: Session, request: ById) -> None:
        session.market_data_type = request.req_id if request.req_id in (1, 2, 3, 4) else 1

    def _market_data(self, session: Session, request: MarketDataRequest) -> None:
        floor, req_id = self._floor, request.req_id
        key = (session.connection, req_id)
        if key in self._subscriptions:
            floor.error(session, req_id, 322, DUPLICATE_TEXT, "reqMktData")
            return
        generic = _generic_numbers(request.generic_ticks)
        refusal = self._refusal(session, request, generic)
        if refusal is not None:
            floor.error(session, req_id, refusal[0], refusal[1], "reqMktData")
            return
        contract = floor.find_contract(session, req_id, request.contract, "reqMktData")
        if contract is None or not self._entitled(session, req_id, contract):
            return
        if not self._lines.take(key, contract.con_id):
            limit = floor.judge.settings.lines
            floor.violation(session, Breach("market_data_lines", limit, limit + 1), kind="reqMktData", req_id=req_id)
            floor.error(session, req_id, 101, NO_LINES_TEXT, "reqMktData")
            return
        delayed = floor.faults.is_on("delayed_only", floor.now)
        subscription = Subscription(session, req_id, contract, generic or frozenset(), request.snapshot, delayed)
        self._subscriptions[key] = subscription
        floor.tell(session, messages.tick_request_parameters(req_id, 0.01))
        floor.tell(session, messages.market_data_type(req_id, 3 if delayed else 1))
        if request.snapshot:
            self._start_snapshot(key, subscription)
        else:
            period = OPTION_PERIOD_S if contract.is_option else STOCK_PERIOD_S
            subscription.stream = floor.every(period, lambda now: self._send(subscription))
            floor.answered(session, "reqMktData", req_id)

    def _refusal(
        self, session: Session, request: MarketDataRequest, generic: frozenset[int] | None
    ) -> tuple[int, str] | None:
        floor = self._floor
        if generic is None:
            text = f"Error validating request.-'bQ' : cause - Incorrect generic tick list of {request.generic_ticks}."
            return 321, text
        if not request.snapshot:
            return None
        if generic:
            return 321, SNAPSHOT_GENERIC_TEXT
        breach = floor.judge.snapshot(floor.now)
        if breach is not None:
            floor.violation(session, breach, kind="reqMktData", req_id=request.req_id)
            return 321, SNAPSHOT_RATE_TEXT
        return None

    def _entitled(self, session: Session, req_id: int, contract: Contract) -> bool:
        """Entitlement faults: competing session and delayed data only (rule book 3.3)."""
        floor = self._floor
        if floor.faults.is_on("competing_session", floor.now):
            floor.error(session, req_id, 10197, COMPETING_TEXT, "reqMktData")
            return False
        if not floor.faults.is_on("delayed_only", floor.now):
            return True
        if session.market_data_type not in (3, 4):
            text = DELAYED_AVAILABLE_TEXT.format(symbol=contract.symbol, exchange=contract.listing.primary_exchange)
            floor.error(session, req_id, 10089, text, "reqMktData")
            return False
        floor.error(session, req_id, 10167, DELAYED_SHOWN_TEXT, "reqMktData")
        return True

    def _start_snapshot(self, key: tuple[int, int], subscription: Subscription) -> None:
        """Each tick once; the end comes when all awaited ticks were seen, at the latest after 11 s (rule book 3.2)."""
        floor = self._floor

        def finish(now: float) -> None:
            if self._subscriptions.get(key) is subscription:
                self._release(key)
                floor.tell(subscription.session, messages.tick_snapshot_end(subscription.req_id))
                floor.answered(subscription.session, "reqMktData", subscription.req_id, len(subscription.sent))

        def send(now: float) -> None:
            if self._subscriptions.get(key) is not subscription:
                return
            self._send(subscription)
            quote = floor.market.quote(subscription.contract, floor.market_s)
            complete = quote.bid > 0.0 and quote.ask > 0.0 and bool(subscription.sent)
            if complete and not floor.faults.is_on("model_greeks_missing", now):
                floor.agenda.after(0.05, finish)

        floor.agenda.after(SNAPSHOT_TICKS_AFTER_S, send)
        floor.agenda.after(SNAPSHOT_END_S, finish)

    def _send(self, subscription: Subscription) -> None:
        floor = self._floor
        if floor.faults.feed_frozen(floor.now) or subscription.silenced:
            return
        market_s = floor.market_s - (DELAY_S if subscription.delayed else 0.0)
        quarter = int(market_s * 4)
        if quarter == subscription.sampled_quarter:
            return
        subscription.sampled_quarter = quarter
        if subscription.sent and int(market_s) == subscription.sampled_second:
            shown = self._board.moving(subscription.contract, market_s)
        else:
            subscription.sampled_second = int(market_s)
            missing = floor.faults.is_on("model_greeks_missing", floor.now)
            shown = self._board.ticks(subscription.contract, subscription.generic, market_s, missing)
        sent = subscription.sent
        for tick_type, tick in shown.items():
            before = sent.get(tick_type)
            if tick == before:
                continue
            sent[tick_type] = tick
            number = DELAYED_TYPES.get(tick_type, tick_type) if subscription.delayed else tick_type
            floor.tell(subscription.session, encode_tick(subscription.req_id, number, tick, before))

    def _cancel(self, session: Session, request: ById) -> None:
        key = (session.connection, request.req_id)
        if key in self._subscriptions:
            self._release(key)
            return
        text = f"Can't find EId with tickerId:{request.req_id}"
        self._floor.error(session, request.req_id, 300, text, "cancelMktData")

    def _release(self, key: tuple[int, int]) -> None:
        subscription = self._subscriptions.pop(key)
        self._lines.give_back(key)
        if subscription.stream is not None:
            subscription.stream.stop()


def _generic_numbers(text: str) -> frozenset[int] | None:
    """The generic tick numbers of a list such as `100,101,mdoff`; None if one does not exist."""
    found = set()
    for part in text.replace(" ", "").split(","):
        name = part.split(":")[0]
        if name in ("", "mdoff"):
            continue
        if not name.isdigit() or int(name) not in GENERIC_TICKS:
            return None
        found.add(int(name))
    return frozenset(found)
