"""Turns the last body of each topic into its part of the view. Pure and tolerant; one function per topic."""

from __future__ import annotations

from typing import Any

from monitor import lights
from monitor.bodies import (
    Body,
    contract_key,
    decision_text,
    decisions,
    flag,
    inner,
    named,
    number,
    plain,
    rows,
    text,
    whole,
    words,
)
from monitor.view import (
    SEVERITY,
    AccountView,
    BreakerView,
    EngineView,
    FarmView,
    FillView,
    GatewayView,
    LaneView,
    LatencyView,
    LegView,
    Light,
    OwnerView,
    PacingView,
    PercentilesView,
    PositionView,
    ProcessView,
    RuleView,
    StreamView,
)

STREAMS_MAX = 400


def gateway(body: Body, age_s: float, wall_ns: int) -> GatewayView:
    # While it dials in vain the state changes all the time; people ask how long the session has been away.
    since_ns = whole(inner(body, "outage"), "since_ns") or whole(body, "since_ns")
    market_time_ns = whole(body, "market_time_ns")
    # `since_ns` is told in market time, which a simulator lets run faster than ours.
    told_ns = market_time_ns or wall_ns
    return GatewayView(
        state=text(body, "state", "unknown") or "unknown",
        since_s=max(0.0, (told_ns - since_ns) / 1e9) if since_ns else None,
        reason=text(body, "reason"),
        mode=text(body, "mode"),
        connected=flag(body, "connected"),
        server_version=whole(body, "server_version"),
        client_id=whole(body, "client_id"),
        rtt_ms=number(body, "rtt_ms"),
        clock_skew_s=number(body, "clock_skew_s"),
        openings_stopped=text(body, "openings_stopped"),
        expected=text(body, "expected"),
        escalated=flag(body, "escalated"),
        loop_lag_ms=number(body, "loop_lag_ms"),
        last_message_age_s=number(body, "last_message_age_s"),
        market_time_ns=market_time_ns,
        accounts=words(body, "accounts"),
        farms=tuple(
            FarmView(name, text(farm, "type"), text(farm, "state"), lights.of(lights.FARM, text(farm, "state")))
            for name, farm in named(body, "farms")
        ),
        age_s=age_s,
    )


def pacing(body: Body, age_s: float) -> PacingView:
    """Rules with the fullest first. `next_free_s` and lane ages grow stale with `age_s`; they are as published."""
    rules = [
        RuleView(
            rule=text(row, "rule"),
            scope=text(row, "scope"),
            used=number(row, "used") or 0.0,
            limit=number(row, "limit") or 0.0,
            window_s=number(row, "window_s") or 0.0,
            next_free_s=number(row, "next_free_s") or 0.0,
        )
        for row in rows(body, "rules")
    ]
    return PacingView(
        rules=tuple(sorted(rules, key=lambda rule: (-rule.share, rule.rule, rule.scope))),
        lanes=tuple(_lane(name, lane) for name, lane in inner(body, "lanes").items() if isinstance(lane, dict)),
        owners=tuple(
            OwnerView(name, whole(owner, "queued") or 0, whole(owner, "sent") or 0, number(owner, "share"))
            for name, owner in named(body, "owners")
        ),
        granted=whole(body, "granted"),
        expired=whole(body, "expired"),
        refused=whole(body, "refused"),
        age_s=age_s,
    )


def _lane(name: str, lane: Body) -> LaneView:
    return LaneView(plain(name), whole(lane, "depth") or 0, number(lane, "oldest_s") or 0.0)


def breakers(body: Body) -> tuple[BreakerView, ...]:
    return tuple(
        BreakerView(
            name=name,
            state=text(breaker, "state"),
            failures=whole(breaker, "failures") or 0,
            retry_in_s=number(breaker, "retry_in_s"),
            cause=text(breaker, "cause"),
            light=lights.of(lights.BREAKER, text(breaker, "state")),
        )
        for name, breaker in named(body, "breakers")
    )


def latency(body: Body) -> tuple[LatencyView, ...]:
    return tuple(
        LatencyView(name, percentiles(inner(one, "queue_ms")), percentiles(inner(one, "gateway_ms")))
        for name, one in named(body, "classes")
    )


def percentiles(body: Body) -> PercentilesView:
    hdr = body.get("hdr")
    return PercentilesView(
        p50=number(body, "p50"),
        p99=number(body, "p99"),
        max=number(body, "max"),
        count=whole(body, "count") or 0,
        hdr=hdr if isinstance(hdr, str) else "",
    )


def streams(body: Body, age_s: float) -> tuple[StreamView, ...]:
    """The most worrying first, then by topic; ages are brought forward to now."""
    views = [
        StreamView(
            topic=text(row, "topic"),
            state=text(row, "state"),
            age_s=None if (age := number(row, "age_s")) is None else age + age_s,
            bars=whole(row, "bars"),
            feed=text(row, "feed"),
            held_by=text(row, "held_by"),
            light=lights.of(lights.STREAM, text(row, "state")),
        )
        for row in rows(body, "streams")
    ]
    worst_first = sorted(views, key=lambda one: (-SEVERITY[one.light], one.topic))
    return tuple(worst_first[:STREAMS_MAX])


def engine(name: str, body: Body, silent_s: float, silent_after_s: float) -> EngineView:
    state = text(body, "state")
    silent = silent_s > silent_after_s
    return EngineView(
        name=name,
        state=f"silent ({state})" if silent else state,
        symbols=words(body, "symbols"),
        last_decision=decision_text(decisions(body)[-1]) if decisions(body) else "",
        signals=count(body, "signals"),
        orders=count(body, "orders"),
        lag_ms=number(body, "lag_ms"),
        decide_us=number(body, "decide_us"),
        last_bar_ns=whole(body, "last_bar_ns"),
        silent_s=silent_s,
        light=Light.RED if silent else lights.of(lights.WORKER, state),
        facts={plain(key): value for key, value in list(body.items())[:60]},
    )


def count(body: Body, key: str) -> int | None:
    """A counter, or the length of a list that stands in its place."""
    value: Any = body.get(key)
    return len(value) if isinstance(value, list | tuple | dict) else whole(body, key)


def process(name: str, body: Body, silent_s: float) -> ProcessView:
    state = text(body, "state")
    uptime_s = number(body, "uptime_s")
    return ProcessView(
        name=name,
        state=state,
        pid=whole(body, "pid"),
        uptime_s=None if uptime_s is None else uptime_s + silent_s,
        restarts=whole(body, "restarts") or 0,
        rss_mb=number(body, "rss_mb"),
        silent_s=silent_s,
        light=lights.of(lights.WORKER, state),
    )


def legs(body: Body) -> tuple[LegView, ...]:
    return tuple(
        LegView(
            leg=text(leg, "leg"),
            state=text(leg, "state"),
            action=text(leg, "action"),
            quantity=number(leg, "quantity") or 0.0,
            filled=number(leg, "filled") or 0.0,
            average_price=number(leg, "average_price"),
            limit_price=number(leg, "limit_price"),
            stop_price=number(leg, "stop_price"),
        )
        for leg in rows(body, "legs")
    )


def fill(body: Body, wall_ns: int) -> FillView:
    return FillView(
        exec_id=text(body, "exec_id"),
        engine=text(body, "engine"),
        client_order_id=text(body, "client_order_id"),
        leg=text(body, "leg"),
        contract=contract_key(body),
        action=text(body, "action"),
        quantity=number(body, "quantity") or 0.0,
        price=number(body, "price") or 0.0,
        wall_ns=whole(body, "time_ns") or wall_ns,
        commission=number(body, "commission"),
        realized_pnl=number(body, "realized_pnl"),
        simulated=flag(body, "simulated"),
    )


def position(body: Body) -> PositionView:
    return PositionView(contract_key(body), number(body, "quantity") or 0.0, number(body, "average_cost") or 0.0)


def account(body: Body, age_s: float | None) -> AccountView:
    return AccountView(
        currency=text(body, "currency", "USD"),
        net_liquidation=number(body, "net_liquidation"),
        available_funds=number(body, "available_funds"),
        buying_power=number(body, "buying_power"),
        realized_pnl=number(body, "realized_pnl"),
        unrealized_pnl=number(body, "unrealized_pnl"),
        daily_pnl=number(body, "daily_pnl"),
        age_s=age_s,
    )
