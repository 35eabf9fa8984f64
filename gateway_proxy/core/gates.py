"""The counters behind the pacing rules: sliding logs, open slots, the adaptive limit and closed classes.

Each gate says when an amount would fit, and takes or gives it; none knows a queue. Pure: the caller brings the time,
which never runs backwards. A counter is bounded by its rule's limit, and dropped as soon as it is empty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from math import ceil, inf

from gateway_proxy.core.rules import Rule


class Window:
    """At most `ceiling` units in any span of window + margin seconds, per key: a log of every grant.

    A token bucket of 60 per 600 s would let 119 through in one window, a fixed window 120; only the log is exact.
    """

    __slots__ = ("_logs", "_order", "_read", "_taken", "_used", "keyed", "rule", "span_s")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.keyed = bool(rule.key)
        self.span_s = rule.window_s + rule.margin_s
        self._logs: dict[Hashable, deque[tuple[float, int]]] = {}
        self._used: dict[Hashable, int] = {}
        self._order: deque[tuple[float, Hashable]] = deque()
        #: Units ever taken, and how many of them the other side has shown to have read.
        self._taken = self._read = 0

    def goes_at(self, key: Hashable, amount: int, ceiling: float, now: float) -> float:
        """Earliest time at which `amount` more fits: `now` if it does already, inf if it never can."""
        if self._order and self._order[0][0] + self.span_s <= now:
            self._forget(now)
        excess = self._used.get(key, 0) + amount - ceiling
        if excess <= 0:
            return now
        for taken_at, taken in self._logs.get(key, ()):
            excess -= taken
            if excess <= 0:
                return taken_at + self.span_s
        return inf

    def goes_after(self, ahead: int, amount: int, ceiling: float, now: float) -> float:
        """When `amount` fits if `ahead` units are taken before it, each as early as it may; for unkeyed windows.

        Unit n of the whole sequence goes one span after unit n - ceiling, so step back by whole ceilings until a
        logged unit is reached, or one that may go now.
        """
        self._forget(now)
        logged = self._used.get("", 0)
        unit = logged + ahead + amount - 1
        rounds = max(0, ceil((unit + 1 - max(logged, ceiling)) / ceiling))
        unit -= int(rounds * ceiling)
        if unit >= logged:
            return now + rounds * self.span_s
        for taken_at, taken in self._logs[""]:
            unit -= taken
            if unit < 0:
                return taken_at + rounds * self.span_s
        raise AssertionError(f"{self.rule.name}: the log holds fewer units than counted")

    def take(self, key: Hashable, amount: int, now: float) -> None:
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = deque()
        log.append((now, amount))
        self._order.append((now, key))
        self._used[key] = self._used.get(key, 0) + amount
        self._taken += amount

    def read(self) -> None:
        """The other side shows that it reads: what was taken so far counts from when it was taken."""
        self._read = self._taken

    def read_late(self, now: float) -> None:
        """It stood still until now: all that it had not read counts from now on, also what had been too old to count.

        Only for a gate with one counter.
        """
        unread, log = self._taken - self._read, self._logs.get("", deque())
        for at in range(len(log) - 1, -1, -1):
            if unread <= 0:
                break
            unread -= log[at][1]
            log[at], self._order[at] = (now, log[at][1]), (now, "")
        if unread > 0:
            self.take("", unread, now)
        self.read()

    def used(self, key: Hashable, now: float) -> int:
        self._forget(now)
        return self._used.get(key, 0)

    def fullest(self, now: float) -> Hashable:
        """The key of the largest counter, "" if all are empty."""
        self._forget(now)
        return max(self._used, key=self._used.__getitem__, default="")

    def entries(self, now: float) -> list[tuple[float, Hashable, int]]:
        """(age in seconds, key, amount) of everything still counted, oldest first."""
        self._forget(now)
        positions: dict[Hashable, int] = {}
        found = []
        for taken_at, key in self._order:
            position = positions[key] = positions.get(key, -1) + 1
            found.append((now - taken_at, key, self._logs[key][position][1]))
        return found

    def oldest_age_s(self, now: float) -> float:
        """Age of the oldest entry still counted; 0 when there is none."""
        self._forget(now)
        return now - self._order[0][0] if self._order else 0.0

    def _forget(self, now: float) -> None:
        order, span_s = self._order, self.span_s
        while order and order[0][0] + span_s <= now:
            _, key = order.popleft()
            log = self._logs[key]
            self._used[key] -= log.popleft()[1]
            if not log:
                del self._logs[key], self._used[key]


class Slots:
    """At most `ceiling` things open at a time, per key; each stays until it is given back."""

    __slots__ = ("_used", "keyed", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.keyed = bool(rule.key)
        self._used: dict[Hashable, int] = {}

    def goes_at(self, key: Hashable, amount: int, ceiling: float, now: float) -> float:
        """`now` if `amount` more fits, otherwise inf: only a release makes room."""
        return now if self._used.get(key, 0) + amount <= ceiling else inf

    def take(self, key: Hashable, amount: int, now: float) -> None:
        self._used[key] = self._used.get(key, 0) + amount

    def give(self, key: Hashable, amount: int) -> None:
        left = self._used[key] - amount
        assert left >= 0, f"{self.rule.name}: more given back than taken"
        if left:
            self._used[key] = left
        else:
            del self._used[key]

    def used(self, key: Hashable, now: float) -> int:
        return self._used.get(key, 0)

    def fullest(self, now: float) -> Hashable:
        """The key of the largest counter, "" if all are empty."""
        return max(self._used, key=self._used.__getitem__, default="")


class AdaptiveSlots(Slots):
    """Open slots whose limit follows the answers: one more after a full round of good ones, half after a bad sign.

    A bad sign is a failure, or a 95th percentile of the last `SAMPLES` latencies above `slow_s`. The limit only
    grows while it is being used, and halves at most once for the requests that were open at the time: those that
    follow are the first to show whether it helped. Source: additive increase, multiplicative decrease as in TCP.
    """

    SAMPLES = 20

    __slots__ = ("_latencies_s", "_limit", "_most", "_least", "_slow_s", "_stale")

    def __init__(self, rule: Rule, *, start: int, least: int, most: int, slow_s: float) -> None:
        super().__init__(rule)
        self._least, self._most = min(least, most), most
        self._limit = float(min(max(start, self._least), most))
        self._slow_s = slow_s
        self._latencies_s: deque[float] = deque(maxlen=self.SAMPLES)
        self._stale = 0

    @property
    def limit(self) -> int:
        return int(self._limit)

    def goes_at(self, key: Hashable, amount: int, ceiling: float, now: float) -> float:
        return super().goes_at(key, amount, min(ceiling, int(self._limit)), now)

    def answered(self, latency_s: float | None, failed: bool) -> None:
        """One answer (or failure) of a request that is still counted as open."""
        open_now = self._used.get("", 0)
        if self._stale > 0:
            self._stale -= 1
            return
        if latency_s is not None:
            self._latencies_s.append(latency_s)
        if failed or self._slow():
            self._limit = max(float(self._least), self._limit / 2)
            self._latencies_s.clear()
            self._stale = open_now - 1
        elif latency_s is not None and open_now >= int(self._limit):
            self._limit = min(float(self._most), self._limit + 1 / self._limit)

    def forget_open(self) -> None:
        """A new connection: nothing is open, what was learned stays."""
        self._stale = 0
        self._latencies_s.clear()

    def _slow(self) -> bool:
        ordered = sorted(self._latencies_s)
        return bool(ordered) and ordered[ceil(0.95 * len(ordered)) - 1] > self._slow_s


class Closed:
    """Classes that may not send until a given time, after IB said that pacing was violated (rule book 1.9)."""

    __slots__ = ("_until", "keyed", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.keyed = False
        self._until: dict[Hashable, float] = {}

    def goes_at(self, key: Hashable, amount: int, ceiling: float, now: float) -> float:
        return max(now, self._until.get(key, now))

    def take(self, key: Hashable, amount: int, now: float) -> None:
        """An open class has nothing to count."""

    def close(self, key: Hashable, until: float) -> None:
        """Never shortens a closure that is already in force."""
        self._until[key] = max(until, self._until.get(key, until))

    def open(self, key: Hashable) -> None:
        self._until.pop(key, None)

    def used(self, key: Hashable, now: float) -> int:
        return int(self._until.get(key, now) > now)

    def fullest(self, now: float) -> Hashable:
        """The class that stays closed longest."""
        return max(self._until, key=self._until.__getitem__, default="")


Gate = Window | Slots | AdaptiveSlots | Closed
