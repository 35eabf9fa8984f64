"""Prometheus: the view as metric families, made anew at every scrape. Names and units by Prometheus' conventions.

Labels come from closed or bounded lists only: never a symbol, an order, an account or a pacing scope.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway_proxy import ConfigError
from monitor import histograms
from monitor.config import MetricsSettings
from monitor.render import today_pnl
from monitor.view import PercentilesView, RuleView, View

STATES = ("disconnected", "connecting", "synchronizing", "ready", "degraded", "halted", "unreachable", "unknown")
BREAKER_STATES = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
LABELS_MAX = 100  # of one family; what comes after it is left out
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


class ViewCollector(Collector):
    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def collect(self) -> Iterable[Metric]:
        view = self._view()
        yield from _health(view)
        yield from _pacing(view)
        yield from _latency(view)
        yield from _bus(view)
        yield from _workers(view)
        yield from _trading(view)


def serve(view: Callable[[], View], settings: MetricsSettings) -> Callable[[], None]:
    """Serve /metrics in a thread; the returned function stops it. Raises ConfigError when the address cannot be had."""
    registry = CollectorRegistry()
    registry.register(ViewCollector(view))
    try:
        server, thread = start_http_server(settings.port, settings.host, registry)
    except OSError as error:
        raise ConfigError(
            f"[monitor.metrics] cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    assert isinstance(thread, threading.Thread)
    return stop


def _gauge(
    name: str, text: str, rows: Iterable[tuple[tuple[str, ...], float | None]], labels: tuple[str, ...] = ()
) -> GaugeMetricFamily:
    """A gauge with one sample per row; rows without a value are left out."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in list(rows)[:LABELS_MAX]:
        if value is not None:
            family.add_metric(values, value)
    return family


def _counter(
    name: str, text: str, rows: Iterable[tuple[tuple[str, ...], float | None]], labels: tuple[str, ...] = ()
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in list(rows)[:LABELS_MAX]:
        if value is not None:
            family.add_metric(values, value)
    return family


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _health(view: View) -> Iterator[Metric]:
    gateway = view.gateway
    yield _gauge("gateway_proxy_up", "1 if the proxy is heard", [((), float(view.state != "unreachable"))])
    yield _gauge("gateway_healthy", "1 if the Gateway is ready and nothing is red", [((), float(view.healthy))])
    yield _gauge(
        "gateway_state",
        "1 for the state the proxy is in, 0 for all others",
        [((state,), float(view.state == state)) for state in STATES],
        ("state",),
    )
    yield _gauge("gateway_round_trip_seconds", "reqCurrentTime round trip", [((), _seconds(gateway.rtt_ms))])
    yield _gauge("gateway_last_message_age_seconds", "since Gateway bytes came", [((), gateway.last_message_age_s)])
    yield _gauge("gateway_clock_skew_seconds", "our clock minus the Gateway's", [((), gateway.clock_skew_s)])
    yield _gauge("gateway_proxy_loop_lag_seconds", "lateness of the loop", [((), _seconds(gateway.loop_lag_ms))])
    yield _gauge(
        "gateway_farm_up",
        "1 if the data farm is up or sleeping",
        [((farm.name, farm.type), float(farm.light == "green")) for farm in gateway.farms],
        ("farm", "type"),
    )
    yield _gauge(
        "gateway_breaker_state",
        "0 closed, 1 half open, 2 open",
        [((one.name,), BREAKER_STATES.get(one.state)) for one in view.breakers],
        ("request_class",),
    )
    yield _gauge("gateway_problems", "problems the monitor sees now", [((), float(len(view.problems)))])


def _pacing(view: View) -> Iterator[Metric]:
    fullest: dict[str, RuleView] = {}
    for rule in view.pacing.rules:  # the fullest scope of a rule comes first
        fullest.setdefault(rule.rule, rule)
    rules = list(fullest.values())
    yield _gauge("gateway_pacing_used", "used of the rule's budget, fullest scope", _by_rule(rules, "used"), ("rule",))
    yield _gauge("gateway_pacing_limit", "the rule's budget", _by_rule(rules, "limit"), ("rule",))
    yield _gauge(
        "gateway_lane_requests",
        "requests that wait",
        [((o.name,), float(o.depth)) for o in view.pacing.lanes],
        ("lane",),
    )
    yield _gauge(
        "gateway_lane_oldest_seconds",
        "age of the oldest",
        [((o.name,), o.oldest_s) for o in view.pacing.lanes],
        ("lane",),
    )
    yield _counter("gateway_pacing_granted", "requests let through", [((), view.pacing.granted)])
    yield _counter("gateway_pacing_expired", "requests that waited too long", [((), view.pacing.expired)])
    yield _counter("gateway_pacing_refused", "requests refused by a full queue", [((), view.pacing.refused)])


def _by_rule(rules: Iterable[RuleView], field: str) -> list[tuple[tuple[str, ...], float | None]]:
    return [((rule.rule,), getattr(rule, field)) for rule in rules]


def _latency(view: View) -> Iterator[Metric]:
    queue = HistogramMetricFamily(
        "gateway_request_queue_seconds", "wait in our own queue", labels=("request_class",)
    )  # never mixed with the next one
    answer = HistogramMetricFamily(
        "gateway_request_gateway_seconds", "answer time of the Gateway", labels=("request_class",)
    )
    for one in view.latency[:LABELS_MAX]:
        _add_histogram(queue, one.name, one.queue_ms)
        _add_histogram(answer, one.name, one.gateway_ms)
    yield queue
    yield answer


def _add_histogram(family: HistogramMetricFamily, name: str, measured: PercentilesView) -> None:
    counts = histograms.decode(measured.hdr)
    if not counts:
        return
    buckets = [(str(bound_s), float(count)) for bound_s, count in histograms.cumulative(counts, BUCKETS_S)]
    total = float(sum(counts.values()))
    family.add_metric((name,), [*buckets, ("+Inf", total)], sum_value=histograms.total_s(counts))


def _bus(view: View) -> Iterator[Metric]:
    bus = view.bus
    yield _counter("gateway_bus_messages_published", "frames on the market socket", [((), bus.published)])
    yield _counter("gateway_bus_requests", "requests received", [((), bus.requests)])
    yield _counter("gateway_bus_refused", "frames refused", [((), bus.refused)])
    yield _counter("gateway_bus_dropped", "frames dropped for slow readers", [((), bus.dropped)])
    yield _counter("gateway_monitor_gaps", "gaps this monitor saw", [((), bus.gaps)])
    yield _gauge(
        "gateway_bus_delay_seconds",
        "from sending to this monitor, last minute",
        [(("0.5",), _seconds(bus.delay_ms.p50)), (("0.99",), _seconds(bus.delay_ms.p99))],
        ("quantile",),
    )


def _workers(view: View) -> Iterator[Metric]:
    by_light = {light: 0 for light in ("green", "amber", "red", "dark")}
    for stream in view.streams:
        by_light[stream.light] += 1
    yield _gauge("gateway_streams", "open streams", [((k,), float(n)) for k, n in by_light.items()], ("light",))
    ages = [stream.age_s for stream in view.streams if stream.age_s is not None]
    yield _gauge("gateway_stream_age_max_seconds", "age of the oldest stream", [((), max(ages, default=None))])
    engines, processes = view.engines, view.processes
    yield _gauge(
        "gateway_engine_up", "1 if well", [((e.name,), float(e.light == "green")) for e in engines], ("engine",)
    )
    yield _gauge("gateway_engine_silent_seconds", "last heard", [((e.name,), e.silent_s) for e in engines], ("engine",))
    yield _counter("gateway_engine_signals", "signals", [((e.name,), e.signals) for e in engines], ("engine",))
    yield _counter("gateway_engine_orders", "orders sent", [((e.name,), e.orders) for e in engines], ("engine",))
    yield _gauge(
        "gateway_process_up", "1 if it runs", [((p.name,), float(p.light == "green")) for p in processes], ("process",)
    )
    yield _counter("gateway_process_restarts", "restarts", [((p.name,), p.restarts) for p in processes], ("process",))
    yield _gauge(
        "gateway_process_resident_memory_bytes",
        "memory",
        [((p.name,), None if p.rss_mb is None else p.rss_mb * 1e6) for p in processes],
        ("process",),
    )


def _trading(view: View) -> Iterator[Metric]:
    unknown = sum(order.state == "unknown" for order in view.orders)
    yield _gauge("gateway_orders_open", "orders that may still move", [((), float(view.orders_open))])
    yield _gauge("gateway_orders_unknown", "orders whose outcome nobody knows", [((), float(unknown))])
    yield _counter("gateway_fills", "executions seen by this monitor", [((), view.fills_total)])
    yield _gauge(
        "gateway_daily_profit",
        "today, in the account's currency",
        [((view.account.currency,), today_pnl(view))],
        ("currency",),
    )
    counts = sorted(view.verdict_counts.items())
    yield _counter("gateway_verdicts", "how requests ended", [((name,), n) for name, n in counts], ("verdict",))
