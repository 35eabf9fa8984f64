"""Once a second: takes a row of figures, keeps it, looks at the alert rules. A thread of its own, so that no browser
and no slow disk can hold up the reading of the bus.
"""

from __future__ import annotations

import logging
import threading
import time

from monitor.alerts import AlertBook
from monitor.changes import Telling
from monitor.delivery import Delivery
from monitor.duty import Duty
from monitor.history import History
from monitor.samples import Sample, Sampler
from monitor.series import Series
from monitor.watcher import Watcher

log = logging.getLogger(__name__)

EVERY_S = 1.0


class Rounds:
    """`history` and `delivery` are None when they are switched off; without a `duty` both are always ours to use."""

    def __init__(
        self,
        watcher: Watcher,
        series: Series,
        alerts: AlertBook,
        history: History | None = None,
        delivery: Delivery | None = None,
        duty: Duty | None = None,
    ) -> None:
        self._series = series
        self.alerts = alerts
        self._watcher = watcher
        self._history = history
        self._delivery = delivery
        self._duty = duty
        self._sampler = Sampler()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._event_number = 0
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        if self._duty is not None:
            self._duty.release()

    def _run(self) -> None:
        next_at = time.monotonic()
        while not self._stopping.wait(max(0.0, next_at - time.monotonic())):
            self.make(time.monotonic())
            # A machine that slept does not catch up on rounds.
            next_at = max(next_at + EVERY_S, time.monotonic())

    def make(self, now: float) -> None:
        """One round."""
        view = self._watcher.view()
        sample = self._sampler.sample(view)
        with self._lock:
            done = self._series.add(sample)
        on_duty = self._duty is None or self._duty.is_mine()
        for notice in self.alerts.receive_view(view, now):
            self._watcher.tell([Telling("alert", notice.light, notice.rule, notice.text)])
            if self._delivery is not None and on_duty:
                self._delivery.send(notice)
        events = self._watcher.events_since(self._event_number)
        if events:
            self._event_number = events[-1].number
        if self._history is not None and on_duty:
            self._history.append(done, events)

    def recent(self) -> list[Sample]:
        """Every second of the last quarter of an hour; from any thread."""
        with self._lock:
            return self._series.recent()

    def day(self) -> list[Sample]:
        """The coarse rows of the last day; from any thread."""
        with self._lock:
            return self._series.day()
