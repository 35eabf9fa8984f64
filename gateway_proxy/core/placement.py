"""Placement: from a request to bytes on the wire, once. Pure.

Validate, recognise repetitions, ask admission, append the intent, queue for pacing, ask admission again, append the
permission, write. Before the write an order can be withdrawn and the answer is definitive; after it only the Gateway or
the fence can say what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_proxy.bus.messages import BracketArgs, Mode, PlaceArgs
from gateway_proxy.core import answers
from gateway_proxy.core.admission import Admission, Case, OrderSettings
from gateway_proxy.core.deadlines import Deadlines
from gateway_proxy.core.effects import PlaceOrders
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.identifiers import is_guard_name, payload_hash
from gateway_proxy.core.orders import Event, Leg, Order, State
from gateway_proxy.core.quote_waits import QuoteWaits
from gateway_proxy.core.reconciler import Reconciler
from gateway_proxy.core.register import intent_body
from gateway_proxy.core.risk import Risk
from gateway_proxy.core.scribe import Scribe
from gateway_proxy.core.submissions import Jobs, Lane, Submit, Waiter
from gateway_proxy.core.tickets import Expiry, fault_of, leg_count, tickets_of
from gateway_proxy.errors import Conflict, Expired, JournalUnavailable, Refused

Args = PlaceArgs | BracketArgs


@dataclass(frozen=True, slots=True)
class Parked:
    """A request that waits for the quote its price is judged by. Nothing of it is durable yet."""

    args: Args
    details: ContractDetails
    payload_hash: str
    deadline: float


class Placement:
    """Order requests up to the write."""

    def __init__(
        self,
        settings: OrderSettings,
        scribe: Scribe,
        admission: Admission,
        risk: Risk,
        reconciler: Reconciler,
        jobs: Jobs,
        deadlines: Deadlines,
        *,
        mode: Mode,
    ) -> None:
        self._settings = settings
        self._scribe = scribe
        self._register = scribe.register
        self._admission = admission
        self._risk = risk
        self._reconciler = reconciler
        self._jobs = jobs
        self._deadlines = deadlines
        self._mode = mode
        self._waiters = answers.Waiters(settings.waiters_max)
        self.waits = QuoteWaits(deadlines, self._decide)
        self._write_by: dict[str, float] = {}
        self.authorised = 0
        self.intents = 0
        self.written = 0

    # ---------------------------------------------------------------- requests

    def receive(
        self, waiter: Waiter, op: str, args: Args, expires_in_s: float | None, details: ContractDetails | None
    ) -> None:
        """Answer now, or remember whom to answer. Raises ProxyError for what changes nothing and is not remembered."""
        name, digest = args.client_order_id, payload_hash(op, args)
        parked = self.waits.get(name)
        known = parked.payload_hash if parked else self._register.payload_hash(name)
        if known is not None:
            if known != digest:
                raise Conflict(f"client_order_id {name!r} exists with another payload (hash {known[:8]})")
            self._repeat(waiter, name)
            return
        if is_guard_name(name):
            raise Refused(f"client_order_id {name!r}: names that end in !guard and a number are the proxy's own")
        if self._scribe.journal_down:
            raise JournalUnavailable("the order journal cannot be written; no new orders until the proxy restarts")
        wait_s = min(expires_in_s if expires_in_s is not None else self._settings.queue_deadline_s, 3600.0)
        self._waiters.join(name, waiter)
        if wait_s <= 0:
            self._refuse(args, digest, Expired("the deadline had passed when the request arrived"))
            return
        if details is None:
            self._refuse(args, digest, Refused("IB knows no such contract, or did not say so in time"))
            return
        parked = Parked(args, details, digest, self._scribe.now + wait_s)
        if not self._decide(parked, True):
            until = min(parked.deadline, self._scribe.now + self._settings.quote_wait_s)
            self.waits.hold(name, parked, details.contract, until)

    def _repeat(self, waiter: Waiter, name: str) -> None:
        """The same request again: the same answer, or a place among those who wait for it."""
        order, refused = self._register.order_or_rest(name), self._register.refusals.get(name)
        answer = answers.placement(order) if order else answers.refusal(refused) if refused else None
        if answer is None:
            self._waiters.join(name, waiter)
        else:
            self._scribe.reply(waiter, answer)

    def unpark_cancelled(self, name: str) -> bool:
        """Drop a request that waits for its quote; True if there was one."""
        parked = self.waits.drop(name)
        if parked is None:
            return False
        self._refuse(parked.args, parked.payload_hash, Expired("never sent: cancelled while it waited for a quote"))
        return True

    # ---------------------------------------------------------------- intent

    def _decide(self, parked: Parked, may_wait: bool) -> bool:
        """Refuse or submit it; False, and nothing done, when only a quote is missing and it may wait for that."""
        try:
            case = self._case(parked)
            if may_wait and self._admission.needs_quote(case.ask, self._scribe.now):
                return False
            if reason := self._admission.refusal(case, self._scribe.now):
                raise Refused(reason)
            order = self._order_of(parked, case)
        except Refused as error:
            self._refuse(parked.args, parked.payload_hash, error)
        else:
            self.submit(order, parked.deadline)
        return True

    def _case(self, parked: Parked) -> Case:
        """What the limits will look at. Raises Refused for what no quote could mend, cheapest first."""
        args, details, now = parked.args, parked.details, self._scribe.now
        if fault := fault_of(args, details):
            raise Refused(fault)
        if reason := self._admission.gate_reason:
            raise Refused(f"not ready: {reason}")
        contract = details.contract
        case = self._admission.case(self._admission.ask_of(args, contract, self._admission.account(), now), now)
        if not case.reducing:
            bar = (
                self._admission.opening_bar(contract.key)
                or self._admission.hours_bar(details, self._scribe.wall_ns)
                or self._admission.stale_data(case.ask, args.cites, now)
            )
            if bar:
                raise Refused(bar)
        return case

    def _order_of(self, parked: Parked, case: Case) -> Order:
        """The order this request becomes. Raises Refused when the order ids are exhausted."""
        args, details, ask, now = parked.args, parked.details, case.ask, self._scribe.now
        opening = not case.reducing
        good_for_ns = int(self._settings.entry_good_for_s * 1e9) if opening and args.tif == "DAY" else 0
        good_till_ns = self._scribe.wall_ns + good_for_ns if good_for_ns else 0
        ids = self._register.ids.take(leg_count(args))
        tickets = tickets_of(args, ask.contract, ask.account, ids, Expiry(good_till_ns) if good_till_ns else None)
        return Order(
            client_order_id=args.client_order_id,
            engine=args.engine,
            payload_hash=parked.payload_hash,
            legs=tuple(Leg(name, ticket) for name, ticket in tickets),
            simulated=self._mode == "dry-run",
            opening=opening,
            multiplier=ask.multiplier,
            min_tick=details.min_tick,
            risk=ask.risk,
            intent_ns=self._scribe.wall_ns,
            expires_ns=self._scribe.wall_ns + int((parked.deadline - now) * 1e9),
            good_till_ns=good_till_ns,
            cites=args.cites,
        )

    def submit(self, order: Order, deadline: float) -> None:
        """Authorised: make the intent durable and queue it. The proxy's own protective orders enter here."""
        name = order.client_order_id
        lane: Lane = "ORDER" if order.opening else "PROTECTIVE"
        self.authorised += 1
        self._scribe.record("intent", name, **intent_body(order))
        order = self._register.orders[name]
        self.intents += 1
        self._write_by[name] = deadline
        if order.opening:
            self._risk.entered(order.engine, order.account, self._scribe.now)
        job_id = self._jobs.new(lambda: self._granted(order), lambda: self._expired(order))
        self._scribe.effects.append(
            Submit(
                job_id=job_id,
                lane=lane,
                owner=order.engine,
                messages=len(order.legs),
                contract_key=order.contract.key,
                action=order.action,
                account=order.account,
                deadline=deadline,
                client_order_id=name,
            )
        )

    def _refuse(self, args: Args, digest: str, error: Refused) -> None:
        name = args.client_order_id
        self._scribe.record("refused", name, engine=args.engine, hash=digest, code=error.code, reason=str(error))
        self._scribe.log("warning", "order refused", client_order_id=name, engine=args.engine, reason=str(error))
        for waiter in self._waiters.leave(name):
            self._scribe.reply(waiter, error)

    # ---------------------------------------------------------------- the last line before the wire

    def _granted(self, order: Order) -> None:
        if order.state is not State.INTENT:
            return
        if reason := self._why_not_now(order):
            self.withdraw(order, reason)
            return
        if not self.written < self.intents <= self.authorised:
            counts = f"{self.written} written, {self.intents} intents, {self.authorised} authorised"
            self._scribe.halt(f"orders out exceed orders in: {counts}")
            self.withdraw(order, "the counters of orders and intents disagree")
            return
        self.written += 1
        self._scribe.record("sending", order.client_order_id, sent_ns=self._scribe.wall_ns)
        self._reconciler.written(order)
        self._write_by.pop(order.client_order_id, None)
        if order.simulated:
            self._scribe.happened(order, order.legs, Event.ACKNOWLEDGE)
            self._reconciler.simulate(order, self._admission.quote(order.contract.key, self._scribe.now))
            return
        self._scribe.send(PlaceOrders(order.tickets))
        at = self._scribe.now + self._settings.ack_timeout_s
        self._deadlines.set(f"answer {order.client_order_id}", at, lambda: self._silence(order))

    def _why_not_now(self, order: Order) -> str:
        now = self._scribe.now
        if self._scribe.journal_down:
            return "the order journal cannot be written"
        if now > self._write_by.get(order.client_order_id, now):
            return "the deadline passed while it was queued"
        if reason := self._admission.gate_reason:
            return f"not ready: {reason}"
        if order.opening and (reason := self._admission.opening_bar(order.contract.key)):
            return reason
        ask = self._admission.ask_again(order, now)
        if order.opening and (reason := self._admission.stale_data(ask, order.cites, now)):
            return reason
        return self._admission.refusal(self._admission.case(ask, now, besides=order.client_order_id), now)

    def _expired(self, order: Order) -> None:
        if order.state is State.INTENT:
            self.withdraw(order, "the deadline passed while pacing held it")

    def withdraw(self, order: Order, reason: str) -> None:
        """It was not written and never will be: the one definitive "no" after an intent."""
        self._write_by.pop(order.client_order_id, None)
        self._scribe.happened(order, order.legs, Event.WITHDRAW, reason=reason)
        self._scribe.log("warning", "order withdrawn", client_order_id=order.client_order_id, reason=reason)

    def withdraw_queued(self, reason: str, *, engine: str | None = None, opening_only: bool = True) -> list[str]:
        """Withdraw what still waits for pacing; returns which."""
        queued = [
            order
            for order in self._register.open_orders()
            if order.state is State.INTENT and engine in (None, order.engine) and (order.opening or not opening_only)
        ]
        for order in queued:
            self.withdraw(order, reason)
        return [order.client_order_id for order in queued]

    # ---------------------------------------------------------------- after the write

    def not_written(self, order_ids: frozenset[int]) -> None:
        """The journal refused the permission, so the shell did not write these."""
        for order in tuple(self._register.open_orders()):
            if order.state is State.SENDING and order_ids.intersection(order.order_ids):
                self.withdraw(order, "the order journal cannot be written")

    def _silence(self, order: Order) -> None:
        """No answer in time. The orders may be working: unknown, and a sweep goes to look."""
        silent = [leg for leg in order.legs if leg.state is State.SENDING]
        if silent:
            self._scribe.happened(order, silent, Event.LOSE, reason="no answer from IB in time; it may be working")
            self._reconciler.look()

    def settle(self, order: Order) -> None:
        """Tell everybody who waits, if there is an answer now."""
        answer = answers.placement(order)
        if answer is not None:
            for waiter in self._waiters.leave(order.client_order_id):
                self._scribe.reply(waiter, answer)

    @property
    def waiting(self) -> int:
        return len(self._waiters)
