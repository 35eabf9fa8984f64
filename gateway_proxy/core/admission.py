"""Admission: may this order go, now? Pure.

Joins everything that can say no: mode and account, the gate that health and reconciliation hold, the kill switch,
orders of unknown fate on the same instrument, and the limits of core/risk.py. Asked when a request arrives and again
when pacing lets it go, because the world moves in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt

from gateway_proxy.bus.messages import AccountValues, Action, BracketArgs, Citation, Contract, Mode, PlaceArgs, Quote
from gateway_proxy.core.citations import Told, stale_data
from gateway_proxy.core.events import ContractDetails, OpenOrderReceived
from gateway_proxy.core.orders import POSSIBLY_LIVE, Order, State
from gateway_proxy.core.positions import Positions
from gateway_proxy.core.register import Register
from gateway_proxy.core.risk import Ask, Book, Guarded, Held, Open, Risk, reduces
from gateway_proxy.core.tickets import multiplier_of, risk_of
from gateway_proxy.core.trading_hours import hours_bar
from gateway_proxy.errors import Refused

#: Every paper account of IB begins with it.
PAPER_PREFIX = "D"


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """How the order path waits, and whose account it trades."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    account: str = ""  # the account that trades; "" takes the login's only one
    live_confirmed: str = ""  # the account id as typed by the operator; comes from the command line, never from a file
    queue_deadline_s: Annotated[float, Gt(0)] = 5.0  # an order not written by then is never sent
    ack_timeout_s: Annotated[float, Gt(0)] = 4.0  # silence after writing; then the answer is "unknown"
    quote_wait_s: Annotated[float, Gt(0)] = 3.0  # how long a request waits for the quote its price is checked against
    entry_good_for_s: Annotated[float, Ge(0)] = 120.0  # DAY entries die at IB after this; 0 leaves them DAY
    sweep_spacing_s: Annotated[float, Gt(0)] = 5.0  # between two sweeps that shall prove absence
    sweep_step_timeout_s: Annotated[float, Gt(0)] = 5.0  # each request of a sweep must end by then
    absence_wait_s: Annotated[float, Ge(0)] = 60.0  # after a lost link, for orders without an expiry at IB
    news_grace_s: Annotated[float, Gt(0)] = (
        1.0  # messages about one event (cancel and fill of an OCA pair) are this close
    )
    dead_man_s: Annotated[float, Ge(0)] = 30.0  # silence of an engine that used to send heartbeats; 0 is off
    position_mismatch: Literal["lock", "adopt"] = "lock"  # when the broker holds what our fills do not explain
    waiters_max: Annotated[int, Gt(0)] = 16  # repeated requests waiting for one answer; more are refused


@dataclass(frozen=True, slots=True)
class Case:
    """One order that wants to go and what it is judged by. `counted`: it is one of the open ones already."""

    ask: Ask
    book: Book
    reducing: bool
    counted: bool


class Admission:
    """Holds the present facts; decides nothing by itself but yes or no."""

    def __init__(
        self,
        settings: OrderSettings,
        risk: Risk,
        register: Register,
        positions: Positions,
        foreign: dict[int, OpenOrderReceived],
        told: Told,
        *,
        mode: Mode,
    ) -> None:
        self._settings = settings
        self._told = told
        self._risk = risk
        self._register = register
        self._positions = positions
        self._foreign = foreign
        self._mode = mode
        self._gate_reason = "the proxy is starting"
        self._recovering = "recovering: orders are being reconciled with IB"
        self._accounts: tuple[str, ...] = ()
        self._values: dict[str, AccountValues] = {}
        self._quotes: dict[str, tuple[Quote, float]] = {}

    # ---------------------------------------------------------------- facts

    def gate(self, *, ready: bool, reason: str) -> None:
        self._gate_reason = "" if ready else reason or "not ready"

    def recovering(self, reason: str) -> None:
        """Reconciliation holds the gate as well; "" lets go."""
        self._recovering = reason

    @property
    def is_recovering(self) -> bool:
        return bool(self._recovering)

    @property
    def gate_reason(self) -> str:
        """Why no order may be written at all; "" when it may."""
        return self._gate_reason or self._recovering

    def session_opened(self, accounts: tuple[str, ...]) -> None:
        self._accounts = accounts

    def receive_account(self, values: AccountValues) -> None:
        self._values[values.account] = values

    def receive_quote(self, quote: Quote, now: float) -> None:
        self._quotes[quote.symbol] = (quote, now)

    def quote(self, key: str, now: float) -> Quote | None:
        """The last quote, if it is young enough to trade on."""
        quote, at = self._quotes.get(key, (None, 0.0))
        return quote if quote is not None and now - at <= self._risk.settings.max_quote_age_s else None

    def needs_quote(self, ask: Ask, now: float) -> bool:
        """True when the price of this order cannot be judged yet."""
        stop = ask.order_type in ("STP", "STP LMT")
        judged = ask.order_type == "MKT" or (self._risk.settings.price_collar_fraction is not None and not stop)
        return judged and self._market_price(ask.action, ask.contract, now) is None

    # ---------------------------------------------------------------- answers

    def account(self) -> str:
        """The account orders go to. Raises Refused when mode and account do not belong together."""
        account = self._settings.account or (self._accounts[0] if len(self._accounts) == 1 else "")
        if not account:
            raise Refused(f"which account? the login has {len(self._accounts)}; set [trading] account")
        if self._accounts and account not in self._accounts:
            raise Refused("the configured account does not belong to this login")
        if self._mode == "paper" and not account.startswith(PAPER_PREFIX):
            raise Refused(f"mode is paper, but the account is not a paper account (they begin with {PAPER_PREFIX!r})")
        if self._mode == "live" and self._settings.live_confirmed != account:
            raise Refused("mode is live, but this account was not confirmed on the command line")
        return account

    def hours_bar(self, details: ContractDetails, wall_ns: int) -> str:
        """Why no position may be opened at this time of day; "" when it may."""
        limits = self._risk.settings
        if not limits.trading_hours_only:
            return ""
        cutoffs = {"close_cutoff_s": limits.close_cutoff_s, "expiry_cutoff_s": limits.expiry_cutoff_s}
        return hours_bar(details, wall_ns, **cutoffs)

    def opening_bar(self, key: str) -> str:
        """Why no position may be opened on this instrument now, limits aside; "" when it may."""
        if self._register.halted:
            return f"trading is halted: {self._register.halted}"
        for order in self._register.open_orders():
            if order.contract.key == key and order.state is State.UNKNOWN and order.opening:
                return f"order {order.client_order_id} on {key} is of unknown fate; treat it as live"
        return ""

    def stale_data(self, ask: Ask, cites: Sequence[Citation], now: float) -> str:
        """Why no position may be opened on the data that the order cites; "" when one may."""
        return stale_data(cites, self._told, self._risk.scopes_of(ask.engine, ask.account), now)

    def ask_of(self, args: PlaceArgs | BracketArgs, contract: Contract, account: str, now: float) -> Ask:
        order_type = "LMT" if isinstance(args, BracketArgs) else args.order_type
        price = args.limit_price
        if price is None and isinstance(args, PlaceArgs):
            price = args.stop_price if args.stop_price is not None else self._market_price(args.action, contract, now)
        return Ask(
            engine=args.engine,
            account=account,
            contract=contract,
            action=args.action,
            quantity=args.quantity,
            order_type=order_type,
            price=price,
            multiplier=multiplier_of(contract),
            risk=risk_of(args, contract),
        )

    def ask_again(self, order: Order, now: float, *, price: float | None = None) -> Ask:
        """The same question for an order that waited in the queue, or shall move to `price`."""
        ticket = order.entry.ticket
        if price is None:
            price = ticket.limit_price if ticket.limit_price is not None else ticket.stop_price
        return Ask(
            engine=order.engine,
            account=order.account,
            contract=order.contract,
            action=ticket.action,
            quantity=ticket.quantity,
            order_type=ticket.order_type,
            price=price if price is not None else self._market_price(ticket.action, order.contract, now),
            multiplier=order.multiplier,
            risk=order.risk,
        )

    def case(self, ask: Ask, now: float, *, besides: str = "") -> Case:
        """`besides`: the order itself, when it is counted already."""
        book = self.book(ask, now, besides=besides)
        return Case(ask, book, reduces(ask, book), counted=bool(besides))

    def refusal(self, case: Case, now: float) -> str:
        """Why the limits forbid it, "" when they do not."""
        return self._risk.refusal(case.ask, case.book, now, counted=case.counted) or ""

    def book(self, ask: Ask, now: float, *, besides: str = "") -> Book:
        """Everything the limits look at, in the worst case for this order."""
        key = ask.contract.key
        quote, at = self._quotes.get(key, (None, now))
        ours = (
            _open(order)
            for order in self._register.open_orders()
            if order.client_order_id != besides and order.entry.state in POSSIBLY_LIVE
        )
        foreign = () if self._mode == "dry-run" else map(_open_foreign, self._foreign.values())
        return Book(
            open=(*ours, *foreign),
            held=tuple(self._held(key, ask.action)),
            account=self._values.get(ask.account),
            quote=quote,
            quote_age_s=None if quote is None else now - at,
            guarded=tuple(_guarded(order) for order in self._register.open_orders() if order.exits),
        )

    def _held(self, key: str, action: Action) -> Iterator[Held]:
        """Of the instrument in question only: no limit looks at another one's positions."""
        dry = self._mode == "dry-run"
        for (engine, account, traded, simulated), quantity in self._register.traded.items():
            if traded == key and simulated is dry:
                yield Held(engine, account, key, quantity)
        broker = self._positions.simulated(key) if dry else self._positions.worst(key, action)
        for account, quantity in broker.items():
            yield Held("", account, key, quantity)

    def _market_price(self, action: Action, contract: Contract, now: float) -> float | None:
        quote = self.quote(contract.key, now)
        if quote is None:
            return None
        return quote.ask if action == "BUY" else quote.bid


def _open_foreign(order: OpenOrderReceived) -> Open:
    """Somebody else's order fills on the same account; what it filled already is in the reported position."""
    return Open("", order.account, order.contract.key, order.action, order.quantity)


def _guarded(order: Order) -> Guarded:
    """What a bracket's position can lose, by the price of its stop today. While its entry is live, its risk counts."""
    entry, stop = order.entry.ticket, order.leg("stop_loss").ticket
    if order.entry.state in POSSIBLY_LIVE or entry.limit_price is None or stop.stop_price is None:
        return Guarded(order.engine, order.account, 0.0)
    held = order.entry.filled - sum(leg.filled for leg in order.exits)
    distance = (entry.limit_price - stop.stop_price) * (1 if order.action == "BUY" else -1)
    return Guarded(order.engine, order.account, max(0.0, held * distance * order.multiplier))


def _open(order: Order) -> Open:
    return Open(
        engine=order.engine,
        account=order.account,
        key=order.contract.key,
        action=order.action,
        remaining=order.entry.remaining,
        risk=order.risk,
        opening=order.opening,
    )
