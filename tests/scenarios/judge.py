"""What days of faults must look like from outside. Pure: it judges a history, whoever made it.

Streams: freshness.py, and no bar twice, out of order or missing without a mark. Requests: one answer, in time, and no
error without a verdict. Alarms: one for each transition, one for each stall. The Gateway: no pacing violation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway_proxy.core import effects as fx
from tests.scenarios.freshness import Blow, Silence, Span, revivals, signs_of_life, silences

_SECOND = 1_000_000_000
MINUTE_NS = 60 * _SECOND
#: A reply leaves with the first timer after the deadline.
LATE_S = 0.1
#: The ledger rounds its times to microseconds, so a blow may seem to follow what it caused in the same instant.
LEDGER_S = 1e-6
#: What is told of a stream that stalls. A refusal in other words is another reason, and so is another fault.
STALLED = frozenset({"bar stream dead", "bar stream failed", "quote line dead"})
#: IB pushes account values every three minutes; only after so long a silence there is something to tell.
ACCOUNT_SILENT_S = 600.0


@dataclass(frozen=True, slots=True)
class History:
    """All that was seen, in seconds since the start; `start_ns` is the market's time then.

    `asked`: until when each request had to be answered. `sessions`: when the market was open.
    """

    start_ns: int
    watched: Span
    sessions: Sequence[Span]
    topics: Sequence[str]
    blows: Sequence[Blow] = ()
    published: Sequence[tuple[float, fx.Publish]] = ()
    logs: Sequence[tuple[float, fx.Log]] = ()
    asked: dict[int, float] = field(default_factory=dict)
    replies: Sequence[tuple[float, fx.Reply]] = ()
    violations: Sequence[str] = ()

    def silences(self) -> list[Silence]:
        return [
            one
            for topic in self.topics
            for one in silences(
                topic, signs_of_life(topic, self.published, self.start_ns), self.sessions, self.blows, self.watched
            )
        ]

    def openings(self) -> list[float]:
        """How long after each watched opening each topic's first living message came."""
        after: list[float] = []
        for topic in self.topics:
            signs = signs_of_life(topic, self.published, self.start_ns)
            for opens_s, closes_s in self.sessions:
                if self.watched[0] <= opens_s < self.watched[1]:
                    after += [at - opens_s for at in signs if opens_s < at < closes_s][:1]
        return after


def unsound(history: History) -> list[str]:
    """Everything that was not as promised."""
    wrong = [f"violation of {rule}" for rule in history.violations]
    wrong += [str(one) for one in history.silences() if one.is_wrong]
    wrong += unanswered(history)
    wrong += alarms_told_twice([log for _, log in history.logs if log.event == "gateway state"])
    wrong += stalls_told_again(history)
    wrong += accounts_called_silent(history)
    wrong += [f"a short outage was escalated at {at:.0f} s" for at, one in history.published if _is_escalation(one)]
    for topic in history.topics:
        if topic.startswith("bars/"):
            wrong += bars_amiss(topic, history)
    return wrong


def unanswered(history: History) -> Iterator[str]:
    """Each request has exactly one answer, in time, and an error says why."""
    counts = Counter(int(reply.request_id) for _, reply in history.replies)
    yield from (f"request {number} has {counts[number]} answers" for number in history.asked if counts[number] != 1)
    for at, reply in history.replies:
        late_s = at - history.asked.get(int(reply.request_id), at)
        if late_s > LATE_S:
            yield f"request {reply.request_id} was answered {late_s:.1f} s late"
        if reply.error is not None and not reply.error.verdict:
            yield f"{reply.error!r} has no verdict"


def alarms_told_twice(logs: list[fx.Log]) -> list[str]:
    """One line for each transition, in a chain without a break, and no alarm again before all was well in between."""
    wrong: list[str] = []
    told: set[tuple[str, str]] = set()
    for before, log in zip([None, *logs], logs, strict=False):
        fields = log.fields
        if before is not None and fields["from"] != before.fields["to"]:
            wrong.append(f"{fields} does not follow {before.fields}")
        if fields["to"] == "ready":
            told.clear()
        alarm = (fields["to"], fields["reason"])
        if log.level == "warning" and alarm in told:
            wrong.append(f"alarm told twice: {alarm[0]}, {alarm[1]}")
        elif log.level == "warning":
            told.add(alarm)
    return wrong


def stalls_told_again(history: History) -> Iterator[str]:
    """One warning for each reason, however often a stream is asked for again before it lives or another fault comes."""
    for topic in history.topics:
        signs = signs_of_life(topic, history.published, history.start_ns)
        news = sorted([*revivals(topic, signs), *(blow.began_s - LEDGER_S for blow in history.blows)])
        told: set[tuple[int, str, str]] = set()
        for at, log in history.logs:
            if log.level != "warning" or log.event not in STALLED or log.fields["topic"] != topic:
                continue
            warning = (bisect_right(news, at), log.event, log.fields.get("error", ""))
            if warning in told:
                yield f"{topic}: stall told again at {at:.1f} s: {log.event} {log.fields.get('error', '')}".rstrip()
            told.add(warning)


def accounts_called_silent(history: History) -> Iterator[str]:
    """Nobody is warned of an account that spoke lately."""
    heard = [at for at, one in history.published if one.topic == "account/"]
    for at, log in history.logs:
        if log.level == "warning" and log.event == "account values asked for again":
            before = bisect_right(heard, at)
            if before and at - heard[before - 1] < ACCOUNT_SILENT_S:
                yield f"an account that spoke {at - heard[before - 1]:.0f} s ago was called silent at {at:.0f} s"


def _is_escalation(publish: fx.Publish) -> bool:
    return publish.topic == "verdicts/" and bool(publish.body["evidence"].get("escalated"))


def bars_amiss(topic: str, history: History) -> Iterator[str]:
    """One finished bar for each minute of each session since the first, in order; the next after a hole is marked."""
    bars = [one.body for _, one in history.published if one.topic == topic and one.kind == "bar" and one.body.complete]
    starts = [bar.start_ns for bar in bars]
    if starts != sorted(set(starts)):
        yield f"{topic}: a bar twice or out of order"
    for before, bar in zip(bars, bars[1:], strict=False):
        lacking = _minutes(before.start_ns + MINUTE_NS, bar.start_ns, history)
        if lacking and not bar.gap:
            yield f"{topic}: a hidden hole of {lacking} min before {bar.start_ns}"


def _minutes(after_ns: int, before_ns: int, history: History) -> int:
    """Minutes of sessions that begin in between."""
    lacking = 0
    for opens_s, closes_s in history.sessions:
        opens_ns, closes_ns = (history.start_ns + round(at * _SECOND) for at in (opens_s, closes_s))
        lacking += max(0, min(before_ns, closes_ns) - max(after_ns, opens_ns)) // MINUTE_NS
    return lacking
