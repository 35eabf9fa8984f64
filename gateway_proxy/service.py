"""The proxy's loop: feeds the core, performs its effects in their order, re-arms one timer. Decides nothing.

Everything happens on one asyncio loop that owns the Gateway socket and the bus. The step is always the same:
feed, perform, re-arm. An Append is durable before the effect after it happens.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from gateway_proxy import notify
from gateway_proxy.bus.messages import Request
from gateway_proxy.bus.server import BusServer
from gateway_proxy.bus.server import Client as BusClient
from gateway_proxy.core import effects as fx
from gateway_proxy.core.citations import is_citable
from gateway_proxy.core.events import UpstreamEvent
from gateway_proxy.core.proxy import ProxyCore
from gateway_proxy.core.witness import Vitals
from gateway_proxy.errors import JournalUnavailable
from gateway_proxy.garbage import Collector
from gateway_proxy.ibc import IbcLine
from gateway_proxy.journal import Journal
from gateway_proxy.option_memory import OptionMemory
from gateway_proxy.pacing_memory import PacingMemory
from gateway_proxy.upstream import Upstream

log = logging.getLogger("gateway_proxy")

#: How often the loop measures how late it is, real seconds.
BEAT_S: Final = 0.25
#: After so much work on anything else the trade socket is looked at, real seconds: what an order may wait for that.
#: A look takes 4 us.
ORDERS_WAIT_S: Final = 0.00025
#: Housekeeping waits until the journal has been given nothing for so long, real seconds.
QUIET_S: Final = 1.0
#: Pacing is written down every so many beats.
REMEMBER_BEATS: Final = 4


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of the proxy's clock: monotonic, `speed` times faster than real ones."""

    speed: float = 1.0

    def now(self) -> float:
        return time.monotonic() * self.speed

    def real_s(self, duration: float) -> float:
        return duration / self.speed


class Service:
    """Joins core, bus, journal and Gateway. `run` returns when asked to stop; a broken promise raises."""

    def __init__(
        self,
        core: ProxyCore,
        clock: Clock,
        journal: Journal,
        memory: PacingMemory,
        options: OptionMemory,
        make_bus: Callable[[str], BusServer],
        make_upstream: Callable[[Callable[[UpstreamEvent], None]], Upstream],
        ibc: IbcLine,
    ) -> None:
        self._ibc = ibc
        self._core = core
        self._clock = clock
        self._journal = journal
        self._memory = memory
        self._options = options
        self.epoch = secrets.token_hex(6)
        self._bus = make_bus(self.epoch)
        core.told.epoch = self.epoch
        self._upstream = make_upstream(self._receive_upstream)
        self._timer: asyncio.TimerHandle | None = None
        self._arming: asyncio.Handle | None = None
        self._queue: list[fx.Effect] = []
        self._is_performing = False
        self._failure: BaseException | None = None
        self._recorded_at = 0.0
        self._looked_at = 0.0
        self._performers: dict[type, Callable[[Any], None]] = {
            fx.Connect: lambda effect: self._upstream.connect(),
            fx.Disconnect: lambda effect: self._upstream.disconnect(effect.reason),
            fx.CommandGateway: lambda effect: self._ibc.send(effect.command),
            fx.Send: self._send,
            fx.Publish: self._publish,
            fx.Reply: self._reply,
            fx.Log: _log,
        }

    async def run(self) -> None:
        """Start, serve, stop cleanly on SIGTERM or SIGINT. Raises AlreadyRunning or ConfigError before serving."""
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.set_exception_handler(self._crash)
        self._bus.on_request, self._bus.on_trade = self._receive_request, self._receive_trade
        self._bus.on_subscription = self._receive_subscription
        self._bus.start()
        try:
            self._step(lambda now: self._core.handle_timer(now))
            notify.ready()
            log.info("proxy ready", extra={"epoch": self.epoch, "pid": os.getpid()})
            beat = loop.create_task(self._beat(), name="beat")
            await self._stopped.wait()
            beat.cancel()
        finally:
            self._remember()
            self._upstream.disconnect("the proxy stops")
            for handle in (self._timer, self._arming):
                if handle is not None:
                    handle.cancel()
            self._bus.close()
            self._journal.close()
        if self._failure is not None:
            raise self._failure

    async def _beat(self) -> None:
        """Measures the loop's lag, tells the supervisor that full turns happen, and tidies up in quiet moments."""
        collector = Collector()
        due, beats = time.monotonic() + BEAT_S, 0
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            lag_s = time.monotonic() - due
            due = time.monotonic() + BEAT_S
            upstream = self._upstream
            vitals = Vitals(lag_s, upstream.unread_bytes(), upstream.unsent_bytes(), upstream.owner_reads())
            self._step(lambda now, vitals=vitals: self._core.receive_vitals(vitals, now))  # type: ignore[misc]
            quiet = time.monotonic() - self._recorded_at >= QUIET_S
            self._journal.tidy(quiet=quiet)
            if quiet:
                collector.quiet()
            beats += 1
            if beats % REMEMBER_BEATS == 0:
                self._remember()
            notify.alive()

    def _remember(self) -> None:
        """For the next life: what IB still counts, and what it said of today's options."""
        self._memory.write(self._core.remembered_pacing(self._clock.now()))
        self._options.write(self._core.options.version, self._core.remembered_options)

    # ------------------------------------------------------------ feed

    def _receive_upstream(self, event: UpstreamEvent) -> None:
        self._step(lambda now: self._core.receive_upstream(event, now))

    def _receive_request(self, client: BusClient, request: Request) -> None:
        if request.op == "snapshot":
            topics = self._bus.snapshot(request.args.prefix)
            self._bus.reply(client, request.id, body={"epoch": self.epoch, "topics": topics})
            return
        scaled = self._scaled(request)
        self._step(lambda now: self._core.receive_request(client, owner_of(client), scaled, now))

    def _receive_trade(self, client: BusClient, request: Request) -> None:
        scaled = self._scaled(request)
        self._step(lambda now: self._core.receive_trade(client, owner_of(client), scaled, now))

    def _receive_subscription(self, topic: str, subscribed: bool) -> None:
        self._step(lambda now: self._core.receive_subscription(topic, subscribed, now))

    def _scaled(self, request: Request) -> Request:
        """A caller's deadline is in real seconds; the core's clock may run faster."""
        if request.expires_in_s is None or self._clock.speed == 1.0:
            return request
        return Request(request.id, request.op, request.args, request.expires_in_s * self._clock.speed)

    def _step(self, feed: Callable[[float], None]) -> None:
        """Feed, perform, re-arm. An effect that feeds the core again (a refused dial) waits for its turn.

        A flood of requests or of the Gateway's words is many steps in one turn of the loop: orders come between them.
        """
        try:
            feed(self._clock.now())
            self._queue += self._core.effects()
            if self._is_performing:
                return
            self._is_performing = True
            try:
                self._perform_all()
            finally:
                self._is_performing = False
            self._arm_soon()
            if time.monotonic() - self._looked_at >= ORDERS_WAIT_S:
                self._bus.look_for_orders()
                self._looked_at = time.monotonic()
        except BaseException as failure:
            self._fail(failure)

    def _perform_all(self) -> None:
        while self._queue:
            effects, self._queue = self._queue, []
            while effects:
                effects = self._perform(effects)

    def _perform(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        """Perform up to and including one transaction of the journal and what it permits to send; returns the rest.

        When the journal refuses, the core decides what may still happen: nothing of the rest is done as it stands.
        """
        at, end = transaction(effects)
        for effect in effects[:at]:
            self._performers[type(effect)](effect)
        records = tuple(effect for effect in effects[at:end] if isinstance(effect, fx.Append))
        if records:
            self._recorded_at = time.monotonic()
        try:
            self._journal.append(records, time.time_ns())
        except JournalUnavailable as failure:
            log.error("order journal unavailable", extra={"error": str(failure)})
            self._core.journal_failed(effects[at:], self._clock.now())
            return self._core.effects()
        durable, rest = once_durable(effects[at:end], effects[end:])
        for effect in durable:
            self._performers[type(effect)](effect)
        return rest

    def _send(self, effect: fx.Send) -> None:
        if not self._upstream.send(effect.call):
            log.warning("call not written: no session", extra={"call": type(effect.call).__name__})

    def _publish(self, effect: fx.Publish) -> None:
        seq = self._bus.publish(effect.topic, effect.kind, effect.body)
        if seq and is_citable(effect.topic):
            self._core.told.note(effect.topic, seq, self._clock.now())

    def _reply(self, effect: fx.Reply) -> None:
        self._bus.reply(effect.client, effect.request_id, body=effect.body, error=effect.error, columns=effect.columns)

    def _arm_soon(self) -> None:
        """Once per turn of the loop, however many messages one chunk of bytes held."""
        if self._arming is None:
            self._arming = asyncio.get_running_loop().call_soon(self._arm)

    def _arm(self) -> None:
        self._arming = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.next_timer()
        if due is not None:
            delay_s = max(0.0, self._clock.real_s(due - self._clock.now()))
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._step(self._core.handle_timer)

    # ------------------------------------------------------------ failing

    def _fail(self, failure: BaseException) -> None:
        """A broken promise: stop. Start-up and recovery are the same code, so dying is safe and going on is not."""
        if self._failure is None:
            self._failure = failure
            log.error("the proxy stops: a promise was broken", exc_info=failure)
        self._stopped.set()

    def _crash(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._fail(context.get("exception") or RuntimeError(str(context.get("message"))))


def transaction(effects: Sequence[fx.Effect]) -> tuple[int, int]:
    """Where the first run of Appends begins and ends; (n, n) of n effects without one.

    What is only told in between (the intent of an order, before the permission to write it) waits for the whole run,
    so that an order costs one sync before its first byte. A Send or a Reply ends the run.
    """
    at = next((at for at, effect in enumerate(effects) if isinstance(effect, fx.Append)), len(effects))
    end = at
    while end < len(effects) and isinstance(effects[end], fx.Append | fx.Log | fx.Publish):
        end += 1
    return at, end


def once_durable(run: list[fx.Effect], rest: list[fx.Effect]) -> tuple[list[fx.Effect], list[fx.Effect]]:
    """What to do after the sync of `run`, in that order, and what is then left: the Gateway hears before the bus does.

    Only the Sends that follow at once pass what is told in the run; they were made with it in the same turn.
    """
    sends = list(takewhile(lambda effect: isinstance(effect, fx.Send), rest))
    told = [effect for effect in run if not isinstance(effect, fx.Append)]
    return sends + told, rest[len(sends) :]


def owner_of(client: BusClient) -> str:
    """Whom fair sharing counts a request to: the sending process where the kernel names it, else the connection."""
    return f"pid {client.peer.rsplit(':', 1)[-1]}" if client.peer.startswith("localhost:") else client.route.hex()


def _log(effect: fx.Log) -> None:
    log.log(getattr(logging, effect.level.upper()), effect.event, extra=effect.fields)
