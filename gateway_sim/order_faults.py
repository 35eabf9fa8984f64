"""What faults do to orders: swallowing, delaying, forging. Pure.

`intercept` is asked before an order message is served; the other methods are incidents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway_sim import order_messages
from gateway_sim.contracts import ContractQuery
from gateway_sim.desk_orders import OrderDesk
from gateway_sim.floor import Floor
from gateway_sim.order_events import Notice
from gateway_sim.order_request import PlaceOrder
from gateway_sim.orders import Order, Status
from gateway_sim.requests import CancelOrder, Request
from gateway_sim.session import Session

READ_ONLY_TEXT = "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."
MANUAL_CLIENT = 0

Serve = Callable[[Session, Request], None]


class OrderFaults:
    """Acts on order requests while order faults are on."""

    def __init__(self, floor: Floor, desk: OrderDesk) -> None:
        self._floor = floor
        self._desk = desk
        self._held: dict[int, list[PlaceOrder]] = {}
        self._manual_id = 0

    def intercept(self, session: Session, request: Request, serve: Serve) -> bool:
        """True if a fault took care of the request."""
        if isinstance(request, PlaceOrder) and not request.what_if:
            return self._intercept_order(session, request, serve)
        if isinstance(request, CancelOrder):
            return self._intercept_cancel(session, request, serve)
        return False

    def client_started(self, session: Session) -> None:
        """The client is back: orders stored meanwhile are submitted after a while."""
        held = self._held.pop(session.client_id, [])
        if not held:
            return
        delay = self._floor.faults.number("hold_until_reconnect", "seconds", 2.0)

        def submit(now: float) -> None:
            for request in held:
                self._desk.place(session.client_id, request, any_id=True)

        self._floor.agenda.after(delay, submit)

    # --- incidents ---

    def notice(self, code: int, text: str) -> None:
        for order in self._floor.blotter.open_orders(None):
            self._desk.publish_one(Notice(order.client_id, order.order_id, code, text))

    def correct_last(self, price_change: float) -> None:
        """The last execution again, its id ending one higher, with another price."""
        executions = self._floor.blotter.executions
        if not executions:
            return
        last = executions[-1]
        head, _, number = last.exec_id.rpartition(".")
        corrected = replace(last, exec_id=f"{head}.{int(number) + 1:02d}", price=round(last.price + price_change, 4))
        executions[-1] = corrected
        for session in self._desk.listeners(last.order.client_id):
            self._floor.tell(session, order_messages.execution_details(session.version, -1, corrected))
            self._floor.tell(session, order_messages.commission_report(corrected))

    def forget_executions(self) -> None:
        self._floor.blotter.executions.clear()

    def lose(self, count: int, rollback: bool) -> None:
        """Forget the last orders; with rollback their ids are given out again."""
        self._floor.blotter.lose_last(count, rollback)

    def foreign_order(self, symbol: str, quantity: int) -> None:
        """An order placed by hand: negative order id, owned by client 0."""
        self._manual_id -= 1
        query = ContractQuery(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")
        price = round(self._floor.market.spot(self._floor.book.listings[symbol], self._floor.market_s) * 0.9, 2)
        request = PlaceOrder(self._manual_id, query, "BUY", float(quantity), "LMT", price)
        self._desk.place(MANUAL_CLIENT, request, any_id=True)
        for session in self._floor.sessions():
            if session.auto_bind:
                self._desk.bind_manual_orders(session)

    def foreign_position(self, symbol: str, quantity: int) -> None:
        contract = self._floor.book.underlying(symbol)
        if contract is not None:
            price = self._floor.blotter.mark(contract, self._floor.market_s)
            self._floor.blotter.account.apply_fill(contract, float(quantity), price, 0.0)
            self._desk.account_changed()

    # --- interception ---

    def _intercept_order(self, session: Session, request: PlaceOrder, serve: Serve) -> bool:
        faults, now = self._floor.faults, self._floor.now
        if faults.is_on("order_dropped", now):
            faults.use_up("order_dropped")
            return True
        if faults.is_on("hold_until_reconnect", now):
            held = self._held.setdefault(session.client_id, [])
            if len(held) < 1000:
                held.append(request)
            return True
        if faults.is_on("late_ack", now):
            delay = faults.number("late_ack", "seconds", 5.0)
            client_id = session.client_id
            self._floor.agenda.after(delay, lambda at: self._desk.place(client_id, request, any_id=True))
            return True
        refusal = self._refusal(request)
        if refusal is not None:
            self._floor.error(session, request.order_id, refusal[0], refusal[1], "placeOrder")
            return True
        if faults.is_on("order_103", now):
            faults.switch_off("order_103")
            serve(session, request)
            self._floor.error(session, request.order_id, 103, "Duplicate order id", "placeOrder")
            return True
        known = self._floor.blotter.find(session.client_id, request.order_id)
        if known is not None and known.is_live and faults.is_on("fork_on_modify", now):
            faults.switch_off("fork_on_modify")
            self._fork(known, request)
            return True
        return False

    def _refusal(self, request: PlaceOrder) -> tuple[int, str] | None:
        faults, now = self._floor.faults, self._floor.now
        if faults.is_on("reject_as_321", now):
            return 321, READ_ONLY_TEXT
        if request.parent_id and faults.is_on("child_rejected", now):
            faults.switch_off("child_rejected")
            return 201, "Order rejected - reason:simulated refusal of an attached order"
        if faults.is_on("order_rejected", now):
            code, text = int(faults.number("order_rejected", "code", 201)), faults.text("order_rejected", "text", "")
            faults.use_up("order_rejected")
            return code, text
        return None

    def _fork(self, order: Order, request: PlaceOrder) -> None:
        """The modification becomes a second live order with its own perm id; the first one works on."""
        self._floor.blotter.fork(order, request)
        self._desk.publish()

    def _intercept_cancel(self, session: Session, request: CancelOrder, serve: Serve) -> bool:
        faults, now = self._floor.faults, self._floor.now
        if faults.is_on("cancel_not_found", now):
            faults.switch_off("cancel_not_found")
            text = f"OrderId {request.order_id} that needs to be cancelled is not found."
            self._floor.error(session, request.order_id, 10147, text, "cancelOrder")
            return True
        order = self._floor.blotter.find(session.client_id, request.order_id)
        if order is not None and order.is_live and faults.is_on("fill_after_cancel", now):
            delay = faults.number("fill_after_cancel", "seconds", 0.5)
            faults.switch_off("fill_after_cancel")
            serve(session, request)
            if order.status is Status.CANCELLED:
                self._floor.agenda.after(delay, lambda at: self._fill_late(order))
            return True
        return False

    def _fill_late(self, order: Order) -> None:
        quote = self._floor.market.quote(order.contract, self._floor.market_s)
        price = order.request.limit_price or (quote.ask if order.is_buy else quote.bid)
        self._floor.blotter.fill_late(order, price, self._floor.market_s)
        self._desk.publish()
