"""A replay as one HTML file: numbers, price with signals, equity. Nothing in it comes from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

from engine.replay.options import OptionModel
from engine.replay.run import ReplayTrade, Result
from engine.replay.tape import TapeBar
from engine.sessions import market_clock

_WIDTH, _HEIGHT, _POINTS_MAX = 1100, 260, 2000
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:1150px;color:#222;background:#fff}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}"
    "svg{background:#fafafa;border:1px solid #ddd}.won{color:#0a7d32}.lost{color:#b3261e}p{max-width:60em}"
)


def render(result: Result, bars: Sequence[TapeBar], model: OptionModel) -> str:
    """The whole page as text."""
    name = html.escape(result.engine)
    symbols = sorted({row.symbol for row in bars})
    charts = "".join(f"<h2>{html.escape(one)}</h2>{_price_chart(one, bars, result.trades)}" for one in symbols)
    numbers = result.summary().items()
    rows = "".join(f"<tr><th>{html.escape(key)}</th><td>{value}</td></tr>" for key, value in numbers)
    return (
        f"<!doctype html><meta charset=utf-8><title>Replay of {name}</title><style>{_STYLE}</style>"
        f"<h1>Replay of {name}</h1><table>{rows}</table>"
        f"<h2>Equity</h2>{_line_chart(result.equity)}{charts}{_trades(result.trades)}"
        f"<h2>What this rests on</h2><p>Bars are recorded, option prices are not: they come from Black and Scholes at "
        f"{model.volatility:.0%} volatility with a spread of {model.spread:.0%}, options end with the session. "
        f"An order fills from the next bar on, exits from the bar after the entry, the stop before the target, "
        f"gaps at the opening bid; {model.commission:g} commission per contract and side.</p>"
    )


def _price_chart(symbol: str, bars: Sequence[TapeBar], trades: Sequence[ReplayTrade]) -> str:
    series = [(row.bar.start_ns, row.bar.close) for row in bars if row.symbol == symbol]
    marks = [(trade.opened_ns, trade.right, trade.profit) for trade in trades if trade.symbol == symbol]
    return _line_chart(series, marks)


def _line_chart(series: Sequence[tuple[int, float]], marks: Sequence[tuple[int, str, float]] = ()) -> str:
    """x is the number of the point, so that nights and weekends take no room."""
    if len(series) < 2:
        return "<p>nothing to draw</p>"
    low, high = min(value for _, value in series), max(value for _, value in series)
    scale_x, scale_y = _WIDTH / (len(series) - 1), (_HEIGHT - 20) / ((high - low) or 1.0)
    every = max(1, len(series) // _POINTS_MAX)
    points = " ".join(
        f"{at * scale_x:.1f},{_HEIGHT - 10 - (value - low) * scale_y:.1f}"
        for at, (_, value) in enumerate(series)
        if at % every == 0 or at == len(series) - 1
    )
    places = {time_ns: (at, value) for at, (time_ns, value) in enumerate(series)}
    dots = ""
    for time_ns, right, profit in marks:
        if time_ns in places:
            at, value = places[time_ns]
            x, y = at * scale_x, _HEIGHT - 10 - (value - low) * scale_y
            color, shape = ("#0a7d32" if profit > 0 else "#b3261e"), (-5 if right == "C" else 5)
            dots += f'<path d="M{x - 4:.1f},{y:.1f}h8l-4,{shape}z" fill="{color}"/>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%"><polyline fill="none" stroke="#35618f" points="{points}"/>'
        f'{dots}<text x="4" y="14">{high:,.2f}</text><text x="4" y="{_HEIGHT - 2}">{low:,.2f}</text></svg>'
    )


def _trades(trades: Sequence[ReplayTrade]) -> str:
    rows = ""
    for trade in trades:
        clock = market_clock(trade.opened_ns, 0)
        minute = int(clock.minutes_since_open) + 570
        side = "call" if trade.right == "C" else "put"
        kind = "won" if trade.profit > 0 else "lost"
        rows += (
            f"<tr><td>{clock.date} {minute // 60:02d}:{minute % 60:02d}</td><td>{html.escape(trade.symbol)} {side}</td>"
            f"<td>{trade.quantity:g}</td><td>{trade.bought_at:.2f}</td><td>{trade.sold_at:.2f}</td>"
            f"<td>{html.escape(trade.how)}</td><td class={kind}>{trade.profit:,.2f}</td></tr>"
        )
    head = "".join(
        f"<th>{name}</th>" for name in ("opened", "what", "contracts", "bought", "sold", "ended by", "profit")
    )
    return f"<h2>Trades</h2><table><tr>{head}</tr>{rows}</table>"
