"""A replay as one HTML file: numbers, price with signals, equity, every fill's ground. Nothing comes from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

from engine.replay.charts import Axis, equity_chart, new_york, price_chart
from engine.replay.options import OptionModel
from engine.replay.prices import QUOTE_AGE_MAX_S
from engine.replay.run import ReplayTrade, Result
from engine.replay.tape import Tape

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#66707f;--rule:#dde2e9;--page:#fff;--card:#f6f8fa;--line:#2f6fb3;
--won:#128a43;--lost:#c2352b}
@media(prefers-color-scheme:dark){:root{--ink:#e3e8ef;--soft:#98a3b3;--rule:#303945;--page:#12161c;--card:#1a2028;
--line:#6aa9e9;--won:#4cc47c;--lost:#f0776d}}
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;padding:0 1rem;max-width:1120px;color:var(--ink);
background:var(--page)}
h1{font-size:1.6rem;margin:0}h2{font-size:1.25rem;margin:2.5rem 0 .5rem}h3{font-size:1rem;margin:1.5rem 0 .3rem}
p{max-width:62rem}.soft{color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.5rem .9rem;min-width:5rem}
.tiles b{display:block;font-size:1.25rem;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:.85rem}
svg{display:block;width:100%;background:var(--card);border:1px solid var(--rule);border-radius:8px}
svg text{font-size:11px;fill:var(--soft)}.value{text-anchor:end}.time{text-anchor:middle}
.grid{stroke:var(--rule);fill:none}.line{stroke:var(--line);fill:none;stroke-width:1.4;stroke-linejoin:round}
.fall{fill:var(--lost);opacity:.16}.faint{fill:none;stroke:var(--soft);opacity:.7}
path.won,rect.won{fill:var(--won)}path.lost,rect.lost{fill:var(--lost)}path.open,rect.open{fill:var(--soft)}
path.trip{fill:none;stroke-width:1.5;stroke-dasharray:3 2}path.trip.won{stroke:var(--won)}
path.trip.lost{stroke:var(--lost)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:500}td,th{padding:.3rem .6rem;border-bottom:1px solid var(--rule);text-align:right}
td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}b.won,td.won{color:var(--won)}b.lost,td.lost{color:var(--lost)}
i{font-style:normal;font-size:.78rem;color:var(--soft);border:1px solid var(--rule);border-radius:4px;padding:0 .3rem;
margin-left:.4rem}
i.recorded{color:var(--won);border-color:var(--won)}
"""
_LEGEND = (
    "<p class=soft>Triangles are entries, up for a call, down for a put; dashed lines lead to their exits, green with "
    "a profit, red with a loss; circles are signals that a guard held back, where they are few enough to be seen. "
    "Times are New York's; point at a mark for its text.</p>"
)


def render(parts: Sequence[tuple[Result, Tape]], model: OptionModel) -> str:
    """The whole page as text; one section per engine."""
    names = ", ".join(html.escape(result.engine) for result, _ in parts)
    times = [row.bar.start_ns for _, tape in parts for row in tape.bars]
    span = f"{new_york(min(times))} to {new_york(max(times))} New York" if times else "no bars"
    holes = list(dict.fromkeys(hole for result, _ in parts for hole in result.holes))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Replay of {names}</title><style>{_STYLE}</style><h1>Replay of {names}</h1><p class=soft>{span}</p>"
        f"{''.join(_section(result, tape) for result, tape in parts)}{_grounds(parts, model)}{_holes(holes)}</html>\n"
    )


def _section(result: Result, tape: Tape) -> str:
    every = Axis(sorted({row.bar.start_ns for row in tape.bars}))
    charts = ""
    for symbol in sorted({row.symbol for row in tape.bars}):
        bars = [row.bar for row in tape.bars if row.symbol == symbol]
        trades = [trade for trade in result.trades if trade.symbol == symbol]
        signals = [one for one in result.decisions if one["side"] and one["symbol"] == symbol]
        chart = price_chart(Axis([bar.start_ns for bar in bars]), [bar.close for bar in bars], trades, signals)
        charts += f"<h3>{html.escape(symbol)}</h3>{chart}"
    return (
        f"<h2>{html.escape(result.engine)}</h2>{_tiles(result)}<h3>Equity</h3>{equity_chart(every, result.equity)}"
        f"{charts}{_LEGEND}{_trades(result.trades)}"
    )


def _tiles(result: Result) -> str:
    numbers = result.summary()
    profit, trades = numbers["profit"], numbers["trades"]
    share = f" ({numbers['won'] / trades:.0%})" if trades else ""
    kind = "won" if profit > 0 else "lost" if profit < 0 else ""
    tiles = [
        (f"<b class={kind or 'none'}>{profit:+,.2f}</b>", "profit after commission"),
        (f"<b>{trades}</b>", "trades"),
        (f"<b>{numbers['won']}{share}</b>", "won"),
        (f"<b>{numbers['drawdown']:,.2f}</b>", "deepest fall"),
        (f"<b>{numbers['signals']}</b>", f"signals in {numbers['decisions']:,} decisions"),
        *((f"<b>{count}</b>", f"fills: {ground}") for ground, count in numbers["fills"].items()),
    ]
    digest = (
        f"<p class=soft>Digest of all decisions: {numbers['digest']}; two runs with one digest decided the same.</p>"
    )
    return (
        f"<div class=tiles>{''.join(f'<div>{value}<span>{label}</span></div>' for value, label in tiles)}</div>{digest}"
    )


def _trades(trades: Sequence[ReplayTrade]) -> str:
    if not trades:
        return "<p>No trades.</p>"
    head = "".join(f"<th>{name}" for name in ("opened", "what", "contracts", "bought", "sold", "ended by", "profit"))
    return f"<h3>Trades</h3><table><tr>{head}{''.join(_trade(trade) for trade in trades)}</table>"


def _trade(trade: ReplayTrade) -> str:
    side = "call" if trade.right == "C" else "put"
    bought = f"{trade.bought_at:.2f}{_badge(trade.bought_on)}"
    row = f"<tr><td>{new_york(trade.opened_ns)}<td>{html.escape(trade.symbol)} {side}<td>{trade.quantity:g}<td>{bought}"
    if not trade.closed_ns:
        return f"{row}<td>still held<td><td>"
    kind = "won" if trade.profit > 0 else "lost"
    how = html.escape(trade.how.replace("_", " "))
    sold = f"{trade.sold_at:.2f}{_badge(trade.sold_on)}"
    return f"{row}<td>{sold}<td>{how}<td class={kind}>{trade.profit:+,.2f}"


def _badge(ground: str) -> str:
    return f"<i class={html.escape(ground)}>{html.escape(ground)}</i>"


def _grounds(parts: Sequence[tuple[Result, Tape]], model: OptionModel) -> str:
    accounts = "Every engine has an account of its own. " if len(parts) > 1 else ""
    return (
        f"<h2>What this rests on</h2>"
        f"<p><b>recorded</b>: the option's own bid and ask, recorded at most {QUOTE_AGE_MAX_S:g} s of market time "
        f"before. An entry fills at the ask when that is within its limit, a stop at the bid that reached it, a target "
        f"at its price, a closing order at the bid; every recorded quote is looked at, and nothing between two of them."
        f"</p><p><b>anchored</b>: its last recorded quote, moved by what the model says has changed since. "
        f"<b>model</b>: it was never quoted; Black and Scholes at {model.volatility:.0%} volatility with a spread of "
        f"{model.spread:.0%}. With these two, bars decide: an order fills from the next bar on, exits from the bar "
        f"after the entry, the stop before the target, gaps at the opening bid.</p>"
        f"<p>{accounts}{model.commission:g} commission per contract and side. Our own orders move no price, and the "
        f"proxy's limits are not part of a replay.</p>"
    )


def _holes(holes: Sequence[str]) -> str:
    if not holes:
        return ""
    rows = "".join(f"<li>{html.escape(hole)}" for hole in holes)
    return f"<h2>What the recording lacks</h2><ul>{rows}</ul>"
