"""A manual clock around a scheduler, and a strict judge of what would arrive at the Gateway.

The judge is written from the rule book's numbers, not from the rule table it judges.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gateway_proxy.core.scheduler import Granted, Job, Keys, Lane, PacingSettings, RequestClass, Scheduler

#: So many lines that the message rate never binds: for tests of the other rules.
ROOMY = PacingSettings(market_data_lines=10_000)


@dataclass
class Rig:
    """A scheduler with time moved by hand; `sent` holds (time, grant) in order."""

    settings: PacingSettings = ROOMY
    now: float = 0.0
    sent: list[tuple[float, Granted]] = field(default_factory=list)
    lost: list[Job] = field(default_factory=list)
    ids: int = 0

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.settings)

    def job(
        self,
        request_class: RequestClass,
        lane: Lane = Lane.INTERACTIVE,
        owner: str = "engine",
        *,
        messages: int = 1,
        deadline: float | None = None,
        stream: bool = False,
        keys: Keys | None = None,
        **key: object,
    ) -> Job:
        self.ids += 1
        keys = keys or Keys(**key)  # type: ignore[arg-type]
        return Job(self.ids, lane, owner, request_class, messages, keys, deadline, stream)

    def push(self, request_class: RequestClass, lane: Lane = Lane.INTERACTIVE, **facts: object) -> Job:
        job = self.job(request_class, lane, **facts)  # type: ignore[arg-type]
        self.scheduler.push(job, self.now)
        return job

    def step(self) -> list[Granted]:
        """What goes at this very time."""
        self.lost += self.scheduler.expired(self.now)
        granted = self.scheduler.due(self.now)
        self.sent += [(self.now, each) for each in granted]
        return granted

    def run(self, until: float, on_grant: Callable[[Granted], None] | None = None) -> None:
        """Wake up exactly when the scheduler asks for it, up to and including `until`."""
        while True:
            for granted in self.step():
                if on_grant is not None:
                    on_grant(granted)
            wake_at = self.scheduler.next_timer()
            if wake_at is None or wake_at > until:
                self.now = until
                return
            assert wake_at >= self.now
            self.now = wake_at

    def answer(self, job: Job, *, latency_s: float = 0.1, failed: bool = False) -> None:
        self.scheduler.finished(job.job_id, self.now, latency_s=latency_s, failed=failed)

    def answer_grant(self, granted: Granted) -> None:
        """For `run`: the Gateway answers at once."""
        self.answer(granted.job)

    def when(self, job: Job) -> float | None:
        """When the job was granted; None if it was not."""
        return next((at for at, each in self.sent if each.job.job_id == job.job_id), None)


HISTORICAL = {"history_small", "history_ticks", "head_stamp", "realtime_bars"}


def violations(arrivals: Iterable[tuple[float, Job]], lines: int, *, strict: bool = False) -> list[str]:
    """Every window that holds more than IB allows, counted at arrival (times ascending)."""
    seen: dict[tuple[str, str], deque[tuple[float, int]]] = defaultdict(deque)
    inside: dict[tuple[str, str], int] = defaultdict(int)
    found = []

    def count(rule: str, key: str, at: float, amount: int, window_s: float, limit: int) -> None:
        log = seen[rule, key]
        log.append((at, amount))
        inside[rule, key] += amount
        while log[0][0] <= at - window_s:
            inside[rule, key] -= log.popleft()[1]
        if inside[rule, key] > limit:
            found.append(f"{rule} {key} at {at}")

    for at, job in arrivals:
        kind, keys = str(job.request_class), job.keys
        count("messages", "", at, job.messages, 1.0, lines // 2)
        if kind in HISTORICAL or (strict and kind == "history_large"):
            count("60 per 600 s", "", at, keys.weight, 600.0, 60)
            if keys.series:
                count("6 in 2 s", keys.series, at, keys.weight, 2.0, 5)
        if keys.identical and (kind in HISTORICAL or kind == "history_large"):
            count("identical", keys.identical, at, 1, 15.0, 1)
        if kind == "snapshot":
            count("snapshots", "", at, 1, 1.0, 100)
        if kind == "symbols":
            count("symbols", "", at, 1, 1.0, 1)
        if kind == "tick_by_tick" and keys.instrument:
            count("tick-by-tick", keys.instrument, at, 1, 15.0, 1)
    return found
