"""Where jobs wait: buckets of alike jobs, in lines that take turns between owners.

Jobs that meet the same limits stand in one bucket, so that looking at its first job says enough about all of them; a
blocked class or key is never searched through. Knows no rules and no time but for the record of what held a line.
Every operation costs the same whatever the number of jobs waiting.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from gateway_proxy.core.jobs import Job, Keys, Lane, RequestClass
from gateway_proxy.core.pacing import Demand


@dataclass(slots=True, eq=False)
class Entry:
    """A queued job and what it will take.

    `line_held_s`, `key_held_s`: what had held its line and its bucket when it came; the difference is its own.
    """

    job: Job
    pushed_at: float
    bucket: Bucket
    line_held_s: dict[str, float]
    key_held_s: dict[str, float]
    demands: tuple[Demand, ...]


class Hold:
    """How long each rule has kept a line waiting. Totals are replaced, never changed, so that a job may keep them."""

    __slots__ = ("_rule", "_since", "_totals_s")

    def __init__(self) -> None:
        self._rule = ""
        self._since = 0.0
        self._totals_s: dict[str, float] = {}

    def by(self, rule: str, now: float) -> None:
        """From now on `rule` ("" = none) holds it."""
        if rule != self._rule:
            self.totals_s(now)
            self._rule = rule

    def totals_s(self, now: float) -> dict[str, float]:
        """Seconds per rule, up to now."""
        if self._rule and now > self._since:
            waited_s = self._totals_s.get(self._rule, 0.0) + now - self._since
            self._totals_s = {**self._totals_s, self._rule: waited_s}
        self._since = now
        return self._totals_s


@dataclass(slots=True, eq=False)
class Bucket:
    """Jobs of one lane, owner and class that share a key (`home`), oldest first.

    It stands in the line of its class, or, while a key is exhausted, parked until that demand has room.
    """

    lane: Lane
    owner: str
    request_class: RequestClass
    home: Hashable
    jobs: OrderedDict[int, Entry] = field(default_factory=OrderedDict)
    parked: Demand | None = None
    hold: Hold = field(default_factory=Hold)

    @property
    def name(self) -> Hashable:
        return (self.lane, self.owner, self.request_class, self.home)

    @property
    def first(self) -> Entry:
        return next(iter(self.jobs.values()))


class Line:
    """The buckets of one class in one lane that no key holds: owners take turns, and so do the buckets of an owner.

    A job that costs more than one unit makes its owner miss as many turns (deficit round robin), so that two owners
    get the same budget rather than the same number of requests.
    """

    __slots__ = ("_debts", "_owners", "hold", "wake_at")

    def __init__(self) -> None:
        self._owners: OrderedDict[str, OrderedDict[Hashable, Bucket]] = OrderedDict()
        self._debts: dict[str, int] = {}
        self.hold = Hold()
        self.wake_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._owners)

    def add(self, bucket: Bucket) -> None:
        self._owners.setdefault(bucket.owner, OrderedDict())[bucket.name] = bucket

    def remove(self, bucket: Bucket) -> None:
        mine = self._owners[bucket.owner]
        del mine[bucket.name]
        if not mine:
            del self._owners[bucket.owner]
            self._debts.pop(bucket.owner, None)

    def next_bucket(self) -> Bucket:
        """Whose turn it is."""
        owner, mine = next(iter(self._owners.items()))
        while len(self._owners) > 1 and self._debts.get(owner, 0) > 0:
            self._debts[owner] -= 1
            self._owners.move_to_end(owner)
            owner, mine = next(iter(self._owners.items()))
        return next(iter(mine.values()))

    def served(self, bucket: Bucket, cost: int) -> None:
        """The first job of `bucket` was granted: the turn goes to the next owner."""
        owners = self._owners
        owners[bucket.owner].move_to_end(bucket.name)
        owners.move_to_end(bucket.owner)
        if cost > 1 and len(owners) > 1:
            self._debts[bucket.owner] = cost - 1


class WaitingRoom:
    """Every queued job, in exactly one bucket; every bucket in exactly one line, or parked at one exhausted key."""

    __slots__ = ("_buckets", "entries", "lanes", "lines", "parked", "queued")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.lanes: tuple[OrderedDict[int, Entry], ...] = tuple(OrderedDict() for _ in Lane)
        self.lines: tuple[dict[RequestClass, Line], ...] = tuple({} for _ in Lane)
        self.parked: dict[Hashable, dict[Hashable, Bucket]] = {}
        self.queued: dict[tuple[Lane, RequestClass], int] = {}
        self._buckets: dict[Hashable, Bucket] = {}

    def enter(self, job: Job, demands: tuple[Demand, ...], now: float) -> None:
        bucket = self._bucket(job, home(job.keys))
        entry = Entry(job, now, bucket, self._line(bucket).hold.totals_s(now), bucket.hold.totals_s(now), demands)
        bucket.jobs[job.job_id] = entry
        self.entries[job.job_id] = self.lanes[job.lane][job.job_id] = entry
        kind = (job.lane, job.request_class)
        self.queued[kind] = self.queued.get(kind, 0) + 1

    def leave(self, entry: Entry) -> None:
        """The job ended, one way or another; what became empty is taken away."""
        job = entry.job
        del self.entries[job.job_id], self.lanes[job.lane][job.job_id]
        self.queued[job.lane, job.request_class] -= 1
        self._take_out(entry)

    def held_by(self, entry: Entry, now: float) -> str:
        """The rule that kept the job waiting longest, "" if none did."""
        if now <= entry.pushed_at:
            return ""
        bucket = entry.bucket
        longest, longest_s = "", 0.0
        for totals_s, seen_s in (
            (self._line(bucket).hold.totals_s(now), entry.line_held_s),
            (bucket.hold.totals_s(now), entry.key_held_s),
        ):
            for rule, total_s in totals_s.items():
                if total_s - seen_s.get(rule, 0.0) > longest_s:
                    longest, longest_s = rule, total_s - seen_s.get(rule, 0.0)
        return longest

    def park(self, entry: Entry, demand: Demand, now: float) -> bool:
        """The first job of a bucket met an exhausted key: park the bucket, or let the job step aside.

        A bucket whose own key is exhausted is parked whole. A job stopped by another key moves to the bucket of that
        key, so that those behind it may go on. Returns True when nothing was parked at that key before.
        """
        bucket = entry.bucket
        if bucket.home != demand.key:
            aside = self._bucket(entry.job, demand.key)
            self._take_out(entry)
            entry.bucket = bucket = aside
            entry.key_held_s = bucket.hold.totals_s(now)
            bucket.jobs[entry.job.job_id] = entry
            bucket.jobs.move_to_end(entry.job.job_id, last=False)
        if bucket.parked is not None:
            return False
        self._line(bucket).remove(bucket)
        bucket.parked = demand
        bucket.hold.by(demand.gate.rule.name, now)
        group = self.parked.setdefault(place(demand), {})
        group[bucket.name] = bucket
        return len(group) == 1

    def unpark(self, where: Hashable, now: float) -> None:
        """The key has room again: its buckets go back to their lines."""
        for bucket in self.parked.pop(where, {}).values():
            bucket.parked = None
            bucket.hold.by("", now)
            self._line(bucket).add(bucket)

    def _bucket(self, job: Job, key: Hashable) -> Bucket:
        name = (job.lane, job.owner, job.request_class, key)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(job.lane, job.owner, job.request_class, key)
            self._line(bucket).add(bucket)
        return bucket

    def _line(self, bucket: Bucket) -> Line:
        lines = self.lines[bucket.lane]
        line = lines.get(bucket.request_class)
        if line is None:
            line = lines[bucket.request_class] = Line()
        return line

    def _take_out(self, entry: Entry) -> None:
        bucket = entry.bucket
        del bucket.jobs[entry.job.job_id]
        if bucket.jobs:
            return
        del self._buckets[bucket.name]
        if bucket.parked is None:
            self._line(bucket).remove(bucket)
            return
        where = place(bucket.parked)
        del self.parked[where][bucket.name]
        if not self.parked[where]:
            del self.parked[where]


def home(keys: Keys) -> Hashable:
    """The key of a job's bucket: the widest one, so that many keys under one exhausted key are one bucket."""
    side = keys.sides[0][0] if keys.sides else ""
    return keys.series or keys.identical or keys.instrument or keys.flight or side


def place(demand: Demand) -> Hashable:
    """Where buckets wait for the counter of `demand`."""
    return (demand.gate.rule.name, demand.key)
