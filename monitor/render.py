"""A view as plain lines, an event as one line; for terminals, pipes and logs. Pure: returns text, prints nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from monitor.view import Event, LatencyView, Light, PercentilesView, View

_COLOUR = {Light.GREEN: "32", Light.AMBER: "33", Light.RED: "31;1", Light.DARK: "2"}
_SIGN = {Light.GREEN: "o", Light.AMBER: "!", Light.RED: "X", Light.DARK: "?"}
_KIND_COLOUR = {"signal": "36;1", "fill": "32;1", "order": "36"}
RULES_SHOWN = 3
BUDGET_LIMIT_MIN = 5
STREAMS_SHOWN = 4


def paint(text: str, light: Light, colour: bool) -> str:
    return f"\x1b[{_COLOUR[light]}m{text}\x1b[0m" if colour else text


def clock(wall_ns: int) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(wall_ns / 1e9).strftime("%H:%M:%S")


def duration(seconds: float | None) -> str:
    """Short: 0.4s, 12s, 3m20s, 5h02m, 3d04h; "-" for None."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def milliseconds(value: float | None) -> str:
    """Short: 0.4ms, 12ms, 3.4s; "-" for None."""
    if value is None:
        return "-"
    if value < 9.95:
        return f"{value:.1f}ms"
    return f"{value:.0f}ms" if value < 1000 else duration(value / 1000)


def money(value: float | None) -> str:
    return "-" if value is None else f"{value:+,.2f}"


def status_line(view: View, colour: bool = False) -> str:
    """The whole system in one line: worst first, so that a glance at its left end is enough."""
    parts = [paint(f"{_SIGN[view.light]} {view.state}", view.light, colour)]
    if view.gateway.mode:
        parts.append(view.gateway.mode)
    if view.problems:
        problem = view.problems[0]
        more = f" (+{len(view.problems) - 1})" if len(view.problems) > 1 else ""
        parts.append(paint(f"{problem.subject}: {problem.text}{more}", problem.light, colour))
    if view.gateway.age_s is not None and view.state != "unreachable":
        parts += _busy_parts(view)
    return f"{clock(view.wall_ns)} " + " | ".join(parts)


def _busy_parts(view: View) -> Iterator[str]:
    gateway = view.gateway
    farms_ok = sum(farm.light is Light.GREEN for farm in gateway.farms)
    yield f"rtt {milliseconds(gateway.rtt_ms)} farms {farms_ok}/{len(gateway.farms)}"
    yield f"queue {sum(lane.depth for lane in view.pacing.lanes)}" + _fullest(view)
    history = _busiest(view.latency)
    if history is not None:
        yield f"{history.name} p99 queue {milliseconds(history.queue_ms.p99)} gw {milliseconds(history.gateway_ms.p99)}"
    yield f"streams {sum(s.light is Light.GREEN for s in view.streams)}/{len(view.streams)}"
    yield f"engines {sum(e.light is Light.GREEN for e in view.engines)}/{len(view.engines)}"
    yield f"orders {view.orders_open} open, fills {view.fills_total}"
    pnl = today_pnl(view)
    if pnl is not None:
        yield f"P&L {money(pnl)}"


def today_pnl(view: View) -> float | None:
    """IB's daily profit if it came; otherwise what the seen fills realised; None when neither says anything."""
    if view.account.daily_pnl is not None:
        return view.account.daily_pnl
    realized = [fill.realized_pnl for fill in view.fills if fill.realized_pnl is not None]
    return sum(realized) if realized else view.account.realized_pnl


def _fullest(view: View) -> str:
    """The fullest budget; a limit of one or two is full whenever it is used at all, and says nothing."""
    fullest = next((rule for rule in view.pacing.rules if rule.limit >= BUDGET_LIMIT_MIN and rule.used), None)
    return f" {fullest.rule} {fullest.used:g}/{fullest.limit:g}" if fullest else ""


def _busiest(latency: tuple[LatencyView, ...]) -> LatencyView | None:
    measured = [one for one in latency if one.gateway_ms.count]
    return max(measured, key=lambda one: one.gateway_ms.count, default=None)


def event_line(event: Event, colour: bool = False) -> str:
    text = f"{event.kind:<8} {event.subject}: {event.text}" if event.subject else f"{event.kind:<8} {event.text}"
    if colour and event.light is Light.GREEN and event.kind in _KIND_COLOUR:
        text = f"\x1b[{_KIND_COLOUR[event.kind]}m{text}\x1b[0m"
    elif event.light is not Light.GREEN or event.kind == "gateway":
        text = paint(text, event.light, colour)
    return f"{clock(event.wall_ns)} {text}"


def report(view: View, colour: bool = False) -> Iterator[str]:
    """Everything on one screen of plain lines, for `--once`."""
    yield status_line(view, colour)
    for problem in view.problems:
        advice = f" ({problem.advice})" if problem.advice else ""
        yield paint(f"  {_SIGN[problem.light]} {problem.subject}: {problem.text}{advice}", problem.light, colour)
    gateway = view.gateway
    if gateway.age_s is not None:
        yield (
            f"  gateway   {gateway.state} for {duration(gateway.since_s)}, mode {gateway.mode or '-'}, "
            f"round trip {milliseconds(gateway.rtt_ms)}, last message {duration(gateway.last_message_age_s)} ago, "
            f"loop lag {milliseconds(gateway.loop_lag_ms)}"
        )
    for farm in gateway.farms:
        yield f"  farm      {farm.name} ({farm.type or 'unknown type'}) " + paint(farm.state, farm.light, colour)
    yield from _pacing_lines(view)
    for one in view.latency:
        yield f"  latency   {one.name}: queue {_percentiles(one.queue_ms)}, gateway {_percentiles(one.gateway_ms)}"
    if view.bus.delay_ms.count:
        yield f"  bus       delay {_percentiles(view.bus.delay_ms)}, gaps {view.bus.gaps}"
    for breaker in view.breakers:
        if breaker.light is not Light.GREEN:
            yield f"  breaker   {breaker.name} " + paint(breaker.state, breaker.light, colour)
    yield from _worker_lines(view, colour)
    yield from _trade_lines(view, colour)


def _percentiles(one: PercentilesView) -> str:
    return f"p50 {milliseconds(one.p50)} p99 {milliseconds(one.p99)} max {milliseconds(one.max)} ({one.count})"


def _pacing_lines(view: View) -> Iterator[str]:
    for rule in [rule for rule in view.pacing.rules if rule.used][:RULES_SHOWN]:
        scope = f" [{rule.scope}]" if rule.scope else ""
        window = f" in {duration(rule.window_s)}" if rule.window_s else ""
        yield f"  budget    {rule.rule}{scope} {rule.used:g} of {rule.limit:g}{window}"
    waiting = [lane for lane in view.pacing.lanes if lane.depth]
    if waiting:
        told = ", ".join(f"{lane.name} {lane.depth} (oldest {duration(lane.oldest_s)})" for lane in waiting)
        yield f"  lanes     {told}"


def _worker_lines(view: View, colour: bool) -> Iterator[str]:
    for stream in view.streams[:STREAMS_SHOWN]:
        state = paint(stream.state, stream.light, colour)
        feed = " by 5-second bars" if stream.feed == "real_time" else ""
        waits = f", waits for {stream.held_by}" if stream.held_by else ""
        yield f"  stream    {stream.topic} {state}{feed}, last data {duration(stream.age_s)} ago{waits}"
    if len(view.streams) > STREAMS_SHOWN:
        yield f"  stream    ... and {len(view.streams) - STREAMS_SHOWN} more"
    for engine in view.engines:
        decision = f", last decision: {engine.last_decision}" if engine.last_decision else ""
        state = paint(engine.state or "-", engine.light, colour)
        yield f"  engine    {engine.name} {state} on {' '.join(engine.symbols) or '-'}{decision}"
    for process in view.processes:
        memory = "" if process.rss_mb is None else f", {process.rss_mb:.0f} MB"
        state = paint(process.state or "-", process.light, colour)
        uptime = duration(process.uptime_s)
        yield f"  process   {process.name} {state} for {uptime}, {process.restarts} restarts{memory}"


def _trade_lines(view: View, colour: bool) -> Iterator[str]:
    for order in [order for order in view.orders if order.open]:
        state = paint(order.state, order.light, colour)
        yield f"  order     {order.engine}: {order.action} {order.quantity:g} {order.contract} {state}"
    for position in view.positions:
        yield f"  position  {position.contract} {position.quantity:+g} @ {position.average_cost:g}"
    pnl = today_pnl(view)
    if pnl is not None or view.fills_total:
        yield f"  today     {view.fills_total} fills, P&L {money(pnl)} {view.account.currency}"
