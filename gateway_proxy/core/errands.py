"""Errands: requests from the bus that take several steps at the Gateway. Pure.

An errand is asked to advance whenever something it waits for has changed, until it has sent its one reply.
At the limits, one per owner and one for all, a new errand is refused with QueueFull; one that outlives its deadline is
answered with what it waited for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

from gateway_proxy.core import effects as fx
from gateway_proxy.core.spans import Span, timeline
from gateway_proxy.core.verdict import Verdict, error
from gateway_proxy.errors import ProxyError, QueueFull

ERRANDS_MAX = 8_000
#: Of one owner: a flood must not take the places of the others.
ERRANDS_PER_OWNER_MAX = 1_000
#: Deadlines are sums of floats; those of an errand and of its request in the queue are one moment.
_ROUNDING_S = 0.001


class Errand(ABC):
    """One question of one client. It advances when a key it waits for is woken, and at `wake_at` if that is set."""

    def __init__(self, client: Any, request_id: str | int, deadline: float) -> None:
        self.client = client
        self.request_id = request_id
        self.deadline = deadline
        self.owner = ""
        self.began = 0.0
        self.spans: dict[str, Span] = {}
        self.wake_at: float | None = None
        self.waits_for: frozenset[str] = frozenset()

    @abstractmethod
    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        """The reply, or what is missing. A ProxyError raised here becomes the reply."""

    def abandon(self, now: float) -> None:  # noqa: B027 - most errands hold nothing
        """Give back what it holds; called once, after the reply."""


class Errands:
    """All pending errands, found by what they wait for. `is_queued(keys)`: one of these is still in our own queue.

    `span_of(key)`: what became of the latest request for that key; every answer gets a timeline made of them.
    """

    def __init__(
        self,
        is_queued: Callable[[Collection[str]], bool],
        span_of: Callable[[str], Span | None] = lambda key: None,
    ) -> None:
        self._is_queued = is_queued
        self._span_of = span_of
        self._pending: dict[int, Errand] = {}
        self._by_key: dict[str, set[int]] = {}
        self._by_owner: Counter[str] = Counter()
        #: (when, number) of everything pending; those that ended or were set anew are dropped when they come up.
        self._due: list[tuple[float, int]] = []
        self._timers: dict[int, float] = {}
        self._woken: dict[str, None] = {}
        self._effects: list[fx.Effect] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, errand: Errand, now: float, owner: str = "") -> None:
        if full := self._full(owner):
            refusal = QueueFull(full, retry_in_s=1.0)
            self._effects.append(fx.Reply(errand.client, errand.request_id, error=refusal))
            return
        errand.owner, errand.began = owner, now
        self._step(errand, now)

    def _full(self, owner: str) -> str:
        if owner and self._by_owner[owner] >= ERRANDS_PER_OWNER_MAX:
            return f"{ERRANDS_PER_OWNER_MAX} requests of {owner} are already being worked at"
        return f"{ERRANDS_MAX} requests are already being worked at" if len(self._pending) >= ERRANDS_MAX else ""

    def wake(self, key: str) -> None:
        """Something about `key` changed; its errands advance at the next `run`."""
        if key in self._by_key:
            self._woken[key] = None

    def run(self, now: float) -> None:
        """Advance every woken errand, and those they wake in turn."""
        while self._woken:
            keys, self._woken = self._woken, {}
            waiting = {number: None for key in keys for number in sorted(self._by_key.get(key, ()))}
            for number in waiting:
                if number in self._pending:
                    self._step(self._pending[number], now)

    def session_lost(self, reason: str, now: float) -> None:
        """Without a session nothing can be found out: everybody is told at once."""
        for errand in list(self._pending.values()):
            failure = error(Verdict.SESSION_LOST, f"the Gateway session was lost: {reason}", retry_in_s=1.0)
            self._finish(errand, fx.Reply(errand.client, errand.request_id, error=failure), now)

    def next_timer(self) -> float | None:
        while self._due and self._timers.get(self._due[0][1]) != self._due[0][0]:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def handle_timer(self, now: float) -> None:
        due: dict[int, Errand] = {}
        while (at := self.next_timer()) is not None and at <= now + _ROUNDING_S:
            number = heappop(self._due)[1]
            due[number] = self._pending[number]
            del self._timers[number]
        for errand in due.values():
            if errand.deadline <= now + _ROUNDING_S:
                self._finish(errand, fx.Reply(errand.client, errand.request_id, error=self._late(errand)), now)
        for number, errand in due.items():
            if number not in self._pending:
                continue
            if errand.wake_at is not None and errand.wake_at <= now:
                errand.wake_at = None
                self._step(errand, now)
            else:
                self._schedule(errand)

    def _schedule(self, errand: Errand) -> None:
        at = errand.deadline if errand.wake_at is None else min(errand.deadline, errand.wake_at)
        if self._timers.get(id(errand)) != at:
            self._timers[id(errand)] = at
            heappush(self._due, (at, id(errand)))

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    def _late(self, errand: Errand) -> ProxyError:
        """Its time is up: say whether we had it in our queue or the Gateway did not answer."""
        missing = ", ".join(sorted(errand.waits_for)[:3]) or "its turn"
        if self._is_queued(errand.waits_for):
            return error(Verdict.EXPIRED_IN_QUEUE, f"its deadline passed in our queue; waiting for {missing}")
        return error(Verdict.GATEWAY_SILENT, f"not answered before its deadline; still waiting for {missing}")

    def _step(self, errand: Errand, now: float) -> None:
        errand.spans |= {key: span for key in errand.waits_for if (span := self._span_of(key)) is not None}
        try:
            if errand.deadline <= now + _ROUNDING_S:
                raise self._late(errand)
            result = errand.advance(now)
        except ProxyError as failure:
            result = fx.Reply(errand.client, errand.request_id, error=failure)
        if isinstance(result, fx.Reply):
            self._finish(errand, self._timed(errand, result, now), now)
            return
        assert result, "an errand that is not finished waits for something"
        self._forget(errand)
        errand.waits_for = result
        if id(errand) not in self._pending:
            self._by_owner[errand.owner] += 1
        self._pending[id(errand)] = errand
        self._schedule(errand)
        for key in result:
            self._by_key.setdefault(key, set()).add(id(errand))

    @staticmethod
    def _timed(errand: Errand, reply: fx.Reply, now: float) -> fx.Reply:
        """The answer with its timeline, unless it brings its own."""
        if not isinstance(reply.body, dict) or "timeline" in reply.body:
            return reply
        return replace(reply, body=reply.body | {"timeline": timeline(errand.spans.values(), errand.began, now)})

    def _finish(self, errand: Errand, reply: fx.Reply, now: float) -> None:
        if id(errand) in self._pending:
            del self._pending[id(errand)]
            self._timers.pop(id(errand), None)
            self._by_owner[errand.owner] -= 1
            if not self._by_owner[errand.owner]:
                del self._by_owner[errand.owner]
        self._forget(errand)
        self._effects.append(reply)
        errand.abandon(now)

    def _forget(self, errand: Errand) -> None:
        """Nothing wakes it any more."""
        for key in errand.waits_for:
            numbers = self._by_key.get(key)
            if numbers is not None:
                numbers.discard(id(errand))
                if not numbers:
                    del self._by_key[key]
