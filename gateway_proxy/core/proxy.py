"""The proxy's core: wiring only. Joins the session, the desk, the services and the order path. Pure.

Feed it with `receive_…`, perform `effects()` in their order, call `handle_timer(now)` at `next_timer()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import Request
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.caretaker import Caretaker
from gateway_proxy.core.contracts import parse
from gateway_proxy.core.desk import FIRST_REQUEST_ID, Outcome
from gateway_proxy.core.health import GatewayState
from gateway_proxy.core.parts import Parts, ProxySettings
from gateway_proxy.core.request_ops import RequestOps
from gateway_proxy.core.scheduler import Lane, RequestClass
from gateway_proxy.core.symptoms import Symptoms
from gateway_proxy.core.witness import Vitals, Witness
from gateway_proxy.errors import BadMessage, ProxyError, QueueFull

HISTORY_CLASSES: Final = (RequestClass.HISTORY_SMALL, RequestClass.HISTORY_LARGE)
ORDER_EVENTS: Final = (*get_args(ev.OrderEvent), ev.NextOrderId)


class ProxyCore(Parts):
    """One life of the proxy."""

    def __init__(self, settings: ProxySettings, now: float, wall_ns: int) -> None:
        super().__init__(settings, now, wall_ns, record=self._record)
        self.witness = Witness(settings.slow_s)
        self.caretaker = Caretaker(
            self, settings.recovery, settings.windows, self.recovery, timeout_s=settings.bars.timeout_s, now=now
        )
        self.ops = RequestOps(
            self, self.desks, settings.request_timeout_s, symptoms=self.symptoms, care=self.caretaker.body
        )
        self._publish_at = now
        self._services_open = False
        self._probe_job: int | None = None
        self._effects: list[fx.Effect] = []
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            ev.SessionOpened: self._session_opened,
            ev.SessionFailed: self._session_failed,
            ev.SessionClosed: self._session_closed,
            ev.ErrorReceived: self._error,
            ev.DecodeFailed: lambda event, now: self.health.decode_failed(event.text, now),
            ev.CurrentTime: self._current_time,
            ev.MarketRuleReceived: lambda event, _now: self.market_rules.receive(event),
            ev.PositionReceived: self._position,
            ev.PositionsEnded: self._positions_ended,
            ev.AccountValueReceived: self._account_value,
            ev.AccountEnded: lambda _event, now: self.health.synchronized("account", now),
        }

    # ------------------------------------------------------------ what comes in

    def restore(self, records: list[dict[str, Any]], now: float) -> None:
        """The journal of earlier lives: start-up and recovery are the same code."""
        self.orders.restore(records, now)

    def recall_pacing(self, remembered: dict[str, list[tuple[float, str, int]]], away_s: float, now: float) -> None:
        """IB still counts what the last life asked. Only before anything was asked."""
        self.scheduler.recall(remembered, away_s, now)

    def remembered_pacing(self, now: float) -> dict[str, list[tuple[float, str, int]]]:
        """What the next life must know of this one."""
        return self.scheduler.remembered(now)

    def recall_options(self, remembered: list[dict[str, Any]]) -> None:
        """Expirations and strikes that an earlier life learned; those of other days are of no use and do no harm."""
        self.options.recall(remembered)

    def remembered_options(self) -> list[dict[str, Any]]:
        """What the next life may use; changes when `options.version` does."""
        return self.options.remembered()

    def receive_upstream(self, event: ev.UpstreamEvent, now: float) -> None:
        self._now = now
        handler = self._handlers.get(type(event))
        if not isinstance(event, ev.SessionFailed | ev.SessionClosed):
            self.health.heard(now)
            if not isinstance(event, ev.SessionOpened):
                self.scheduler.heard(now)
        if handler is not None:
            handler(event, now)
        elif isinstance(event, ORDER_EVENTS):
            self.orders.receive_upstream(event, now, self.wall_ns(now))
        elif (req_id := getattr(event, "req_id", None)) is not None:
            self.desk.receive(req_id, event, now)
        self._settle(now)

    def receive_request(self, client: Any, owner: str, request: Request, now: float) -> None:
        """One request of the request socket; `owner` is whom fair sharing counts it to."""
        self._now = now
        try:
            self.ops.receive(client, owner, request, now)
        except ProxyError as refusal:
            self._effects.append(fx.Reply(client, request.id, error=refusal))
        self._settle(now)

    def receive_trade(self, client: Any, owner: str, request: Request, now: float) -> None:
        self._now = now
        try:
            self.orders.receive_request(client, owner, request, now, self.wall_ns(now))
        except ProxyError as refusal:
            self._effects.append(fx.Reply(client, request.id, error=refusal))
        self._settle(now)

    def receive_subscription(self, topic: str, subscribed: bool, now: float) -> None:
        """The first subscription to a topic opens its stream, the last one leaving closes it after a grace."""
        self._now = now
        try:
            stream = topics.stream_of(topic)
            if stream is not None:
                self._subscription(*stream, subscribed, now)
        except ProxyError as failure:
            self.findings.topic_failed(topic, failure, now)
        self._settle(now)

    def _subscription(self, kind: str, key: str, size: str, subscribed: bool, now: float) -> None:
        if kind == "bars":
            if size == "1s":
                raise BadMessage("IB keeps no live bars of 1s; 5s is the shortest")
            (self.bars.subscribe if subscribed else self.bars.unsubscribe)(key, size, now)
        elif kind == "quote":
            if parse(key).key != key:
                raise BadMessage(f"the key of this contract is written {parse(key).key!r}, not {key!r}")
            (self.quote_topics.subscribe if subscribed else self.quote_topics.unsubscribe)(key, now)
        else:
            (self.chain_topics.subscribe if subscribed else self.chain_topics.unsubscribe)(key, now)

    def journal_failed(self, unperformed: list[fx.Effect], now: float) -> None:
        """The journal refused the first of these; nothing from it on was performed."""
        self.orders.journal_failed(unperformed, now)
        self._settle(now)

    def receive_vitals(self, vitals: Vitals, now: float) -> None:
        """What the shell measured of itself: its loop and the two ends of the Gateway socket."""
        self.witness.vitals(vitals)
        self.health.loop_lagged(vitals.lag_s, now)
        self._settle(now)

    def symptoms(self, now: float) -> Symptoms:
        return self.witness.symptoms(self, now)

    def _record(self, request_class: RequestClass, outcome: Outcome, now: float) -> None:
        self.findings.record(request_class, outcome, now)
        self.witness.ended(request_class, outcome, now)
        if request_class in HISTORY_CLASSES:
            self.caretaker.canary.seen(outcome, now)

    # ------------------------------------------------------------ the session

    def _session_opened(self, event: ev.SessionOpened, now: float) -> None:
        if self.health.state is GatewayState.HALTED:
            self._effects.append(fx.Disconnect(self.health.reason))
            return
        self.scheduler.reset_session(now)
        self.caretaker.cause_cleared(now)
        self.witness.session_opened()
        self.account.session_opened()
        self.health.session_opened(event.server_version, event.accounts, now)
        self.orders.receive_upstream(event, now, self.wall_ns(now))
        self._tell(fx.RequestMarketDataType(1), now)
        self._tell(fx.RequestPositions(), now)
        self._tell(fx.RequestAccountUpdates(self.trading_account), now)

    def _tell(self, call: fx.Call, now: float) -> None:
        """Part of opening a session; one that cannot even be asked for is dropped and opened again later."""
        try:
            self.desk.tell(call, RequestClass.SESSION, Lane.PROBE, now)
        except QueueFull as refusal:
            self._effects.append(fx.Disconnect(f"the session cannot be set up: {refusal}"))

    def _session_failed(self, event: ev.SessionFailed, now: float) -> None:
        self.witness.port_refused, self.witness.handshake_rejected = event.refused, not event.refused
        self.health.session_failed(event.reason, event.refused, now)

    def _session_closed(self, event: ev.SessionClosed, now: float) -> None:
        self._services_open = False
        for service in (
            self.bars, self.quotes, self.chain_topics, self.quote_topics, self.caretaker, self.market_rules,
        ):  # fmt: skip
            service.session_lost()
        if self.health.state is not GatewayState.HALTED:
            self.health.session_closed(event.reason, now)
        self.desk.session_lost(now)
        self.errands.session_lost(event.reason, now)
        self.orders.receive_upstream(event, now, self.wall_ns(now))

    def _open_services(self, now: float) -> None:
        for service in (self.bars, self.quotes, self.chain_topics, self.quote_topics, self.caretaker):
            service.session_ready(now)

    def _current_time(self, event: ev.CurrentTime, now: float) -> None:
        round_trip_s = self.health.probe_answered(now)
        self.time.sync(event.epoch_s, round_trip_s, now, event.our_wall_ns)
        if not self._services_open:
            self._services_open = True
            self._open_services(now)

    def _error(self, event: ev.ErrorReceived, now: float) -> None:
        self.witness.notice(event.code, event.text, event.req_id >= 0, now)
        if event.code == 100:
            # Its id is that of the latest message, not of the one refused (rule book 2): nothing ends by it.
            self.scheduler.message_violation(now)
        elif event.req_id >= FIRST_REQUEST_ID:
            self.desk.receive(event.req_id, event, now)
        elif event.req_id >= 0:
            self.orders.receive_upstream(event, now, self.wall_ns(now))
        else:
            self._connectivity(event, now)

    def _connectivity(self, event: ev.ErrorReceived, now: float) -> None:
        if not self.caretaker.connectivity(event, now):
            return
        if event.code in (1100, 1101, 1102, 2110):
            self.orders.receive_upstream(event, now, self.wall_ns(now))

    # ------------------------------------------------------------ account

    def _position(self, event: ev.PositionReceived, now: float) -> None:
        self.account.receive_position(event)
        self.orders.receive_upstream(event, now, self.wall_ns(now))

    def _positions_ended(self, event: ev.PositionsEnded, now: float) -> None:
        self.health.synchronized("positions", now)
        self.orders.receive_upstream(event, now, self.wall_ns(now))

    def _account_value(self, event: ev.AccountValueReceived, now: float) -> None:
        self.account.receive_value(event, self.time.wall_ns(now), now)
        self.orders.receive_account(self.account.values(), now)

    # ------------------------------------------------------------ what goes out

    def _settle(self, now: float) -> None:
        """After every input: let the pieces react to each other until nothing changes, then let pacing decide."""
        for _ in range(1_000):
            if not self._react(now):
                return
        raise AssertionError("the services keep waking each other without end")

    def _react(self, now: float) -> bool:
        woken, self._woken = self._woken, []
        for key in woken:
            self._hear(key, now)
        self.errands.run(now)
        self.bars.balance(now)
        ready, reason = self.caretaker.may_open_orders()
        self.orders.gate(ready=ready, reason=reason)
        if self.orders.is_synchronized:
            self.health.synchronized("orders", now)
        if self.health.take_probe():
            self._probe(now)
        self._collect()
        granted = self._grant(now)
        self._collect()
        # What went changes nothing else by itself: only somebody woken by it, or a new wish, is worth another round.
        return bool(self._woken) or (granted and self.scheduler.has_news)

    def _probe(self, now: float) -> None:
        try:
            self._probe_job = self.desk.tell(fx.RequestTime(), RequestClass.PROBE, Lane.PROBE, now)
        except QueueFull:
            self.health.probe_refused(now)
        else:
            self.health.probe_queued()

    def _hear(self, key: str, now: float) -> None:
        kind, _, name = key.partition(":")
        if kind == "contract":
            self.bars.contract_known(name, now)
            self.quote_topics.wake(key, now)
            self.orders.contract_known(key, now, self.wall_ns(now))
        elif kind == "quote":
            line = self.quotes.get(name)
            if line is not None:
                self.orders.receive_quote(line.quote, now)
        self.chain_topics.wake(key, now)
        self.errands.wake(key)

    def _grant(self, now: float) -> bool:
        """Give the budget to who is next; True when something went. Without a session nothing may go."""
        expired = self.scheduler.expired(now)
        if expired:
            # Callers first: while their request is still in the queue it is known why they were not served.
            self.errands.handle_timer(now)
        for job in expired:
            if not self.desk.expired(job.job_id, now):
                self.orders.expired(job.job_id, now, self.wall_ns(now))
        if self.health.state not in (GatewayState.SYNCHRONIZING, GatewayState.READY, GatewayState.DEGRADED):
            return False
        granted = self.scheduler.due(now)
        for grant in granted:
            if grant.job.job_id == self._probe_job:
                self.health.probe_sent(now)
            if not self.desk.granted(grant, now):
                self.orders.granted(grant.job.job_id, now, self.wall_ns(now))
        return bool(granted)

    def _collect(self) -> None:
        self._effects += self.orders.effects(self._now)
        for piece in (
            self.health, self.desk, self.bars, self.quotes, self.chain_topics, self.account, self.errands,
            self.findings, self.recovery, self.caretaker, self.ops,
        ):  # fmt: skip
            self._effects += piece.effects()

    def effects(self) -> list[fx.Effect]:
        if self.health.take_change():
            self._publish_health(self._now)
        done, self._effects = self._effects, []
        return done

    # ------------------------------------------------------------ time

    def next_timer(self) -> float | None:
        timers = [
            self.health.next_timer(), self.desk.next_timer(), self.errands.next_timer(), self.bars.next_timer(),
            self.quotes.next_timer(), self.quote_topics.next_timer(), self.chain_topics.next_timer(),
            self.account.next_timer(), self.orders.next_timer(), self.breakers.next_timer(),
            self.caretaker.next_timer(), self.market_rules.next_timer(), self._publish_at,
        ]  # fmt: skip
        if self.health.state not in (GatewayState.DISCONNECTED, GatewayState.CONNECTING, GatewayState.HALTED):
            timers.append(self.scheduler.next_timer())
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._now = now
        self.breakers.handle_timer(now)
        for piece in (
            self.health, self.desk, self.errands, self.bars, self.quotes, self.quote_topics, self.chain_topics,
            self.account, self.caretaker, self.market_rules,
        ):  # fmt: skip
            piece.handle_timer(now)
        self.orders.handle_timer(now, self.wall_ns(now))
        if self._publish_at <= now:
            self._publish_at = now + self._settings.publish_s
            self._publish_health(now)
        self._settle(now)

    # ------------------------------------------------------------ facts

    def _publish_health(self, now: float) -> None:
        for topic, body in self.ops.health_bodies(now).items():
            self._effects.append(fx.Publish(topic, "health", body))

    def snapshot_of(self, topic: str) -> Any:
        """What a new subscriber of a bars topic is given: the held bars, oldest first. None for other topics."""
        stream = topics.stream_of(topic) if topic.startswith("bars/") else None
        if stream is None or (series := self.bars.get(stream[1], stream[2])) is None:
            return None
        return series.series.newest(self._settings.bars.backfill)
