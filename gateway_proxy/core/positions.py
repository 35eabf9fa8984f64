"""Positions as the order path needs them: how large they may be at worst, and whether our fills explain them. Pure.

Two sources disagree for moments: what the broker reported since the last sweep, and that sweep plus our own fills.
Limits use whichever is worse for the order at hand; reconciliation compares them when a sweep is complete.
"""

from __future__ import annotations

from gateway_proxy.bus.messages import Action
from gateway_proxy.core.register import Register

Key = tuple[str, str]  # account, contract key


class Positions:
    """Signed quantities per account and contract key."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._reported: dict[Key, float] = {}
        self._at_sweep: dict[Key, float] = {}
        self._traded_at_sweep: dict[Key, float] = {}
        self._suspects: dict[Key, float] = {}

    def reported(self, account: str, key: str, quantity: float) -> None:
        self._reported[account, key] = quantity

    def worst(self, key: str, action: Action) -> dict[str, float]:
        """By account that holds, held or may hold some: the estimate that leaves least room for an order of a side."""
        traded = self._traded()
        pick = max if action == "BUY" else min
        worst: dict[str, float] = {}
        for where in (where for where in {*self._reported, *self._at_sweep, *traded} if where[1] == key):
            since_sweep = traded.get(where, 0.0) - self._traded_at_sweep.get(where, 0.0)
            ours = self._at_sweep.get(where, 0.0) + since_sweep
            worst[where[0]] = pick(self._reported.get(where, ours), ours)
        return worst

    def simulated(self, key: str) -> dict[str, float]:
        """By account, what dry-run fills alone would hold."""
        return {account: total for (account, its), total in self._traded(simulated=True).items() if its == key}

    def swept(self, positions: dict[Key, float]) -> None:
        """A complete sweep: what it does not name is flat."""
        self._reported.clear()
        self._at_sweep = dict(positions)
        self._traded_at_sweep = self._traded()

    def unexplained(self) -> dict[Key, float]:
        """What the last sweep shows beyond the baseline and our fills."""
        expected = dict(self._register.baseline or {})
        for where, quantity in self._traded_at_sweep.items():
            expected[where] = expected.get(where, 0.0) + quantity
        wheres = {*expected, *self._at_sweep}
        gaps = {where: self._at_sweep.get(where, 0.0) - expected.get(where, 0.0) for where in wheres}
        return {where: gap for where, gap in gaps.items() if abs(gap) > 1e-9}

    def mismatch(self) -> dict[Key, float]:
        """Unexplained differences that two sweeps in a row have shown: no longer a matter of timing."""
        gaps = self.unexplained()
        confirmed = {where: gap for where, gap in gaps.items() if self._suspects.get(where) == gap}
        self._suspects = gaps
        return confirmed

    @property
    def in_doubt(self) -> bool:
        """The last sweep showed something that nothing explains yet."""
        return bool(self._suspects)

    def explained(self) -> None:
        """A new baseline was recorded."""
        self._suspects = {}

    def baseline(self) -> list[list[str | float]]:
        """The baseline that would explain the last sweep completely, as it goes into the journal."""
        wheres = {*self._at_sweep, *self._traded_at_sweep}
        rows = {where: self._at_sweep.get(where, 0.0) - self._traded_at_sweep.get(where, 0.0) for where in wheres}
        return [[account, key, gap] for (account, key), gap in sorted(rows.items()) if abs(gap) > 1e-9]

    def _traded(self, *, simulated: bool = False) -> dict[Key, float]:
        totals: dict[Key, float] = {}
        for (_, account, key, was_simulated), quantity in self._register.traded.items():
            if was_simulated is simulated:
                totals[account, key] = totals.get((account, key), 0.0) + quantity
        return totals


def has_expired(key: str, today: str) -> bool:
    """True for an option key ("SPY.20260618.C.600") whose last trading day is before `today` (YYYYMMDD)."""
    parts = key.split(".")
    return len(parts) >= 4 and parts[1] < today
