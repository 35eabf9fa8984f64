"""The recorder's process: one blocking loop that hears the bus, asks for the past and writes files.

It trades nothing and is nobody's bottleneck: a slow disk costs messages, which are told as gaps, and never the proxy.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from gateway_proxy import BadMessage, Bar, Bars, Gap, Message, ProxyError, Restarted, Stop
from gateway_proxy.recorder.core import AskBars, RecorderCore, Subscribe, Unsubscribe, Write
from gateway_proxy.recorder.files import Files, RecordingFailed

log = logging.getLogger("recorder")

WAIT_MAX_S: Final = 0.2
#: Messages taken in one turn, so that a burst cannot keep questions and files waiting.
TURN_MAX: Final = 500
HISTORY_TIMEOUT_S: Final = 20.0
#: Without even a heartbeat for this long the recording has a hole.
SILENT_AFTER_S: Final = 2.0
TELL_EVERY_S: Final = 60.0


class Bus(Protocol):
    """What the recorder needs of a client; `gateway_proxy.Client` fits as it is."""

    @property
    def silent_s(self) -> float: ...

    def subscribe(self, topic: str) -> None: ...

    def unsubscribe(self, topic: str) -> None: ...

    def receive(self, timeout_s: float) -> Message | Gap | Restarted | None: ...

    def bars(self, contract: Any, size: str, *, count: int, rth: bool, timeout_s: float | None) -> Bars: ...


class Service:
    """`clock` gives monotonic seconds, `wall_ns` this host's time; `on_ready` is called when all is subscribed."""

    def __init__(
        self,
        core: RecorderCore,
        bus: Bus,
        files: Files,
        stop: Stop,
        *,
        on_ready: Callable[[], object] = lambda: None,
        on_beat: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._core = core
        self._bus = bus
        self._files = files
        self._stop = stop
        self._on_ready = on_ready
        self._on_beat = on_beat
        self._clock = clock
        self._wall_ns = wall_ns
        self._asks: deque[AskBars] = deque()
        self._was_silent = False
        self._tell_at = 0.0

    def run(self) -> None:
        """Until the stop; then what is in memory goes to disk. Raises RecordingFailed when the disk takes no more."""
        self._core.start(self._clock(), self._wall_ns())
        self._perform_effects()
        self._on_ready()
        while not self._stop.requested:
            self.turn()
        self._core.finish(self._clock(), self._wall_ns())
        self._perform_effects()

    def turn(self) -> None:
        """One step: hear what there is, ask one question, run timers."""
        self._listen()
        self._ask_next()
        due, now = self._core.next_timer(), self._clock()
        if due is not None and due <= now:
            self._core.handle_timer(now)
        self._perform_effects()
        self._watch_silence()
        self._on_beat()
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY_S
            facts = {"messages": self._core.heard, "rows_written": self._core.written, "gaps": self._core.gaps}
            log.info("recording", extra=facts)

    # ------------------------------------------------------------ inside

    def _listen(self) -> None:
        wait_s = 0.0 if self._asks else WAIT_MAX_S
        for _ in range(TURN_MAX):
            try:
                heard = self._bus.receive(wait_s)
            except BadMessage as error:
                self._core.receive_unreadable(str(error), self._clock(), self._wall_ns())
                continue
            if heard is None:
                return
            wait_s = 0.0
            if not isinstance(heard, Message):
                log.warning("messages lost" if isinstance(heard, Gap) else "the proxy began a new life")
            self._core.receive_message(heard, self._clock(), self._wall_ns())
            self._perform_effects()

    def _ask_next(self) -> None:
        if not self._asks:
            return
        ask = self._asks.popleft()
        try:
            bars: list[Bar] = list(
                self._bus.bars(ask.symbol, ask.size, count=ask.count, rth=ask.rth, timeout_s=HISTORY_TIMEOUT_S)
            )
        except ProxyError as error:
            log.warning("no history yet", extra={"topic": ask.topic, "why": str(error)})
            self._core.receive_failure(ask.topic, error.retry_in_s, self._clock())
        else:
            self._core.receive_bars(ask.topic, bars, self._clock(), self._wall_ns())

    def _watch_silence(self) -> None:
        silent_s = self._bus.silent_s
        if silent_s < SILENT_AFTER_S:
            self._was_silent = False
        elif not self._was_silent:
            self._was_silent = True
            log.warning("nothing heard; waiting for the proxy", extra={"seconds": round(silent_s, 1)})
            self._core.receive_silence(silent_s, self._clock(), self._wall_ns())

    def _perform_effects(self) -> None:
        refused: list[RecordingFailed] = []
        for effect in self._core.effects():
            if isinstance(effect, Write):
                try:
                    path = self._files.write(effect)
                except RecordingFailed as error:
                    refused.append(error)  # a smaller table may still fit
                else:
                    log.debug("file written", extra={"file": str(path), "rows": len(effect.rows)})
            elif isinstance(effect, AskBars):
                self._asks.append(effect)
            elif isinstance(effect, Subscribe):
                self._bus.subscribe(effect.topic)
            elif isinstance(effect, Unsubscribe):
                self._bus.unsubscribe(effect.topic)
        if refused:
            raise RecordingFailed("\n".join(map(str, refused)))
