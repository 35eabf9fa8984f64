"""The blotter: every order of the day, what happens to it and in which order. Pure.

It decides acceptance, brackets, OCA groups, fills, cancels and expiry, and tells what clients must hear as a list of
events; it knows no message and no socket. Codes and texts: rule book 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from gateway_sim.accounts import Account, commission_of
from gateway_sim.calendar import local
from gateway_sim.contracts import Contract
from gateway_sim.market import Market
from gateway_sim.matching import (
    LIMIT_KINDS,
    STOP_KINDS,
    Fill,
    fill_against,
    follow_market,
    is_triggered,
)
from gateway_sim.order_events import Event, FillNews, Notice, OrderNews, WhatIfNews
from gateway_sim.order_messages import OPTION_VENUE, STOCK_VENUE
from gateway_sim.order_register import OrderRegister
from gateway_sim.order_request import PlaceOrder
from gateway_sim.order_rules import Refusal, acceptance_refusal, modification_refusal
from gateway_sim.orders import Execution, Order, Status
from gateway_sim.quotes import Quote, mixed
from gateway_sim.timestamps import parse_when

CANCELLED_TEXT = "Order Canceled - reason:"


class Blotter:
    """All orders of the account and what becomes of them."""

    def __init__(self, account: Account, market: Market, first_perm_id: int = 1_700_000_000) -> None:
        self.account = account
        self._market = market
        self._register = OrderRegister(first_perm_id)
        self.executions: list[Execution] = []
        self._events: list[Event] = []
        self._resting: set[int] = set()
        self._now = 0.0
        self._fills = 0

    # --- questions ---

    def events(self) -> list[Event]:
        """What clients must be told, in order; empties the list."""
        events, self._events = self._events, []
        return events

    def next_order_id(self, client_id: int) -> int:
        return self._register.next_order_id(client_id)

    def orders(self) -> Iterator[Order]:
        yield from self._register

    def find(self, client_id: int, order_id: int) -> Order | None:
        return self._register.find(client_id, order_id)

    def open_orders(self, client_id: int | None) -> list[Order]:
        """Live orders of one client, or of all; held ones are invisible (rule book 5.1)."""
        return [o for o in self._register if o.is_live and client_id in (None, o.client_id)]

    def completed_orders(self) -> list[Order]:
        return [o for o in self._register if o.is_done and o.completed_status]

    def has_live(self) -> bool:
        return any(order.is_live for order in self._register)

    def mark(self, contract: Contract, market_s: float) -> float:
        return self._market.quote(contract, market_s).mark

    def mark_of(self, market_s: float) -> Callable[[Contract], float]:
        return lambda contract: self.mark(contract, market_s)

    # --- what clients ask ---

    def place(
        self,
        request: PlaceOrder,
        contract: Contract | None,
        client_id: int,
        now: float,
        market_s: float,
        any_id: bool = False,
    ) -> None:
        """A new order, a modification or a what-if. now: elapsed seconds; market_s: market epoch seconds.

        any_id: the id need not be above all earlier ones (orders placed by hand, or delayed inside the Gateway).
        """
        self._now = now
        known = self._register.find(client_id, request.order_id)
        if known is not None and not request.what_if:
            self._modify(known, request, contract, market_s)
            return
        refusal = self._refusal(request, contract, client_id, market_s, any_id)
        if refusal is not None or contract is None:
            self._refuse(
                request, client_id, refusal or Refusal(200, "No security definition has been found for the request")
            )
            return
        request = replace(request, account=request.account or self.account.name)
        order = Order(request, contract, client_id, self._register.take_perm_id(), now)
        if request.what_if:
            order.status = Status.PRE_SUBMITTED
            self._events.append(WhatIfNews(order))
            return
        self._register.keep(order)
        parent = self._register.parent_of(order)
        if parent is not None:
            parent.children.append(order.perm_id)
        if request.transmit:
            self._transmit_family(order, market_s)

    def cancel(self, client_id: int, order_id: int, market_s: float) -> None:
        """Cancel on the client's request: 10147 if unknown, 10148 if it is over."""
        order = self._register.find(client_id, order_id)
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self._events.append(Notice(client_id, order_id, 10147, text))
            return
        if order.is_done:
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            self._events.append(Notice(client_id, order_id, 10148, text))
            return
        self.finish(order, market_s, "Cancelled by Trader")

    def bind_manual_orders(self, client_id: int) -> list[Order]:
        """Give every order placed by hand (negative id) the client's next order id; returns them."""
        bound = [order for order in self._register if order.order_id < 0 and order.is_live]
        for order in bound:
            self._register.forget(order)
            order.client_id = client_id
            order.request = replace(order.request, order_id=self._register.next_order_id(client_id))
            self._register.keep(order)
        return bound

    def cancel_all(self, market_s: float) -> None:
        for order in self._register:
            if not order.is_done and not order.request.parent_id:
                self.finish(order, market_s, "Cancelled by Trader")
        for order in self._register:
            if not order.is_done:
                self.finish(order, market_s, "Cancelled by Trader")

    # --- what time does ---

    def step(self, now: float, market_s: float, size_max: float | None = None) -> None:
        """Try every live order against the market of this moment. size_max: at most so much trades at once."""
        self._now = now
        quotes: dict[int, Quote] = {}
        for order in [o for o in self._register if o.is_live]:
            if not order.is_live or order.activated_s is None or now < order.activated_s:
                continue
            if self._expired(order, market_s):
                self.finish(order, market_s, "Cancelled by System")
                continue
            if not self._market.is_open(order.contract, market_s, order.request.outside_rth):
                continue
            quote = quotes.get(order.contract.con_id)
            if quote is None:
                quote = quotes[order.contract.con_id] = self._market.quote(order.contract, market_s)
            self._try(order, quote, market_s, size_max)

    def close_day(self, market_s: float, opened_s: float) -> None:
        """The regular close: day orders placed before it expire, expired options are settled in cash."""
        for order in self._register:
            day_order = order.request.tif in ("DAY", "IOC", "FOK") or order.contract.expiry_close == int(market_s)
            if order.is_live and day_order:
                self.finish(order, market_s, "Cancelled by System")
        for position in self.account.open_positions():
            contract = position.contract
            if contract.is_option and contract.expiry_close <= market_s:
                spot = self._market.spot(contract.listing, contract.expiry_close - 1)
                worth = max(0.0, spot - contract.strike if contract.is_call else contract.strike - spot)
                self.account.apply_fill(contract, -position.quantity, round(worth, 2), 0.0)

    def change_day(self, market_s: float) -> None:
        """Midnight: yesterday's executions and finished orders are no longer reported (rule book 5.6)."""
        self.executions.clear()
        self.account.change_day(self.mark_of(market_s))
        for order in self._register:
            if order.is_done:
                self._register.forget(order)

    def finish(
        self, order: Order, market_s: float, reason: str, code: int | None = 202, text: str = CANCELLED_TEXT
    ) -> None:
        """End an order unfilled, its children with it."""
        if order.is_done:
            return
        was_held = order.status is Status.HELD
        order.completed_s, order.completed_status = market_s, reason
        order.change_status(Status.CANCELLED)
        self._resting.discard(order.perm_id)
        if not was_held:
            self._events.append(OrderNews(order, Status.CANCELLED, opened=False))
        if code is not None:
            self._events.append(Notice(order.client_id, order.order_id, code, text))
        for child in self._register.children_of(order):
            self.finish(child, market_s, reason, code, text)

    # --- what only faults do ---

    def lose_last(self, count: int, rollback: bool) -> None:
        """Forget the last orders as if they had never come; with rollback their ids are given out again."""
        for order in list(self._register)[-count:] if count > 0 else []:
            self._register.forget(order)
            self.executions = [execution for execution in self.executions if execution.order is not order]
        if rollback:
            self._register.roll_back()

    def fork(self, order: Order, request: PlaceOrder) -> None:
        """A second live order of the same client and id, with another perm id; the first is known by perm id only."""
        twin = Order(
            replace(request, account=self.account.name),
            order.contract,
            order.client_id,
            self._register.take_perm_id(),
            self._now,
        )
        self._register.shadow(order, twin)
        twin.change_status(order.status)
        twin.activated_s = order.activated_s
        self._events.append(OrderNews(twin, twin.status))

    def fill_late(self, order: Order, price: float, market_s: float) -> None:
        """An order whose cancel was confirmed trades all the same."""
        if order.remaining > 0.0:
            self._book_fill(order, Fill(price, order.remaining), market_s)

    # --- inside ---

    def _refusal(
        self, request: PlaceOrder, contract: Contract | None, client_id: int, market_s: float, any_id: bool
    ) -> Refusal | None:
        if contract is None:
            return Refusal(200, "No security definition has been found for the request")
        register = self._register
        if register.is_used(client_id, request.order_id) and not request.what_if and not any_id:
            return Refusal(103, "Duplicate order id")
        if request.parent_id:
            parent = register.find(client_id, request.parent_id)
            if parent is None and not register.was_refused(client_id, request.parent_id):
                return Refusal(10006, "Missing parent order.")
            if parent is None or parent.status in (Status.CANCELLED, Status.INACTIVE):
                return Refusal(135, f"Can't find order with id ={request.parent_id}")
        same_side = register.working(contract, request.action)
        quote = self._market.quote(contract, market_s)
        return acceptance_refusal(request, contract, self.account, quote, same_side, self.mark_of(market_s), market_s)

    def _refuse(self, request: PlaceOrder, client_id: int, refusal: Refusal) -> None:
        if not request.what_if:
            self._register.refuse(client_id, request.order_id, use_up=refusal.code != 103)
        self._events.append(Notice(client_id, request.order_id, refusal.code, refusal.text))

    def _modify(self, order: Order, request: PlaceOrder, contract: Contract | None, market_s: float) -> None:
        refusal = modification_refusal(order, request, contract)
        if refusal is not None:
            self._events.append(Notice(order.client_id, order.order_id, refusal.code, refusal.text))
            return
        was_held = order.status is Status.HELD
        order.request = replace(request, account=request.account or self.account.name)
        self._resting.discard(order.perm_id)
        if was_held:
            if request.transmit:
                self._transmit_family(order, market_s)
            return
        if order.remaining <= 0.0:
            order.completed_s, order.completed_status = market_s, f"Filled Size: {order.filled:g}"
            order.change_status(Status.FILLED)
        self._events.append(OrderNews(order, order.status))

    def _transmit_family(self, order: Order, market_s: float) -> None:
        """Release an order, its held parent and siblings: the last child's transmit flag sends the bracket."""
        top = self._register.parent_of(order) or order
        for member in (top, *self._register.children_of(top)):
            if member.status is Status.HELD:
                self._release(member, market_s)

    def _release(self, order: Order, market_s: float) -> None:
        order.change_status(Status.PRE_SUBMITTED)
        self._events.append(OrderNews(order, Status.PRE_SUBMITTED))
        parent = self._register.parent_of(order)
        if parent is None or parent.status is Status.FILLED:
            self._activate(order, market_s)

    def _activate(self, order: Order, market_s: float) -> None:
        """Let it trade, 0.1 to 1 s from now."""
        order.activated_s = self._now + 0.1 + (mixed(order.perm_id, 7) % 900) / 1000.0
        open_now = self._market.is_open(order.contract, market_s, order.request.outside_rth)
        if not open_now:
            opening = local(self._market.calendar.next_open(market_s).open)
            text = (
                "Order Message:\nWarning: Your order will not be placed at the exchange until "
                f"{opening:%Y-%m-%d %H:%M:%S} US/Eastern."
            )
            self._events.append(Notice(order.client_id, order.order_id, 399, text))
        elif order.request.order_type == "LMT":
            order.change_status(Status.SUBMITTED)
            self._events.append(OrderNews(order, Status.SUBMITTED))

    def _expired(self, order: Order, market_s: float) -> bool:
        if order.contract.is_option and market_s >= order.contract.expiry_close:
            return True
        if order.request.tif != "GTD":
            return False
        until = parse_when(order.request.good_till, local(market_s).date())
        return until is not None and market_s >= until

    def _try(self, order: Order, quote: Quote, market_s: float, size_max: float | None) -> None:
        request = order.request
        if request.good_after:
            after = parse_when(request.good_after, local(market_s).date())
            if after is not None and market_s < after:
                return
        if not order.triggered:
            follow_market(order, quote)
            if not is_triggered(order, quote):
                return
            order.triggered = True
            if request.order_type in STOP_KINDS and order.change_status(Status.SUBMITTED):
                self._events.append(OrderNews(order, Status.SUBMITTED))
        if request.order_type in LIMIT_KINDS and order.status is Status.PRE_SUBMITTED:
            order.change_status(Status.SUBMITTED)
            self._events.append(OrderNews(order, Status.SUBMITTED))
        fill = fill_against(order, quote, order.perm_id in self._resting)
        if fill is not None:
            quantity = fill.quantity if size_max is None else min(fill.quantity, size_max)
            self.fill(order, Fill(fill.price, quantity), market_s)
        else:
            self._resting.add(order.perm_id)
        if request.tif in ("IOC", "FOK") and order.is_live:
            self.finish(order, market_s, "Cancelled by System")

    def fill(self, order: Order, fill: Fill, market_s: float) -> None:
        """Book a fill of an order and everything that follows from it."""
        self._book_fill(order, fill, market_s)
        self._settle_linked(order, fill, market_s)

    def _book_fill(self, order: Order, fill: Fill, market_s: float) -> None:
        commission = commission_of(order.contract, fill.quantity, fill.price)
        profit = self.account.apply_fill(order.contract, order.sign * fill.quantity, fill.price, commission)
        order.filled += fill.quantity
        order.value += fill.quantity * fill.price
        order.last_fill_price = fill.price
        order.commission += commission
        self._fills += 1
        execution = Execution(
            f"0000e0d5.{0x6a000000 + self._fills:08x}.01.01", market_s, order, fill.price,
            fill.quantity, order.filled, order.average_price, commission, profit,
            OPTION_VENUE if order.contract.is_option else STOCK_VENUE,
        )  # fmt: skip
        self.executions.append(execution)
        if order.remaining <= 1e-9:
            order.completed_s, order.completed_status = market_s, f"Filled Size: {order.filled:g}"
            if order.status is not Status.CANCELLED:  # a fill after a confirmed cancel leaves the status as it is
                order.change_status(Status.FILLED)
        self._events.append(FillNews(execution))

    def _settle_linked(self, order: Order, fill: Fill, market_s: float) -> None:
        """Siblings of a bracket and members of an OCA group: cancelled by a full fill, reduced by a partial one."""
        for other in self._register.linked_to(order):
            reduce_only = order.request.oca_type in (2, 3) or not order.request.oca_group
            if order.status is Status.FILLED or not reduce_only:
                self.finish(other, market_s, "Cancelled by System")
            else:
                left = max(other.filled, other.quantity - fill.quantity)
                other.request = replace(other.request, quantity=left)
                self._events.append(OrderNews(other, other.status))
        if order.status is Status.FILLED:
            for child in self._register.children_of(order):
                if child.is_live:
                    self._activate(child, market_s)
