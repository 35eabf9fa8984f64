"""One function per panel: a view in, text with colours out. Pure; what came from outside is never read as markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from monitor.render import clock, duration, milliseconds, money, today_pnl
from monitor.samples import Sample
from monitor.view import Event, Light, VerdictView, View

STYLE = {Light.GREEN: "green", Light.AMBER: "yellow", Light.RED: "bold red", Light.DARK: "dim"}
SIGN = {Light.GREEN: "●", Light.AMBER: "▲", Light.RED: "✖", Light.DARK: "?"}
#: Everywhere the same two colours: what waited with us, what the Gateway took.
QUEUE, GATEWAY = "#c792ea", "#6ea8fe"
KIND_STYLE = {"signal": "cyan", "fill": "green", "order": "cyan"}
LEVELS = "▁▂▃▄▅▆▇█"
SPARK_POINTS = 16
BAR_CELLS = 18
RULES_SHOWN = 5


def head(view: View) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {SIGN[view.light]} {view.state} ", f"reverse {STYLE[view.light]}")
    text.append(f"  {view.gateway.mode or '-'}", "bold")
    if view.state != "unreachable":
        text.append(f" for {duration(view.gateway.since_s)}")
    text.append(f"   today {money(today_pnl(view))} {view.account.currency}")
    text.append(f"   orders {view.orders_open} open   fills {view.fills_total}   {clock(view.wall_ns)}", "dim")
    return text


def problems(view: View) -> Text:
    lines = []
    for one in view.problems[:6]:
        line = Text(f"{SIGN[one.light]} {one.subject}: {one.text}", STYLE[one.light])
        if one.advice:
            line.append(f"  {one.advice}", "dim")
        lines.append(line)
    if len(view.problems) > 6:
        lines.append(Text(f"... and {len(view.problems) - 6} more", "dim"))
    return Text("\n").join(lines)


def gateway(view: View) -> Text:
    one = view.gateway
    text = Text()
    text.append(f"round trip {milliseconds(one.rtt_ms)}  heard {duration(one.last_message_age_s)} ago\n")
    text.append(f"loop lag {milliseconds(one.loop_lag_ms)}  skew {_or_dash(one.clock_skew_s, '{:+.2f}s')}\n", "dim")
    for farm in one.farms:
        text.append(f"{SIGN[farm.light]} {farm.name} {farm.state}  ", STYLE[farm.light])
    text.append("\n")
    for breaker in view.breakers:
        retry = f" {breaker.retry_in_s:.0f}s" if breaker.retry_in_s and breaker.state != "closed" else ""
        text.append(f"{SIGN[breaker.light]} {breaker.name} {breaker.state}{retry}  ", STYLE[breaker.light])
    return text


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def budgets(view: View) -> Text:
    text = Text()
    used = [rule for rule in view.pacing.rules if rule.used]
    for rule in used[:RULES_SHOWN]:
        style = "red" if rule.share >= 0.95 else "yellow" if rule.share >= 0.75 else "green"
        filled = min(BAR_CELLS, round(rule.share * BAR_CELLS))
        scope = "" if rule.scope in ("", "all") else f" {rule.scope}"
        text.append(f"{(rule.rule + scope)[:24]:<24} ")
        text.append("━" * filled, style)
        text.append("━" * (BAR_CELLS - filled), "bright_black")
        text.append(f" {rule.used:g}/{rule.limit:g}")
        text.append(f" wait {duration(rule.next_free_s)}" if rule.next_free_s > 0 else "", "yellow")
        text.append("\n")
    idle = len(view.pacing.rules) - min(len(used), RULES_SHOWN)
    text.append(f"{idle} more rules\n" if idle else "", "dim")
    for lane in view.pacing.lanes:
        style = "yellow" if lane.oldest_s > 10 else "cyan" if lane.depth else "dim"
        age = f" ({duration(lane.oldest_s)})" if lane.depth else ""
        text.append(f"{lane.name} {lane.depth}{age}  ", style)
    return text


def latency(view: View, samples: Sequence[Sample]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    text.append(f"{'':<14}{'our queue':^16}{'the Gateway':^24}\n", "dim")
    text.append(f"{'':<14}{'p50':>8}{'p99':>8}{'p50':>8}{'p99':>8}{'max':>8}\n", "dim")
    for one in view.latency:
        queue, answer = one.queue_ms, one.gateway_ms
        text.append(f"{one.name[:13]:<14}")
        text.append(f"{milliseconds(queue.p50):>8}{milliseconds(queue.p99):>8}", QUEUE)
        text.append(f"{milliseconds(answer.p50):>8}{milliseconds(answer.p99):>8}{milliseconds(answer.max):>8}", GATEWAY)
        points = [row.gateway_p99 for sample in samples if (row := sample.latency.get(one.name)) is not None]
        text.append(f"  {sparkline(points)}\n", GATEWAY)
    delay = view.bus.delay_ms
    text.append(
        f"{'bus':<14}{'':<16}{milliseconds(delay.p50):>8}{milliseconds(delay.p99):>8}{milliseconds(delay.max):>8}"
    )
    text.append(f"  gaps {view.bus.gaps}", "dim")
    return text


def sparkline(values: Sequence[float | None]) -> str:
    """The last SPARK_POINTS values as blocks, the highest one full; "" without values."""
    known = [value for value in values if value is not None][-SPARK_POINTS:]
    top = max(known, default=0.0)
    if top <= 0:
        return ""
    return "".join(LEVELS[min(len(LEVELS) - 1, int(value / top * len(LEVELS)))] for value in known)


def streams(view: View) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for one in view.streams[:12]:
        text.append(f"{SIGN[one.light]} ", STYLE[one.light])
        text.append(f"{one.topic.rstrip('/'):<24}")
        text.append(f"{one.state:<10}", STYLE[one.light])
        text.append(f"{duration(one.age_s):>6}\n")
    return text if view.streams else Text("nobody has asked for a stream", "dim")


def engines(view: View) -> Text:
    text = Text()
    for one in view.engines:
        text.append(f"{SIGN[one.light]} {one.name}", STYLE[one.light])
        symbols = " ".join(one.symbols) or "-"
        text.append(f" {one.state} on {symbols}, {one.signals or 0} signals, {one.orders or 0} orders\n")
        if one.last_decision:
            text.append(f"  {one.last_decision}\n", "dim")
    for process in view.processes:
        memory = f" {process.rss_mb:.0f}MB" if process.rss_mb is not None else ""
        text.append(f"{SIGN[process.light]} {process.name}{memory} ", STYLE[process.light])
        text.append(f"restarts {process.restarts}  " if process.restarts else " ", "yellow")
    return text if view.engines or view.processes else Text("no engine reports", "dim")


def orders(view: View) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    shown = [one for one in view.orders if one.open] or list(view.orders[:3])
    for one in shown[:8]:
        text.append(f"{SIGN[one.light]} {one.action} {one.quantity:g} {one.contract} ", STYLE[one.light])
        text.append(f"{one.state} {one.filled:g}/{one.quantity:g} {one.engine}\n")
    for position in view.positions[:5]:
        text.append(f"holds {position.quantity:+g} {position.contract} @ {position.average_cost:g}\n", "cyan")
    for fill in view.fills[:3]:
        pnl = f" {money(fill.realized_pnl)}" if fill.realized_pnl else ""
        what = f"{fill.action} {fill.quantity:g} {fill.contract} @ {fill.price:g}{pnl}"
        text.append(f"{clock(fill.wall_ns)} {what}\n", "dim")
    return text if shown or view.fills or view.positions else Text("no order yet", "dim")


def event(one: Event) -> Text:
    style = KIND_STYLE.get(one.kind, "") if one.light is Light.GREEN else STYLE[one.light]
    text = Text(f"{clock(one.wall_ns)} ", "dim")
    text.append(f"{one.kind:<8} ", "dim")
    text.append(f"{one.subject}: {one.text}" if one.subject else one.text, style)
    return text


def timeline(one: VerdictView, width: int = 50) -> Text:
    """One request: where its time went, on one scale, and what it proves."""
    text = Text()
    text.append(f"{SIGN[one.light]} {one.verdict}", STYLE[one.light])
    text.append(f"   {one.request_class} {one.subject}\n{one.advice}\n\n")
    queued, answered = _figure(one, "queued_ms"), _figure(one, "gateway_ms")
    total = max(queued + answered, 0.001)
    for name, before, took, style in (("our queue", 0.0, queued, QUEUE), ("Gateway", queued, answered, GATEWAY)):
        start, cells = int(before / total * width), max(1 if took else 0, round(took / total * width))
        text.append(f"{name:<10}{' ' * start}")
        text.append("█" * min(cells, width - start), style)
        text.append(f" {milliseconds(took)}\n")
    if one.timeline.get("held_by"):
        text.append(f"held by rule {one.timeline['held_by']}\n", "yellow")
    for name, value in one.evidence.items():
        text.append(f"\n{name}: ", "dim")
        text.append(str(value)[:300])
    return text


def _figure(one: VerdictView, name: str) -> float:
    value = one.timeline.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
