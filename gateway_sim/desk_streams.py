"""The streams desk: 5-second bars, tick-by-tick, market depth, option calculations. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim import messages
from gateway_sim.contracts import Contract
from gateway_sim.desk_history import PACING_TEXT
from gateway_sim.floor import Floor, Handler, Repeater
from gateway_sim.limits import Breach
from gateway_sim.lines import Lines
from gateway_sim.option_series import years_to_expiry
from gateway_sim.pricing import greeks, implied_volatility
from gateway_sim.requests import ById, DepthRequest, OptionCalculation, RealTimeBarsRequest, TickByTickRequest
from gateway_sim.session import Session
from gateway_sim.wire import frames

TICK_BY_TICK_KINDS = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
LIVE_SOURCES = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})
DUPLICATE_TEXT = "Error processing request.-'bS' : cause - Duplicate ticker id"
DEPTH_LEVELS_MAX = 10
DEPTH_MAKERS = ("ARCA", "NSDQ", "BATS", "EDGX", "IEX")


@dataclass
class Stream:
    """One running stream. kind is the request's name."""

    kind: str
    repeater: Repeater


class StreamsDesk:
    """Answers the streams that are not quotes."""

    def __init__(self, floor: Floor, lines: Lines) -> None:
        self._floor = floor
        self._lines = lines
        self._streams: dict[tuple[int, int], Stream] = {}
        self.handlers: dict[str, Handler] = {
            "reqRealTimeBars": self._real_time_bars,
            "cancelRealTimeBars": self._cancel,
            "reqTickByTickData": self._tick_by_tick,
            "cancelTickByTickData": self._cancel,
            "reqMktDepth": self._depth,
            "cancelMktDepth": self._cancel,
            "calculateImpliedVolatility": self._implied_volatility,
            "calculateOptionPrice": self._option_price,
            "cancelCalculateImpliedVolatility": self._nothing,
            "cancelCalculateOptionPrice": self._nothing,
        }

    def drop(self, session: Session) -> None:
        for key in [key for key in self._streams if key[0] == session.connection]:
            self._release(key)

    def end_all(self) -> None:
        """The back end lost all subscriptions (1101)."""
        for stream in self._streams.values():
            stream.repeater.stop()

    def _nothing(self, session: Session, request: ById) -> None:
        """The calculation was answered long ago."""

    def _start(self, session: Session, req_id: int, kind: str, repeater: Repeater) -> None:
        self._streams[(session.connection, req_id)] = Stream(kind, repeater)
        self._floor.answered(session, kind, req_id)

    def _frozen(self) -> bool:
        return self._floor.faults.feed_frozen(self._floor.now)

    def _count(self, kind: str) -> int:
        return sum(stream.kind == kind for stream in self._streams.values())

    def _known(self, session: Session, req_id: int, kind: str) -> bool:
        if (session.connection, req_id) not in self._streams:
            return False
        self._floor.error(session, req_id, 322, DUPLICATE_TEXT, kind)
        return True

    def _real_time_bars(self, session: Session, request: RealTimeBarsRequest) -> None:
        floor, req_id = self._floor, request.req_id
        if self._known(session, req_id, "reqRealTimeBars"):
            return
        if request.what not in LIVE_SOURCES:
            text = f"Error validating request.-'bK' : cause - What to show value of {request.what} rejected."
            floor.error(session, req_id, 321, text, "reqRealTimeBars")
            return
        breach = floor.judge.real_time_bars(floor.now)
        if breach is not None:
            floor.violation(session, breach, kind="reqRealTimeBars", req_id=req_id)
            floor.error(session, req_id, 420, f"Invalid Real-time Query:{PACING_TEXT.split(':')[1]}", "reqRealTimeBars")
            return
        contract = floor.find_contract(session, req_id, request.contract, "reqRealTimeBars")
        if contract is None or not self._take_line(session, req_id, contract, "reqRealTimeBars"):
            return
        last_sent = int(floor.market_s) // 5 * 5 - 5

        def send(now: float) -> None:
            nonlocal last_sent
            market_s = floor.market_s
            if self._frozen():
                last_sent = int(market_s) // 5 * 5 - 5  # what passes during an outage is never sent
                return
            bars = floor.history.bars(
                contract, request.what, 5, last_sent + 5.0, market_s, market_s, request.regular_only
            )
            for row in range(len(bars)):
                start = int(bars.start[row])
                if start <= last_sent or start + 5 > market_s:
                    continue
                last_sent = start
                traded = request.what == "TRADES" and contract.sec_type != "IND"
                floor.tell(session, messages.real_time_bar(req_id, (
                    start, float(bars.open[row]), float(bars.high[row]), float(bars.low[row]), float(bars.close[row]),
                    int(bars.volume[row]) if traded else -1, float(bars.wap[row]) if traded else -1.0,
                    int(bars.count[row]) if traded else -1,
                )))  # fmt: skip

        self._start(session, req_id, "reqRealTimeBars", floor.every(5.0, send))

    def _take_line(self, session: Session, req_id: int, contract: Contract, kind: str) -> bool:
        floor = self._floor
        if self._lines.take((session.connection, req_id), contract.con_id):
            return True
        limit = floor.judge.settings.lines
        floor.violation(session, Breach("market_data_lines", limit, limit + 1), kind=kind, req_id=req_id)
        floor.error(session, req_id, 101, "Max number of tickers has been reached", kind)
        return False

    def _tick_by_tick(self, session: Session, request: TickByTickRequest) -> None:
        floor, req_id = self._floor, request.req_id
        if self._known(session, req_id, "reqTickByTickData"):
            return
        kind = TICK_BY_TICK_KINDS.get(request.tick_type)
        if kind is None:
            text = f"Error validating request.-'bT' : cause - Invalid tick-by-tick type: {request.tick_type}"
            floor.error(session, req_id, 321, text, "reqTickByTickData")
            return
        limit = floor.judge.settings.tick_by_tick
        if self._count("reqTickByTickData") >= limit:
            floor.violation(session, Breach("tick_by_tick_lines", limit, limit + 1), req_id=req_id)
            text = "Max number of tick-by-tick requests has been reached."
            floor.error(session, req_id, 10190, text, "reqTickByTickData")
            return
        contract = floor.find_contract(session, req_id, request.contract, "reqTickByTickData")
        if contract is None:
            return
        if contract.is_option:
            text = f"Failed to request tick-by-tick data:No market data permissions for {contract.exchange} OPT"
            floor.error(session, req_id, 10189, text, "reqTickByTickData")
            return
        breach = floor.judge.tick_by_tick(contract.con_id, floor.now)
        if breach is not None:
            floor.violation(session, breach, kind="reqTickByTickData", req_id=req_id)
        before: tuple[float, ...] = ()

        def send(now: float) -> None:
            nonlocal before
            if self._frozen():
                return
            at = int(floor.market_s)
            quote = floor.market.quote(contract, at)
            if kind in (1, 2):
                shown: tuple[float, ...] = (quote.last_time, quote.last)
                message = messages.tick_by_tick_last(req_id, kind, at, quote.last, quote.last_size, "ARCA")
            elif kind == 3:
                shown = (quote.bid, quote.ask, quote.bid_size, quote.ask_size)
                message = messages.tick_by_tick_bid_ask(
                    req_id, at, quote.bid, quote.ask, quote.bid_size, quote.ask_size
                )
            else:
                shown = (quote.mark,)
                message = messages.tick_by_tick_midpoint(req_id, at, round(quote.mark, 4))
            if shown != before:
                before = shown
                floor.tell(session, message)

        self._start(session, req_id, "reqTickByTickData", floor.every(1.0, send))

    def _depth(self, session: Session, request: DepthRequest) -> None:
        floor, req_id = self._floor, request.req_id
        if self._known(session, req_id, "reqMktDepth"):
            return
        limit = floor.judge.settings.depth_requests
        if self._count("reqMktDepth") >= limit:
            floor.violation(session, Breach("market_depth", limit, limit + 1), req_id=req_id)
            text = f"Max number ({limit}) of market depth requests has been reached"
            floor.error(session, req_id, 309, text, "reqMktDepth")
            return
        contract = floor.find_contract(session, req_id, request.contract, "reqMktDepth")
        if contract is None:
            return
        rows = max(1, min(request.rows or 5, DEPTH_LEVELS_MAX))
        first = True

        def send(now: float) -> None:
            nonlocal first
            if self._frozen():
                return
            quote = floor.market.quote(contract, floor.market_s)
            for side, best, size in ((1, quote.bid, quote.bid_size), (0, quote.ask, quote.ask_size)):
                for level in range(rows if best > 0.0 else 0):
                    price = round(best + (-1 if side else 1) * level * contract.price_increment(best), 4)
                    amount = size + 100 * level
                    operation = 0 if first else 1
                    if request.smart:
                        maker = DEPTH_MAKERS[level % len(DEPTH_MAKERS)]
                        message = messages.market_depth_smart(req_id, level, maker, operation, side, price, amount)
                    else:
                        message = messages.market_depth(req_id, level, operation, side, price, amount)
                    floor.tell(session, message)
            first = False

        self._start(session, req_id, "reqMktDepth", floor.every(1.0, send))

    def _implied_volatility(self, session: Session, request: OptionCalculation) -> None:
        floor = self._floor
        contract = floor.find_contract(session, request.req_id, request.contract, "calculateImpliedVolatility")
        if contract is None or not self._is_option(session, request.req_id, contract):
            return
        years, spot = years_to_expiry(contract, floor.market_s), request.underlying_price
        found = None
        if spot > 0.0:
            found = implied_volatility(request.given, spot, contract.strike, years, contract.is_call)
        computed = messages.NOT_COMPUTED
        if found:
            values = greeks(spot, contract.strike, years, found, contract.is_call)
            computed = messages.option_computation(found, request.given, values, spot)
        floor.tell(session, frames([messages.tick_option_computation(request.req_id, 53, computed)]))
        floor.answered(session, "calculateImpliedVolatility", request.req_id)

    def _option_price(self, session: Session, request: OptionCalculation) -> None:
        floor = self._floor
        contract = floor.find_contract(session, request.req_id, request.contract, "calculateOptionPrice")
        if contract is None or not self._is_option(session, request.req_id, contract):
            return
        years, spot = years_to_expiry(contract, floor.market_s), request.underlying_price
        computed = messages.NOT_COMPUTED
        if spot > 0.0 and request.given > 0.0:
            values = greeks(spot, contract.strike, years, request.given, contract.is_call)
            computed = messages.option_computation(request.given, values.price, values, spot)
        floor.tell(session, frames([messages.tick_option_computation(request.req_id, 53, computed)]))
        floor.answered(session, "calculateOptionPrice", request.req_id)

    def _is_option(self, session: Session, req_id: int, contract: Contract) -> bool:
        if contract.is_option:
            return True
        text = "Error validating request.-'bC' : cause - Calculation is only possible for options"
        self._floor.error(session, req_id, 321, text)
        return False

    def _cancel(self, session: Session, request: ById) -> None:
        key = (session.connection, request.req_id)
        if key in self._streams:
            self._release(key)
            return
        self._floor.error(session, request.req_id, 300, f"Can't find EId with tickerId:{request.req_id}")

    def _release(self, key: tuple[int, int]) -> None:
        self._streams.pop(key).repeater.stop()
        self._lines.give_back(key)
