"""The pacing ledger: may this job go now, and if not, which rule holds it and until when?

Owns one gate per rule of the table and what each job at the Gateway holds. A job takes from all of its rules or from
none. Knows no queue and no fairness (see scheduler). Pure: the caller brings the time.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from gateway_proxy.core.explanation import Explanation, RuleView, seconds_until
from gateway_proxy.core.gates import AdaptiveSlots, Closed, Gate, Slots, Window
from gateway_proxy.core.jobs import NO_KEYS, Job, Lane, RequestClass
from gateway_proxy.core.rules import (
    ALL,
    FAMILIES,
    HISTORY_WINDOW_S,
    ORDER_EFFICIENCY_MAX,
    PacingSettings,
    Rule,
    Scope,
    Until,
    counted,
    every_lane,
    lasts,
    rule_table,
)

#: Shapes of jobs (class, lane, amounts) whose common demands are kept ready.
SHAPES_REMEMBERED = 1024
#: A class is closed at least this long after a violation (rule book 1.9).
CLOSED_AT_LEAST_S = 60.0
#: All data wait this long after error 100: the third one within a session would end it (rule book 2).
MESSAGE_PAUSE_S = 2.0


class Demand(NamedTuple):
    """What one job wants of one counter."""

    gate: Gate
    key: Hashable
    amount: int
    ceiling: float


@dataclass(slots=True)
class _Held:
    job: Job
    taken: list[tuple[Slots, Hashable, int]]


class Pacing:
    """The rule table with its counters. Every method that takes `now` expects it never to run backwards."""

    def __init__(self, settings: PacingSettings) -> None:
        self.settings = settings
        self._closed = Closed(Rule("closed", ALL, every_lane(1), 0, "1.9"))
        self.gates: dict[str, Gate] = {rule.name: self._gate(rule) for rule in rule_table(settings)}
        messages = self.gates["message_rate"]
        assert isinstance(messages, Window)
        self._messages = messages
        self._common: dict[RequestClass, tuple[Gate, ...]] = {}
        self._keyed: dict[RequestClass, tuple[Gate, ...]] = {}
        for request_class in RequestClass:
            mine = [gate for gate in self.gates.values() if request_class in gate.rule.classes]
            self._common[request_class] = tuple(gate for gate in mine if not gate.keyed)
            self._keyed[request_class] = tuple(gate for gate in mine if gate.keyed)
        self._shapes: dict[Hashable, tuple[Demand, ...]] = {}
        self._held: dict[int, _Held] = {}
        self._order_messages = 0
        self._orders_executed = 0

    def _gate(self, rule: Rule) -> Gate:
        if rule.until is Until.WINDOW:
            return Window(rule)
        if rule.name == "history_large_open":
            wish = self.settings
            return AdaptiveSlots(
                rule,
                start=wish.large_open_start,
                least=wish.large_open_min,
                most=wish.large_open_max,
                slow_s=wish.large_slow_s,
            )
        return Slots(rule)

    # ------------------------------------------------------------ may it go?

    def demands(self, job: Job) -> tuple[Demand, ...]:
        """Everything the job would take: of the common counters first, then of those with a key."""
        keys, request_class = job.keys, job.request_class
        shape = (request_class, job.lane, job.messages, keys.weight, keys.lines, job.stream)
        common = self._shapes.get(shape)
        if common is None:
            if len(self._shapes) >= SHAPES_REMEMBERED:
                self._shapes.clear()
            closed = Demand(self._closed, request_class, 1, 1)
            common = self._shapes[shape] = (closed, *self._wanted(self._common[request_class], job))
        if keys is NO_KEYS:
            return common
        return common + self._wanted(self._keyed[request_class], job)

    @staticmethod
    def _wanted(gates: tuple[Gate, ...], job: Job) -> tuple[Demand, ...]:
        return tuple(
            Demand(gate, key, amount, gate.rule.ceilings[job.lane] if gate.rule.hard else inf)
            for gate in gates
            for key, amount in counted(gate.rule, job)
        )

    @staticmethod
    def goes_at(demands: tuple[Demand, ...], now: float) -> float:
        """Earliest time at which all of them fit."""
        return max(gate.goes_at(key, amount, ceiling, now) for gate, key, amount, ceiling in demands)

    @staticmethod
    def held(demands: tuple[Demand, ...], now: float) -> tuple[float, str]:
        """When the common demands all fit, and the rule that takes longest."""
        return max(
            (gate.goes_at(key, n, ceiling, now), gate.rule.name) for gate, key, n, ceiling in demands if not gate.keyed
        )

    @staticmethod
    def impossible(demands: tuple[Demand, ...]) -> str:
        """Why the job can never go, or must not wait for its turn: a sentence, "" when it may be queued."""
        for gate, key, amount, ceiling in demands:
            if amount > ceiling:
                return f"pacing rule {gate.rule.name} allows {ceiling:g} at a time, this asks for {amount}"
            if gate.rule.refuse and gate.used(key, 0.0) + amount > ceiling:
                return f"pacing rule {gate.rule.name}: {gate.used(key, 0.0):g} of {ceiling:g} in use for {key}"
        return ""

    # ------------------------------------------------------------ taking and giving back

    def take(self, job: Job, demands: tuple[Demand, ...], now: float) -> None:
        """The job leaves now: take everything. The caller has seen that all of it fits at this very time."""
        taken: list[tuple[Slots, Hashable, int]] = []
        for gate, key, amount, _ in demands:
            gate.take(key, amount, now)
            if isinstance(gate, Slots):
                taken.append((gate, key, amount))
        if taken:
            self._held[job.job_id] = _Held(job, taken)
        if job.request_class in (RequestClass.ORDER, RequestClass.MODIFY, RequestClass.CANCEL):
            self._order_messages += job.messages

    def adopt(self, job: Job) -> None:
        """The Gateway holds this already (an order of an earlier life): take its slots, once, even beyond a limit."""
        if job.job_id in self._held:
            return
        taken = [(gate, key, amount) for gate, key, amount, _ in self.demands(job) if isinstance(gate, Slots)]
        lasting = [slot for slot in taken if slot[0].rule.until is not Until.ANSWERED]
        for gate, key, amount in lasting:
            gate.take(key, amount, 0.0)
        self._held[job.job_id] = _Held(job, lasting)

    def finished(self, job_id: int, latency_s: float | None, failed: bool) -> list[tuple[Slots, Hashable]]:
        """The answer is in. Returns the counters that have room again; nothing for a job that holds nothing.

        A stream keeps what it holds until `release`, unless it failed to open; orders are only released by name.
        """
        held = self._held.get(job_id)
        if held is None:
            return []
        ended = failed or not lasts(held.job)
        for gate, _, _ in held.taken:
            if isinstance(gate, AdaptiveSlots):
                gate.answered(latency_s, failed)
        return self._give(held, frozenset({Until.ANSWERED, Until.ENDED}) if ended else frozenset({Until.ANSWERED}))

    def release(self, job_id: int, side: str = "") -> list[tuple[Slots, Hashable]]:
        """Nothing of it is left at the Gateway; with `side`, one order fewer works on that side."""
        held = self._held.get(job_id)
        if held is None:
            return []
        if side:
            return self._give_one(held, side)
        return self._give(held, frozenset(Until))

    def _give(self, held: _Held, ends: frozenset[Until]) -> list[tuple[Slots, Hashable]]:
        given: list[tuple[Slots, Hashable]] = []
        kept: list[tuple[Slots, Hashable, int]] = []
        for slot in held.taken:
            gate, key, amount = slot
            if gate.rule.until in ends:
                gate.give(key, amount)
                given.append((gate, key))
            else:
                kept.append(slot)
        held.taken = kept
        if not kept:
            del self._held[held.job.job_id]
        return given

    def _give_one(self, held: _Held, side: str) -> list[tuple[Slots, Hashable]]:
        for position, (gate, key, amount) in enumerate(held.taken):
            if key == side and gate.rule.until is Until.RELEASED:
                gate.give(key, 1)
                held.taken[position : position + 1] = [(gate, key, amount - 1)] if amount > 1 else []
                if not held.taken:
                    del self._held[held.job.job_id]
                return [(gate, key)]
        return []

    def reset_session(self) -> None:
        """A new connection: slots and lines are free again. Logs and the orders working at IB stay."""
        for held in list(self._held.values()):
            self._give(held, frozenset({Until.ANSWERED, Until.ENDED}))
        for gate in self.gates.values():
            if isinstance(gate, AdaptiveSlots):
                gate.forget_open()
        # What the old one never read is gone with it.
        self._messages.read()

    def heard(self, now: float, *, late: bool) -> None:
        """The Gateway's word. `late`: it was silent, and may have read only now what was written meanwhile."""
        if late:
            self._messages.read_late(now)
        else:
            self._messages.read()

    def holds(self, job_id: int) -> bool:
        return job_id in self._held

    def lines_by_owner(self) -> dict[str, int]:
        """Market data lines in use, per owner."""
        lines: dict[str, int] = {}
        for held in self._held.values():
            taken = sum(amount for gate, _, amount in held.taken if gate.rule.name == "lines")
            if taken:
                lines[held.job.owner] = lines.get(held.job.owner, 0) + taken
        return lines

    # ------------------------------------------------------------ from one life to the next

    def remembered(self, now: float) -> dict[str, list[tuple[float, str, int]]]:
        """What IB still counts against the login, whatever connection or process sent it, as plain JSON."""
        return {
            gate.rule.name: [(age_s, str(key), amount) for age_s, key, amount in gate.entries(now)]
            for gate in self._lasting_windows()
        }

    def recall(self, remembered: dict[str, list[tuple[float, str, int]]], away_s: float, now: float) -> None:
        """Start with the logs of an earlier life, `away_s` after it wrote them. Only before the first job."""
        for gate in self._lasting_windows():
            for age_s, key, amount in remembered.get(gate.rule.name, ()):
                gate.take(key, amount, now - age_s - away_s)

    def _lasting_windows(self) -> list[Window]:
        windows = [gate for gate in self.gates.values() if isinstance(gate, Window)]
        return [gate for gate in windows if gate.rule.scope is not Scope.SESSION]

    # ------------------------------------------------------------ violations

    def close(self, request_class: RequestClass, until: float) -> None:
        self._closed.close(request_class, until)

    def open(self, request_class: RequestClass) -> None:
        self._closed.open(request_class)

    def violated(self, request_class: RequestClass, now: float) -> float:
        """IB said "pacing violation": close the class and all that share its budget. Returns until when.

        600 s less the age of the oldest request still counted, at least 60 s (rule book 1.9).
        """
        family = next((family for family in FAMILIES if request_class in family), frozenset({request_class}))
        logs = [
            gate.oldest_age_s(now)
            for gate in self._common[request_class]
            if isinstance(gate, Window) and gate.rule.window_s == HISTORY_WINDOW_S
        ]
        oldest_s = max(logs, default=HISTORY_WINDOW_S)
        until = now + max(CLOSED_AT_LEAST_S, HISTORY_WINDOW_S - oldest_s)
        for member in family:
            self._closed.close(member, until)
        return until

    # ------------------------------------------------------------ what is going on

    def budget_left(self, now: float) -> int:
        if self._closed.used(RequestClass.REALTIME_BARS, now):
            return 0
        return max(0, int(self.settings.history_budget - self.gates["history_window"].used("", now)))

    def explain(self, job: Job, now: float) -> Explanation:
        """Every rule the job would meet, the latest one first in line to hold it."""
        views = [
            RuleView(
                gate.rule.name,
                gate.used(key, now),
                self.limit(gate, ceiling),
                amount,
                gate.goes_at(key, amount, ceiling, now),
                gate.rule.source,
            )
            for gate, key, amount, ceiling in self.demands(job)
        ]
        latest = max(views, key=lambda view: view.goes_at)
        held_by = latest.rule if latest.goes_at > now else ""
        return Explanation(latest.goes_at, held_by, tuple(views), 0, latest.goes_at)

    @staticmethod
    def limit(gate: Gate, ceiling: float) -> float:
        return gate.limit if isinstance(gate, AdaptiveSlots) else ceiling

    def rules(self, now: float) -> list[dict[str, Any]]:
        """Each rule as plain JSON: the fullest counter of it, and when data could take one more (None: on release)."""
        rows = [self._row(gate, now) for gate in (*self.gates.values(), self._closed)]
        ratio = self._order_messages / (self._orders_executed + 1)
        rows.append(
            {
                "rule": "order_efficiency", "scope": "account", "used": round(ratio, 3), "limit": ORDER_EFFICIENCY_MAX,
                "window_s": None, "next_free_s": 0.0, "hard": False, "key": "", "source": "5.2",
            }
        )  # fmt: skip
        return rows

    def _row(self, gate: Gate, now: float) -> dict[str, Any]:
        rule, key = gate.rule, gate.fullest(now)
        free_at = gate.goes_at(key, 1, rule.ceilings[Lane.INTERACTIVE], now)
        limit = self.limit(gate, rule.limit)
        return {
            "rule": rule.name,
            "scope": str(rule.scope),
            "used": gate.used(key, now),
            "limit": None if limit == inf else limit,
            "window_s": rule.window_s + rule.margin_s or None,
            "next_free_s": seconds_until(free_at, now),
            "hard": rule.hard,
            "key": str(key),
            "source": rule.source,
        }

    def order_executed(self, count: int = 1) -> None:
        """For the order efficiency ratio: orders that were executed."""
        self._orders_executed += count

    def new_trading_day(self) -> None:
        """The order efficiency ratio starts again."""
        self._order_messages = self._orders_executed = 0
