"""What a browser gets: views, rows and bars as compact JSON-ready objects. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any

from monitor.market import MarketState
from monitor.render import today_pnl
from monitor.samples import Sample
from monitor.view import Event, FillView, View

ORDERS_SHOWN = 60
FILLS_SHOWN = 60
VERDICTS_SHOWN = 60
EVENTS_OF_DAY_MAX = 2000
BARS_SHOWN = 240


def of_view(view: View) -> dict[str, Any]:
    """The view without what only other programs need, and with long lists cut."""
    told = {field.name: getattr(view, field.name) for field in dataclasses.fields(view)}
    told["orders"] = view.orders[:ORDERS_SHOWN]
    told["fills"] = view.fills[:FILLS_SHOWN]
    told["verdicts"] = view.verdicts[:VERDICTS_SHOWN]
    told["latency"] = [
        {
            "name": one.name,
            "queue_ms": dataclasses.replace(one.queue_ms, hdr=""),
            "gateway_ms": dataclasses.replace(one.gateway_ms, hdr=""),
        }
        for one in view.latency
    ]
    told["today_pnl"] = today_pnl(view)
    return told


def of_sample(sample: Sample) -> dict[str, Any]:
    """One row; `latency` and `budgets` as short lists by name."""
    return {
        "t": sample.wall_ns / 1e9,
        "light": sample.light,
        "rtt": sample.rtt_ms,
        "lag": sample.loop_lag_ms,
        "bus": [sample.bus_p50_ms, sample.bus_p99_ms],
        "queued": sample.queued,
        "pnl": sample.pnl,
        "latency": {
            name: [row.queue_p50, row.queue_p99, row.gateway_p50, row.gateway_p99]
            for name, row in sample.latency.items()
        },
        "budgets": {rule: used / limit if limit > 0 else 0.0 for rule, (used, limit) in sample.budgets.items()},
    }


def of_day(samples: list[Sample], events: list[Event]) -> dict[str, Any]:
    """The health strip as stretches of one light, [from, to, light, state] in seconds, and what happened."""
    stretches: list[list[Any]] = []
    for before, sample in zip([None, *samples], samples, strict=False):
        at = sample.wall_ns / 1e9
        # A hole longer than a minute is time nobody watched, not a long stretch of the last light.
        joins = before is not None and at - before.wall_ns / 1e9 < 60.0
        if stretches and joins and stretches[-1][2] == sample.light:
            stretches[-1][1] = at
        else:
            start = before.wall_ns / 1e9 if before is not None and joins else at - 10.0
            stretches.append([start, at, sample.light, sample.state])
    return {"stretches": stretches, "events": events[-EVENTS_OF_DAY_MAX:]}


def of_market(market: MarketState, topic: str, fills: tuple[FillView, ...]) -> dict[str, Any]:
    """Bars of one topic in columns, with the indicators measured on them, signals, and our own fills in the symbol.

    A fill is placed by its own time stamp, which is market time.
    """
    bars = market.bars(topic)[-BARS_SHOWN:]
    symbol = topic.split("/")[1] if topic.count("/") >= 2 else ""
    measured = market.indicators(symbol)
    names = sorted({name for values in measured.values() for name in values} - {"open", "high", "low", "close"})
    return {
        "topic": topic,
        "topics": market.topics(),
        "t": [bar.start_ns / 1e9 for bar in bars],
        "open": [bar.open for bar in bars],
        "high": [bar.high for bar in bars],
        "low": [bar.low for bar in bars],
        "close": [bar.close for bar in bars],
        "volume": [bar.volume for bar in bars],
        "indicators": {name: [measured.get(bar.start_ns, {}).get(name) for bar in bars] for name in names},
        "signals": [dataclasses.asdict(mark) | {"t": mark.start_ns / 1e9} for mark in market.signals(symbol)],
        "fills": [
            {"t": fill.wall_ns / 1e9, "action": fill.action, "price": fill.price, "contract": fill.contract}
            for fill in fills
            if fill.contract.split(".")[0] == symbol
        ],
    }
