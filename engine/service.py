"""The engine's process: one blocking loop that feeds the core, performs its effects and says how it is.

Bars are read before each question is asked, so that a slow answer delays them by one question at most. Nothing here
decides anything; a proxy that is away is waited for, and everything is asked again when it is back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.broker import Broker, perform
from engine.core import EngineCore
from engine.decisions import DecisionLog
from engine.effects import Ask, Log, Record, Subscribe
from engine.pulse import Pulse
from engine.recording import Recorder
from gateway_proxy import Client, Gap, Message, ProxyError, ProxyUnreachable, Restarted, Stop

log = logging.getLogger("engine")

HEARTBEAT_S = 1.0
#: How long a stop signal may go unnoticed while nothing comes.
WAIT_MAX_S = 0.2
#: Messages taken in one turn, so that a burst cannot keep timers and heartbeats waiting.
TURN_MAX = 500
#: Questions waiting for their turn; a core that wants more is broken.
ASKS_MAX = 10_000
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


class Service:
    """`clock` gives monotonic seconds; `on_ready` is called once, when the engine is subscribed."""

    def __init__(
        self,
        core: EngineCore,
        broker: Broker,
        stop: Stop,
        *,
        decisions: DecisionLog | None = None,
        recorder: Recorder | None = None,
        on_ready: Callable[[], object] = lambda: None,
        on_beat: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._broker = broker
        self._stop = stop
        self._decisions = decisions
        self._recorder = recorder
        self._on_ready = on_ready
        self._on_beat = on_beat
        self._clock = clock
        self._pulse = Pulse()
        self._asks: deque[Ask] = deque()
        self._next_beat = 0.0
        self._told_unreachable = False

    def run(self) -> None:
        """Until the stop is requested. What was not sent by then is not sent."""
        now = self._clock()
        if self._recorder is not None:
            self._recorder.start(now)
        self._core.start(now)
        self._perform_effects()
        self._on_ready()
        while not self._stop.requested:
            self.turn()
        for ask in self._asks:
            if ask.socket == "trade":
                log.warning("stopped before it was sent", extra={"op": ask.op, "order": ask.question.subject})
        self._report()

    def turn(self) -> None:
        """One step: hear what there is, ask one question, run timers, beat."""
        self._listen()
        self._perform_effects()
        self._ask_next()
        due = self._core.next_timer()
        if due is not None and due <= self._clock():
            self._handle_timer(self._clock())
        if self._clock() >= self._next_beat:
            self._next_beat = self._clock() + HEARTBEAT_S
            self._report()
            self._on_beat()

    # ------------------------------------------------------------ inside

    def _handle_timer(self, now: float) -> None:
        if self._recorder is not None:
            self._recorder.timer(now)
        self._core.handle_timer(now)
        self._perform_effects()

    def _hear(self, heard: Message | Gap | Restarted, now: float) -> None:
        if self._recorder is not None:
            self._recorder.heard(heard, now)
        decided, started = self._core.decisions, time.perf_counter()
        self._core.receive_message(heard, now)
        if isinstance(heard, Message) and heard.kind == "bar":
            took_s = time.perf_counter() - started
            self._pulse.bar(heard.sent_ns, took_s if self._core.decisions > decided else None)
        self._perform_effects()

    def _wait_s(self) -> float:
        if self._asks:
            return 0.0
        timers = [self._next_beat] + [due for due in (self._core.next_timer(),) if due is not None]
        return min(WAIT_MAX_S, max(0.0, min(timers) - self._clock()))

    def _listen(self) -> None:
        heard = self._broker.receive(self._wait_s())
        for _ in range(TURN_MAX):
            if heard is None:
                return
            self._hear(heard, self._clock())
            heard = self._broker.receive(0.0)

    def _perform_effects(self) -> None:
        for effect in self._core.effects():
            if isinstance(effect, Ask):
                assert len(self._asks) < ASKS_MAX, "the core asks more than can ever be answered"
                # An order must not wait behind a chain or a backfill.
                if effect.socket == "trade":
                    self._asks.appendleft(effect)
                else:
                    self._asks.append(effect)
            elif isinstance(effect, Subscribe):
                self._broker.subscribe(effect.topic)
            elif isinstance(effect, Record):
                self._keep(effect.body)
            else:
                tell(effect)

    def _keep(self, decision: dict[str, Any]) -> None:
        if self._decisions is not None:
            self._decisions.decision(decision)
        if self._recorder is not None:
            self._recorder.decision(decision)

    def _ask_next(self) -> None:
        if not self._asks:
            return
        reply, now = perform(self._broker, self._asks.popleft()), self._clock()
        if self._decisions is not None:
            self._decisions.reply(reply)
        if self._recorder is not None:
            self._recorder.reply(reply, now)
        self._core.receive_reply(reply, now)
        self._perform_effects()

    def _report(self) -> None:
        """The heartbeat. A proxy that is away does not hear it; that is told once, and once when it is back."""
        body = {**self._core.view(), **self._pulse.view()}
        try:
            args = {"kind": "engine", "name": self._core.rules.name, "body": body}
            self._broker.request("report", args, 0.5)
        except ProxyUnreachable as error:
            if not self._told_unreachable:
                log.warning("proxy does not answer; waiting for it", extra={"why": str(error)})
            self._told_unreachable = True
        except ProxyError as error:
            log.warning("heartbeat refused", extra={"why": str(error)})
        else:
            if self._told_unreachable:
                log.info("proxy is back")
            self._told_unreachable = False
        for file in (self._decisions, self._recorder):
            if file is not None:
                file.flush()


def wait_for_proxy(connect: Callable[[], Client], stop: Stop) -> Client | None:
    """A connected client, however long it takes; None when the stop came first. Says once that it waits."""
    told = False
    while not stop.requested:
        try:
            return connect()
        except ProxyUnreachable as error:
            if not told:
                log.warning("no proxy yet; waiting for it", extra={"why": str(error)})
            told = True
    return None


def tell(effect: Log) -> None:
    log.log(_LEVELS[effect.level], effect.event, extra=effect.fields)
