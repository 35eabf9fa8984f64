"""The order desk: from order messages to the blotter, and from what happens there to what clients are told. Pure.

Sequence of a market order (wire reference b4): openOrder and orderStatus PreSubmitted, execDetails, openOrder and
orderStatus Filled, openOrder with the commission, commissionReport. Order news go to the client that owns the order
and to the master client; orders outlive the connection of their client.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway_sim import messages, order_messages
from gateway_sim.accounts import commission_of
from gateway_sim.calendar import TradingDay
from gateway_sim.floor import Floor, Handler
from gateway_sim.order_events import Event, FillNews, Notice, OrderNews, WhatIfNews
from gateway_sim.order_request import PlaceOrder
from gateway_sim.orders import Order, Status
from gateway_sim.requests import CancelOrder, ExecutionsRequest, Plain, Switch
from gateway_sim.session import Session

STEP_S = 0.25
STEP_MAX_S = 1.0
"""However far apart the batches are, the market is tried at least this often (simulated seconds)."""


class OrderDesk:
    """Answers everything about orders and executions."""

    def __init__(self, floor: Floor, master_client: int | None, on_fill: Callable[[], None]) -> None:
        self._floor = floor
        self._master_client = master_client
        self._on_fill = on_fill
        self._stepping = False
        self._stepped_until = 0.0
        self.handlers: dict[str, Handler] = {
            "placeOrder": self._place,
            "cancelOrder": self._cancel,
            "reqGlobalCancel": self._global_cancel,
            "reqOpenOrders": self._open_orders,
            "reqAllOpenOrders": self._all_open_orders,
            "reqAutoOpenOrders": self._auto_open_orders,
            "reqCompletedOrders": self._completed_orders,
            "reqExecutions": self._executions,
            "reqIds": self._ids,
        }
        self._book_day_end(floor.calendar.current(floor.market_s))

    # --- requests ---

    def _place(self, session: Session, request: PlaceOrder) -> None:
        floor = self._floor
        if request.what_if and (breach := floor.judge.what_if(floor.now)) is not None:
            # IB asks for at most one a minute and names no error for more: noted, and answered all the same.
            floor.violation(session, breach, kind="placeOrder", order_id=request.order_id)
        self.place(session.client_id, request)

    def place(self, client_id: int, request: PlaceOrder, any_id: bool = False) -> None:
        """Bring an order to the blotter; any_id as there."""
        floor = self._floor
        contract = (
            None if floor.faults.false_unknown(floor.now) else floor.book.find_one(request.contract, floor.market_s)
        )
        self._catch_up()
        floor.blotter.place(request, contract, client_id, floor.now, floor.market_s, any_id)
        self.publish()
        self._arm()

    def _cancel(self, session: Session, request: CancelOrder) -> None:
        floor = self._floor
        order = floor.blotter.find(session.client_id, request.order_id)
        floor.ledger.record(
            floor.now, session.client_id, "cancel", order_id=request.order_id, perm_id=order.perm_id if order else None
        )
        self._catch_up()
        floor.blotter.cancel(session.client_id, request.order_id, floor.market_s)
        self.publish()

    def _global_cancel(self, session: Session, request: Plain) -> None:
        self._floor.ledger.record(self._floor.now, session.client_id, "cancel", order_id=-1)
        self._catch_up()
        self._floor.blotter.cancel_all(self._floor.market_s)
        self.publish()

    def _open_orders(self, session: Session, request: Plain) -> None:
        self._send_open_orders(session, self._floor.blotter.open_orders(session.client_id), "reqOpenOrders")

    def _all_open_orders(self, session: Session, request: Plain) -> None:
        self._send_open_orders(session, self._floor.blotter.open_orders(None), "reqAllOpenOrders")

    def _send_open_orders(self, session: Session, orders: list[Order], kind: str) -> None:
        for order in orders:
            self._floor.tell(session, order_messages.open_order(session.version, order))
            self._floor.tell(session, order_messages.order_status(order))
        self._floor.tell(session, order_messages.open_order_end())
        self._floor.answered(session, kind, rows=len(orders))

    def _auto_open_orders(self, session: Session, request: Switch) -> None:
        """Client 0 takes over orders placed by hand: they get an id of its own (rule book 5.1)."""
        session.auto_bind = request.on and session.client_id == 0
        if session.auto_bind:
            self.bind_manual_orders(session)

    def bind_manual_orders(self, session: Session) -> None:
        for order in self._floor.blotter.bind_manual_orders(session.client_id):
            self._floor.tell(session, order_messages.order_bound(order))

    def _completed_orders(self, session: Session, request: Switch) -> None:
        orders = self._floor.blotter.completed_orders()
        for order in orders:
            self._floor.tell(session, order_messages.completed_order(session.version, order))
        self._floor.tell(session, order_messages.completed_orders_end())
        self._floor.answered(session, "reqCompletedOrders", rows=len(orders))

    def _executions(self, session: Session, request: ExecutionsRequest) -> None:
        floor = self._floor
        rows = 0
        for execution in list(floor.blotter.executions):
            order = execution.order
            side = "BUY" if order.is_buy else "SELL"
            wanted = (
                request.client_id in (0, order.client_id)
                and request.account in ("", order.request.account)
                and request.symbol in ("", order.contract.symbol)
                and request.sec_type in ("", order.contract.sec_type)
                and request.side.upper() in ("", side, "BOT" if order.is_buy else "SLD")
            )
            if wanted:
                rows += 1
                floor.tell(session, order_messages.execution_details(session.version, request.req_id, execution))
                floor.tell(session, order_messages.commission_report(execution))
        floor.tell(session, order_messages.execution_details_end(request.req_id))
        floor.answered(session, "reqExecutions", request.req_id, rows)

    def _ids(self, session: Session, request: Plain) -> None:
        self._floor.tell(session, messages.next_valid_id(self._floor.blotter.next_order_id(session.client_id)))

    # --- time ---

    def _arm(self) -> None:
        """Keep trying the market while orders are live."""
        if self._stepping or not self._floor.blotter.has_live():
            return
        self._stepping = True
        self._floor.agenda.after(self._floor.cadence(STEP_S), self._run)

    def _run(self, now: float) -> None:
        self._stepping = False
        self._catch_up()
        self._arm()

    def _catch_up(self) -> None:
        """Try the market at every step since the last time, so that a fast clock misses no price."""
        floor = self._floor
        now = floor.now
        if not floor.blotter.has_live():
            self._stepped_until = now
            return
        if floor.faults.upstream_lost(now):
            return  # orders are kept and work again once the link is back (rule book 5.6)
        at = self._stepped_until
        while at < now:
            at = min(now, at + STEP_MAX_S)
            small = floor.faults.is_on("small_fills", at)
            size_max = floor.faults.number("small_fills", "quantity", 1) if small else None
            floor.blotter.step(at, floor.clock.market_time(at), size_max)
            self.publish()
        self._stepped_until = now

    def _book_day_end(self, day: TradingDay) -> None:
        floor = self._floor
        if floor.market_s >= day.close:
            day = floor.calendar.at_index(day.index + 1)

        def close(now: float) -> None:
            self._catch_up()
            floor.blotter.close_day(day.close, day.open)
            self.publish()
            following = floor.calendar.at_index(day.index + 1)
            midnight = following.open - 34_200.0
            floor.agenda.at(floor.clock.elapsed_at(midnight), lambda at: self._change_day(following))

        # A moment before the close in elapsed time, so that market time has not yet jumped to the next day.
        floor.agenda.at(floor.clock.elapsed_at(day.close - 0.001) + 0.001 - 1e-6, close)

    def _change_day(self, day: TradingDay) -> None:
        floor = self._floor
        floor.blotter.change_day(floor.market_s)
        self._book_day_end(day)

    # --- telling ---

    def publish(self) -> None:
        """Turn what happened in the blotter into ledger lines and messages."""
        for event in self._floor.blotter.events():
            self.publish_one(event)

    def account_changed(self) -> None:
        """Push positions and account values."""
        self._on_fill()

    def listeners(self, client_id: int) -> list[Session]:
        wanted = (client_id, self._master_client)
        return [session for session in self._floor.sessions() if session.client_id in wanted]

    def publish_one(self, event: Event) -> None:
        if isinstance(event, Notice):
            for session in self.listeners(event.client_id):
                self._floor.error(session, event.order_id, event.code, event.text, "placeOrder")
        elif isinstance(event, OrderNews):
            self._tell_order(event)
        elif isinstance(event, FillNews):
            self._tell_fill(event)
        else:
            self._tell_what_if(event)

    def _record_order(self, order: Order, status: str) -> None:
        self._floor.ledger.record(
            self._floor.now, order.client_id, "order", order_id=order.order_id, perm_id=order.perm_id,
            order_ref=order.request.order_ref, status=status, action=order.request.action,
            quantity=order_messages.quantity_text(order.quantity), filled=order_messages.quantity_text(order.filled),
            symbol=order.contract.local_symbol, con_id=order.contract.con_id, order_type=order.request.order_type,
            limit_price=order.request.limit_price, aux_price=order.request.aux_price,
            parent_id=order.request.parent_id or None,
        )  # fmt: skip

    def _tell_order(self, news: OrderNews) -> None:
        order = news.order
        self._record_order(order, str(news.status))
        doubled = self._floor.faults.is_on("doubled_order_messages", self._floor.now)
        for session in self.listeners(order.client_id):
            for _ in range(2 if doubled else 1):
                if news.opened:
                    self._floor.tell(session, order_messages.open_order(session.version, order, str(news.status)))
                self._floor.tell(session, order_messages.order_status(order, str(news.status)))

    def _tell_fill(self, news: FillNews) -> None:
        execution = news.execution
        order = execution.order
        floor = self._floor
        floor.ledger.record(
            floor.now, order.client_id, "fill", order_id=order.order_id, perm_id=order.perm_id,
            order_ref=order.request.order_ref, exec_id=execution.exec_id, action=order.request.action,
            quantity=order_messages.quantity_text(execution.quantity), price=execution.price,
            symbol=order.contract.local_symbol, con_id=order.contract.con_id, commission=round(execution.commission, 4),
        )  # fmt: skip
        status = Status.FILLED if order.status is Status.FILLED else Status.SUBMITTED
        self._record_order(order, str(status))
        doubled = floor.faults.is_on("doubled_order_messages", floor.now)
        with_status = not floor.faults.is_on("fill_without_status", floor.now) and order.status is not Status.CANCELLED
        for session in self.listeners(order.client_id):
            for _ in range(2 if doubled else 1):
                floor.tell(session, order_messages.execution_details(session.version, -1, execution))
            if with_status:
                floor.tell(session, order_messages.open_order(session.version, order, str(status)))
                floor.tell(session, order_messages.order_status(order, str(status)))
                if order.status is Status.FILLED:
                    floor.tell(session, order_messages.open_order(session.version, order, str(status)))
            if doubled:
                floor.tell(session, order_messages.order_status(order, str(Status.SUBMITTED)))
                floor.tell(session, order_messages.order_status(order, str(status)))
            floor.tell(session, order_messages.commission_report(execution))
        self._on_fill()

    def _tell_what_if(self, news: WhatIfNews) -> None:
        floor, order = self._floor, news.order
        account = floor.blotter.account
        mark_of = floor.blotter.mark_of(floor.market_s)
        price = order.request.limit_price or mark_of(order.contract)
        change = account.opening_margin(order.contract, order.sign * order.quantity, price)
        margins = order_messages.Margins(
            round(account.maintenance(mark_of), 2), round(change, 2), round(account.equity(mark_of), 2),
            commission_of(order.contract, order.quantity, price),
        )  # fmt: skip
        for session in self.listeners(order.client_id):
            floor.tell(session, order_messages.open_order(session.version, order, "PreSubmitted", margins))
