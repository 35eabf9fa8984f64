"""The order path joined in memory: blotter, a journal that is a list, pacing that grants, and the model Gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway_proxy.bus.messages import AccountValues, BracketArgs, Contract, Mode, PlaceArgs, Quote, Request
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.blotter import Blotter
from gateway_proxy.core.citations import Told
from gateway_proxy.core.risk import RiskSettings
from gateway_proxy.core.submissions import OrderEffect, Submit
from tests.gateway_proxy.core.model_gateway import ModelGateway

EPOCH = "life-1"
START_NS = 1_781_500_000_000_000_000
SPY = ev.ContractDetails(contract=Contract("SPY", con_id=756733), min_tick=0.01)
CALL = ev.ContractDetails(
    contract=Contract("SPY", "OPT", last_trade_date="20260618", strike=600.0, right="C", multiplier="100", con_id=42),
    min_tick=0.05,
)


class Crash(Exception):
    """The process is gone."""


def bracket(name: str = "b1", **changes: Any) -> BracketArgs:
    args = BracketArgs(
        engine="scalp",
        client_order_id=name,
        contract="SPY",
        action="BUY",
        quantity=2,
        limit_price=10.0,
        take_profit=11.0,
        stop_loss=9.0,
    )
    return replace(args, **changes)


def single(name: str = "p1", **changes: Any) -> PlaceArgs:
    args = PlaceArgs(
        engine="scalp",
        client_order_id=name,
        contract="SPY",
        action="BUY",
        quantity=2,
        order_type="LMT",
        limit_price=10.0,
    )
    return replace(args, **changes)


class OrderWorld:
    """One proxy life after the other over one journal and one Gateway. `run` performs effects until it is quiet."""

    def __init__(
        self,
        mode: Mode = "paper",
        settings: OrderSettings | None = None,
        risk: RiskSettings | None = None,
        gateway: ModelGateway | None = None,
    ) -> None:
        self.mode = mode
        self.settings = settings or OrderSettings()
        self.risk = risk or RiskSettings()
        self.gateway = gateway or ModelGateway()
        self.told = Told()
        self.told.epoch = EPOCH
        self.journal: list[dict[str, Any]] = []
        self.now = 100.0
        self.replies: list[fx.Reply] = []
        self.published: list[fx.Publish] = []
        self.logs: list[fx.Log] = []
        self.performed: list[OrderEffect] = []
        self.pacing_open = True
        self.held_jobs: list[Submit] = []
        #: Called before each effect; raises Crash to end this life there.
        self.before_effect: Callable[[OrderEffect], None] = lambda effect: None
        self.requests = 0
        self.connected = False
        self.blotter = self._born()

    # ------------------------------------------------------------ life and death

    def _born(self) -> Blotter:
        blotter = Blotter(self.settings, self.risk, mode=self.mode, told=self.told)
        blotter.restore(list(self.journal), self.now)
        return blotter

    def start(self, quote: float | None = 10.0) -> OrderWorld:
        """Connect, reconcile, open the gate; a quote and account values are there."""
        self.connect()
        self.blotter.receive_account(AccountValues("DU1", realized_pnl=0.0, unrealized_pnl=0.0), self.now)
        if quote is not None:
            self.quote(quote)
        self.run()
        return self

    def connect(self) -> None:
        self.connected = True
        self.gateway.outbox.clear()
        self.feed(ev.SessionOpened(178, ("DU1",), self.gateway.next_order_id))
        self.blotter.gate(ready=True, reason="")
        self.run()

    def disconnect(self) -> None:
        self.connected = False
        self.gateway.outbox.clear()
        self.blotter.gate(ready=False, reason="no session")
        self.feed(ev.SessionClosed("gone"))

    def crash(self) -> None:
        """The process dies; the next one has the journal and nothing else."""
        self.connected = False
        self.gateway.outbox.clear()
        self.held_jobs.clear()
        self.before_effect = lambda effect: None
        self.blotter = self._born()

    # ------------------------------------------------------------ things that happen

    @property
    def wall_ns(self) -> int:
        return START_NS + int(self.now * 1e9)

    def feed(self, event: Any) -> None:
        self.blotter.receive_upstream(event, self.now, self.wall_ns)
        self.run()

    def ask(
        self, op: str, args: Any, details: ev.ContractDetails | None = SPY, expires_in_s: float | None = None
    ) -> int:
        """Send one request; returns its id."""
        self.requests += 1
        request = Request(self.requests, op, args, expires_in_s)
        self.blotter.receive_request("client", request, self.now, self.wall_ns, resolved=details)
        self.run()
        return self.requests

    def quote(self, price: float, key: str = "SPY", spread: float = 0.0) -> None:
        self.blotter.receive_quote(Quote(key, bid=price - spread, ask=price + spread, time_ns=self.wall_ns), self.now)
        self.run()

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every timer."""
        end = self.now + seconds
        for _ in range(10_000):
            timer = self.blotter.next_timer()
            if timer is None or timer > end:
                break
            self.now = max(self.now, timer)
            self.blotter.handle_timer(self.now)
            self.run()
        self.now = end
        self.blotter.handle_timer(self.now)
        self.run()

    def grant_held(self) -> None:
        held, self.held_jobs = self.held_jobs, []
        for job in held:
            self.blotter.granted(job.job_id, self.now, self.wall_ns)
            self.run()

    def run(self) -> None:
        """Perform effects and hear the Gateway until neither has anything to say."""
        for _ in range(10_000):
            effects = self.blotter.effects()
            if effects:
                self.perform(effects)
            elif self.gateway.outbox and self.connected:
                self.blotter.receive_upstream(self.gateway.outbox.popleft(), self.now, self.wall_ns)  # type: ignore[arg-type]
            else:
                return
        raise AssertionError("the order path does not come to rest")

    def perform(self, effects: list[OrderEffect]) -> None:
        for effect in effects:
            self.before_effect(effect)
            self.performed.append(effect)
            match effect:
                case fx.Append():
                    record = {"wall_ns": self.wall_ns, "kind": effect.kind, "client_order_id": effect.client_order_id}
                    self.journal.append({**record, "body": effect.body})
                case fx.Send():
                    if self.connected:
                        self.gateway.receive(effect.call)
                case fx.Reply():
                    self.replies.append(effect)
                case fx.Publish():
                    self.published.append(effect)
                case fx.Log():
                    self.logs.append(effect)
                case Submit():
                    if self.pacing_open:
                        self.blotter.granted(effect.job_id, self.now, self.wall_ns)
                    else:
                        self.held_jobs.append(effect)

    # ------------------------------------------------------------ what came of it

    def reply(self, request_id: int) -> fx.Reply:
        [reply] = [reply for reply in self.replies if reply.request_id == request_id]
        return reply

    def answered(self, request_id: int) -> bool:
        return any(reply.request_id == request_id for reply in self.replies)

    def answer(self, request_id: int) -> str:
        """One word: the state of the body, or the code of the error."""
        reply = self.reply(request_id)
        return reply.error.code if reply.error is not None else str(reply.body["state"])

    def state(self, name: str, leg: str = "entry") -> str:
        return self.blotter.register.orders[name].leg(leg).state.value

    def order_ids(self, name: str) -> tuple[int, ...]:
        return self.blotter.register.orders[name].order_ids

    def placements(self) -> list[fx.PlaceOrders]:
        return [one.call for one in self.performed if isinstance(one, fx.Send) and isinstance(one.call, fx.PlaceOrders)]

    def fills(self) -> list[Any]:
        return [one.body for one in self.published if one.kind == "fill"]
