"""Prometheus: what the page says, that its labels are bounded, and that queue and Gateway time stay apart."""

from __future__ import annotations

import http.client
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway_proxy import ConfigError
from monitor.config import MetricsSettings
from monitor.metrics import LABELS_MAX, ViewCollector, serve
from tests.monitor.conftest import Watched
from tests.monitor.test_histograms import encoded
from tests.monitor.test_web import free_port

RULES = Path(__file__).parents[2] / "configs" / "grafana" / "alerts.yml"


def page(watched: Watched) -> str:
    registry = CollectorRegistry()
    registry.register(ViewCollector(lambda: watched.view))
    return generate_latest(registry).decode()


def samples(text: str) -> dict[tuple[str, str], float]:
    """(name, first label value) -> value."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_page_of_a_monitor_that_heard_nothing_is_valid(watched):
    found = samples(page(watched))

    assert found["gateway_proxy_up", ""] == 0.0
    assert found["gateway_state", "unreachable"] == 1.0


def test_exactly_one_state_is_one(watched, bus):
    watched.hear(bus.gateway("degraded"))

    found = samples(page(watched))

    assert {label: value for (name, label), value in found.items() if name == "gateway_state" and value} == {
        "degraded": 1.0
    }
    assert found["gateway_healthy", ""] == 0.0


def test_times_are_in_seconds(watched, bus):
    watched.hear(bus.gateway(rtt_ms=12.5, loop_lag_ms=3.0))

    found = samples(page(watched))

    assert found["gateway_round_trip_seconds", ""] == pytest.approx(0.0125)
    assert found["gateway_proxy_loop_lag_seconds", ""] == pytest.approx(0.003)


def test_queue_and_gateway_time_are_two_histograms(watched, bus):
    """Waited 40 s, answered in 80 ms: the 60 s bucket of one histogram, the 100 ms bucket of the other."""
    one = {"queue_ms": {"hdr": encoded([40_000_000])}, "gateway_ms": {"hdr": encoded([80_000])}}
    watched.hear(bus.gateway(), bus.health("latency", classes={"history": one}))

    text = page(watched)

    assert 'gateway_request_queue_seconds_bucket{le="30.0",request_class="history"} 0.0' in text
    assert 'gateway_request_queue_seconds_bucket{le="60.0",request_class="history"} 1.0' in text
    assert 'gateway_request_gateway_seconds_bucket{le="0.1",request_class="history"} 1.0' in text
    assert 'gateway_request_gateway_seconds_count{request_class="history"} 1.0' in text


def test_labels_stay_bounded_whatever_is_published(watched, bus):
    """Scopes, symbols and order names are no labels; of the rest at most LABELS_MAX values exist."""
    rules = [{"rule": f"r{i % 300}", "scope": f"s{i}", "used": i, "limit": 10} for i in range(1500)]
    streams = [{"topic": f"bars/S{i}/1min/", "state": "live", "age_s": 1.0} for i in range(1500)]
    watched.hear(bus.gateway(), bus.health("pacing", rules=rules), bus.health("streams", streams=streams))
    for i in range(500):
        watched.hear(bus.message("verdicts/", "verdict", {"verdict": f"odd_{i}"}), bus.order(f"o{i}"))

    text = page(watched)

    assert text.count("gateway_pacing_used{") == LABELS_MAX
    assert text.count("gateway_verdicts_total{") <= 51
    assert len(text.splitlines()) < 1000
    assert "bars/S1/" not in text and "o499" not in text


def test_page_is_served_and_the_server_stops(watched, bus):
    watched.hear(bus.gateway())
    settings = MetricsSettings(port=free_port())
    stop = serve(lambda: watched.view, settings)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=10)
        connection.request("GET", "/metrics")
        body = connection.getresponse().read().decode()
        connection.close()
        with pytest.raises(ConfigError, match=r"\[monitor.metrics\] cannot listen"):
            serve(lambda: watched.view, settings)
    finally:
        stop()

    assert 'gateway_state{state="ready"} 1.0' in body


def test_alert_rules_and_dashboard_only_use_metrics_that_exist(watched, bus):
    """A renamed metric must not leave a rule behind that can never fire."""
    import re

    one = {"queue_ms": {"hdr": encoded([1])}, "gateway_ms": {"hdr": encoded([1])}}
    watched.hear(
        bus.gateway(clock_skew_s=0.1, last_message_age_s=0.1, loop_lag_ms=1.0, farms={"f": {"state": "up"}}),
        bus.heartbeat(),
        bus.health("latency", classes={"history": one}),
        bus.health(
            "pacing", rules=[{"rule": "r", "used": 1, "limit": 2}], lanes={"order": {}}, granted=1, expired=0, refused=0
        ),
        bus.health("breakers", breakers={"history": {"state": "closed"}}),
        bus.health("streams", streams=[{"topic": "t", "state": "live", "age_s": 1.0}]),
        bus.health("engine/e", state="ready", signals=1, orders=1),
        bus.health("process/p", state="ready", restarts=1, rss_mb=1.0),
        bus.message("verdicts/", "verdict", {"verdict": "ok"}),
        bus.message("account/", "account", {"daily_pnl": 1.0}),
    )
    exist = set(re.findall(r"^(gateway_\w+)", page(watched), re.MULTILINE))

    for path in sorted(RULES.parent.iterdir()):
        if path.suffix in (".yml", ".json"):
            used = set(re.findall(r"\bgateway_[a-z_]+", path.read_text()))
            assert used - exist == set(), path.name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (apt install prometheus)")
def test_alert_rules_pass_promtool():
    checked = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=30)

    assert checked.returncode == 0, checked.stderr + checked.stdout
