"""The canary: proves that historical requests are answered, when nothing else has proved it lately. Pure.

One tiny request of 1-minute bars on a liquid stock, its end different every time, so that it is never identical to
anybody's (rule book 10.4, P4). It costs one unit of the historical budget, and runs more often while things look bad.
What an outage swallowed speaks of the outage, which has its own name in the health: history is then only in doubt.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Final

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core.contracts import ContractDirectory, parse
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.rules import RequestClass, history_keys
from gateway_proxy.core.scheduler import Lane
from gateway_proxy.core.verdict import Verdict
from gateway_proxy.errors import ProxyError

#: While history is in doubt it is tried this much more often.
BAD_FACTOR: Final = 0.1
#: So many failures in a row are no accident.
FAILURES_MAX: Final = 2
_SECOND: Final = 1_000_000_000
_STEP_S: Final = 60
#: How long looking up the contract may take before we look again.
_LOOK_UP_S: Final = 1.0
_ENDS: Final = 97
#: After good news a doubt is settled at once, but canaries are never closer than this share of `every_s`, 5 s of 300:
#: notices may come in storms.
_APART: Final = 1 / 60
#: No answer came although all else is well. An answer of any kind comes from the far end of the line and is a proof.
_SILENT: Final = frozenset({Verdict.HISTORY_SILENT})
#: No answer came, and an outage is to blame.
_SWALLOWED: Final = frozenset({Verdict.FARM_DOWN, Verdict.GATEWAY_SILENT, Verdict.UPSTREAM_LOST})
_NOTHING_LEARNT: Final = frozenset(
    {Verdict.SESSION_LOST, Verdict.EXPIRED_IN_QUEUE, Verdict.PROXY_STALLED, Verdict.CANCELLED}
)


class Canary:
    """`every_s`: how old the last proof may be. `symbol` "" never asks. `tell(is_silent)` on every change of mind."""

    def __init__(
        self, desk: Desk, directory: ContractDirectory, time: MarketTime, symbol: str, *, every_s: float,
        timeout_s: float, tell: Callable[[bool, float], None], now: float,
    ) -> None:  # fmt: skip
        self._desk = desk
        self._directory = directory
        self._time = time
        self._contract = parse(symbol) if symbol else None
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._tell = tell
        self._is_open = False
        self._asked: int | None = None
        self._asked_at = now
        self._again_at: float | None = None
        self._was_swallowed = False
        self._count = 0
        self.proved_at: float | None = None
        self.failures = 0

    def session_ready(self, now: float) -> None:
        self._is_open, self._asked_at = True, now
        self.cause_cleared(now)

    def session_lost(self) -> None:
        self._is_open = False
        self._asked = self._again_at = None

    def cause_cleared(self, now: float) -> None:
        """Nothing is broken any more as far as the session shows: a doubt is settled now, not when a pause is over."""
        if self._is_open and self._in_doubt:
            self._again_at = max(now, self._asked_at + self._every_s * _APART)

    @property
    def _in_doubt(self) -> bool:
        return self.failures > 0 or self._was_swallowed

    def seen(self, outcome: Outcome, now: float) -> None:
        """Some historical request ended, the canary's own or a real one: both prove the same."""
        if outcome.verdict in _SWALLOWED:
            # One that left before the latest proof tells nothing new.
            self._was_swallowed |= outcome.sent_at(now) > (-inf if self.proved_at is None else self.proved_at)
        elif outcome.verdict in _SILENT:
            self.failures += 1
            if self.failures == FAILURES_MAX:
                self._tell(True, now)
        elif outcome.verdict not in _NOTHING_LEARNT:
            self.proved_at, self._was_swallowed, self._again_at = now, False, None
            was, self.failures = self.failures, 0
            if was >= FAILURES_MAX:
                self._tell(False, now)

    def next_timer(self) -> float | None:
        if self._contract is None or not self._is_open:
            return None
        if self._again_at is not None or self._asked is not None:
            return self._again_at
        return max(self._asked_at, self.proved_at or 0.0) + self._pause_s()

    def _pause_s(self) -> float:
        return self._every_s * (BAD_FACTOR if self._in_doubt else 1.0)

    def handle_timer(self, now: float) -> None:
        due = self.next_timer()
        if due is None or due > now:
            return
        assert self._contract is not None
        self._asked_at, self._again_at = now, None
        if self._asked is not None:
            # It left before the good news and may be lost; it would hold the place of the new one until its time is up.
            self._desk.close(self._asked, now)
            self._asked = None
        try:
            details = self._directory.find(self._contract, "proxy", now, lane=Lane.PROBE)
            if details is None:
                self._asked_at = now - self._pause_s() + _LOOK_UP_S
            else:
                self._ask(details.contract, now)
        except ProxyError:
            return  # a breaker rests or the queue is full: it looks bad already, the next turn comes soon

    def _ask(self, contract: Contract, now: float) -> None:
        self._count += 1
        back_s = _STEP_S * (1 + self._count % _ENDS)
        wall_s = self._time.wall_ns(now) // _SECOND // _STEP_S * _STEP_S - back_s
        end = datetime.fromtimestamp(wall_s, UTC).strftime("%Y%m%d-%H:%M:%S")
        self._asked = self._desk.ask(
            lambda req_id: fx.RequestHistory(req_id, contract, "120 S", "1 min", "TRADES", rth=False, end=end),
            RequestClass.HISTORY_LARGE, lane=Lane.PROBE, owner="proxy",
            keys=history_keys(contract, "1min", "TRADES", False, "120 S", end),
            timeout_s=self._timeout_s, queue_s=self._timeout_s, on_end=self._ended, now=now,
        )  # fmt: skip

    def _ended(self, _outcome: Outcome, now: float) -> None:
        """What came of it reaches `seen` with every other outcome."""
        self._asked, self._asked_at = None, now
