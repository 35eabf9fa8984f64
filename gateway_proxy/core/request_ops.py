"""The ops of the request socket, and the bodies of the health topics. Pure.

What needs the Gateway becomes an errand; the rest is answered at once from what the proxy knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import (
    REQUEST_ARGS,
    BarsArgs,
    BracketArgs,
    ExplainArgs,
    PlaceArgs,
    ReportArgs,
    Request,
)
from gateway_proxy.core import effects as fx
from gateway_proxy.core.contracts import parse
from gateway_proxy.core.diagnosis import diagnose
from gateway_proxy.core.errands import Errand
from gateway_proxy.core.health import GatewayState
from gateway_proxy.core.history import duration_for
from gateway_proxy.core.parts import Parts
from gateway_proxy.core.questions import BarsErrand, ChainErrand, ContractErrand, Desks, QuoteErrand
from gateway_proxy.core.rules import history_class, history_keys, side_key
from gateway_proxy.core.scheduler import Job, Keys, Lane, RequestClass
from gateway_proxy.core.symptoms import Symptoms
from gateway_proxy.core.verdict import Finding, Verdict
from gateway_proxy.errors import BadMessage, GatewayUnavailable, ProxyError, Refused

ENGINES_MAX: Final = 256
_DIALLED = frozenset({GatewayState.READY, GatewayState.DEGRADED})


class RequestOps:
    """Answers one request at a time; raises the ProxyError that refuses it."""

    def __init__(
        self, core: Parts, desks: Desks, timeout_s: float, *,
        symptoms: Callable[[float], Symptoms], care: Callable[[float], dict[str, Any]],
    ) -> None:  # fmt: skip
        self._core = core
        self._symptoms = symptoms
        self._care = care
        self._effects: list[fx.Effect] = []
        self._desks = desks
        self._timeout_s = timeout_s
        self._engines: dict[str, dict[str, Any]] = {}
        self._errands: dict[str, Callable[[Any, Request, str, float, float], Errand]] = {
            "bars": lambda client, request, owner, end, now: BarsErrand(client, request, owner, desks, end, now),
            "chain": lambda client, request, owner, end, now: ChainErrand(client, request, owner, desks, end),
            "quote": lambda client, request, owner, end, now: QuoteErrand(client, request, owner, desks, end),
            "contract": lambda client, request, owner, end, now: ContractErrand(client, request, owner, desks, end),
        }
        self._answers: dict[str, Callable[[Request, float], Any]] = {
            "status": lambda request, now: self._status(now),
            "health": lambda request, now: self._health(now),
            "positions": lambda request, now: {"positions": core.account.positions()},
            "account": lambda request, now: {"accounts": core.account.values()},
            "executions": lambda request, now: {"executions": core.orders.executions()},
            "explain": self._explain,
            "diagnose": lambda request, now: self._diagnose(now),
            "report": self._report,
        }

    def receive(self, client: Any, owner: str, request: Request, now: float) -> None:
        core = self._core
        make_errand = self._errands.get(request.op)
        if make_errand is None:
            body = self._answers[request.op](request, now)
            self._effects.append(fx.Reply(client, request.id, body=body))
            return
        deadline = now + (request.expires_in_s or self._timeout_s)
        errand = make_errand(client, request, owner, deadline, now)
        try:
            self._require_session()
        except ProxyError:
            held = errand.stale(now) if isinstance(errand, BarsErrand) else None
            if held is None:
                raise
            self._effects.append(held)
            return
        core.errands.add(errand, now, owner)

    def _require_session(self) -> None:
        health = self._core.health
        if health.state not in _DIALLED:
            text = f"the Gateway session is {health.state.value}: {health.reason or 'starting'}"
            verdict = None if health.verdict is Verdict.OK else health.verdict.value
            raise GatewayUnavailable(text, retry_in_s=1.0, verdict=verdict)

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    # ------------------------------------------------------------ answers

    def _status(self, now: float) -> dict[str, Any]:
        core = self._core
        gateway = self._gateway(now)
        return {
            "state": gateway["state"],
            "mode": core.orders.mode,
            "accounts": list(core.health.accounts),
            "gateway": gateway,
            "streams": core.bars.health(now),
            "since_ns": gateway["since_ns"],
            "engines": sorted(self._engines),
            "orders": core.orders.summary(),
        }

    def _health(self, now: float) -> dict[str, Any]:
        return {topic.split("/")[1]: body for topic, body in self.health_bodies(now).items()}

    def _diagnose(self, now: float) -> dict[str, Any]:
        """The cause by the decision table, the sign that decided, and everything it was decided on."""
        core = self._core
        symptoms = self._symptoms(now)
        verdict, sign = diagnose(symptoms)
        evidence = {
            "gateway": self._gateway(now),
            "counts": core.findings.counts(),
            "recent": core.findings.recent()[-10:],
        }
        evidence |= {"sign": sign, "symptoms": symptoms.body()}
        return Finding(verdict, evidence).body()

    def _report(self, request: Request, now: float) -> dict[str, Any]:
        args: ReportArgs = request.args
        if args.kind == "engine":
            if len(self._engines) >= ENGINES_MAX and args.name not in self._engines:
                raise Refused(f"{ENGINES_MAX} engines have reported already in this life of the proxy")
            self._engines[args.name] = args.body
            self._core.orders.receive_heartbeat(args.name, now)
        topic = topics.health_engine(args.name) if args.kind == "engine" else topics.health_process(args.name)
        self._effects.append(fx.Publish(topic, "health", args.body | {"name": args.name}))
        return {}

    def _explain(self, request: Request, now: float) -> dict[str, Any]:
        """When the request could go, and which rule would hold it; nothing is queued."""
        args: ExplainArgs = request.args
        request_class, keys, messages = self._demand(args)
        lane = Lane.ORDER if args.op == "order" else Lane.INTERACTIVE
        job = Job(self._core.desk.new_id(), lane, "explain", request_class, messages, keys)
        found = self._core.scheduler.explain(job, now)
        return found.body(now) | {"request_class": request_class.value}

    def _demand(self, args: ExplainArgs) -> tuple[RequestClass, Keys, int]:
        if args.op == "order" and not args.args:
            return RequestClass.ORDER, Keys(), 1
        is_bracket = "take_profit" in args.args
        wanted = REQUEST_ARGS[args.op] if args.op != "order" else BracketArgs if is_bracket else PlaceArgs
        try:
            inner: Any = msgspec.convert(args.args, wanted, strict=True)
        except msgspec.ValidationError as fault:
            raise BadMessage(f"explain {args.op}: {fault}") from fault
        if isinstance(inner, PlaceArgs | BracketArgs):
            return self._order_demand(inner)
        if isinstance(inner, BarsArgs):
            asked = parse(inner.contract)
            details = self._core.directory.known(asked)
            contract = details.contract if details is not None else asked
            duration = duration_for(inner.size, inner.count, inner.rth)
            keys = history_keys(contract, inner.size, inner.what, inner.rth, duration)
            return history_class(inner.size), keys, 1
        if args.op == "chain" and self._core.options.knows(parse(inner.contract).symbol):
            return RequestClass.QUOTE, Keys(lines=4 * inner.width + 2), 1
        classes = {"chain": RequestClass.SECDEF, "quote": RequestClass.QUOTE, "contract": RequestClass.CONTRACT}
        return classes[args.op], Keys(), 1

    def _order_demand(self, args: PlaceArgs | BracketArgs) -> tuple[RequestClass, Keys, int]:
        """The order and, of a bracket, its two exits on the other side."""
        asked = parse(args.contract)
        details = self._core.directory.known(asked)
        contract = details.contract if details is not None else asked
        account = self._core.trading_account if self._core.health.accounts else ""
        sides: tuple[tuple[str, int], ...] = ((side_key(contract, args.action, account), 1),)
        if isinstance(args, BracketArgs):
            sides += ((side_key(contract, "SELL" if args.action == "BUY" else "BUY", account), 2),)
        return RequestClass.ORDER, Keys(sides=sides), 1 if isinstance(args, PlaceArgs) else 3

    # ------------------------------------------------------------ health topics

    def _gateway(self, now: float) -> dict[str, Any]:
        core = self._core
        health = core.health
        body = health.body(lambda at: core.wall_ns(now) - int((now - at) * 1e9))
        age = None if health.last_heard is None else round(now - health.last_heard, 3)
        return body | {
            "mode": core.orders.mode,
            "client_id": core.client_id,
            "openings_stopped": core.orders.halted,
            "accounts": list(core.health.accounts),
            "last_message_age_s": age,
            "clock_skew_s": core.time.skew_s,
            "market_time_ns": core.time.wall_ns(now),
            "open_requests": core.desk.open_count(),
            **self._care(now),
        }

    def health_bodies(self, now: float) -> dict[str, dict[str, Any]]:
        """Every health topic of the proxy itself."""
        core = self._core
        pacing = core.scheduler.stats(now)
        pacing |= {"merged": core.history.merged, "cache_hits": core.history.cache_hits}
        return {
            topics.HEALTH_GATEWAY: self._gateway(now),
            topics.HEALTH_PACING: pacing,
            topics.HEALTH_BREAKERS: core.breakers.body(now),
            topics.HEALTH_LATENCY: core.latency.body(),
            topics.HEALTH_STREAMS: {"streams": core.bars.health(now), "lines": core.quotes.health(now)},
        }
