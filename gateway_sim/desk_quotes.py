"""The quote desk: streaming quotes and snapshots. Pure.

Stocks are sampled every 250 ms, options every 100 ms (rule book 3.4); only what changed is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway_sim import messages
from gateway_sim.contracts import Contract
from gateway_sim.floor import Floor, Handler, Repeater
from gateway_sim.limits import Breach
from gateway_sim.lines import Lines
from gateway_sim.market import OPTION_STEPS_PER_S, STEPS_PER_S
from gateway_sim.quotes import Quote
from gateway_sim.requests import ById, MarketDataRequest
from gateway_sim.session import Session
from gateway_sim.ticks import DELAYED_TYPES, GENERIC_TICKS, SIZE_OF_PRICE, Tick, TickBoard, tick_text
from gateway_sim.wire import frames

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
    generic: tuple[int, ...]
    snapshot: bool
    delayed: bool
    sent: dict[int, Tick] = field(default_factory=dict)
    quote: Quote | None = None
    """The one of the second sampled last."""
    silenced: bool = False
    sampled_step: int = -1
    """Step of the market that was looked at last; nothing moves inside one."""
    sampled_second: int = -1


@dataclass
class Pulse:
    """The streams of one period, sampled together."""

    steps_per_s: int
    streams: dict[tuple[int, int], Subscription] = field(default_factory=dict)
    repeater: Repeater | None = None
    """Runs while there are streams."""
    step: int = -1
    """Step of the market in which all were sampled last."""


class QuoteDesk:
    """Answers reqMktData and its cancel."""

    def __init__(self, floor: Floor, lines: Lines) -> None:
        self._floor = floor
        self._lines = lines
        self._board = TickBoard(floor.market)
        self._subscriptions: dict[tuple[int, int], Subscription] = {}
        self._pulses = {OPTION_PERIOD_S: Pulse(OPTION_STEPS_PER_S), STOCK_PERIOD_S: Pulse(STEPS_PER_S)}
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
        subscription = Subscription(session, req_id, contract, generic or (), request.snapshot, delayed)
        self._subscriptions[key] = subscription
        floor.tell(session, messages.tick_request_parameters(req_id, 0.01))
        floor.tell(session, messages.market_data_type(req_id, 3 if delayed else 1))
        if request.snapshot:
            self._start_snapshot(key, subscription)
        else:
            self._stream(key, subscription)
            floor.answered(session, "reqMktData", req_id)

    def _refusal(
        self, session: Session, request: MarketDataRequest, generic: tuple[int, ...] | None
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
            self._sample([subscription])
            quote = floor.market.quote(subscription.contract, floor.market_s)
            complete = quote.bid > 0.0 and quote.ask > 0.0 and bool(subscription.sent)
            if complete and not floor.faults.is_on("model_greeks_missing", now):
                floor.agenda.after(0.05, finish)

        floor.agenda.after(SNAPSHOT_TICKS_AFTER_S, send)
        floor.agenda.after(SNAPSHOT_END_S, finish)

    def _stream(self, key: tuple[int, int], subscription: Subscription) -> None:
        period = OPTION_PERIOD_S if subscription.contract.is_option else STOCK_PERIOD_S
        pulse = self._pulses[period]
        pulse.streams[key] = subscription
        pulse.step = -1
        if pulse.repeater is None:
            pulse.repeater = self._floor.every(period, lambda now: self._beat(pulse))

    def _beat(self, pulse: Pulse) -> None:
        step = int(self._floor.market_s * pulse.steps_per_s)
        if step != pulse.step and not self._floor.faults.feed_frozen(self._floor.now):
            pulse.step = step
            self._sample(pulse.streams.values())

    def _sample(self, subscriptions: Iterable[Subscription]) -> None:
        """Send each of them what changed since it was sampled last, in one batch each."""
        floor = self._floor
        if floor.faults.feed_frozen(floor.now):
            return
        missing = floor.faults.is_on("model_greeks_missing", floor.now)
        live_s = floor.market_s
        for subscription in subscriptions:
            market_s = live_s - DELAY_S if subscription.delayed else live_s
            step = int(market_s * (OPTION_STEPS_PER_S if subscription.contract.is_option else STEPS_PER_S))
            if step != subscription.sampled_step and not subscription.silenced:
                subscription.sampled_step = step
                texts = self._changes(subscription, market_s, missing)
                if texts:
                    floor.tell(subscription.session, frames(texts))

    def _changes(self, subscription: Subscription, market_s: float, greeks_missing: bool) -> list[str]:
        second, sent = int(market_s), subscription.sent
        if second == subscription.sampled_second and sent:
            return self._size_changes(subscription, market_s)
        subscription.sampled_second = second
        subscription.quote = quote = self._floor.market.quote_of_second(subscription.contract, market_s)
        shown = self._board.ticks(subscription.contract, quote, subscription.generic, market_s, greeks_missing)
        changed = [(kind, tick, sent.get(kind)) for kind, tick in shown.items() if sent.get(kind) != tick]
        subscription.sent = shown
        req_id, delayed = subscription.req_id, subscription.delayed
        return [
            tick_text(req_id, DELAYED_TYPES.get(kind, kind) if delayed else kind, tick, before)
            for kind, tick, before in changed
        ]

    def _size_changes(self, subscription: Subscription, market_s: float) -> list[str]:
        """Inside one second only the displayed sizes move."""
        sent, quote, texts = subscription.sent, subscription.quote, []
        assert quote is not None
        bid_size, ask_size = self._floor.market.sizes(subscription.contract, quote, market_s)
        for kind, tick in ((1, (quote.bid, bid_size)), (2, (quote.ask, ask_size))):
            if kind in sent and sent[kind] != tick:
                sent[kind] = tick
                size_kind = SIZE_OF_PRICE[kind]
                number = DELAYED_TYPES[size_kind] if subscription.delayed else size_kind
                texts.append(messages.tick_size(subscription.req_id, number, tick[1]))
        return texts

    def _cancel(self, session: Session, request: ById) -> None:
        key = (session.connection, request.req_id)
        if key in self._subscriptions:
            self._release(key)
            return
        text = f"Can't find EId with tickerId:{request.req_id}"
        self._floor.error(session, request.req_id, 300, text, "cancelMktData")

    def _release(self, key: tuple[int, int]) -> None:
        self._subscriptions.pop(key)
        self._lines.give_back(key)
        for pulse in self._pulses.values():
            if pulse.streams.pop(key, None) is not None and not pulse.streams and pulse.repeater is not None:
                pulse.repeater.stop()
                pulse.repeater = None


def _generic_numbers(text: str) -> tuple[int, ...] | None:
    """The generic tick numbers of a list such as `100,101,mdoff`, ascending; None if one does not exist."""
    found = set()
    for part in text.replace(" ", "").split(","):
        name = part.split(":")[0]
        if name in ("", "mdoff"):
            continue
        if not name.isdigit() or int(name) not in GENERIC_TICKS:
            return None
        found.add(int(name))
    return tuple(sorted(found))
