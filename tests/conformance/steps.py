"""The conversation every client holds: the names of its steps, and the way a step is reported. Imports no client."""

from __future__ import annotations

STEPS = (
    "connect", "time", "contract details", "unknown symbol", "chain", "history", "keep up to date", "streaming",
    "snapshot", "option greeks", "order round trip", "modify", "cancel", "bracket", "partial fill", "positions",
    "account", "executions", "completed orders", "pnl", "duplicate client id", "reconnect",
)  # fmt: skip


class Report:
    """Prints one line per step; counts what failed."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: list[str] = []

    def check(self, step: str, good: object, detail: object = "") -> None:
        """Note a step as passed or failed."""
        assert step in STEPS, step
        self.done.append(step)
        if not good:
            self.failed.append(step)
        print(f"{'ok  ' if good else 'FAIL'} {step} {detail}", flush=True)

    def exit_code(self) -> int:
        """0 if every step was reached and passed."""
        missing = [step for step in STEPS if step not in self.done]
        for step in missing:
            print(f"FAIL {step} not reached", flush=True)
        return 1 if self.failed or missing else 0
