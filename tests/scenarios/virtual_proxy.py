"""The real proxy core and the real Upstream beside the real simulator, in virtual time: a shell without a bus.

It performs the effects of the core as the service does, keeps what would be published, and asks `diagnose` and the
sidecar as the doctor does.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from gateway_proxy.assembly import core_settings
from gateway_proxy.bus.codec import convert
from gateway_proxy.bus.messages import REQUEST_ARGS, TRADE_ARGS, Request
from gateway_proxy.core import effects as fx
from gateway_proxy.core.diagnosis import diagnose
from gateway_proxy.core.events import UpstreamEvent
from gateway_proxy.core.proxy import ProxyCore
from gateway_proxy.core.symptoms import Ending, Symptoms
from gateway_proxy.core.verdict import Verdict
from gateway_proxy.core.witness import Vitals
from gateway_proxy.settings import Settings, TradingSettings
from gateway_proxy.sidecar import visit
from gateway_proxy.upstream import Upstream
from gateway_sim.testing import World

CLIENT_ID = 1
SIDECAR_ID = 901
BEAT_S = 0.25


class VirtualProxy:
    """One life of a proxy on the current (virtual) loop."""

    def __init__(
        self, world: World, *, port: int | None = None, settings: Settings | None = None, quiet: bool = False
    ) -> None:
        """`quiet`: housekeeping is rare, so that days of market pass quickly."""
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._address = world.host, world.port if port is None else port
        paper = replace(settings or Settings(), trading=TradingSettings(mode="paper", account="DU1234567"))
        seconds = core_settings(paper, live_confirmed="")
        if quiet:
            rare = replace(seconds.health, probe_interval_s=20.0)
            seconds = replace(seconds, publish_s=120.0, health=rare)
        self._beat_s = 20.0 if quiet else BEAT_S
        self.core = ProxyCore(seconds, self.now, 0)
        self.core.restore([], self.now)
        self.upstream = Upstream(*self._address, CLIENT_ID, connect_timeout_s=10.0, deliver=self._receive)
        self._timer: asyncio.TimerHandle | None = None
        self._queue: list[fx.Effect] = []
        self._is_performing = False
        self._requests = 0
        self.replies: dict[int, fx.Reply] = {}
        self.replied: list[tuple[float, fx.Reply]] = []
        self.published: list[tuple[float, fx.Publish]] = []
        self.logs: list[tuple[float, fx.Log]] = []
        self.failure: BaseException | None = None
        self._beat = self._loop.create_task(self._beats())
        self._step(lambda: self.core.handle_timer(self.now))

    @property
    def now(self) -> float:
        return self._loop.time()

    def stop(self) -> None:
        self._beat.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self.upstream.disconnect("the test is over")
        if self.failure is not None:
            raise self.failure

    # ------------------------------------------------------------ in

    def subscribe(self, *topics: str) -> None:
        for topic in topics:
            self._step(lambda topic=topic: self.core.receive_subscription(topic, True, self.now))  # type: ignore[misc]

    def ask(self, op: str, expires_in_s: float | None = None, **args: Any) -> int:
        self._requests += 1
        request = Request(self._requests, op, convert(args, REQUEST_ARGS[op], op), expires_in_s)
        self._step(lambda: self.core.receive_request("client", "test", request, self.now))
        return self._requests

    def trade(self, op: str, **args: Any) -> int:
        self._requests += 1
        request = Request(self._requests, op, convert(args, TRADE_ARGS[op], op), None)
        self._step(lambda: self.core.receive_trade("client", "test", request, self.now))
        return self._requests

    async def until(self, state: str, within_s: float = 60.0) -> float:
        """Waits for a state of the session; returns when it was reached."""
        deadline = self.now + within_s
        while self.core.health.state.value != state:
            assert self.now < deadline, f"never {state}: {self.core.health.state} {self.core.health.reason}"
            await asyncio.sleep(0.05)
        return self.now

    def _receive(self, event: UpstreamEvent) -> None:
        self._step(lambda: self.core.receive_upstream(event, self.now))

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            vitals = Vitals(0.0, 0, self.upstream.unsent_bytes(), self.upstream.owner_reads())
            self._step(lambda vitals=vitals: self.core.receive_vitals(vitals, self.now))  # type: ignore[misc]

    # ------------------------------------------------------------ out

    def _step(self, feed: Any) -> None:
        try:
            feed()
            self._queue += self.core.effects()
            if self._is_performing:
                return
            self._is_performing = True
            try:
                while self._queue:
                    self._perform(self._queue.pop(0))
            finally:
                self._is_performing = False
            self._arm()
        except BaseException as failure:
            self.failure = self.failure or failure
            raise

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Connect():
                self.upstream.connect()
            case fx.Disconnect(reason):
                self.upstream.disconnect(reason)
            case fx.Send(call):
                self.upstream.send(call)
            case fx.Publish():
                self.published.append((self.now, effect))
            case fx.Reply():
                self.replies[int(effect.request_id)] = effect
                self.replied.append((self.now, effect))
            case fx.Log():
                self.logs.append((self.now, effect))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.core.next_timer()
        if due is not None:
            self._timer = self._loop.call_at(max(due, self.now), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._step(lambda: self.core.handle_timer(self.now))

    # ------------------------------------------------------------ reading

    def verdicts(self) -> list[str]:
        """Everything published on verdicts/, in order."""
        return [one.body["verdict"] for _, one in self.published if one.topic == "verdicts/"]

    def bars(self, topic: str) -> list[Any]:
        """The finished bars published on a topic."""
        return [one.body for _, one in self.published if one.topic == topic and one.kind == "bar" and one.body.complete]

    async def doctor(self) -> tuple[Verdict, str, Symptoms]:
        """What `gateway-proxy doctor` would say: the proxy's symptoms, and those of a fresh client."""
        own = self.core.symptoms(self.now)
        report = await visit(*self._address, SIDECAR_ID)
        fresh = report.round_trip
        if fresh is None and report.handshake is not Ending.OK:
            fresh = report.handshake
        symptoms = replace(
            own,
            port_refused=report.refused,
            fresh_handshake=report.handshake,
            fresh=fresh,
            fresh_history=report.history,
        )
        verdict, sign = diagnose(symptoms)
        return verdict, sign, symptoms
