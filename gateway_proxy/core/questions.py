"""The errands behind the request ops that need the Gateway: bars, chain, quote, contract. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gateway_proxy.bus.messages import (
    Bar,
    BarsArgs,
    ChainArgs,
    Contract,
    ContractArgs,
    Layout,
    QuoteArgs,
    Request,
    Timeline,
)
from gateway_proxy.bus.topics import BAR_SECONDS
from gateway_proxy.core import effects as fx
from gateway_proxy.core.bars import BarService, BarStream, StreamState
from gateway_proxy.core.chains import ChainDesk, ChainPlan, ChainSettings, ChainSpec, columns
from gateway_proxy.core.contracts import ContractDirectory, parse, wake_key
from gateway_proxy.core.errands import Errand
from gateway_proxy.core.history import History, HistoryKey, duration_for
from gateway_proxy.core.history import wake_key as history_wake_key
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.quotes import QuoteBook
from gateway_proxy.core.series import Series
from gateway_proxy.errors import BreakerOpen, GatewayTimeout, GatewayUnavailable

#: The columns of the binary layout, float64 little-endian, one after the other; missing values are NaN.
BINARY_COLUMNS: Final = ("start_ns", "open", "high", "low", "close", "volume", "wap", "count", "complete")


@dataclass(frozen=True, slots=True)
class Desks:
    """The services that errands ask."""

    directory: ContractDirectory
    history: History
    bars: BarService
    quotes: QuoteBook
    chains: ChainDesk
    chain_settings: ChainSettings
    time: MarketTime


class BarsErrand(Errand):
    """`bars`: from the live series when it holds enough, otherwise one historical request.

    When the Gateway cannot be asked and the caller allows an age, what is held answers, marked with its age.
    """

    def __init__(self, client: Any, request: Request, owner: str, desks: Desks, deadline: float, now: float) -> None:
        super().__init__(client, request.id, deadline)
        self._args: BarsArgs = request.args
        self._contract = parse(self._args.contract)
        self._owner = owner
        self._desks = desks
        self._asked_at = now
        self._duration = duration_for(self._args.size, self._args.count, self._args.rth)

    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        try:
            return self._ask(now)
        except (BreakerOpen, GatewayUnavailable, GatewayTimeout):
            stale = self.stale(now)
            if stale is None:
                raise
            return stale

    def stale(self, now: float) -> fx.Reply | None:
        """The newest bars held that are young enough for the caller; None when there are none or he wants none."""
        args, desks = self._args, self._desks
        if args.max_age_s is None:
            return None
        found: list[tuple[float, list[Bar]]] = []
        stream = self._stream()
        if stream is not None and stream.last_update is not None:
            found.append((now - stream.last_update, stream.series.newest(args.count)))
        details = desks.directory.known(self._contract)
        if details is not None and (answer := desks.history.held(self._key(details.contract))) is not None:
            found.append((now - answer.at, list(answer.bars[-args.count :])))
        usable = [(age_s, bars) for age_s, bars in found if age_s <= args.max_age_s and bars]
        if not usable:
            return None
        age_s, bars = min(usable, key=lambda pair: (len(pair[1]) < args.count, pair[0]))
        timeline = Timeline(cache="stale", total_ms=round((now - self._asked_at) * 1e3, 3))
        return self._reply(bars, timeline, now, age_s=round(age_s, 3))

    def _ask(self, now: float) -> fx.Reply | frozenset[str]:
        args, desks = self._args, self._desks
        held = self._held()
        if held is not None:
            return self._reply(held, Timeline(cache="hit", total_ms=round((now - self._asked_at) * 1e3, 3)), now)
        details = desks.directory.find(self._contract, self._owner, now)
        if details is None:
            return frozenset({wake_key(self._contract)})
        key = self._key(details.contract)
        answer = desks.history.find(key, self._owner, max(0.0, self.deadline - now), now)
        if answer is None:
            return frozenset({history_wake_key(key)})
        if (stream := self._stream()) is not None:
            stream.learn_past(answer.bars)
        series = Series(BAR_SECONDS[args.size], keep=args.count + 1)
        # By the clock of its request: neither a slow nor a remembered answer finishes the bar that grew in it.
        series.merge(answer.bars, desks.time.surely_ns(answer.sent_at))
        return self._reply(series.newest(args.count), answer.timeline, now)

    def _key(self, contract: Contract) -> HistoryKey:
        return HistoryKey(contract, self._args.size, self._args.what, self._args.rth, self._duration)

    def _stream(self) -> BarStream | None:
        """The series that holds what this question is about, if there is one."""
        args = self._args
        usable = args.what == "TRADES" and args.rth and self._contract.exchange == "SMART"
        return self._desks.bars.get(self._contract.key, args.size) if usable else None

    def _held(self) -> list[Bar] | None:
        stream, count = self._stream(), self._args.count
        if self._args.fresh or stream is None or stream.state is not StreamState.LIVE:
            return None
        bars = stream.series.newest(count)
        return bars if len(bars) >= count else None

    def _reply(self, bars: list[Bar], timeline: Timeline, now: float, *, age_s: float | None = None) -> fx.Reply:
        body: dict[str, Any] = {"contract": self._contract.key, "size": self._args.size}
        if age_s is not None:
            body["age_s"] = age_s
        body |= _layout(bars, self._args.layout)
        body["timeline"] = asdict(timeline)
        binary = _binary(bars) if self._args.layout == "binary" else None
        return fx.Reply(self.client, self.request_id, body=body, columns=binary)


def _layout(bars: Sequence[Bar], layout: Layout) -> dict[str, Any]:
    if layout == "rows":
        return {"bars": list(bars)}
    if layout == "binary":
        return {"columns": list(BINARY_COLUMNS), "count": len(bars), "dtype": "<f8"}
    names = (*BINARY_COLUMNS, "source", "gap")
    return {"columns": {name: [getattr(bar, name) for bar in bars] for name in names}}


def _binary(bars: Sequence[Bar]) -> bytes:
    """Start times lose nothing that matters as float64: whole seconds up to 2^53 ns are exact to 256 ns."""
    numbers = array("d")
    for name in BINARY_COLUMNS:
        values = (getattr(bar, name) for bar in bars)
        numbers.extend(float("nan") if value is None else float(value) for value in values)
    return numbers.tobytes()


class ContractErrand(Errand):
    """`contract`: what IB knows of it."""

    def __init__(self, client: Any, request: Request, owner: str, desks: Desks, deadline: float) -> None:
        super().__init__(client, request.id, deadline)
        args: ContractArgs = request.args
        self._contract = parse(args.contract)
        self._owner = owner
        self._directory = desks.directory

    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        details = self._directory.find(self._contract, self._owner, now)
        if details is None:
            return frozenset({wake_key(self._contract)})
        return fx.Reply(self.client, self.request_id, body=asdict(details) | {"key": details.contract.key})


class QuoteErrand(Errand):
    """`quote`: bid and ask as soon as both came, or after a while with what came, for one side may be missing.

    Holds the line only while it waits (plus the book's grace).
    """

    def __init__(self, client: Any, request: Request, owner: str, desks: Desks, deadline: float) -> None:
        super().__init__(client, request.id, deadline)
        args: QuoteArgs = request.args
        self._contract = parse(args.contract)
        self._owner = owner
        self._desks = desks
        self._holder = f"request:{id(self)}"
        self._settle_at: float | None = None

    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        details = self._desks.directory.find(self._contract, self._owner, now)
        if details is None:
            return frozenset({wake_key(self._contract)})
        line = self._desks.quotes.hold(details.contract, self._holder, now)
        if self._settle_at is None and line.updated_at is not None:
            self._settle_at = self.wake_at = now + self._desks.chain_settings.settle_s
        settled = self._settle_at is not None and now >= self._settle_at
        if settled or (line.quote.bid is not None and line.quote.ask is not None):
            return fx.Reply(self.client, self.request_id, body=asdict(line.quote))
        if line.failure is not None:
            raise line.failure
        return frozenset({f"quote:{details.contract.key}"})

    def abandon(self, now: float) -> None:
        details = self._desks.directory.known(self._contract)
        if details is not None:
            self._desks.quotes.release(details.contract.key, self._holder, now)


class ChainErrand(Errand):
    """`chain`: rows around the money of one expiry."""

    def __init__(self, client: Any, request: Request, owner: str, desks: Desks, deadline: float) -> None:
        super().__init__(client, request.id, deadline)
        args: ChainArgs = request.args
        self._args = args
        self._owner = owner
        self._desks = desks
        self._plan = ChainPlan(
            ChainSpec(parse(args.contract), args.expiry, args.around, args.width), f"request:{id(self)}"
        )

    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        chain = self._desks.chains.advance(self._plan, self._owner, now)
        if isinstance(chain, frozenset):
            self.wake_at = self._plan.settle_at if self._plan.settle_at > now else None
            return chain
        body = columns(chain) if self._args.layout == "columns" else asdict(chain)
        return fx.Reply(self.client, self.request_id, body=body)

    def abandon(self, now: float) -> None:
        self._desks.chains.release(self._plan, now)
