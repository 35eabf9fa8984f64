"""The fence: sweeps of everything IB can tell about orders, and the rule when absence counts. Pure.

A sweep asks one thing at a time and every answer must reach its End message: next id, own open orders, all open orders,
completed orders, executions, positions. An order that no source names is *not placed* only after two complete sweeps
some seconds apart over one unbroken link, and, if the link was ever lost since the order was written, only when its
server-side expiry (or a waiting time) has passed: bytes of a dead session may still be executed (reliability 6.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway_proxy.core.effects import (
    Call,
    RequestCompletedOrders,
    RequestExecutions,
    RequestNextOrderId,
    RequestOpenOrders,
    RequestPositions,
)
from gateway_proxy.core.events import (
    CompletedOrdersEnded,
    ExecutionsEnded,
    NextOrderId,
    OpenOrdersEnded,
    PositionReceived,
    PositionsEnded,
)

#: Executions are the only request of a sweep with an id; far above the ids of data requests and of orders.
EXECUTIONS_REQ_ID_FIRST: Final = 2_000_000_000

FenceEvent = NextOrderId | OpenOrdersEnded | CompletedOrdersEnded | ExecutionsEnded | PositionReceived | PositionsEnded
_ENDS: Final[tuple[type, ...]] = (
    NextOrderId,
    OpenOrdersEnded,
    OpenOrdersEnded,
    CompletedOrdersEnded,
    ExecutionsEnded,
    PositionsEnded,
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One complete sweep. What was last seen at or before `started_turn` was not in it.

    `positions`: (account, key) -> signed. Turns count what happened to the proxy, times are its clock.
    """

    started_turn: int
    started_at: float
    ended_at: float
    positions: dict[tuple[str, str], float]


class Fence:
    """Runs sweeps on request. One is under way at most; a wish during it is granted by the next one."""

    def __init__(self, *, spacing_s: float, step_timeout_s: float) -> None:
        self._spacing_s = spacing_s
        self._step_timeout_s = step_timeout_s
        self._link_up = False
        self._step: int | None = None
        self._asked = False
        self._step_deadline: float | None = None
        self._started_at, self._started_turn = 0.0, 0
        self._positions: dict[tuple[str, str], float] = {}
        self._wanted_at: float | None = None
        self._req_id = EXECUTIONS_REQ_ID_FIRST
        #: Complete sweeps over the present link, oldest first; two are enough for every judgement.
        self.sweeps: list[Sweep] = []
        self.failures = 0

    @property
    def closed(self) -> bool:
        """At least one complete sweep since the link came up: what IB knows, we know."""
        return bool(self.sweeps)

    @property
    def sweeping(self) -> bool:
        """What arrives now may answer a sweep, so it is not older than the sweep."""
        return self._step is not None

    def link_came_up(self, now: float) -> None:
        self._reset()
        self._link_up = True
        self.want(now)

    def link_went_down(self) -> None:
        """A sweep under way is worthless, and so are the complete ones: absence needs an unbroken link."""
        self._reset()
        self._link_up = False

    def want(self, at: float) -> None:
        """Start a sweep at `at`, or as soon as the one under way has ended."""
        if self._wanted_at is None or at < self._wanted_at:
            self._wanted_at = at

    def call(self, now: float, turn: int) -> Call | None:
        """The next request to submit, once, after everything of this turn; None while one is out or nothing is due."""
        if not self._link_up or self._asked:
            return None
        if self._step is None:
            if self._wanted_at is None or self._wanted_at > now:
                return None
            self._wanted_at = None
            self._step, self._started_at, self._started_turn, self._positions = 0, now, turn, {}
        self._asked = True
        # The clock runs from the asking, so that a request that pacing never grants does not hang the fence.
        self._step_deadline = now + self._step_timeout_s
        return self._requests()[self._step]()

    def receive(self, event: FenceEvent, now: float) -> Sweep | None:
        """An answer; returns the sweep when this was its last one."""
        if isinstance(event, PositionReceived):
            self._positions[event.account, event.contract.key] = event.quantity
            return None
        if self._step is None or not self._asked or not isinstance(event, _ENDS[self._step]):
            return None
        if isinstance(event, ExecutionsEnded) and event.req_id != self._req_id:
            return None
        self._asked, self._step_deadline = False, None
        self._step += 1
        if self._step < len(_ENDS):
            return None
        sweep = Sweep(
            self._started_turn, self._started_at, now, {key: held for key, held in self._positions.items() if held}
        )
        self.sweeps = [*self.sweeps, sweep][-2:]
        self._step, self.failures = None, 0
        return sweep

    def next_timer(self) -> float | None:
        if not self._link_up:
            return None
        if self._step is not None:
            return self._step_deadline
        return self._wanted_at

    def handle_timer(self, now: float) -> bool:
        """True when a step just ran out of time: the sweep is void and another one is due after the spacing."""
        if self._step_deadline is None or self._step_deadline > now:
            return False
        self._step, self._asked, self._step_deadline = None, False, None
        self.failures += 1
        self.want(now + self._spacing_s)
        return True

    def proves_absence(self, *, last_turn: int, expired: bool) -> bool:
        """Nothing of an order that was written or last seen in `last_turn` exists at IB, now or later.

        `expired`: its bytes cannot be executed any more; True too for an order whose link never broke.
        """
        if len(self.sweeps) < 2 or not expired:
            return False
        first, second = self.sweeps[0], self.sweeps[-1]
        apart = second.started_at - first.ended_at
        return last_turn <= first.started_turn and apart >= self._spacing_s

    def _reset(self) -> None:
        self._step, self._asked, self._step_deadline, self._wanted_at = None, False, None, None
        self._positions, self.sweeps = {}, []

    def _requests(self) -> tuple[Callable[[], Call], ...]:
        return (
            RequestNextOrderId,
            RequestOpenOrders,
            lambda: RequestOpenOrders(all_clients=True),
            RequestCompletedOrders,
            self._executions,
            RequestPositions,
        )

    def _executions(self) -> Call:
        self._req_id = EXECUTIONS_REQ_ID_FIRST + (self._req_id + 1 - EXECUTIONS_REQ_ID_FIRST) % 100_000
        return RequestExecutions(self._req_id)
