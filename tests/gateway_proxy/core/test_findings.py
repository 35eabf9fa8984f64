"""What went wrong lately: counted, published, and kept out of figures it says nothing about."""

from __future__ import annotations

import pytest

from gateway_proxy.bus.messages import Timeline
from gateway_proxy.core.desk import Outcome
from gateway_proxy.core.findings import Findings
from gateway_proxy.core.latency import LatencyBook
from gateway_proxy.core.scheduler import RequestClass
from gateway_proxy.core.verdict import Verdict


@pytest.mark.parametrize("verdict", [Verdict.SESSION_LOST, Verdict.CANCELLED, Verdict.EXPIRED_IN_QUEUE])
def test_request_that_ended_before_an_answer_is_no_gateway_latency(verdict: Verdict):
    """A quote that was open when the session broke did not take the Gateway that long."""
    latency = LatencyBook()
    findings = Findings(latency)
    answered = Outcome(Verdict.OK, (), Timeline(queued_ms=1.0, gateway_ms=20.0))

    findings.record(RequestClass.QUOTE, answered, 0.0)
    findings.record(RequestClass.QUOTE, Outcome(verdict, (), Timeline(queued_ms=1.0, gateway_ms=90_000.0)), 1.0)

    figures = latency.body()["classes"]["quote"]
    assert figures["queue_ms"]["count"] == 2
    assert (figures["gateway_ms"]["count"], figures["gateway_ms"]["max"]) == (1, 20.0)
    assert findings.counts() == {"ok": 1, verdict.value: 1}
