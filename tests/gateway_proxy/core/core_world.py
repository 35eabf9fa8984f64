"""The whole proxy core beside a scripted Gateway: events in, effects out, one clock in the test's hand.

The Gateway here knows no wire and no limits; it answers each call as it is told to, after a short while.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from gateway_proxy.assembly import core_settings
from gateway_proxy.bus.codec import convert
from gateway_proxy.bus.messages import REQUEST_ARGS, TRADE_ARGS, Bar, Contract, Request
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.parts import ProxySettings
from gateway_proxy.core.proxy import ProxyCore
from gateway_proxy.errors import ProxyError
from gateway_proxy.settings import Settings

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
#: Monday 15 June 2026, 11:00:20 in New York: the world's time when its clock shows 0.
START = int(datetime(2026, 6, 15, 11, 0, 20, tzinfo=NEW_YORK).timestamp())
HOURS = "20260615:0930-20260615:1600;20260616:0930-20260616:1600"
ANSWER_S = 0.05


def stock(symbol: str, con_id: int) -> ev.ContractDetails:
    return ev.ContractDetails(
        Contract(symbol, con_id=con_id), 0.01, f"{symbol} INC", "ARCA", "US/Eastern", HOURS, HOURS, (("SMART", 26),)
    )


def minute_bar(start_ns: int, *, volume: float = 1_000.0) -> Bar:
    """Every minute has one true bar, so that a rewritten one shows."""
    price = 600 + (start_ns // MINUTE) % 97 / 10
    return Bar(start_ns, price, price + 0.3, price - 0.2, price + 0.1, volume, price, 10)


class ScriptedGateway:
    """Answers calls from what it was told to know. `mute` call types get no answer; `refuse` gives codes instead."""

    def __init__(self) -> None:
        self.stocks = {symbol: stock(symbol, number) for number, symbol in enumerate(("SPY", "QQQ", "AAPL"), 1)}
        self.expirations = ("20260615", "20260616", "20260619")
        self.strikes = tuple(float(strike) for strike in range(590, 611))
        self.phantoms: set[float] = set()
        self.quotes: dict[str, list[tuple[int, float | None]]] = {
            "SPY": [(1, 599.9), (2, 600.1), (4, 600.0), (9, 595.0)]
        }
        self.option_ticks: list[tuple[int, float | None]] = [(1, 1.0), (2, 1.1), (8, 500.0), (27, 70.0), (28, 80.0)]
        self.mute: set[type] = set()
        self.refuse: dict[type, tuple[int, str]] = {}
        self.calls: list[fx.Call] = []
        self.lines: dict[int, Contract] = {}
        self.live: dict[int, fx.RequestHistory] = {}
        self.real_time: dict[int, Contract] = {}
        self.days_of_bars = 2
        self.hole_before: int | None = None

    def answers(self, call: fx.Call, now: float) -> list[ev.UpstreamEvent]:
        self.calls.append(call)
        if isinstance(call, fx.CancelQuote):
            self.lines.pop(call.req_id, None)
        if isinstance(call, fx.CancelHistory):
            self.live.pop(call.req_id, None)
        if isinstance(call, fx.CancelRealTimeBars):
            self.real_time.pop(call.req_id, None)
        if type(call) in self.mute:
            return []
        if type(call) in self.refuse:
            return [ev.ErrorReceived(getattr(call, "req_id", -1), *self.refuse[type(call)])]
        answer: Callable[[Any, float], list[ev.UpstreamEvent]] | None = getattr(self, f"_{type(call).__name__}", None)
        return answer(call, now) if answer is not None else []

    def _RequestTime(self, _call: fx.RequestTime, now: float) -> list[ev.UpstreamEvent]:
        return [ev.CurrentTime(START + int(now), (START + int(now)) * SECOND)]

    def _RequestPositions(self, _call: fx.Call, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.PositionsEnded()]

    def _RequestAccountUpdates(self, call: fx.RequestAccountUpdates, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.AccountValueReceived("DU1", "NetLiquidation", "100000", "USD"), ev.AccountEnded(call.account)]

    def _RequestOpenOrders(self, _call: fx.Call, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.OpenOrdersEnded()]

    def _RequestCompletedOrders(self, _call: fx.Call, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.CompletedOrdersEnded()]

    def _RequestExecutions(self, call: fx.RequestExecutions, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.ExecutionsEnded(call.req_id)]

    def _RequestNextOrderId(self, _call: fx.Call, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.NextOrderId(1)]

    def _RequestMarketRule(self, call: fx.RequestMarketRule, _now: float) -> list[ev.UpstreamEvent]:
        return [ev.MarketRuleReceived(call.rule_id, ((0.0, 0.01),))]

    def _RequestContract(self, call: fx.RequestContract, _now: float) -> list[ev.UpstreamEvent]:
        asked = call.contract
        known = self.stocks.get(asked.symbol)
        exists = asked.last_trade_date in self.expirations and asked.strike in self.strikes
        if asked.sec_type == "OPT" and exists and asked.strike not in self.phantoms:
            con_id = int(asked.strike * 100) + (asked.right == "C")
            known = ev.ContractDetails(replace(asked, con_id=con_id), 0.01)
        elif asked.sec_type == "OPT":
            known = None
        if known is None:
            return [ev.ErrorReceived(call.req_id, 200, "No security definition has been found for the request")]
        return [ev.ContractReceived(call.req_id, known), ev.ContractsEnded(call.req_id)]

    def _RequestOptionParameters(self, call: fx.RequestOptionParameters, _now: float) -> list[ev.UpstreamEvent]:
        rows = [
            ev.OptionParametersReceived(call.req_id, exchange, call.symbol, "100", self.expirations, self.strikes)
            for exchange in ("AMEX", "SMART")
        ]
        return [*rows, ev.OptionParametersEnded(call.req_id)]

    def _RequestQuote(self, call: fx.RequestQuote, _now: float) -> list[ev.UpstreamEvent]:
        self.lines[call.req_id] = call.contract
        is_option = call.contract.sec_type == "OPT"
        ticks = self.option_ticks if is_option else self.quotes.get(call.contract.symbol, [])
        found: list[ev.UpstreamEvent] = [ev.TickReceived(call.req_id, *tick) for tick in ticks]
        if is_option and ticks:
            found.append(ev.OptionTickReceived(call.req_id, 13, 0.2, 0.5, 0.1, -0.2, 0.3, 1.05, 600.0))
        return found

    def _RequestHistory(self, call: fx.RequestHistory, now: float) -> list[ev.UpstreamEvent]:
        if call.keep_up_to_date:
            self.live[call.req_id] = call
        return [ev.HistoryReceived(call.req_id, tuple(self.bars(call.duration, now)))]

    def _RequestRealTimeBars(self, call: fx.RequestRealTimeBars, _now: float) -> list[ev.UpstreamEvent]:
        self.real_time[call.req_id] = call.contract
        return []

    def bars(self, duration: str, now: float) -> list[Bar]:
        """One-minute bars up to now, the growing one last."""
        amount, unit = re.fullmatch(r"(\d+) ([SDWMY])", duration).groups()  # type: ignore[union-attr]
        minutes = int(amount) // 60 if unit == "S" else 390 * self.days_of_bars
        newest = (START + int(now)) * SECOND // MINUTE * MINUTE
        starts = [newest - back * MINUTE for back in reversed(range(minutes))]
        return [minute_bar(at) for at in starts if self.hole_before is None or at >= self.hole_before]


class CoreWorld:
    """One proxy core, connected or not; what it replied, published and logged."""

    def __init__(self, **changes: Any) -> None:
        self.now = 0.0
        self.gateway = ScriptedGateway()
        settings = core_settings(Settings(), live_confirmed="")
        # Housekeeping is rare here, so that hours of market pass quickly.
        quiet = replace(settings.health, probe_interval_s=15.0)
        chosen: dict[str, Any] = {"publish_s": 60.0, "health": quiet} | changes
        self.settings: ProxySettings = replace(settings, **chosen)
        self.core = ProxyCore(self.settings, self.now, START * SECOND)
        self.core.restore([], self.now)
        self.connected = False
        self.reachable = True
        self.replies: dict[Any, fx.Reply] = {}
        self.published: list[fx.Publish] = []
        self.logs: list[fx.Log] = []
        self.effects: list[fx.Effect] = []
        self._agenda: list[tuple[float, int, ev.UpstreamEvent]] = []
        self._order = count()
        self._requests = count(1)

    # ------------------------------------------------------------ time

    def advance(self, seconds: float) -> CoreWorld:
        """Let time pass, every timer and every answer at its own moment."""
        end = self.now + seconds
        for _ in range(200_000):
            timer = self.core.next_timer()
            due = min(
                timer if timer is not None else end + 1,
                self._agenda[0][0] if self._agenda else end + 1,
            )
            if due > end:
                self.now = end
                return self
            self.now = max(self.now, due)
            if self._agenda and self._agenda[0][0] <= self.now:
                self.hear(heappop(self._agenda)[2])
            else:
                self.core.handle_timer(self.now)
                self.perform()
        raise AssertionError("the core's timer stands still")

    def start(self) -> CoreWorld:
        """Connected and ready."""
        self.advance(2.0)
        assert self.core.health.state.value == "ready", self.core.health.reason
        return self

    # ------------------------------------------------------------ in

    def hear(self, event: ev.UpstreamEvent) -> None:
        self.core.receive_upstream(event, self.now)
        self.perform()

    def error(self, req_id: int, code: int, text: str = "") -> None:
        self.hear(ev.ErrorReceived(req_id, code, text))

    def subscribe(self, topic: str, wanted: bool = True) -> None:
        self.core.receive_subscription(topic, wanted, self.now)
        self.perform()

    def ask(self, op: str, /, expires_in_s: float | None = None, owner: str = "one", **args: Any) -> int:
        """Send one request; `answer` has the reply when it came."""
        number = next(self._requests)
        body: Any = convert(args, REQUEST_ARGS[op], op)
        self.core.receive_request("client", owner, Request(number, op, body, expires_in_s), self.now)
        self.perform()
        return number

    def trade(self, op: str, /, **args: Any) -> int:
        number = next(self._requests)
        self.core.receive_trade("client", "one", Request(number, op, convert(args, TRADE_ARGS[op], op)), self.now)
        self.perform()
        return number

    def cut(self, reason: str = "cut") -> None:
        """The session ends."""
        self.connected = False
        self._agenda.clear()
        self.gateway.lines.clear()
        self.gateway.live.clear()
        self.gateway.real_time.clear()
        self.hear(ev.SessionClosed(reason))

    def grow(self, key: str = "SPY") -> None:
        """The Gateway updates the growing bar of every live stream of a contract."""
        newest = (START + int(self.now)) * SECOND // MINUTE * MINUTE
        for req_id, call in list(self.gateway.live.items()):
            if call.contract.symbol == key:
                self.hear(ev.HistoryUpdated(req_id, minute_bar(newest)))

    def flow(self, seconds: float, every: float = 5.0) -> None:
        """Time passes and the live streams of SPY are updated, as IB does every five seconds."""
        for _ in range(int(seconds / every)):
            self.advance(every)
            self.grow()
            self.trade_on()

    def trade_on(self) -> None:
        """Every subscription to 5-second bars is told the newest one."""
        newest = (START + int(self.now)) // 5 * 5 * SECOND - 5 * SECOND
        for req_id in list(self.gateway.real_time):
            truth = minute_bar(newest // MINUTE * MINUTE)
            self.hear(ev.RealTimeBarReceived(req_id, replace(truth, start_ns=newest)))

    # ------------------------------------------------------------ out

    def perform(self) -> None:
        for effect in self.core.effects():
            self.effects.append(effect)
            match effect:
                case fx.Send(call):
                    if self.connected:
                        self._later(self.gateway.answers(call, self.now))
                case fx.Connect():
                    self.connected = self.reachable
                    opened = ev.SessionOpened(178, ("DU1",), 1)
                    failed = ev.SessionFailed("127.0.0.1:4002: connection refused", refused=True)
                    self._later([opened if self.reachable else failed])
                case fx.Disconnect(reason):
                    if self.connected:
                        self.connected = False
                        self._agenda.clear()
                        self.gateway.lines.clear()
                        self.gateway.live.clear()
                        self._later([ev.SessionClosed(reason)])
                case fx.Reply():
                    assert effect.request_id not in self.replies, "one reply to one request"
                    self.replies[effect.request_id] = effect
                case fx.Publish():
                    self.published.append(effect)
                case fx.Log():
                    self.logs.append(effect)

    def _later(self, events: list[ev.UpstreamEvent]) -> None:
        for event in events:
            heappush(self._agenda, (self.now + ANSWER_S, next(self._order), event))

    # ------------------------------------------------------------ reading

    def sent(self, kind: type) -> list[Any]:
        return [call for call in self.gateway.calls if isinstance(call, kind)]

    def body(self, number: int) -> Any:
        reply = self.replies[number]
        if reply.error is not None:
            raise reply.error
        return reply.body

    def failure(self, number: int) -> ProxyError:
        error = self.replies[number].error
        assert error is not None, f"answered: {self.replies[number].body}"
        return error

    def on(self, topic: str, kind: str) -> list[Any]:
        """Bodies published on a topic."""
        return [each.body for each in self.published if each.topic == topic and each.kind == kind]

    def bars(self, topic: str = "bars/SPY/1min/") -> list[Bar]:
        """The finished bars published, in order."""
        return [bar for bar in self.on(topic, "bar") if bar.complete]
