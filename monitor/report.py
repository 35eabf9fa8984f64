"""One day as one HTML file: how well it was, when it was not, and why. Rows and events in, text out.

The file stands alone (no script, no link), so that it can be mailed and kept. Everything is escaped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from html import escape

from monitor.render import duration, milliseconds, money
from monitor.samples import Sample
from monitor.view import Event, Light

WIDTH, HEIGHT = 960, 150
HOLE_S = 60.0  # rows further apart than this mean that nobody watched
POINTS_MAX = 1500
EVENTS_MAX = 400
COLOURS = {Light.GREEN: "#12804f", Light.AMBER: "#e0a11b", Light.RED: "#c92a2a", Light.DARK: "#9aa4b2"}
LINES = ("#1f5fd0", "#8a3ab9", "#c06a00", "#12804f", "#c92a2a", "#0e7c86")
STYLE = """body{font:14px/1.5 system-ui,sans-serif;max-width:1000px;margin:24px auto;padding:0 16px;color:#1a2230}
h1{font-size:22px}h2{font-size:16px;margin:26px 0 8px}svg{width:100%;height:auto;background:#f6f8fb;border-radius:8px}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:3px 10px 3px 0;border-top:1px solid #dde3ec}
td.n,th.n{text-align:right;font-family:monospace}.red{color:#c92a2a}.amber{color:#9a6200}.dim{color:#5b6678}
.key{display:inline-block;width:12px;height:12px;border-radius:3px;margin:0 5px -1px 14px}"""


def render_day(day: str, samples: list[Sample], events: list[Event]) -> str:
    """samples: the rows of the day, oldest first, at least one. events: of the day, oldest first."""
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>gateway report {escape(day)}</title>',
        f"<style>{STYLE}</style></head><body><h1>Gateway report of {escape(day)}</h1>",
        _summary(samples, events),
        "<h2>Health</h2>",
        _strip(samples),
        "<h2>Gateway latency, p99 by request class</h2>",
        _chart(samples, {name: _latency_of(name) for name in _classes(samples)}, milliseconds),
        "<h2>Wait in our own queue, p99 by request class</h2>",
        _chart(samples, {name: _queue_of(name) for name in _classes(samples)}, milliseconds),
        "<h2>Pacing budgets</h2>",
        _chart(samples, {name: _budget_of(name) for name in _fullest(samples)}, lambda share: f"{share:.0%}"),
        "<h2>Profit</h2>",
        _chart(samples, {"today": lambda sample: sample.pnl}, money),
        "<h2>Verdicts</h2>",
        _verdicts(events),
        "<h2>What happened</h2>",
        _events(events),
        "</body></html>",
    ]
    return "\n".join(parts)


def _stretches(samples: list[Sample]) -> Iterator[tuple[float, float, Sample]]:
    """(from, to, row): each row stands for the time since the one before, holes are left out."""
    typical_s = 10.0
    for before, sample in zip([None, *samples], samples, strict=False):
        to = sample.wall_ns / 1e9
        start = before.wall_ns / 1e9 if before is not None else to - typical_s
        yield (start if to - start < HOLE_S else to - typical_s), to, sample


def _summary(samples: list[Sample], events: list[Event]) -> str:
    by_light: Counter[Light] = Counter()
    for start, to, sample in _stretches(samples):
        by_light[sample.light] += int(to - start)
    watched = sum(by_light.values()) or 1
    requests = sum(row.count for sample in samples for row in sample.latency.values())
    kinds = Counter(event.kind for event in events)
    pnl = next((sample.pnl for sample in reversed(samples) if sample.pnl is not None), None)
    rows = [
        ("watched", duration(watched)),
        *((f"{light}", f"{duration(seconds)} ({seconds / watched:.1%})") for light, seconds in by_light.most_common()),
        ("requests", str(requests)),
        ("signals, orders, fills", f"{kinds['signal']}, {kinds['order']}, {kinds['fill']} events"),
        ("alerts", str(kinds["alert"])),
        ("profit", money(pnl)),
    ]
    return "<table>" + "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows) + "</table>"


def _x(at: float, samples: list[Sample]) -> float:
    first, last = samples[0].wall_ns / 1e9 - 10.0, samples[-1].wall_ns / 1e9
    return 46 + (at - first) / max(last - first, 1.0) * (WIDTH - 50)


def _strip(samples: list[Sample]) -> str:
    cells = [
        f'<rect x="{_x(start, samples):.1f}" y="0" width="{max(_x(to, samples) - _x(start, samples), 0.8):.1f}" '
        f'height="26" fill="{COLOURS[sample.light]}"><title>{_time(to)} {escape(sample.state)}</title></rect>'
        for start, to, sample in _stretches(samples)
    ]
    return f'<svg viewBox="0 0 {WIDTH} 44">{"".join(cells)}{_times(samples, 40)}</svg>'


def _times(samples: list[Sample], y: int) -> str:
    first, last = samples[0].wall_ns / 1e9, samples[-1].wall_ns / 1e9
    marks = [first + (last - first) * part / 6 for part in range(7)]
    return "".join(
        f'<text x="{min(_x(at, samples), WIDTH - 34):.0f}" y="{y}" font-size="11" fill="#5b6678">'
        f"{time.strftime('%H:%M', time.localtime(at))}</text>"
        for at in marks
    )


Value = Callable[[Sample], float | None]


def _chart(samples: list[Sample], lines: dict[str, Value], label: Callable[[float], str]) -> str:
    """One line per name. The highest of each group of rows is drawn, so that no peak is lost."""
    step = max(1, len(samples) // POINTS_MAX)
    drawn = {name: _points(samples, value, step) for name, value in lines.items()}
    values = [value for points in drawn.values() for _, value in points]
    if not values:
        return '<p class="dim">nothing was measured</p>'
    top, bottom = max(values), min(0.0, *values)
    span = (top - bottom) or 1.0
    paths, keys = [], []
    for (name, points), colour in zip(drawn.items(), LINES, strict=False):
        path = " ".join(
            f"{_x(at, samples):.1f},{HEIGHT - 22 - (value - bottom) / span * (HEIGHT - 36):.1f}" for at, value in points
        )
        paths.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        keys.append(f'<span class="key" style="background:{colour}"></span>{escape(name)}')
    marks = "".join(
        f'<text x="2" y="{y}" font-size="11" fill="#5b6678">{escape(label(value))}</text>'
        for y, value in ((14, top), (HEIGHT - 20, bottom))
    )
    body = "".join(paths) + marks + _times(samples, HEIGHT - 5)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{body}</svg><div>{"".join(keys)}</div>'


def _points(samples: list[Sample], value: Value, step: int) -> list[tuple[float, float]]:
    points = []
    for start in range(0, len(samples), step):
        known = [(got, one.wall_ns / 1e9) for one in samples[start : start + step] if (got := value(one)) is not None]
        if known:
            highest, at = max(known)
            points.append((at, highest))
    return points


def _classes(samples: list[Sample]) -> list[str]:
    counts: Counter[str] = Counter()
    for sample in samples:
        for name, row in sample.latency.items():
            counts[name] += row.count
    return [name for name, _ in counts.most_common(len(LINES))]


def _latency_of(name: str) -> Value:
    return lambda sample: sample.latency[name].gateway_p99 if name in sample.latency else None


def _queue_of(name: str) -> Value:
    return lambda sample: sample.latency[name].queue_p99 if name in sample.latency else None


def _share(sample: Sample, rule: str) -> float | None:
    used, limit = sample.budgets.get(rule, (0.0, 0.0))
    return used / limit if limit > 0 else None


def _budget_of(rule: str) -> Value:
    return lambda sample: _share(sample, rule)


def _fullest(samples: list[Sample]) -> list[str]:
    rules = {rule for sample in samples for rule in sample.budgets}
    return sorted(rules, key=lambda rule: -max(_share(sample, rule) or 0.0 for sample in samples))[: len(LINES)]


def _verdicts(events: list[Event]) -> str:
    counts = Counter((event.text.split(":")[0], event.subject) for event in events if event.kind == "verdict")
    if not counts:
        return '<p class="dim">no request ended badly</p>'
    rows = "".join(
        f'<tr><td>{escape(verdict)}</td><td>{escape(subject)}</td><td class="n">{count}</td></tr>'
        for (verdict, subject), count in counts.most_common(50)
    )
    return f'<table><tr><th>verdict</th><th>request</th><th class="n">times</th></tr>{rows}</table>'


def _events(events: list[Event]) -> str:
    """Trouble and its end, restarts and alerts; orders and fills are in the journal."""
    told = [event for event in events if event.light is not Light.GREEN or event.kind in ("gateway", "proxy", "alert")]
    if not told:
        return '<p class="dim">nothing worth telling</p>'
    rows = "".join(
        f'<tr class="{event.light}"><td>{_time(event.wall_ns / 1e9)}</td><td>{escape(event.kind)}</td>'
        f"<td>{escape(event.subject)}: {escape(event.text)}</td></tr>"
        for event in told[:EVENTS_MAX]
    )
    more = f'<p class="dim">and {len(told) - EVENTS_MAX} more</p>' if len(told) > EVENTS_MAX else ""
    return f"<table>{rows}</table>{more}"


def _time(at_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_s))
