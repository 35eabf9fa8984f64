"""Is all well, and if not, what exactly is not? Pure: parts of a view in, problems out, the worst first."""

from __future__ import annotations

from collections.abc import Iterator

from monitor import lights
from monitor.view import (
    SEVERITY,
    BreakerView,
    EngineView,
    GatewayView,
    Light,
    OrderView,
    PacingView,
    Problem,
    ProcessView,
    StreamView,
)

LOOP_LAG_AMBER_MS = 250.0  # a loop that late lets orders wait; the proxy promises to read at once
CLOCK_SKEW_AMBER_S = 2.0  # bars would close visibly early or late
LANE_AGE_AMBER_S = 10.0

EXIT_READY = 0
EXIT_DEGRADED = 1
EXIT_DOWN = 2
EXIT_UNREACHABLE = 3
EXIT_USAGE = 64  # sysexits' EX_USAGE: wrong flag or configuration

_EXIT_OF_STATE = {
    "ready": EXIT_READY,
    "degraded": EXIT_DEGRADED,
    "synchronizing": EXIT_DEGRADED,
    "unreachable": EXIT_UNREACHABLE,
}
_ADVICE_OF_STATE = {
    "disconnected": "is IB Gateway running and logged in? gateway-proxy doctor tells more",
    "connecting": "is IB Gateway running and logged in? gateway-proxy doctor tells more",
    "halted": "the proxy has given up on this Gateway; gateway-proxy doctor tells why",
    "unknown": "the proxy runs but has not told its health yet",
}


def exit_code(state: str, healthy: bool) -> int:
    """0 ready and healthy, 1 degraded or ready with a red problem, 2 down or halted, 3 no proxy."""
    code = _EXIT_OF_STATE.get(state, EXIT_DOWN)
    return EXIT_DEGRADED if code == EXIT_READY and not healthy else code


def is_healthy(state: str, problems: tuple[Problem, ...]) -> bool:
    """Ready, and nothing red. Amber problems are worth a look but wake nobody."""
    return state == "ready" and all(problem.light is not Light.RED for problem in problems)


def find_problems(
    state: str,
    silence: str,
    gateway: GatewayView,
    pacing: PacingView,
    breakers: tuple[BreakerView, ...],
    streams: tuple[StreamView, ...],
    engines: tuple[EngineView, ...],
    processes: tuple[ProcessView, ...],
    orders: tuple[OrderView, ...],
) -> tuple[Problem, ...]:
    """`silence` is why no frame comes, "" while they do.

    Once the proxy is silent, what it told before says nothing about now: silence is then the one problem.
    """
    problems = list(_of_state(state, silence or gateway.reason))
    if state != "unreachable":
        problems += _of_gateway(gateway)
        problems += _of_pacing(pacing)
        problems += _of_breakers(breakers)
        problems += _of_streams(streams)
        problems += _of_workers(engines, processes)
        problems += _of_orders(orders)
    return tuple(sorted(problems, key=lambda problem: -SEVERITY[problem.light]))


def _of_state(state: str, reason: str) -> Iterator[Problem]:
    light = lights.of(lights.GATEWAY, state)
    if light is not Light.GREEN:
        subject = "proxy" if state in ("unreachable", "unknown") else "gateway"
        yield Problem(
            "gateway.state", light, subject, f"{state}: {reason}" if reason else state, _ADVICE_OF_STATE.get(state, "")
        )


def _of_gateway(gateway: GatewayView) -> Iterator[Problem]:
    for farm in gateway.farms:
        if farm.light in (Light.AMBER, Light.RED):
            # A lost farm takes some data, never the order path: the gateway's own state says if it is worse.
            yield Problem(f"farm.{farm.name}", farm.light, farm.name, f"{farm.type} farm {farm.state}".strip())
    if gateway.openings_stopped:
        yield Problem(
            "orders.stopped",
            Light.AMBER,
            "orders",
            f"openings are stopped: {gateway.openings_stopped}",
            "after a halt `gateway-proxy resume` lets them through again",
        )
    if (gateway.loop_lag_ms or 0.0) > LOOP_LAG_AMBER_MS:
        yield Problem(
            "proxy.loop_lag",
            Light.AMBER,
            "proxy",
            f"its loop is {gateway.loop_lag_ms:.0f} ms late",
            "is the machine busy?",
        )
    if abs(gateway.clock_skew_s or 0.0) > CLOCK_SKEW_AMBER_S:
        yield Problem(
            "proxy.clock_skew",
            Light.AMBER,
            "clock",
            f"differs from the Gateway's by {gateway.clock_skew_s:+.1f} s",
            "run an NTP client",
        )


def _of_pacing(pacing: PacingView) -> Iterator[Problem]:
    for lane in pacing.lanes:
        if lane.oldest_s > LANE_AGE_AMBER_S and lane.name != "backfill":
            yield Problem(
                f"lane.{lane.name}",
                Light.AMBER,
                f"lane {lane.name}",
                f"{lane.depth} requests wait, the oldest for {lane.oldest_s:.0f} s",
            )


def _of_breakers(breakers: tuple[BreakerView, ...]) -> Iterator[Problem]:
    for breaker in breakers:
        if breaker.light is not Light.GREEN:
            again = f", next probe in {breaker.retry_in_s:.0f} s" if breaker.retry_in_s else ""
            cause = f" ({breaker.cause})" if breaker.cause else ""
            yield Problem(
                f"breaker.{breaker.name}", breaker.light, f"breaker {breaker.name}", f"{breaker.state}{cause}{again}"
            )


def _of_streams(streams: tuple[StreamView, ...]) -> Iterator[Problem]:
    for stream in streams:
        if stream.light is Light.RED:
            age = "" if stream.age_s is None else f", last data {stream.age_s:.0f} s ago"
            yield Problem(f"stream.{stream.topic}", Light.RED, stream.topic, f"{stream.state}{age}")


def _of_workers(engines: tuple[EngineView, ...], processes: tuple[ProcessView, ...]) -> Iterator[Problem]:
    for engine in engines:
        if engine.light in (Light.AMBER, Light.RED):
            heard = f", last heard {engine.silent_s:.0f} s ago" if engine.light is Light.RED else ""
            yield Problem(f"engine.{engine.name}", engine.light, f"engine {engine.name}", f"{engine.state}{heard}")
    for process in processes:
        if process.light in (Light.AMBER, Light.RED):
            yield Problem(f"process.{process.name}", process.light, f"process {process.name}", process.state)


def _of_orders(orders: tuple[OrderView, ...]) -> Iterator[Problem]:
    for order in orders:
        if order.open and order.light is Light.RED:
            yield Problem(
                f"order.{order.client_order_id}",
                Light.RED,
                f"order {order.client_order_id}",
                f"{order.action} {order.quantity:g} {order.contract}: {order.state}",
                "do not resend; the proxy settles it: gateway-proxy journal shows how far it is",
            )
