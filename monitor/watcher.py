"""Reads the bus in a thread of its own and hands out views. The only file of the monitor that talks to the proxy.

It only listens and asks what reading programs may ask; it never trades and opens no stream.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from gateway_proxy import BadMessage, Client, Gap, Message, ProxyError, ProxyUnreachable
from monitor.changes import Telling
from monitor.config import StateSettings
from monitor.market import MarketState
from monitor.state import PREFIXES, MonitorState
from monitor.view import Event, View

log = logging.getLogger(__name__)

RETRY_S = 1.0  # between two attempts to find a proxy
POLL_S = 0.2  # how long a question or a stop may wait for the reading loop
QUESTIONS_MAX = 8  # one more is refused at once
QUESTION_TIMEOUT_S = 3.0

_T = TypeVar("_T")


class Watcher:
    """`start`, then read `view`, `events_since` and `market` from any thread; `stop` at the end."""

    def __init__(self, settings: StateSettings, runtime_dir: Path | None = None) -> None:
        self._settings = settings
        self._runtime_dir = runtime_dir
        self._state = MonitorState(settings)
        self._market = MarketState()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._questions: queue.Queue[tuple[Callable[[Client], Any], Future[Any]]] = queue.Queue(QUESTIONS_MAX)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the connection is closed, at the latest after a few seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=QUESTION_TIMEOUT_S + 2.0)

    # ------------------------------------------------------------ read from any thread

    def view(self) -> View:
        with self._lock:
            return self._state.view(time.monotonic(), time.time_ns())

    def events_since(self, number: int) -> list[Event]:
        with self._lock:
            return self._state.events_since(number)

    def read_market(self, read: Callable[[MarketState], _T]) -> _T:
        """What `read` makes of the market state, while nothing changes it."""
        with self._lock:
            return read(self._market)

    def tell(self, tellings: Iterable[Telling]) -> None:
        """Add the monitor's own events, for example alerts."""
        with self._lock:
            self._state.tell(tellings, time.time_ns())

    def diagnose(self) -> Future[dict[str, Any]]:
        """Ask the proxy why something is missing. The future fails with one of our errors."""
        return self._ask(Client.diagnose)

    def _ask(self, question: Callable[[Client], Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        try:
            self._questions.put_nowait((question, answer))
        except queue.Full:
            answer.set_exception(ProxyUnreachable("too many questions wait already; is the proxy there?"))
        return answer

    # ------------------------------------------------------------ the reading thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with Client.connect(
                    self._runtime_dir, name="monitor", timeout_s=RETRY_S, request_timeout_s=QUESTION_TIMEOUT_S
                ) as client:
                    self._listen(client)
            except ProxyError as error:
                self._silence(str(error))
                self._refuse_questions(error)
                self._stopping.wait(RETRY_S)

    def _listen(self, client: Client) -> None:
        """Until stopped. A proxy that restarts is followed by the client itself."""
        for prefix in PREFIXES:
            client.subscribe(prefix)
        caught_up = ""
        while not self._stopping.is_set():
            try:
                heard = client.receive(POLL_S)
            except BadMessage as error:
                log.warning("unreadable frame ignored", extra={"reason": str(error)})
                continue
            with self._lock:
                self._fold(heard)
                epoch = self._state.epoch
            if heard is None and client.silent_s > self._settings.silent_after_s:
                self._silence(f"no heartbeat for {client.silent_s:.0f} s")
            if epoch and epoch != caught_up:
                caught_up = epoch
                self._catch_up(client)
            self._answer_questions(client)

    def _fold(self, heard: object) -> None:
        now, wall_ns = time.monotonic(), time.time_ns()
        if isinstance(heard, Message):
            self._state.receive_message(heard, now, wall_ns)
            self._market.receive_message(heard)
        elif isinstance(heard, Gap):
            self._state.receive_gap(heard.topic, heard.missed, wall_ns)

    def _silence(self, reason: str) -> None:
        with self._lock:
            self._state.receive_silence(reason, time.time_ns())

    def _catch_up(self, client: Client) -> None:
        """A welcome holds only the last message of a topic: ask once for all open orders, fills and positions."""
        facts: list[tuple[str, Any]] = []
        for topic, ask in (("orders//", client.orders), ("fills/", client.trades), ("positions/", client.positions)):
            try:
                facts += [(topic, fact) for fact in ask()]
            except ProxyError as error:
                log.info("not told at start", extra={"topic": topic, "reason": str(error)})
        now, wall_ns = time.monotonic(), time.time_ns()
        with self._lock:
            for topic, fact in facts:
                self._state.receive_fact(topic, fact, now, wall_ns)

    def _answer_questions(self, client: Client) -> None:
        while not self._questions.empty():
            question, answer = self._questions.get_nowait()
            if not answer.set_running_or_notify_cancel():
                continue  # whoever asked has given up
            try:
                answer.set_result(question(client))
            except ProxyError as error:
                answer.set_exception(error)

    def _refuse_questions(self, error: ProxyError) -> None:
        while not self._questions.empty():
            answer = self._questions.get_nowait()[1]
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
