"""Who goes next: lanes before everything, owners in turn, nothing beyond its deadline, no rule ever broken.

Owns the queued jobs and the order in which they get the budget that `pacing` counts. Merging of identical requests is
the business of those who ask. Pure: the caller brings the time, sends what `due` returns and reports every answer.

How the cost stays flat: jobs that meet the same limits wait in one bucket, buckets wait in the line of their class, and
only the first job of a line is looked at. A full common limit stops its lines as a whole; a full key parks its bucket
until the moment that key has room.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import inf
from typing import Any

from gateway_proxy.core.explanation import Explanation, RuleView
from gateway_proxy.core.fair_queue import Entry, Line, WaitingRoom, place
from gateway_proxy.core.gates import Slots, Window
from gateway_proxy.core.jobs import Job, Keys, Lane, RequestClass
from gateway_proxy.core.pacing import MESSAGE_PAUSE_S, Demand, Pacing
from gateway_proxy.core.rules import PacingSettings
from gateway_proxy.errors import QueueFull, Refused

__all__ = [
    "Explanation", "Granted", "Job", "Keys", "Lane", "PacingSettings", "RequestClass", "RuleView", "Scheduler",
]  # fmt: skip

#: The least we ask a refused caller to wait, and what we ask when only a release can make room.
RETRY_LEAST_S, RETRY_UNKNOWN_S = 0.1, 5.0
#: Owners remembered for the statistics; beyond that the one seen longest ago with nothing queued is forgotten.
OWNERS_REMEMBERED = 256
#: Ended jobs stay in the timer heaps until these are this much longer than what is queued.
HEAP_SLACK = 1024
#: Never held by an error 100: they have their own share of the message rate, and waiting is the greater risk.
NEVER_PAUSED = frozenset(
    {RequestClass.ORDER, RequestClass.MODIFY, RequestClass.CANCEL, RequestClass.PROBE, RequestClass.UNSUBSCRIBE}
)


@dataclass(frozen=True, slots=True)
class Granted:
    """Send this now; its budget is taken. `held_by`: the rule that kept it waiting longest, "" if none did."""

    job: Job
    queued_s: float
    held_by: str


@dataclass(slots=True)
class _Owner:
    queued: int = 0
    sent: int = 0
    served: int = 0


class Scheduler:
    """The one queue before the Gateway. Every pushed job ends exactly once: granted, expired or cancelled."""

    def __init__(self, settings: PacingSettings) -> None:
        self.settings = settings
        self._pacing = Pacing(settings)
        self._room = WaitingRoom()
        self._wakes: list[tuple[float, int, Demand]] = []
        self._deadlines: list[tuple[float, int]] = []
        self._expired: list[Job] = []
        self._owners: dict[str, _Owner] = {}
        self._now = self._heard_at = -inf
        self._changed = False
        self._turns = self._wake_ids = 0
        self._granted = self._expiries = self._cancelled = self._refused = 0

    # ------------------------------------------------------------ in

    def push(self, job: Job, now: float) -> None:
        """Queue `job`; then `due` will grant it, or `expired` return it, or `cancel` end it.

        Raises QueueFull (with `retry_in_s`) at the bound, Refused when a rule can never let it go or must not keep
        it waiting (orders per side), ValueError when the id is in use. A refused job changes nothing.
        """
        now = self._advance(now)
        if job.job_id in self._room.entries or self._pacing.holds(job.job_id):
            raise ValueError(f"job id {job.job_id} is in use")
        self._check_room(job, now)
        demands = self._pacing.demands(job)
        if reason := self._pacing.impossible(demands):
            self._refused += 1
            raise Refused(reason)
        self._room.enter(job, demands, now)
        self._owner(job.owner).queued += 1
        if job.deadline is not None:
            self._expire_later(job)
        self._changed = True

    def _check_room(self, job: Job, now: float) -> None:
        settings, lanes = self.settings, self._room.lanes
        mine = self._owners.get(job.owner)
        if job.lane <= Lane.PROBE:
            if sum(map(len, lanes[: Lane.PROBE + 1])) < settings.urgent_queue_max:
                return
            full = f"{settings.urgent_queue_max} orders, cancels and probes are waiting already"
        elif sum(map(len, lanes[Lane.PROBE + 1 :])) >= settings.queue_max:
            full = f"{settings.queue_max} data requests are waiting already"
        elif mine is not None and mine.queued >= settings.queue_per_owner_max:
            full = f"{job.owner} has {mine.queued} requests waiting already"
        else:
            return
        self._refused += 1
        goes_at = self._pacing.goes_at(self._pacing.demands(job), now)
        raise QueueFull(full, retry_in_s=RETRY_UNKNOWN_S if goes_at == inf else max(RETRY_LEAST_S, goes_at - now))

    # ------------------------------------------------------------ out

    def due(self, now: float) -> list[Granted]:
        """The jobs that go now, most urgent first; their budget is taken, so each must be sent."""
        now = self._advance(now)
        granted: list[Granted] = []
        shut: dict[Hashable, float] = {}
        for lines in self._room.lines:
            waiting = []
            for line in lines.values():
                if line:
                    waiting.append(line)
                else:
                    line.hold.by("", now)
            while waiting:
                line = waiting[0] if len(waiting) == 1 else min(waiting, key=self._last_turn)
                if not self._try_first(line, now, shut, granted):
                    waiting.remove(line)
        self._changed = False
        return granted

    @property
    def has_news(self) -> bool:
        """Something happened since `due` was asked: the answer may be another one now."""
        return self._changed

    def _last_turn(self, line: Line) -> int:
        return self._owners[line.next_bucket().owner].served

    def _try_first(self, line: Line, now: float, shut: dict[Hashable, float], granted: list[Granted]) -> bool:
        """Grant or park the first job of `line`; False when the line is done for now: empty, or held as a whole.

        A common limit that refused a job is shut for all after it, or light jobs would always pass a heavy one. Not
        when another limit holds that job longer anyway: jobs that could go would wait for what it waits for.
        """
        bucket = line.next_bucket()
        entry = bucket.first
        demands = entry.demands
        for demand in demands:
            gate, key, amount, ceiling = demand
            if gate.goes_at(key, amount, ceiling, now) <= now and not (shut and place(demand) in shut):
                continue
            if gate.keyed:
                self._park(entry, demand, now)
                return bool(line)
            wake_at, held_by = self._pacing.held(demands, now)
            shut_until = shut.get(place(demand), now)
            line.wake_at = max(wake_at, shut_until)
            if wake_at <= gate.goes_at(key, amount, ceiling, now):
                shut[place(demand)] = line.wake_at
            line.hold.by(held_by if wake_at > shut_until else gate.rule.name, now)
            return False
        self._pacing.take(entry.job, demands, now)
        granted.append(self._grant(entry, line, now))
        return bool(line)

    def _grant(self, entry: Entry, line: Line, now: float) -> Granted:
        job, bucket = entry.job, entry.bucket
        held_by = self._room.held_by(entry, now)
        line.hold.by("", now)
        line.served(bucket, max(job.keys.weight, job.messages))
        self._room.leave(entry)
        self._granted += 1
        self._turns += 1
        owner = self._owners[job.owner]
        owner.queued -= 1
        owner.sent += 1
        owner.served = self._turns
        return Granted(job, now - entry.pushed_at, held_by)

    def _park(self, entry: Entry, demand: Demand, now: float) -> None:
        if self._room.park(entry, demand, now):
            self._wake_later(demand, now)

    def _wake_later(self, demand: Demand, now: float) -> None:
        wake_at = demand.gate.goes_at(demand.key, demand.amount, demand.ceiling, now)
        if wake_at == inf:
            return
        self._wake_ids += 1
        heappush(self._wakes, (wake_at, self._wake_ids, demand))
        if len(self._wakes) > HEAP_SLACK + 2 * len(self._room.parked):
            parked = self._room.parked
            soonest = {place(e[2]): e for e in sorted(self._wakes, reverse=True) if place(e[2]) in parked}
            self._wakes = sorted(soonest.values())

    def _expire_later(self, job: Job) -> None:
        assert job.deadline is not None
        heappush(self._deadlines, (job.deadline, job.job_id))
        if len(self._deadlines) > HEAP_SLACK + 2 * len(self._room.entries):
            self._deadlines = sorted(each for each in set(self._deadlines) if each[1] in self._room.entries)

    def expired(self, now: float) -> list[Job]:
        """Jobs whose deadline passed while they were queued, each once. They were not sent and never will be."""
        self._advance(now)
        expired, self._expired = self._expired, []
        return expired

    def cancel(self, job_id: int) -> bool:
        """Take a job out of the queue; False if it is not queued (never was, already granted, already ended)."""
        entry = self._room.entries.get(job_id)
        if entry is None:
            return False
        self._end(entry)
        self._cancelled += 1
        self._changed = True
        return True

    def _end(self, entry: Entry) -> None:
        self._room.leave(entry)
        self._owners[entry.job.owner].queued -= 1

    def _advance(self, now: float) -> float:
        """Let time pass: deadlines end jobs, keys with room again send their buckets back to the lines."""
        self._now = now = max(now, self._now)
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = self._room.entries.get(heappop(self._deadlines)[1])
            if entry is not None and entry.job.deadline is not None and entry.job.deadline <= now:
                self._end(entry)
                self._expired.append(entry.job)
                self._expiries += 1
                self._changed = True
        while self._wakes and self._wakes[0][0] <= now:
            demand = heappop(self._wakes)[2]
            gate, key, amount, ceiling = demand
            if place(demand) not in self._room.parked:
                continue
            if gate.goes_at(key, amount, ceiling, now) > now:
                self._wake_later(demand, now)
            else:
                self._room.unpark(place(demand), now)
                self._changed = True
        return now

    def next_timer(self) -> float | None:
        """When to call `expired` and `due` if nothing happens before; a time that has passed means now. None: never."""
        if self._expired:
            return self._now
        if not self._room.entries:
            return None
        if self._changed:
            return self._now
        wakes = [line.wake_at for lines in self._room.lines for line in lines.values() if line]
        wakes.extend(heap[0][0] for heap in (self._wakes, self._deadlines) if heap)
        earliest = min(wakes, default=inf)
        return None if earliest == inf else earliest

    # ------------------------------------------------------------ what came of it

    def finished(self, job_id: int, now: float, *, latency_s: float | None, failed: bool) -> None:
        """The answer to a granted job is in, or will never be (`failed`): gives back what it held, once.

        `latency_s`: from sent to answered, None when unknown. A stream keeps its slot and lines until `release`,
        unless it failed to open. Unknown ids and repeated calls do nothing: late answers are normal.
        """
        self._freed(self._pacing.finished(job_id, latency_s, failed), now)

    def release(self, job_id: int, now: float, side: str = "") -> None:
        """Nothing of it is left at the Gateway: a cancelled stream, a dead order; with `side` one order of a side."""
        self._freed(self._pacing.release(job_id, side), now)

    def adopt(self, job: Job) -> None:
        """The Gateway holds this already, from an earlier life: its slots count, nothing is sent."""
        self._pacing.adopt(job)

    def _freed(self, given: list[tuple[Slots, Hashable]], now: float) -> None:
        now = self._advance(now)
        for gate, key in given:
            self._changed = True
            if gate.keyed:
                self._room.unpark((gate.rule.name, key), now)

    def reset_session(self, now: float) -> None:
        """A new connection: slots and lines are free, sliding logs and working orders stay, the queue stays."""
        now = self._heard_at = self._advance(now)
        self._pacing.reset_session()
        for where in list(self._room.parked):
            self._room.unpark(where, now)
        self._changed = True

    def heard(self, now: float) -> None:
        """A sign of life. After a silence, messages written in it may arrive together only now (it stood still)."""
        self._pacing.heard(now, late=now - self._heard_at > self.settings.second_margin_s)
        self._heard_at = now

    def remembered(self, now: float) -> dict[str, list[tuple[float, str, int]]]:
        """What a next life of this process must know, as plain JSON: the requests that IB still counts."""
        return self._pacing.remembered(self._advance(now))

    def recall(self, remembered: dict[str, list[tuple[float, str, int]]], away_s: float, now: float) -> None:
        """Start with what an earlier life remembered `away_s` seconds ago. Only before the first job."""
        self._pacing.recall(remembered, away_s, self._advance(now))

    # ------------------------------------------------------------ violations

    def close_class(self, request_class: RequestClass, until: float) -> None:
        """Hold one class until a time; others go on. Never shortens a closure."""
        self._pacing.close(request_class, until)
        self._changed = True

    def open_class(self, request_class: RequestClass) -> None:
        """End a closure early."""
        self._pacing.open(request_class)
        self._changed = True

    def pacing_violation(self, request_class: RequestClass, now: float) -> float:
        """IB said that pacing was violated: hold that class and those of its budget. Returns until when."""
        self._changed = True
        return self._pacing.violated(request_class, self._advance(now))

    def message_violation(self, now: float) -> float:
        """Error 100: hold everything but orders, cancels and probes for a moment. Returns until when."""
        until = self._advance(now) + MESSAGE_PAUSE_S
        for request_class in RequestClass:
            if request_class not in NEVER_PAUSED:
                self._pacing.close(request_class, until)
        self._changed = True
        return until

    def budget_left(self, now: float) -> int:
        """Units of the historical budget (60 per 600 s) that could be taken now; 0 while it is closed."""
        return self._pacing.budget_left(self._advance(now))

    def order_executed(self, count: int = 1) -> None:
        """For the order efficiency ratio of the statistics."""
        self._pacing.order_executed(count)

    def new_trading_day(self) -> None:
        self._pacing.new_trading_day()

    # ------------------------------------------------------------ what is going on

    def explain(self, job: Job, now: float) -> Explanation:
        """When `job` could go and which rule holds it; changes nothing.

        `goes_at` is exact for a job that finds nothing queued before it; `expected_at` puts those that are queued in
        the same or a more urgent lane of its class before it.
        """
        now = self._advance(now)
        alone = self._pacing.explain(job, now)
        ahead = sum(self._queued_in(lane, job.request_class) for lane in Lane if lane <= job.lane)
        expected_at = alone.goes_at
        for gate, _, amount, ceiling in self._pacing.demands(job):
            if isinstance(gate, Window) and not gate.keyed and ceiling < inf:
                expected_at = max(expected_at, gate.goes_after(ahead * amount, amount, ceiling, now))
        return replace(alone, ahead=ahead, expected_at=expected_at)

    def _queued_in(self, lane: Lane, request_class: RequestClass) -> int:
        return self._room.queued.get((lane, request_class), 0)

    def stats(self, now: float) -> dict[str, Any]:
        """The body of health/pacing/: plain JSON."""
        now = self._advance(now)
        total = max(1, self._granted)
        lines = self._pacing.lines_by_owner()
        return {
            "rules": self._pacing.rules(now),
            "lanes": {
                lane.name.lower(): {
                    "depth": len(queued),
                    "oldest_s": round(now - next(iter(queued.values())).pushed_at, 3) if queued else 0.0,
                }
                for lane, queued in zip(Lane, self._room.lanes, strict=True)
            },
            "owners": {
                name: {
                    "queued": owner.queued,
                    "sent": owner.sent,
                    "share": round(owner.sent / total, 4),
                    "lines": lines.get(name, 0),
                }
                for name, owner in self._owners.items()
            },
            "granted": self._granted,
            "expired": self._expiries,
            "cancelled": self._cancelled,
            "refused": self._refused,
        }

    def _owner(self, name: str) -> _Owner:
        owner = self._owners.get(name)
        if owner is None:
            if len(self._owners) >= OWNERS_REMEMBERED:
                idle = (other for other, kept in self._owners.items() if not kept.queued)
                self._owners.pop(next(idle, ""), None)
            owner = self._owners[name] = _Owner()
        return owner
