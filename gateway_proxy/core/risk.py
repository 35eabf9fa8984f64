"""Limits: what may be opened at all. Pure; the tightest of global, account and engine wins.

Judged in the worst case: everything that may be live is counted as if it filled. Orders that only reduce a position
pass the caps on opening, so that a limit never locks a trader into a position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Lt

from gateway_proxy.bus.messages import AccountValues, Action, Contract, Quote
from gateway_proxy.core.day import Day
from gateway_proxy.core.last_minute import LastMinute


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one scope. None: no cap here (another scope may have one)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_quantity: Annotated[int, Gt(0)] | None = None  # shares or contracts of one order
    max_notional: Annotated[float, Gt(0)] | None = None  # price x quantity x multiplier of one order, in currency
    max_position: Annotated[float, Gt(0)] | None = None  # shares or contracts per instrument, worst case, either side
    max_open_orders: Annotated[int, Gt(0)] | None = None  # client orders that may still fill an entry
    max_orders_per_minute: Annotated[int, Gt(0)] | None = None  # entries accepted in any 60 s
    max_cancels_per_minute: Annotated[int, Gt(0)] | None = None  # cancels asked for by engines in any 60 s
    daily_loss: Annotated[float, Gt(0)] | None = None  # realised, and open risk down to every stop, in currency
    max_data_age_s: Annotated[float, Gt(0)] | None = None  # of data that an opening order cites, when written
    require_citation: bool = False  # True: an opening order must cite the data it was decided on


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """The global caps, and tighter ones per engine or account (which can never loosen the global ones)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_quantity: Annotated[int, Gt(0)] | None = 100  # shares or contracts of one order
    max_notional: Annotated[float, Gt(0)] | None = 100_000.0  # price x quantity x multiplier of one order
    max_position: Annotated[float, Gt(0)] | None = 200.0  # shares or contracts per instrument, worst case
    max_open_orders: Annotated[int, Gt(0)] | None = 15  # IB holds 15 per contract, side and account (rule book 5.2)
    max_orders_per_minute: Annotated[int, Gt(0)] | None = 20  # entries in any 60 s, all engines together
    max_cancels_per_minute: Annotated[int, Gt(0)] | None = 60  # cancels in any 60 s, all engines together
    daily_loss: Annotated[float, Gt(0)] | None = 1_000.0  # in account currency; openings stop here
    max_data_age_s: Annotated[float, Gt(0)] | None = 120.0  # an opening order that cites older data is refused
    require_citation: bool = False  # True: an opening order without `cites` is refused
    max_efficiency_ratio: Annotated[float, Gt(0)] | None = 20.0  # IB calls more excessive (rule book 5.2)
    efficiency_free_messages: Annotated[int, Ge(0)] = 200  # messages of a day before the ratio is judged at all
    price_collar_fraction: Annotated[float, Gt(0), Lt(1)] | None = 0.1  # how far through the quote a price may reach
    max_quote_age_s: Annotated[float, Gt(0)] = 15.0  # older quotes do not count
    allowed_symbols: tuple[str, ...] = ()  # empty: every symbol
    allowed_sec_types: tuple[str, ...] = ("STK", "OPT")  # kinds of instrument that may be opened
    allowed_actions: tuple[Literal["BUY", "SELL"], ...] = ("BUY", "SELL")  # sides an opening order may have
    allowed_order_types: tuple[str, ...] = ("LMT",)  # of opening orders; exits may be of any type
    trading_hours_only: bool = True  # nothing is opened outside the contract's liquid hours
    close_cutoff_s: Annotated[float, Ge(0)] = 0.0  # seconds of market time before the close in which nothing is opened
    expiry_cutoff_s: Annotated[float, Ge(0)] = 300.0  # the same for an option on its last day
    reduce_only: bool = False  # True: only orders that reduce a position
    engines: dict[str, Limits] = field(default_factory=dict)  # by engine name
    accounts: dict[str, Limits] = field(default_factory=dict)  # by account id


_GLOBAL_CAPS: Final = tuple(one.name for one in fields(Limits))


@dataclass(frozen=True, slots=True)
class Ask:
    """One order that wants to go. `price` is its limit or, for a market order, the quote it would meet."""

    engine: str
    account: str
    contract: Contract
    action: Action
    quantity: int
    order_type: str
    price: float | None
    multiplier: float
    risk: float = 0.0


@dataclass(frozen=True, slots=True)
class Open:
    """What may still fill of an order that is already out or reserved. `engine` is "" for foreign orders."""

    engine: str
    account: str
    key: str
    action: Action
    remaining: float
    risk: float = 0.0
    opening: bool = True


@dataclass(frozen=True, slots=True)
class Held:
    """A position. `engine` "" is the account's position as the broker tells it, otherwise what that engine traded."""

    engine: str
    account: str
    key: str
    quantity: float


@dataclass(frozen=True, slots=True)
class Guarded:
    """A position behind a stop: `risk` is what it loses from its entry's price to the stop, in currency."""

    engine: str
    account: str
    risk: float


@dataclass(frozen=True, slots=True)
class Book:
    """Everything that counts at this moment."""

    open: Sequence[Open]
    held: Sequence[Held]
    account: AccountValues | None
    quote: Quote | None
    quote_age_s: float | None
    guarded: Sequence[Guarded] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """One row of caps and whom it covers."""

    name: str
    caps: Limits
    engine: str | None = None
    account: str | None = None

    def covers(self, engine: str, account: str) -> bool:
        return self.engine in (None, engine) and self.account in (None, account)


def _over(limit: str, scope: str, value: float, cap: float) -> str:
    return f"limit {limit} ({scope}): {value:.10g} would exceed {cap:.10g}"


def _sign(action: Action) -> int:
    return 1 if action == "BUY" else -1


def reaches(ask: Ask, book: Book, *, engine: str | None = None, account: str | None = None) -> float:
    """The signed position if this and everything open on its side fills. `engine` None: the broker's positions."""
    here = sum(
        one.quantity
        for one in book.held
        if one.engine == (engine or "") and one.key == ask.contract.key and account in (None, one.account)
    )
    pending = sum(
        one.remaining
        for one in book.open
        if one.key == ask.contract.key
        and one.action == ask.action
        and engine in (None, one.engine)
        and account in (None, one.account)
    )
    return here + _sign(ask.action) * (pending + ask.quantity)


def reduces(ask: Ask, book: Book) -> bool:
    """True if the account's position can only shrink, whatever else fills."""
    before = sum(
        one.quantity
        for one in book.held
        if one.engine == "" and one.account == ask.account and one.key == ask.contract.key
    )
    after = reaches(ask, book, account=ask.account)
    return before * _sign(ask.action) < 0 and after * before >= 0


class Risk:
    """The limits with the memory they need: when entries and cancels went, and what `day` counts."""

    def __init__(self, settings: RiskSettings, day: Day | None = None) -> None:
        self.settings = settings
        self.day = day if day is not None else Day()
        everywhere = Limits(**{name: getattr(settings, name) for name in _GLOBAL_CAPS})
        self._scopes = (
            Scope("global", everywhere),
            *(Scope(f"account {name}", caps, account=name) for name, caps in settings.accounts.items()),
            *(Scope(f"engine {name}", caps, engine=name) for name, caps in settings.engines.items()),
        )
        self._entries = LastMinute()
        self._cancels = LastMinute()

    def refusal(self, ask: Ask, book: Book, now: float, *, counted: bool = False) -> str | None:
        """Why this order may not go, naming limit, value and cap; None if it may.

        `counted`: it is asked about again, so it does not count once more against the rates.
        """
        reducing = reduces(ask, book)
        reason = next(self._reasons(ask, book, reducing), None)
        return reason if reason or counted or reducing else next(self._rates(ask, now), None)

    def cancel_refusal(self, engine: str, account: str, now: float) -> str | None:
        """Why this cancel may not go. Cancels of the proxy itself (kill switch, dead-man) do not ask."""
        return self._rate("max_cancels_per_minute", self._cancels, engine, account, now)

    def entered(self, engine: str, account: str, now: float) -> None:
        self._entries.add(engine, account, now)

    def cancelled(self, engine: str, account: str, now: float) -> None:
        self._cancels.add(engine, account, now)

    def scopes_of(self, engine: str, account: str) -> Iterator[Scope]:
        """The caps that bind an order of this engine on this account."""
        return (scope for scope in self._scopes if scope.covers(engine, account))

    @property
    def efficiency_ratio(self) -> float:
        """(submissions + revisions + cancels) / (executed orders + 1), as IB computes it (rule book 5.2)."""
        return self.day.messages / (self.day.executed_orders + 1)

    def _reasons(self, ask: Ask, book: Book, reducing: bool) -> Iterator[str]:
        yield from self._size(ask, reducing)
        yield from self._collar(ask, book)
        if reducing:
            return
        yield from self._instrument(ask)
        yield from self._exposure(ask, book)
        yield from self._loss(ask, book)

    def _size(self, ask: Ask, reducing: bool) -> Iterator[str]:
        """A reducing order may be as large as the position, which the caps on opening have bounded."""
        if reducing:
            return
        for scope in self._covering(ask):
            caps = scope.caps
            if caps.max_quantity is not None and ask.quantity > caps.max_quantity:
                yield _over("max_quantity", scope.name, ask.quantity, caps.max_quantity)
            if caps.max_notional is None:
                continue
            if ask.price is None:
                yield f"limit max_notional ({scope.name}): no price to value a {ask.order_type} order with"
            elif (notional := ask.price * ask.quantity * ask.multiplier) > caps.max_notional:
                yield _over("max_notional", scope.name, notional, caps.max_notional)

    def _collar(self, ask: Ask, book: Book) -> Iterator[str]:
        fraction = self.settings.price_collar_fraction
        if fraction is None or ask.price is None or ask.order_type in ("STP", "STP LMT"):
            return
        quote, age_s = book.quote, book.quote_age_s
        if quote is None or age_s is None:
            yield f"limit price_collar: no quote of {ask.contract.key} to compare with"
        elif age_s > self.settings.max_quote_age_s:
            yield _over("max_quote_age_s", "global", age_s, self.settings.max_quote_age_s)
        elif ask.action == "BUY" and quote.ask is not None:
            if ask.price > quote.ask * (1 + fraction):
                yield _over("price_collar", f"ask {quote.ask:.10g}", ask.price, quote.ask * (1 + fraction))
        elif ask.action == "SELL" and quote.bid is not None:
            if ask.price < quote.bid * (1 - fraction):
                yield (
                    f"limit price_collar (bid {quote.bid:.10g}): {ask.price:.10g} would be below "
                    f"{quote.bid * (1 - fraction):.10g}"
                )
        else:
            yield f"limit price_collar: no valid two-sided quote of {ask.contract.key}"

    def _instrument(self, ask: Ask) -> Iterator[str]:
        settings = self.settings
        if settings.reduce_only:
            yield "limit reduce_only: only orders that reduce a position are allowed"
        for name, value, allowed in (
            ("allowed_sec_types", ask.contract.sec_type, settings.allowed_sec_types),
            ("allowed_symbols", ask.contract.symbol, settings.allowed_symbols or (ask.contract.symbol,)),
            ("allowed_actions", ask.action, settings.allowed_actions),
            ("allowed_order_types", ask.order_type, settings.allowed_order_types),
        ):
            if value not in allowed:
                yield f"limit {name}: {value} is not one of {', '.join(allowed)}"

    def _exposure(self, ask: Ask, book: Book) -> Iterator[str]:
        for scope in self._covering(ask):
            caps = scope.caps
            count = 1 + sum(1 for one in book.open if one.opening and scope.covers(one.engine, one.account))
            if caps.max_open_orders is not None and count > caps.max_open_orders:
                yield _over("max_open_orders", scope.name, count, caps.max_open_orders)
            worst = abs(reaches(ask, book, engine=scope.engine, account=scope.account))
            if caps.max_position is not None and worst > caps.max_position:
                yield _over("max_position", scope.name, worst, caps.max_position)

    def _rates(self, ask: Ask, now: float) -> Iterator[str]:
        if reason := self._rate("max_orders_per_minute", self._entries, ask.engine, ask.account, now):
            yield reason
        ratio_cap = self.settings.max_efficiency_ratio
        if ratio_cap is not None and self.day.messages >= self.settings.efficiency_free_messages:
            ratio = (self.day.messages + 1) / (self.day.executed_orders + 1)
            if ratio > ratio_cap:
                yield _over("max_efficiency_ratio", "global", ratio, ratio_cap)

    def _loss(self, ask: Ask, book: Book) -> Iterator[str]:
        for scope in self._covering(ask):
            cap = scope.caps.daily_loss
            if cap is None:
                continue
            result = self._result_at_stops(scope, book)
            if result is None:
                yield f"limit daily_loss ({scope.name}): the account's profit and loss has not arrived yet"
                return
            open_risk = sum(one.risk for one in book.open if scope.covers(one.engine, one.account))
            worst = ask.risk + open_risk - result
            if worst > cap:
                yield _over("daily_loss", scope.name, worst, cap)

    def _result_at_stops(self, scope: Scope, book: Book) -> float | None:
        """The day's result if every stop were hit now; None while IB has not told the account's.

        An engine is judged by its own executions and stops. A position that stands worse than its stop already counts
        as it stands, in the account's figures.
        """
        at_stops = -sum(one.risk for one in book.guarded if scope.covers(one.engine, one.account))
        if scope.engine is not None:
            return self.day.realized.get(scope.engine, 0.0) + at_stops
        result = day_result(book.account, sum(self.day.realized.values()))
        if result is None or book.account is None:
            return None
        unrealized = book.account.unrealized_pnl or 0.0
        return result - unrealized + min(unrealized, at_stops)

    def _rate(self, limit: str, recent: LastMinute, engine: str, account: str, now: float) -> str | None:
        for scope in self._scopes:
            cap = getattr(scope.caps, limit)
            if cap is None or not scope.covers(engine, account):
                continue
            count = 1 + recent.count(scope.covers, now)
            if count > cap:
                return _over(limit, scope.name, count, cap)
        return None

    def _covering(self, ask: Ask) -> Iterator[Scope]:
        return self.scopes_of(ask.engine, ask.account)


def day_result(account: AccountValues | None, realized: float = 0.0) -> float | None:
    """Profit or loss of the exchange day: IB's own daily figure, else realised plus unrealised; None while unknown.

    `realized` is what our own executions of the day made: where it says worse than IB's figure, it counts, because
    IB's is late after a fill and starts anew when the Gateway does.
    """
    if account is None:
        return None
    if account.daily_pnl is None and account.realized_pnl is None and account.unrealized_pnl is None:
        return None
    unrealized = account.unrealized_pnl or 0.0
    theirs = account.daily_pnl if account.daily_pnl is not None else (account.realized_pnl or 0.0) + unrealized
    return min(theirs, realized + unrealized) if realized < 0 else theirs
