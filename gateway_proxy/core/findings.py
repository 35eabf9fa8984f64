"""What went wrong lately: every request and stream that did not end well, kept for `diagnose` and published. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Final

from gateway_proxy.bus import topics
from gateway_proxy.core import effects as fx
from gateway_proxy.core.desk import Outcome
from gateway_proxy.core.latency import LatencyBook
from gateway_proxy.core.scheduler import RequestClass
from gateway_proxy.core.verdict import Finding, Verdict
from gateway_proxy.errors import ProxyError

KEPT: Final = 100
#: Ends that are nobody's fault: counted, not published one by one.
_QUIET: Final = frozenset({Verdict.OK, Verdict.CANCELLED, Verdict.SESSION_LOST})
#: Ends before the Gateway could answer: how long that took says nothing about the Gateway.
_UNANSWERED: Final = frozenset({Verdict.EXPIRED_IN_QUEUE, Verdict.CANCELLED, Verdict.SESSION_LOST})


class Findings:
    """The newest verdicts, and how often each came in this life of the proxy."""

    def __init__(self, latency: LatencyBook) -> None:
        self._latency = latency
        self._recent: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._effects: list[fx.Effect] = []

    def record(self, request_class: RequestClass, outcome: Outcome, now: float) -> None:
        """One request ended (or one stream opened)."""
        timeline = outcome.timeline
        gateway_ms = None if outcome.verdict in _UNANSWERED else timeline.gateway_ms
        self._latency.record(request_class.value, timeline.queued_ms, gateway_ms)
        self._counts[outcome.verdict.value] += 1
        if outcome.verdict not in _QUIET:
            evidence = {
                "request_class": request_class.value,
                "about": outcome.about,
                "code": outcome.code,
                "text": outcome.text,
                "timeline": timeline,
            }
            self.add(Finding(outcome.verdict, evidence), now)

    def add(self, finding: Finding, now: float) -> None:
        self._recent.append(finding.body() | {"at_s": round(now, 3)})
        self._effects.append(fx.Publish(topics.VERDICTS, "verdict", finding.body()))

    def topic_failed(self, topic: str, failure: ProxyError, now: float) -> None:
        """A subscription cannot be served: told on `verdicts/` and on the topic itself."""
        finding = Finding(Verdict(failure.verdict or Verdict.REJECTED), {"topic": topic, "text": str(failure)})
        self.add(finding, now)
        self._effects.append(fx.Publish(topic, "verdict", finding.body()))

    def recent(self) -> list[dict[str, Any]]:
        return list(self._recent)

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done
