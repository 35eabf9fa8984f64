"""Option chains around the money, with strikes that exist for that expiry. Pure.

IB lists expirations and strikes as two sets whose product contains options that do not exist, so every candidate is
verified by its own contract request (fast, because it is fully specified: rule book 4) and remembered for the day.
A chain is level-triggered: `advance` looks at what is missing, asks for it, and is called again when it came.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge

from gateway_proxy.bus.messages import Chain, ChainRow, Contract, Quote
from gateway_proxy.core import events as ev
from gateway_proxy.core.contracts import ContractDirectory, OptionParameters, smart_rows, wake_key
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.quotes import Line, QuoteBook
from gateway_proxy.core.verdict import Verdict, error
from gateway_proxy.errors import ContractUnknown, ProxyError

RIGHTS: Final[tuple[Literal["C", "P"], ...]] = ("C", "P")
#: Give up looking for real strikes on one side of the money after this many phantoms.
PHANTOMS_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """How chains are collected. Durations in seconds."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    width: int = 2  # strikes on each side of the money in chain/<symbol>/ topics
    refresh_s: float = 5.0  # how often a subscribed chain is published
    lines_max: Annotated[int, Ge(4)] = 90  # market data lines all chains together may hold, of the 100 of an account
    settle_s: float = 3.0  # wait this long for volume, open interest and greeks of a row before answering without them


@dataclass(frozen=True, slots=True)
class ChainSpec:
    """Which chain: `expiry` "nearest" or YYYYMMDD, `around` a price or None for the underlying's own."""

    underlying: Contract
    expiry: str
    around: float | None
    width: int


@dataclass(slots=True)
class ChainPlan:
    """What is known so far of one chain, and the lines it holds. After `settle_at` it is answered with what came."""

    spec: ChainSpec
    holder: str
    settle_at: float = 0.0
    held: set[str] = field(default_factory=set)


class ChainDesk:
    """Builds chains out of the directory, the option parameters and the quote book."""

    def __init__(
        self,
        directory: ContractDirectory,
        parameters: OptionParameters,
        quotes: QuoteBook,
        time: MarketTime,
        settings: ChainSettings,
        last_close: Callable[[str], float | None],
    ) -> None:
        self._directory = directory
        self._parameters = parameters
        self._quotes = quotes
        self._time = time
        self._settings = settings
        self._last_close = last_close
        #: How many plans hold each line; its length is what all chains cost.
        self._lines: Counter[str] = Counter()

    def advance(self, plan: ChainPlan, owner: str, now: float) -> Chain | frozenset[str]:
        """The chain, or the keys it waits for. Raises the typed error that makes it impossible."""
        underlying = self._directory.find(plan.spec.underlying, owner, now)
        if underlying is None:
            return frozenset({wake_key(plan.spec.underlying)})
        rows = self._parameters.find(underlying, self._time.date(now), owner, now)
        if rows is None:
            return frozenset({f"options:{underlying.contract.symbol}"})
        expiry, row = pick_expiry(rows, underlying.contract.symbol, plan.spec.expiry, self._time.date(now))
        price = self._price(plan, underlying.contract, now)
        if price is None:
            return frozenset({f"quote:{underlying.contract.key}"})
        chosen = self._strikes(row, underlying.contract, expiry, plan.spec.around or price, plan.spec.width, owner, now)
        if isinstance(chosen, frozenset):
            return chosen
        return self._collect(plan, underlying.contract.key, chosen, expiry, price, row, now)

    def release(self, plan: ChainPlan, now: float) -> None:
        for key in tuple(plan.held):
            self._let_go(plan, key, now)

    @property
    def lines_held(self) -> int:
        """Market data lines that chains hold now."""
        return len(self._lines)

    # ------------------------------------------------------------ the money

    def _price(self, plan: ChainPlan, underlying: Contract, now: float) -> float | None:
        self._hold(plan, underlying, now)
        line = self._quotes.get(underlying.key)
        assert line is not None, "we hold it"
        price = mid_or_last(line.quote) or self._last_close(underlying.key) or line.quote.close
        if price is None and line.failure is not None:
            raise line.failure
        return price

    # ------------------------------------------------------------ the strikes

    def _strikes(
        self,
        row: ev.OptionParametersReceived,
        underlying: Contract,
        expiry: str,
        around: float,
        width: int,
        owner: str,
        now: float,
    ) -> list[ev.ContractDetails] | frozenset[str]:
        """Verified options of the money and `width` real strikes on each side, or the keys still awaited.

        Walks outward from the money on each side; a strike counts when its call and its put exist. One strike more
        than `width` on each side holds the strike nearest to the money, wherever that lies.
        """
        found: dict[float, list[ev.ContractDetails]] = {}
        waiting: set[str] = set()
        for side in sides(row.strikes, around):
            wanted = width + 1
            for strike in side[: wanted + PHANTOMS_MAX]:
                pair = self._pair(row, underlying, expiry, strike, owner, now)
                if pair is None:
                    continue
                if isinstance(pair, frozenset):
                    waiting |= pair
                else:
                    found[strike] = pair
                wanted -= 1
                if not wanted:
                    break
        if not waiting and not found:
            raise error(Verdict.CONTRACT_UNKNOWN, f"no option of {underlying.symbol} {expiry} exists near {around:g}")
        if waiting:
            return frozenset(waiting)
        return [details for strike in around_the_money(found, around, width) for details in found[strike]]

    def _pair(
        self, row: ev.OptionParametersReceived, underlying: Contract, expiry: str, strike: float, owner: str, now: float
    ) -> list[ev.ContractDetails] | frozenset[str] | None:
        """Call and put of one strike; None if either is a phantom; otherwise what is awaited."""
        pair: list[ev.ContractDetails] = []
        waiting: set[str] = set()
        for right in RIGHTS:
            option = Contract(
                symbol=underlying.symbol, sec_type="OPT", currency=underlying.currency, last_trade_date=expiry,
                strike=strike, right=right, multiplier=row.multiplier, trading_class=row.trading_class,
            )  # fmt: skip
            try:
                details = self._directory.find(option, owner, now)
            except ContractUnknown:
                return None
            if details is None:
                waiting.add(wake_key(option))
            else:
                pair.append(details)
        return frozenset(waiting) if waiting else pair

    # ------------------------------------------------------------ the quotes

    def _collect(
        self,
        plan: ChainPlan,
        underlying_key: str,
        chosen: list[ev.ContractDetails],
        expiry: str,
        price: float,
        row: ev.OptionParametersReceived,
        now: float,
    ) -> Chain | frozenset[str]:
        keys = {details.contract.key for details in chosen}
        if keys - plan.held:
            plan.settle_at = now + self._settings.settle_s
        for key in plan.held - keys - {underlying_key}:
            self._let_go(plan, key, now)
        self._require_lines(plan, keys)
        lines = [self._hold(plan, details.contract, now) for details in chosen]
        if now < plan.settle_at and not all(self._is_settled(line, now) for line in lines):
            return frozenset(f"quote:{key}" for key in keys)
        if all(line.updated_at is None for line in lines):
            raise first_failure(lines) or self._nothing_came(plan, keys)
        return Chain(
            symbol=plan.spec.underlying.symbol,
            expiry=expiry,
            underlying_price=price,
            rows=tuple(chain_row(line) for line in lines),
            multiplier=row.multiplier,
            trading_class=row.trading_class,
            time_ns=self._time.wall_ns(now),
            min_tick=min(details.min_tick for details in chosen),
            price_bands=chosen[0].price_bands,
        )

    def _nothing_came(self, plan: ChainPlan, keys: set[str]) -> ProxyError:
        name = plan.spec.underlying.key
        if self._quotes.are_queued(keys):
            return error(Verdict.LINES_FULL, f"no market data line is free for the options of {name}", retry_in_s=5.0)
        return error(Verdict.NO_DATA, f"no quote of any option of {name} came; is its market open?")

    def _is_settled(self, line: Line, now: float) -> bool:
        """Everything came, or what is missing had its time already, for somebody else's chain."""
        return is_filled(line) or (line.updated_at is not None and now - line.opened_at > self._settings.settle_s)

    def _require_lines(self, plan: ChainPlan, keys: set[str]) -> None:
        """All or nothing: half a chain helps nobody, and lines for quotes and bars must be left."""
        missing = sum(key not in self._lines for key in keys)
        if missing and len(self._lines) + missing > self._settings.lines_max:
            text = (
                f"the chain of {plan.spec.underlying.key} needs {missing} more market data lines; chains hold"
                f" {len(self._lines)} of the {self._settings.lines_max} they may have"
            )
            raise error(Verdict.LINES_FULL, text, retry_in_s=5.0)

    def _hold(self, plan: ChainPlan, contract: Contract, now: float) -> Line:
        if contract.key not in plan.held:
            plan.held.add(contract.key)
            self._lines[contract.key] += 1
        return self._quotes.hold(contract, plan.holder, now)

    def _let_go(self, plan: ChainPlan, key: str, now: float) -> None:
        plan.held.discard(key)
        self._lines[key] -= 1
        if not self._lines[key]:
            del self._lines[key]
        self._quotes.release(key, plan.holder, now)


# ---------------------------------------------------------------- the rules, free of state


def pick_expiry(
    rows: tuple[ev.OptionParametersReceived, ...], symbol: str, wanted: str, date: str
) -> tuple[str, ev.OptionParametersReceived]:
    """The expiry and its row. Raises ContractUnknown naming the nearest ones when the wanted expiry is not listed."""
    candidates = smart_rows(rows, symbol)
    if wanted == "nearest":
        listed = sorted(
            (expiry, index) for index, row in enumerate(candidates) for expiry in row.expirations if expiry >= date
        )
        if not listed:
            raise error(Verdict.NO_DATA, f"no expiration of {symbol} on or after {date} is listed")
        return listed[0][0], candidates[listed[0][1]]
    for row in [*candidates, *rows]:
        if wanted in row.expirations:
            return wanted, row
    near = sorted({expiry for row in rows for expiry in row.expirations}, key=lambda e: abs(int(e) - int(wanted)))[:3]
    raise ContractUnknown(f"{symbol} has no expiry {wanted}; the nearest are {', '.join(sorted(near)) or 'none'}")


def sides(strikes: Iterable[float], around: float) -> tuple[list[float], list[float]]:
    """The strikes up to the money, downwards, and those above it, upwards."""
    ordered = sorted(strikes)
    at = bisect_right(ordered, around)
    return ordered[:at][::-1], ordered[at:]


def around_the_money(found: dict[float, list[ev.ContractDetails]], around: float, width: int) -> list[float]:
    """The strike nearest to `around` and up to `width` on each side, ascending."""
    strikes = sorted(found)
    at = strikes.index(min(strikes, key=lambda strike: (abs(strike - around), strike)))
    return strikes[max(0, at - width) : at + width + 1]


def mid_or_last(quote: Quote) -> float | None:
    """The middle of bid and ask, else the last trade."""
    if quote.bid and quote.ask and quote.ask >= quote.bid:
        return round((quote.bid + quote.ask) / 2, 4)
    return quote.last


def is_filled(line: Line) -> bool:
    """Everything a strategy looks at has come, or the line has failed and nothing will."""
    if line.failure is not None:
        return True
    quote = line.quote
    return None not in (quote.bid, quote.ask, quote.volume, line.open_interest, line.iv)


def first_failure(lines: list[Line]) -> ProxyError | None:
    return next((line.failure for line in lines if line.failure is not None), None)


def chain_row(line: Line) -> ChainRow:
    quote, contract = line.quote, line.contract
    assert contract.right in RIGHTS
    return ChainRow(
        strike=contract.strike,
        right=contract.right,
        con_id=contract.con_id,
        bid=quote.bid,
        ask=quote.ask,
        last=quote.last,
        volume=quote.volume,
        open_interest=line.open_interest,
        iv=line.iv,
        delta=line.delta,
        gamma=line.gamma,
        theta=line.theta,
        vega=line.vega,
    )


def columns(chain: Chain) -> dict[str, object]:
    """The chain by columns: picking a strike on columns is far cheaper than over rows (performance 2)."""
    names = (
        "strike",
        "right",
        "con_id",
        "bid",
        "ask",
        "last",
        "volume",
        "open_interest",
        "iv",
        "delta",
        "gamma",
        "theta",
        "vega",
    )
    return {
        "symbol": chain.symbol,
        "expiry": chain.expiry,
        "underlying_price": chain.underlying_price,
        "multiplier": chain.multiplier,
        "trading_class": chain.trading_class,
        "min_tick": chain.min_tick,
        "price_bands": chain.price_bands,
        "time_ns": chain.time_ns,
        "columns": {name: [getattr(row, name) for row in chain.rows] for name in names},
    }
