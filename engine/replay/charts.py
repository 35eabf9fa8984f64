"""Charts of a replay as SVG text: price with signals and trades, equity with its falls. Pure.

x counts bars, so that nights and weekends take no room; every mark has a tooltip.
"""

from __future__ import annotations

import datetime
import html
import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.replay.run import ReplayTrade
from engine.sessions import NEW_YORK, NS_PER_S, session_of

WIDTH: Final = 1100
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 22, 12, 26
#: More points than pixels are drawn as the lowest and highest of each pixel.
_BUCKETS_MAX: Final = WIDTH
_LABELS_MAX: Final = 10
#: More held-back signals than this would hide the price, and are left out of the drawing.
_FAINT_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Axis:
    """The times of one chart, ascending; a moment lies at the first of them that is not before it."""

    times_ns: Sequence[int]

    def x(self, time_ns: int) -> float:
        at = min(bisect_left(self.times_ns, time_ns), len(self.times_ns) - 1)
        return self.at(at)

    def at(self, index: int) -> float:
        return _LEFT + index * (WIDTH - _LEFT - _RIGHT) / max(1, len(self.times_ns) - 1)


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` over the height of one chart."""

    low: float
    high: float
    height: int

    @classmethod
    def over(cls, values: Iterable[float], height: int) -> Scale:
        known = list(values)
        low, high = min(known), max(known)
        room = (high - low) * 0.06 or max(1.0, abs(high)) * 0.001
        return cls(low - room, high + room, height)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def ticks(self) -> list[float]:
        """About five round values inside."""
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
        first = math.ceil(self.low / step)
        return [n * step for n in range(first, math.floor(self.high / step) + 1)]


def price_chart(
    axis: Axis,
    closes: Sequence[float],
    trades: Sequence[ReplayTrade],
    signals: Sequence[dict[str, Any]],
    height: int = 300,
) -> str:
    """The underlying; triangles are entries (up: call), lines lead to exits, circles are signals held back."""
    scale = Scale.over(closes, height)
    price_at = dict(zip(axis.times_ns, closes, strict=True))

    def y_at(time_ns: int) -> float:
        return scale.y(closes[min(bisect_left(axis.times_ns, time_ns), len(closes) - 1)])

    marks = []
    held_back = [one for one in signals if one["guard"]]
    for signal in held_back if len(held_back) <= _FAINT_MAX else ():
        if signal["bar_start_ns"] in price_at:
            text = f"{signal['side']} held back: {signal['guard_reason']}"
            x, y = axis.x(signal["bar_start_ns"]), scale.y(price_at[signal["bar_start_ns"]])
            marks.append(f'<circle class=faint cx="{x:.1f}" cy="{y:.1f}" r="2">{_title(text)}</circle>')
    for trade in trades:
        x, y, kind = axis.x(trade.opened_ns), y_at(trade.opened_ns), _kind(trade)
        if trade.closed_ns:
            end_x, end_y = axis.x(trade.closed_ns), y_at(trade.closed_ns)
            marks.append(f'<path class="trip {kind}" d="M{x:.1f},{y:.1f}L{end_x:.1f},{end_y:.1f}"/>')
            marks.append(f'<rect class={kind} x="{end_x - 3:.1f}" y="{end_y - 3:.1f}" width="6" height="6"/>')
        tip, base = (y + 3, 11) if trade.right == "C" else (y - 3, -11)
        marks.append(f'<path class={kind} d="M{x:.1f},{tip:.1f}l-6,{base}h12z">{_title(trade_text(trade))}</path>')
    return _frame(axis, scale, f'<path class=line d="{_path(axis, closes, scale)}"/>{"".join(marks)}')


def equity_chart(axis: Axis, equity: Sequence[tuple[int, float]], height: int = 200) -> str:
    """Steps at fills; shaded is how far it lies below its last high."""
    scale = Scale.over([value for _, value in equity], height)
    steps: list[tuple[float, float]] = []
    highs: list[tuple[float, float]] = []
    high = -math.inf
    for number, (time_ns, value) in enumerate(equity):
        x = axis.at(0) if number == 0 else axis.x(time_ns)
        if steps:
            steps.append((x, steps[-1][1]))
            highs.append((x, highs[-1][1]))
        high = max(high, value)
        steps.append((x, scale.y(value)))
        highs.append((x, scale.y(high)))
    end = axis.at(len(axis.times_ns) - 1)
    steps.append((end, steps[-1][1]))
    highs.append((end, highs[-1][1]))
    fall = _polyline([*highs, *reversed(steps)])
    return _frame(axis, scale, f'<path class=fall d="{fall}z"/><path class=line d="{_polyline(steps)}"/>')


def trade_text(trade: ReplayTrade) -> str:
    side = "call" if trade.right == "C" else "put"
    sold = f", sold at {trade.sold_at:.2f} ({trade.how}): {trade.profit:+,.2f}" if trade.closed_ns else ", still held"
    return f"{trade.quantity:g} {trade.symbol} {side} bought at {trade.bought_at:.2f}{sold}"


def new_york(time_ns: int, form: str = "%Y-%m-%d %H:%M") -> str:
    return datetime.datetime.fromtimestamp(time_ns // NS_PER_S, NEW_YORK).strftime(form)


# ---------------------------------------------------------------- inside


def _kind(trade: ReplayTrade) -> str:
    return "open" if not trade.closed_ns else "won" if trade.profit > 0 else "lost"


def _title(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def _frame(axis: Axis, scale: Scale, inner: str) -> str:
    """Grid and labels under the drawing."""
    right, floor = WIDTH - _RIGHT, scale.height - _BOTTOM
    grid = ""
    for value in scale.ticks():
        y = scale.y(value)
        grid += f'<path class=grid d="M{_LEFT},{y:.1f}H{right}"/>'
        grid += f'<text class=value x="{_LEFT - 8}" y="{y + 4:.1f}">{_number(value)}</text>'
    for index, label in _labels(axis.times_ns):
        x = axis.at(index)
        grid += f'<path class=grid d="M{x:.1f},{_TOP}V{floor}"/>'
        grid += f'<text class=time x="{x:.1f}" y="{floor + 17}">{label}</text>'
    return f'<svg viewBox="0 0 {WIDTH} {scale.height}" role="img">{grid}{inner}</svg>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.2f}"


def _labels(times_ns: Sequence[int]) -> list[tuple[int, str]]:
    """(index, text): the sessions, or within a day or two the hours."""
    sessions = [session_of(time_ns) for time_ns in times_ns]
    days = [at for at in range(len(sessions)) if at == 0 or sessions[at] != sessions[at - 1]]
    if len(days) > 2:
        return [(at, new_york(times_ns[at], "%d %b")) for at in days[:: math.ceil(len(days) / _LABELS_MAX)]]
    for minutes in (5, 10, 15, 30, 60, 120):
        marks = [at for at, time_ns in enumerate(times_ns) if time_ns // NS_PER_S % (minutes * 60) == 0]
        if len(marks) <= _LABELS_MAX + 2:
            return [(at, new_york(times_ns[at], "%H:%M")) for at in marks]
    return [(at, new_york(times_ns[at], "%d %b %H:%M")) for at in days]


def _path(axis: Axis, values: Sequence[float], scale: Scale) -> str:
    size = math.ceil(len(values) / _BUCKETS_MAX)
    points: list[tuple[float, float]] = []
    for begin in range(0, len(values), size):
        part = range(begin, min(begin + size, len(values)))
        ends = sorted({min(part, key=values.__getitem__), max(part, key=values.__getitem__)})
        points += [(axis.at(index), scale.y(values[index])) for index in ends]
    return _polyline(points)


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
