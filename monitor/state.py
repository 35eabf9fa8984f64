"""The fold: every message in, one view out. Pure: the caller brings messages and time; nothing here waits or writes.

Works from any mix of topics and from any moment on: what was never heard is shown as never heard. A new epoch
(a restarted proxy) forgets what belonged to the old life of the proxy and keeps orders and fills.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from gateway_proxy import Message, topics
from monitor import changes, lights, readings
from monitor.blotter import Blotter
from monitor.bodies import Body, body_of, inner, plain, rows, text, whole
from monitor.changes import Telling
from monitor.config import StateSettings
from monitor.delay import BusDelay
from monitor.eventlog import EventLog
from monitor.judgement import find_problems, is_healthy
from monitor.view import BusView, Event, GatewayView, Light, PacingView, VerdictView, View

ENGINE_PREFIX = "health/engine/"
PROCESS_PREFIX = "health/process/"
#: What a monitor listens to. All of them are prefixes, which open nothing upstream.
PREFIXES = ("health/", "bars/", "chain/", "orders/", topics.FILLS, topics.POSITIONS, topics.ACCOUNT, topics.VERDICTS)

VERDICT_NAMES_MAX = 50
#: Parts of the evidence that have a place of their own in the view.
ABOUT_REQUEST = frozenset(("request_class", "timeline"))

Known = dict[str, tuple[Body, float]]


class MonitorState:
    """Feed it with the `receive_` methods; read it with `view` and `events_since`."""

    def __init__(self, settings: StateSettings | None = None) -> None:
        self.settings = settings or StateSettings()
        self.epoch = ""
        self.heard_at: float | None = None
        self._silent: str | None = None
        self._health: Known = {}
        self._engines: Known = {}
        self._processes: Known = {}
        self._blotter = Blotter(self.settings.orders_max, self.settings.fills_max)
        self._verdicts: deque[VerdictView] = deque(maxlen=self.settings.verdicts_max)
        self._verdict_counts: Counter[str] = Counter()
        self._events = EventLog(self.settings.events_max)
        self._gaps = 0
        self._delay = BusDelay()

    # ------------------------------------------------------------ what comes in

    def receive_message(self, message: Message, now: float, wall_ns: int) -> None:
        """Fold one frame in; `wall_ns` is when it was received. Unknown topics and kinds are ignored."""
        self.heard_at = now
        if self._silent is not None:
            self._silent = None
            self.tell([Telling("proxy", Light.GREEN, "proxy", "heard again")], wall_ns)
        if message.epoch and message.epoch != self.epoch:
            self._begin_epoch(message.epoch, wall_ns)
        body = body_of(message.body)
        if message.kind == "welcome":
            topic = text(body, "topic") or message.topic
            for snapshot in _snapshots(body):
                self._fold(topic, snapshot, now, wall_ns, news=False)
        elif message.topic == topics.HEALTH_BUS:
            self._health[topics.HEALTH_BUS] = (body, now)
            if message.kind == "heartbeat":
                self._delay.record((wall_ns - message.sent_ns) / 1e6)
        elif message.kind != "gap":
            self._fold(message.topic, body, now, wall_ns, news=True)

    def receive_fact(self, topic: str, body: Any, now: float, wall_ns: int) -> None:
        """Fold in what the proxy answered when asked: a fact like a snapshot, not news."""
        self._fold(topic, body_of(body), now, wall_ns, news=False)

    def receive_gap(self, topic: str, missed: int, wall_ns: int) -> None:
        """Messages of `topic` were lost on the way to this monitor."""
        self._gaps += 1
        self.tell([Telling("gap", Light.AMBER, plain(topic), f"missed {missed} messages")], wall_ns)

    def receive_silence(self, reason: str, wall_ns: int) -> None:
        """Nothing comes any more, or no proxy answers; told once until something is heard again."""
        told, self._silent = self._silent, plain(reason)
        if told is None:
            self.tell([Telling("proxy", Light.RED, "proxy", f"not heard: {plain(reason)}")], wall_ns)

    def tell(self, tellings: Iterable[Telling], wall_ns: int) -> None:
        """Add events of the monitor's own, for example an alert."""
        self._events.tell(tellings, wall_ns)

    # ------------------------------------------------------------ what goes out

    def events_since(self, number: int) -> list[Event]:
        return self._events.since(number)

    def is_silent(self, now: float) -> bool:
        """True when no frame came for longer than the limit, or none ever did."""
        return self.heard_at is None or now - self.heard_at > self.settings.silent_after_s

    def view(self, now: float, wall_ns: int) -> View:
        gateway = self._gateway(now, wall_ns)
        state = "unreachable" if self._silent is not None or self.is_silent(now) else gateway.state
        pacing_body, pacing_age_s = self._last(topics.HEALTH_PACING, now)
        streams_body, streams_age_s = self._last(topics.HEALTH_STREAMS, now)
        account_body, account_age_s = self._last(topics.ACCOUNT, now)
        pacing = PacingView() if pacing_age_s is None else readings.pacing(pacing_body, pacing_age_s)
        streams = readings.streams(streams_body, streams_age_s or 0.0)
        breakers = readings.breakers(self._last(topics.HEALTH_BREAKERS, now)[0])
        silent_after_s = self.settings.engine_silent_after_s
        engines = tuple(
            readings.engine(name, body, now - at, silent_after_s) for name, (body, at) in sorted(self._engines.items())
        )
        processes = tuple(
            readings.process(name, body, now - at) for name, (body, at) in sorted(self._processes.items())
        )
        orders = self._blotter.orders()
        problems = find_problems(
            state, self._silent or "", gateway, pacing, breakers, streams, engines, processes, orders
        )
        return View(
            wall_ns=wall_ns,
            state=state,
            healthy=is_healthy(state, problems),
            light=lights.worst([lights.of(lights.GATEWAY, state), *(problem.light for problem in problems)]),
            problems=problems,
            epoch=self.epoch,
            heard_age_s=None if self.heard_at is None else now - self.heard_at,
            gateway=gateway,
            pacing=pacing,
            breakers=breakers,
            latency=readings.latency(self._last(topics.HEALTH_LATENCY, now)[0]),
            bus=self._bus(now),
            streams=streams,
            engines=engines,
            processes=processes,
            orders=orders,
            fills=self._blotter.fills(),
            positions=self._blotter.positions(),
            account=readings.account(account_body, account_age_s),
            verdicts=tuple(reversed(self._verdicts)),
            orders_open=sum(order.open for order in orders),
            orders_total=self._blotter.orders_total,
            fills_total=self._blotter.fills_total,
            verdict_counts=dict(self._verdict_counts),
            event_number=self._events.last_number,
        )

    def _last(self, topic: str, now: float) -> tuple[Body, float | None]:
        """The last body of a topic and its age; ({}, None) when it was never heard."""
        body, heard_at = self._health.get(topic, ({}, None))
        return body, None if heard_at is None else now - heard_at

    def _gateway(self, now: float, wall_ns: int) -> GatewayView:
        body, age_s = self._last(topics.HEALTH_GATEWAY, now)
        return GatewayView() if age_s is None else readings.gateway(body, age_s, wall_ns)

    def _bus(self, now: float) -> BusView:
        body, age_s = self._last(topics.HEALTH_BUS, now)
        return BusView(
            subscriptions=readings.count(body, "subscriptions"),
            published=whole(body, "published"),
            requests=whole(body, "requests"),
            refused=whole(body, "refused"),
            dropped=whole(body, "dropped"),
            gaps=self._gaps,
            delay_ms=self._delay.percentiles(),
            age_s=age_s,
        )

    # ------------------------------------------------------------ folding

    _COMPARE: ClassVar[dict[str, Callable[[Body | None, Body], Iterable[Telling]]]] = {
        topics.HEALTH_GATEWAY: changes.of_gateway,
        topics.HEALTH_BREAKERS: changes.of_breakers,
        topics.HEALTH_STREAMS: changes.of_streams,
    }

    def _begin_epoch(self, epoch: str, wall_ns: int) -> None:
        if self.epoch:
            self.tell([Telling("proxy", Light.AMBER, "proxy", "restarted (new epoch)", {"epoch": epoch})], wall_ns)
        self.epoch = epoch
        self._health.clear()
        self._blotter.forget_positions()
        self._delay = BusDelay()

    def _fold(self, topic: str, body: Body, now: float, wall_ns: int, *, news: bool) -> None:
        """`news` is False for snapshots of orders, fills and verdicts: they are facts, but happened before."""
        if topic.startswith(ENGINE_PREFIX):
            self._fold_worker(self._engines, topic[len(ENGINE_PREFIX) : -1], body, now, wall_ns, changes.of_engine)
        elif topic.startswith(PROCESS_PREFIX):
            self._fold_worker(self._processes, topic[len(PROCESS_PREFIX) : -1], body, now, wall_ns, changes.of_process)
        elif topic.startswith("health/") or topic == topics.ACCOUNT:
            before = self._health.get(topic, (None, 0.0))[0]
            self._health[topic] = (body, now)
            compare = self._COMPARE.get(topic)
            if compare is not None:
                self.tell(compare(before, body), wall_ns)
        else:
            tellings = self._fold_trade(topic, body, wall_ns, news)
            self.tell(tellings if news else (), wall_ns)

    def _fold_trade(self, topic: str, body: Body, wall_ns: int, news: bool) -> Iterable[Telling]:
        if topic.startswith("orders/"):
            return self._blotter.receive_order(body, wall_ns)
        if topic == topics.FILLS:
            return self._blotter.receive_fill(body, wall_ns)
        if topic == topics.POSITIONS:
            self._blotter.receive_position(body)
        elif topic == topics.VERDICTS and text(body, "verdict") and (news or not self._verdicts):
            self._fold_verdict(body, wall_ns)
            return changes.of_verdict(body)
        return ()

    def _fold_worker(
        self,
        known: Known,
        name: str,
        body: Body,
        now: float,
        wall_ns: int,
        compare: Callable[[str, Body | None, Body], Iterable[Telling]],
    ) -> None:
        name = plain(name)
        before = known.get(name, (None, 0.0))[0]
        if before is None and len(known) >= self.settings.workers_max:
            del known[min(known, key=lambda one: known[one][1])]
        known[name] = (body, now)
        self.tell(compare(name, before, body), wall_ns)

    def _fold_verdict(self, body: Body, wall_ns: int) -> None:
        verdict, evidence = text(body, "verdict"), inner(body, "evidence")
        # The list of verdicts is closed; whatever else somebody may publish must not grow without end.
        known = verdict in self._verdict_counts or len(self._verdict_counts) < VERDICT_NAMES_MAX
        self._verdict_counts[verdict if known else "other"] += 1
        self._verdicts.append(
            VerdictView(
                number=self._verdict_counts.total(),
                wall_ns=wall_ns,
                verdict=verdict,
                request_class=text(body, "request_class") or text(evidence, "request_class"),
                subject=text(evidence, "topic") or text(evidence, "contract") or text(evidence, "subject"),
                advice=text(body, "advice"),
                light=lights.of_verdict(verdict),
                evidence={plain(name): value for name, value in evidence.items() if name not in ABOUT_REQUEST},
                timeline=inner(body, "timeline") or inner(evidence, "timeline"),
            )
        )


def _snapshots(welcome: Body) -> list[Body]:
    """A welcome carries the last value, several of them (as a list, or by name), or nothing yet."""
    snapshot = welcome.get("snapshot")
    if isinstance(snapshot, list | tuple):
        return list(rows(welcome, "snapshot"))
    return [snapshot] if isinstance(snapshot, dict) else []
