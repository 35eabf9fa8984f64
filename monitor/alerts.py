"""Alert rules: which condition holds for whom, since when, and what to say about it once. Pure.

Per rule and subject: quiet, pending (the condition holds, but not long enough yet), firing. One notice per
transition into and out of firing; reminders only where the rule asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gateway_proxy import ConfigError
from monitor.config import AlertRule, AlertSettings
from monitor.render import duration, today_pnl
from monitor.view import Light, View

SUBJECTS_MAX = 500  # per rule; what comes after it is not looked at

#: What wakes somebody when the configuration names no rules.
BUILT_IN = (
    AlertRule("no proxy", "state", equals=("unreachable",), for_s=10.0),
    AlertRule("gateway down", "state", equals=("disconnected", "connecting", "halted"), for_s=30.0),
    AlertRule("breaker open", "breaker", equals=("open",), for_s=30.0),
    AlertRule("engine silent", "engine_silent", above=60.0),
    AlertRule("order unknown", "order_unknown", above=0.0, for_s=10.0),
    AlertRule("not well", "light", equals=("red",), for_s=120.0),
)


class Phase(StrEnum):
    QUIET = "quiet"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Notice:
    """What to send. `phase` is begins, continues or over; `channels` names where, empty for everywhere."""

    rule: str
    subject: str
    phase: str
    light: Light
    text: str
    wall_ns: int
    channels: tuple[str, ...]


Figure = float | str | None


def _pnl(view: View) -> Iterator[tuple[str, Figure]]:
    pnl = today_pnl(view)
    yield "account", None if pnl is None else -pnl


_FIGURES: dict[str, Callable[[View], Iterator[tuple[str, Figure]]]] = {
    "state": lambda view: iter([("gateway", view.state)]),
    "light": lambda view: iter([("system", view.light.value)]),
    "breaker": lambda view: ((one.name, one.state) for one in view.breakers),
    "budget": lambda view: ((f"{one.rule} {one.scope}".strip(), one.share) for one in view.pacing.rules),
    "stream_age": lambda view: ((one.topic, one.age_s) for one in view.streams),
    "engine_silent": lambda view: ((one.name, one.silent_s) for one in view.engines),
    "order_unknown": lambda view: iter([("orders", float(sum(o.state == "unknown" for o in view.orders)))]),
    "daily_loss": _pnl,
    "queue_age": lambda view: ((one.name, one.oldest_s) for one in view.pacing.lanes),
    "round_trip": lambda view: iter([("gateway", view.gateway.rtt_ms)]),
    "loop_lag": lambda view: iter([("proxy", view.gateway.loop_lag_ms)]),
}
_WORDS = frozenset(("state", "light", "breaker"))
_EXPECTED_IN_WINDOWS = frozenset(("state", "light", "breaker", "stream_age", "round_trip"))


@dataclass(slots=True)
class Watch:
    phase: Phase = Phase.QUIET
    since: float = 0.0
    told_at: float = 0.0


class AlertBook:
    """Feed it every view; it answers with the notices that are due."""

    def __init__(self, settings: AlertSettings) -> None:
        """Raises ConfigError for a rule that can never hold or names a channel that does not exist."""
        self.rules = settings.rules or BUILT_IN
        for number, rule in enumerate(self.rules):
            _check(rule, settings, f"[[monitor.alerts.rules]] number {number + 1} ({rule.name})")
        self._watches: dict[tuple[str, str], Watch] = {}

    def receive_view(self, view: View, now: float) -> list[Notice]:
        notices: list[Notice] = []
        for rule in self.rules:
            seen: set[str] = set()
            if view.state == "unreachable" and rule.when not in ("state", "light"):
                continue  # old figures prove nothing, neither trouble nor its end
            if rule.when in _EXPECTED_IN_WINDOWS and view.gateway.expected and not view.gateway.escalated:
                continue  # IB restarts its servers at this time; what outlasts the window is told then
            for subject, figure in list(_FIGURES[rule.when](view))[:SUBJECTS_MAX]:
                seen.add(subject)
                notices += self._step(rule, subject, figure, _holds(rule, figure), view, now)
            for name, subject in [key for key in self._watches if key[0] == rule.name and key[1] not in seen]:
                notices += self._step(rule, subject, None, False, view, now)
                self._watches.pop((name, subject), None)
        return notices

    def firing(self) -> list[tuple[str, str]]:
        """(rule, subject) of every alert that is on."""
        return [key for key, watch in self._watches.items() if watch.phase is Phase.FIRING]

    def _step(
        self, rule: AlertRule, subject: str, figure: Figure, holds: bool, view: View, now: float
    ) -> Iterator[Notice]:
        key = (rule.name, subject)
        watch = self._watches.get(key)
        if watch is None:
            if not holds:
                return
            watch = self._watches[key] = Watch()
        if holds and watch.phase is Phase.QUIET:
            watch.phase, watch.since = Phase.PENDING, now
        if holds and watch.phase is Phase.PENDING and now - watch.since >= rule.for_s:
            watch.phase, watch.told_at = Phase.FIRING, now
            yield _notice(rule, subject, "begins", _because(figure), view, rule.channels)
        elif holds and watch.phase is Phase.FIRING and rule.again_s and now - watch.told_at >= rule.again_s:
            watch.told_at = now
            still = f"{_because(figure)}, for {duration(now - watch.since)} now"
            yield _notice(rule, subject, "continues", still, view, _wider(rule))
        elif not holds:
            was, since = watch.phase, watch.since
            del self._watches[key]
            if was is Phase.FIRING:
                yield _notice(rule, subject, "over", f"over after {duration(now - since)}", view, _wider(rule))


def _wider(rule: AlertRule) -> tuple[str, ...]:
    """Whoever was told of the trouble is told of its end."""
    return (*rule.channels, *rule.escalate) if rule.channels else ()


def _holds(rule: AlertRule, figure: Figure) -> bool:
    if isinstance(figure, str):
        return figure in rule.equals
    return figure is not None and rule.above is not None and figure > rule.above


def _because(figure: Figure) -> str:
    return figure if isinstance(figure, str) else f"{figure:g}"


def _notice(rule: AlertRule, subject: str, phase: str, text: str, view: View, channels: tuple[str, ...]) -> Notice:
    light = Light.GREEN if phase == "over" else Light.RED
    why = f"; {view.problems[0].subject}: {view.problems[0].text}" if phase != "over" and view.problems else ""
    return Notice(rule.name, subject, phase, light, f"{subject} {phase}: {text}{why}", view.wall_ns, channels)


def _check(rule: AlertRule, settings: AlertSettings, where: str) -> None:
    if rule.when in _WORDS and (not rule.equals or rule.above is not None):
        raise ConfigError(f'{where}: when = "{rule.when}" is a word: want equals = [...] and no above')
    if rule.when not in _WORDS and (rule.above is None or rule.equals):
        raise ConfigError(f'{where}: when = "{rule.when}" is a figure: want above = ... and no equals')
    for name in (*rule.channels, *rule.escalate):
        if name not in settings.channels:
            known = ", ".join(settings.channels) or "none"
            raise ConfigError(f'{where}: no channel "{name}" in [monitor.alerts.channels]; there are: {known}')
