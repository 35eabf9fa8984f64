"""Errands: requests from the bus that take several steps at the Gateway. Pure.

An errand is asked to advance whenever something it waits for has changed, until it has sent its one reply.
At the limits: a new errand is refused with QueueFull; one that outlives its deadline is answered with what
it waited for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

from gateway_proxy.core import effects as fx
from gateway_proxy.core.verdict import Verdict, error
from gateway_proxy.errors import ProxyError, QueueFull

ERRANDS_MAX = 2_000
#: Deadlines are sums of floats; those of an errand and of its request in the queue are one moment.
_ROUNDING_S = 0.001


class Errand(ABC):
    """One question of one client. It advances when a key it waits for is woken, and at `wake_at` if that is set."""

    def __init__(self, client: Any, request_id: str | int, deadline: float) -> None:
        self.client = client
        self.request_id = request_id
        self.deadline = deadline
        self.wake_at: float | None = None
        self.waits_for: frozenset[str] = frozenset()

    @abstractmethod
    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        """The reply, or what is missing. A ProxyError raised here becomes the reply."""

    def abandon(self, now: float) -> None:  # noqa: B027 - most errands hold nothing
        """Give back what it holds; called once, after the reply."""


class Errands:
    """All pending errands, found by what they wait for. `is_queued(keys)`: one of these is still in our own queue."""

    def __init__(self, is_queued: Callable[[Collection[str]], bool]) -> None:
        self._is_queued = is_queued
        self._pending: dict[int, Errand] = {}
        self._by_key: dict[str, set[int]] = {}
        self._woken: dict[str, None] = {}
        self._effects: list[fx.Effect] = []

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, errand: Errand, now: float) -> None:
        if len(self._pending) >= ERRANDS_MAX:
            refusal = QueueFull(f"{ERRANDS_MAX} requests are already being worked at", retry_in_s=1.0)
            self._effects.append(fx.Reply(errand.client, errand.request_id, error=refusal))
            return
        self._step(errand, now)

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
        due = (min(e.deadline, e.wake_at or e.deadline) for e in self._pending.values())
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        for errand in [errand for errand in self._pending.values() if errand.deadline <= now + _ROUNDING_S]:
            self._finish(errand, fx.Reply(errand.client, errand.request_id, error=self._late(errand)), now)
        for errand in [e for e in self._pending.values() if e.wake_at is not None and e.wake_at <= now]:
            errand.wake_at = None
            self._step(errand, now)

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
        try:
            if errand.deadline <= now + _ROUNDING_S:
                raise self._late(errand)
            result = errand.advance(now)
        except ProxyError as failure:
            result = fx.Reply(errand.client, errand.request_id, error=failure)
        if isinstance(result, fx.Reply):
            self._finish(errand, result, now)
            return
        assert result, "an errand that is not finished waits for something"
        self._forget(errand)
        errand.waits_for = result
        self._pending[id(errand)] = errand
        for key in result:
            self._by_key.setdefault(key, set()).add(id(errand))

    def _finish(self, errand: Errand, reply: fx.Reply, now: float) -> None:
        self._forget(errand)
        self._effects.append(reply)
        errand.abandon(now)

    def _forget(self, errand: Errand) -> None:
        self._pending.pop(id(errand), None)
        for key in errand.waits_for:
            numbers = self._by_key.get(key)
            if numbers is not None:
                numbers.discard(id(errand))
                if not numbers:
                    del self._by_key[key]
