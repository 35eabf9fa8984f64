"""Where the blotter meets the rest: contracts are found, pacing is asked, quotes are held. Pure.

The blotter decides everything about orders; this only carries its wishes to the directory, the scheduler and the
quote book, and their answers back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar, Final

from gateway_proxy.bus.messages import AccountValues, BracketArgs, Mode, OrderUpdate, PlaceArgs, Quote, Request
from gateway_proxy.core import effects as fx
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.blotter import Blotter
from gateway_proxy.core.citations import Told
from gateway_proxy.core.contracts import ContractDirectory, parse, wake_key
from gateway_proxy.core.desk import Desk
from gateway_proxy.core.jobs import NO_KEYS
from gateway_proxy.core.market_time import NEW_YORK
from gateway_proxy.core.orders import State
from gateway_proxy.core.quotes import QuoteBook
from gateway_proxy.core.risk import RiskSettings
from gateway_proxy.core.rules import RequestClass
from gateway_proxy.core.scheduler import Job, Keys, Lane, Scheduler
from gateway_proxy.core.sides import Sides, sides_of
from gateway_proxy.core.submissions import Submit, Unwatch, Watch
from gateway_proxy.core.verdict import Verdict, error
from gateway_proxy.errors import ProxyError, QueueFull, Refused

HOLDER: Final = "orders"
UNRESOLVED_MAX: Final = 500
_UNDER_WAY: Final = frozenset({State.INTENT, State.SENDING, State.UNKNOWN})
_LANES: Final = {"PROTECTIVE": Lane.PROTECTIVE, "ORDER": Lane.ORDER}


@dataclass(frozen=True, slots=True)
class OrderPathSettings:
    """The blotter's settings and how long a contract may take to be found before an order is refused."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    orders: OrderSettings = OrderSettings()
    risk: RiskSettings = field(default_factory=RiskSettings)
    resolve_timeout_s: float = 5.0


@dataclass(slots=True)
class _Unresolved:
    client: Any
    owner: str
    request: Request
    deadline: float


class OrderPath:
    """Every trade request goes in here; every event that may concern an order as well."""

    def __init__(
        self, settings: OrderPathSettings, mode: Mode, scheduler: Scheduler, desk: Desk, directory: ContractDirectory,
        quotes: QuoteBook, told: Told,
    ) -> None:  # fmt: skip
        self.mode = mode
        self._settings = settings
        self._scheduler = scheduler
        self._desk = desk
        self._directory = directory
        self._quotes = quotes
        self._blotter = Blotter(settings.orders, settings.risk, mode=mode, told=told)
        self._unresolved: list[_Unresolved] = []
        self._sides = Sides(scheduler, desk.new_id)
        self._jobs: dict[int, Submit] = {}
        self._now = 0.0
        self._date: date | None = None
        self._not_ready = ""
        self._effects: list[fx.Effect] = []

    # ------------------------------------------------------------ requests

    def restore(self, records: list[dict[str, Any]], now: float) -> None:
        self._blotter.restore(records, now)
        for order in self._blotter.register.open_orders():
            self._sides.look(order, now)

    def receive_request(self, client: Any, owner: str, request: Request, now: float, wall_ns: int) -> None:
        """Orders for a contract wait until IB has said what it is; everything else goes straight on."""
        if not isinstance(request.args, PlaceArgs | BracketArgs):
            self._blotter.receive_request(client, request, now, wall_ns, resolved=None)
            return
        if len(self._unresolved) >= UNRESOLVED_MAX:
            raise QueueFull(f"{UNRESOLVED_MAX} orders wait for their contract already", retry_in_s=1.0)
        deadline = now + min(self._settings.resolve_timeout_s, request.expires_in_s or self._settings.resolve_timeout_s)
        waiting = _Unresolved(client, owner, request, deadline)
        if not self._resolve(waiting, now, wall_ns):
            self._unresolved.append(waiting)

    def _resolve(self, waiting: _Unresolved, now: float, wall_ns: int) -> bool:
        """True when the request has gone on to the blotter or was refused."""
        contract = parse(waiting.request.args.contract)
        details = self._directory.known(contract)
        if details is None and self._blotter.knows(waiting.request.args.client_order_id):
            # A repeated request is answered from the journal, whether or not IB can be asked right now.
            self._blotter.receive_request(waiting.client, waiting.request, now, wall_ns, resolved=None)
            return True
        try:
            details = details or self._directory.find(contract, waiting.owner, now, lane=Lane.ORDER)
        except ProxyError as failure:
            self._refuse(waiting, failure)
            return True
        if details is None:
            return False
        self._blotter.receive_request(waiting.client, waiting.request, now, wall_ns, resolved=details)
        return True

    def _refuse(self, waiting: _Unresolved, failure: ProxyError) -> None:
        """Nothing was journaled and nothing was sent: the contract itself could not be established."""
        self._effects.append(fx.Reply(waiting.client, waiting.request.id, error=failure))

    def contract_known(self, key: str, now: float, wall_ns: int) -> None:
        matching = [w for w in self._unresolved if wake_key(parse(w.request.args.contract)) == key]
        for waiting in matching:
            if self._resolve(waiting, now, wall_ns):
                self._unresolved.remove(waiting)

    # ------------------------------------------------------------ the session and the market

    def receive_upstream(self, event: Any, now: float, wall_ns: int) -> None:
        self._blotter.receive_upstream(event, now, wall_ns)

    def receive_quote(self, quote: Quote, now: float) -> None:
        self._blotter.receive_quote(quote, now)

    def receive_account(self, values: list[AccountValues], now: float) -> None:
        for one in values:
            self._blotter.receive_account(one, now)

    def receive_heartbeat(self, engine: str, now: float) -> None:
        self._blotter.receive_heartbeat(engine, now)

    def gate(self, *, ready: bool, reason: str) -> None:
        self._not_ready = "" if ready else reason
        self._blotter.gate(ready=ready, reason=reason)

    @property
    def is_synchronized(self) -> bool:
        return self._blotter.is_synchronized

    # ------------------------------------------------------------ pacing

    def granted(self, job_id: int, now: float, wall_ns: int) -> None:
        wish = self._jobs.pop(job_id)
        self._blotter.granted(wish.job_id, now, wall_ns)
        self._scheduler.finished(job_id, now, latency_s=None, failed=False)
        self._sides.granted(self._blotter.register.orders.get(wish.client_order_id), job_id, now)

    def expired(self, job_id: int, now: float, wall_ns: int) -> None:
        """Jobs that are not ours are data requests that were closed in the moment they expired."""
        wish = self._jobs.pop(job_id, None)
        if wish is not None:
            self._blotter.expired(wish.job_id, now)

    def _submit(self, wish: Submit) -> None:
        job_id = self._desk.new_id()
        order = self._blotter.register.orders.get(wish.client_order_id)
        keys = NO_KEYS if order is None or order.simulated else Keys(sides=sides_of(order.legs))
        job = Job(job_id, _LANES[wish.lane], wish.owner, _class_of(wish), wish.messages, keys, wish.deadline)
        self._jobs[job_id] = wish
        try:
            self._scheduler.push(job, self._now)
        except (QueueFull, Refused) as refusal:
            del self._jobs[job_id]
            self._blotter.refused(wish.job_id, wish.client_order_id, str(refusal), self._now)

    def _turn_day(self, wall_ns: int) -> None:
        """When the exchange's date changes, IB's order efficiency ratio starts again."""
        today = datetime.fromtimestamp(wall_ns // 1_000_000_000, NEW_YORK).date()
        if today != self._date:
            self._date = today
            self._scheduler.new_trading_day()
            self._sides.new_trading_day()

    # ------------------------------------------------------------ time and effects

    def next_timer(self) -> float | None:
        deadlines = [waiting.deadline for waiting in self._unresolved]
        blotter = self._blotter.next_timer()
        return min(deadlines if blotter is None else [*deadlines, blotter], default=None)

    def handle_timer(self, now: float, wall_ns: int) -> None:
        for waiting in [waiting for waiting in self._unresolved if waiting.deadline <= now]:
            self._unresolved.remove(waiting)
            contract = parse(waiting.request.args.contract)
            why = f" ({self._not_ready})" if self._not_ready else ""
            text = f"contract {contract.key} could not be established in time{why}; the order was not sent"
            self._refuse(waiting, error(Verdict.EXPIRED_IN_QUEUE, text))
        self._blotter.handle_timer(now)
        self._turn_day(wall_ns)

    def effects(self, now: float) -> list[fx.Effect]:
        """The blotter's effects in their order; its wishes for pacing and quotes are carried out on the way."""
        self._now = now
        done, self._effects = self._effects, []
        for effect in self._blotter.effects():
            if isinstance(effect, Submit):
                self._submit(effect)
            elif isinstance(effect, Watch):
                line = self._quotes.hold(effect.contract, HOLDER, now)
                if line.updated_at is not None:
                    self._blotter.receive_quote(line.quote, now)
            elif isinstance(effect, Unwatch):
                self._quotes.release(effect.contract.key, HOLDER, now)
            else:
                self._look(effect, now)
                done.append(effect)
        return done

    def _look(self, effect: fx.Effect, now: float) -> None:
        """Every change of an order is published, so this is where its places at IB are counted anew."""
        if isinstance(effect, fx.Publish) and isinstance(effect.body, OrderUpdate):
            order = self._blotter.register.orders.get(effect.body.client_order_id)
            if order is not None:
                self._sides.look(order, now)

    def journal_failed(self, unperformed: Sequence[fx.Effect], now: float) -> None:
        """The journal refused the first of these and nothing after it was done."""
        self._blotter.journal_failed(unperformed, now)

    # ------------------------------------------------------------ facts

    @property
    def is_busy(self) -> bool:
        """An order is on its way or of unknown fate: no time to drop the session."""
        return any(order.state in _UNDER_WAY for order in self._blotter.register.open_orders())

    def executions(self) -> list[Any]:
        return self._blotter.fills()

    @property
    def halted(self) -> str:
        """Why openings are stopped until an operator acts, "" when they are not."""
        return self._blotter.halted

    def summary(self) -> dict[str, Any]:
        return self._blotter.summary()


def _class_of(wish: Submit) -> RequestClass:
    """New orders, changes and cancels are counted by IB's rules for them, sweeps only as messages."""
    if isinstance(wish.call, fx.CancelOrder):
        return RequestClass.CANCEL
    if wish.call is not None:
        return RequestClass.SESSION
    return RequestClass.ORDER if wish.client_order_id else RequestClass.MODIFY
