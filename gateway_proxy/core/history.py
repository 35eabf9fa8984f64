"""One-shot historical requests: sized, merged when identical, remembered while they must not repeat. Pure.

IB counts an identical request within 15 s as a violation (rule book 1.1), so a younger answer is given again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway_proxy.bus.messages import Bar, Contract, Timeline
from gateway_proxy.bus.topics import BAR_SECONDS, BAR_SIZES
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.rules import history_class, history_keys
from gateway_proxy.core.scheduler import Lane
from gateway_proxy.core.verdict import Verdict, error
from gateway_proxy.errors import BadMessage, ProxyError

IDENTICAL_S: Final = 15.0
REMEMBERED_MAX: Final = 200
_RTH_DAY_S: Final = 23_400
_FULL_DAY_S: Final = 57_600
#: The longest duration IB reads (rule book 1.5).
_YEARS_MAX: Final = 68
#: 1-second bars reach back 2000 s at most; other small bars are asked in seconds, up to one day (rule book 1.5).
_SECONDS_MAX: Final = {1: 2_000}


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """What makes two requests identical to IB. `days` is IB's duration string."""

    contract: Contract
    size: str
    what: str
    rth: bool
    duration: str


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    bars: tuple[Bar, ...]
    timeline: Timeline
    at: float
    sent_at: float


def duration_for(size: str, count: int, rth: bool) -> str:
    """The shortest IB duration that holds `count` bars. Raises BadMessage when IB cannot give that many in one answer.

    Intraday windows are counted in trading days plus one, because the market may just have opened.
    """
    if count * BAR_SECONDS[size] > _YEARS_MAX * 365 * 86_400:
        raise BadMessage(f"count: IB gives at most {_YEARS_MAX} years in one request, not {count} bars of {size}")
    bar_s = BAR_SECONDS[size]
    if bar_s <= 30:
        seconds = max(30, count * bar_s)
        limit = _SECONDS_MAX.get(bar_s, 86_400)
        if seconds > limit:
            raise BadMessage(f"count: IB gives at most {limit // bar_s} bars of {size} in one request, not {count}")
        return f"{seconds} S"
    if bar_s < 86_400:
        days = math.ceil(count * bar_s / (_RTH_DAY_S if rth else _FULL_DAY_S)) + 1
    else:
        days = math.ceil(count * bar_s / 86_400 * (7 / 5 if size == "1d" else 1)) + 4
    return f"{days} D" if days <= 365 else f"{min(math.ceil(days / 365), _YEARS_MAX)} Y"


class History:
    """`find` answers from memory or asks once; `wake` is called with `history:<…>` when the answer came."""

    def __init__(self, desk: Desk, wake: Callable[[str], None], timeout_s: float) -> None:
        self._desk = desk
        self._wake = wake
        self._timeout_s = timeout_s
        self._answers: dict[HistoryKey, HistoryAnswer] = {}
        self._failures: dict[HistoryKey, tuple[ProxyError, float]] = {}
        self._asked: dict[HistoryKey, int] = {}
        self.merged = 0
        self.cache_hits = 0

    def find(self, key: HistoryKey, owner: str, queue_s: float | None, now: float) -> HistoryAnswer | None:
        """The answer, or None while it is under way. Raises the error of a fresh refusal, or QueueFull."""
        answer = self._answers.get(key)
        if answer is not None and now - answer.at < IDENTICAL_S:
            self.cache_hits += 1
            return answer
        failure = self._failures.get(key)
        if failure is not None and failure[1] > now:
            raise failure[0]
        if key in self._asked:
            self.merged += 1
            return None
        self._ask(key, owner, queue_s, now)
        return None

    def held(self, key: HistoryKey) -> HistoryAnswer | None:
        """The last answer, however old."""
        return self._answers.get(key)

    def _ask(self, key: HistoryKey, owner: str, queue_s: float | None, now: float) -> None:
        self._failures.pop(key, None)
        self._asked[key] = self._desk.ask(
            lambda req_id: fx.RequestHistory(
                req_id, key.contract, key.duration, BAR_SIZES[key.size], key.what, key.rth
            ),
            history_class(key.size), lane=Lane.INTERACTIVE, owner=owner,
            keys=history_keys(key.contract, key.size, key.what, key.rth, key.duration),
            timeout_s=self._timeout_s, queue_s=queue_s,
            on_end=lambda outcome, at: self._ended(key, outcome, at), now=now, name=wake_key(key),
        )  # fmt: skip

    def _ended(self, key: HistoryKey, outcome: Outcome, now: float) -> None:
        self._asked.pop(key, None)
        if outcome.ok:
            answer = next(a for a in outcome.answers if isinstance(a, ev.HistoryReceived))
            self._forget_old(now)
            self._answers.pop(key, None)
            self._answers[key] = HistoryAnswer(answer.bars, outcome.timeline, now, outcome.sent_at(now))
        elif outcome.verdict is not Verdict.EXPIRED_IN_QUEUE:
            # What expired had the deadline of whoever asked first; the others ask again with their own.
            text = f"bars {key.contract.key} {key.size}: {outcome.text}"
            self._failures[key] = error(outcome.verdict, text), now + 0.5
            if len(self._failures) > REMEMBERED_MAX:
                del self._failures[next(iter(self._failures))]
        self._wake(wake_key(key))

    def _forget_old(self, now: float) -> None:
        """Oldest first, those of no more use, and at the limit one that still is."""
        while self._answers:
            oldest = next(iter(self._answers))
            if now - self._answers[oldest].at < IDENTICAL_S and len(self._answers) < REMEMBERED_MAX:
                return
            del self._answers[oldest]


def wake_key(key: HistoryKey) -> str:
    return f"history:{key.contract.key}/{key.size}/{key.what}/{key.rth}/{key.duration}"
