"""How fresh streams were, judged on every message that came and every fault that befell them. Pure; nothing is sampled.

A stream is silent from one living message to the next, from the opening to its first one, and from its last one to
the close. In a session a silence may last as long as IB takes from update to update; longer only as long as a fault
lasts and as its own kind needs to heal. What befell the night excuses an opening no longer than that, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway_proxy.bus.messages import Bar
from gateway_proxy.core import effects as fx

#: A live bar is updated every 5 s (rule book 2), a quote ticks several times a second; and an answer's way.
QUIET_S = {"bars": 6.0, "quote": 2.0}
MINUTE_S = 60.0
#: Once a session lives, or a stream is given up: it is read, and every stream is asked for; the same question may be
#: asked of history every 15 s only (rule book 1.1).
ANEW_S = 15.0
#: The socket was closed. While the Gateway believes that our last session lives (326) we dial every 15 s at least.
CUT_S = 15.0 + ANEW_S
#: The Gateway was away for long: we dial every `[gateway] retry_max_s` by then.
DIALLED_S = 4.0 + ANEW_S
#: Nobody closed a session that is dead: a round trip is asked every 20 s here, `drop_after_s` ends it.
PROBED_S = 20.0 + 10.0 + ANEW_S
#: A link or farm is said to be back: streams have `verify_s` to show life, and are asked for again otherwise.
VERIFIED_S = 15.0 + ANEW_S
#: IB ended a stream by name: it is asked for again after 2 s.
ENDED_S = 2.0 + ANEW_S
#: Nothing says that the feed stood still: what is silent for `stall_s` is asked for again.
NOTICED_S = 30.0 + ANEW_S
#: By kind of fault: this long after its end every stream is fresh again, and stays so. Other kinds (`hmds_silent`,
#: `secdef_down`) hurt requests and no stream: they excuse nothing.
HEALS_S = {
    "farm_flap": VERIFIED_S, "upstream_lost": VERIFIED_S, "data_lost": VERIFIED_S, "nightly_reset": VERIFIED_S,
    "hmds_down": VERIFIED_S, "storm_1100": VERIFIED_S, "keepup_dead": ENDED_S, "freeze_feed": NOTICED_S,
    "socket_cut": CUT_S, "restart": DIALLED_S, "half_open": PROBED_S, "mute": PROBED_S,
    "api_hang_requests": PROBED_S,
}  # fmt: skip

#: A quote that is asked for again is answered with a picture of its last values; only ticks that go on show a line.
PICTURE_S = 15.0

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault as it was."""

    name: str
    began_s: float
    ended_s: float

    @property
    def due_s(self) -> float | None:
        """When every stream must be fresh again; None if it may not be felt at all."""
        heals_s = HEALS_S.get(self.name)
        return None if heals_s is None else self.ended_s + heals_s


@dataclass(frozen=True, slots=True)
class Silence:
    """Longer than a stream is ever silent by itself. `blow`: the last one that excuses it; `due_s`: until when."""

    topic: str
    began_s: float
    ended_s: float
    due_s: float
    blow: Blow | None = None
    at_opening: bool = False
    to_the_close: bool = False

    @property
    def is_wrong(self) -> bool:
        """One that the close cut off is judged as well if it was overdue by then."""
        return self.ended_s > self.due_s

    @property
    def healed_s(self) -> float | None:
        """How long after the fault's end; None when the close came first, or no fault was to blame."""
        return None if self.blow is None or self.to_the_close else max(0.0, self.ended_s - self.blow.ended_s)

    def __str__(self) -> str:
        where = "from the opening on, " if self.at_opening else ""
        cause = f", {self.blow.name} ended at {self.blow.ended_s:.1f} s" if self.blow else ", and no fault"
        silent_s = self.ended_s - self.began_s
        return f"{self.topic}: {where}silent for {silent_s:.1f} s from {self.began_s:.1f} s on{cause}"


def signs_of_life(topic: str, published: Sequence[tuple[float, fx.Publish]], start_ns: int) -> list[float]:
    """When live data of the present came on a topic. `start_ns`: market time at second 0.

    Answers of history and bars that were finished for want of updates prove nothing, nor does a minute that is over.
    """
    return [at for at, one in published if one.topic == topic and _is_of_now(one, start_ns / 1e9 + at)]


def _is_of_now(one: fx.Publish, market_s: float) -> bool:
    if one.kind == "quote":
        return market_s - one.body.time_ns / 1e9 <= QUIET_S["quote"]
    if one.kind != "bar":
        return False
    bar: Bar = one.body
    is_live = bar.source == "live" and not bar.complete
    return is_live and market_s - bar.start_ns / 1e9 <= MINUTE_S + QUIET_S["bars"]


def revivals(topic: str, signs: Sequence[float]) -> list[float]:
    """The signs that end a stall: of a bar any, of a quote those of ticks that have gone on for a while."""
    if not topic.startswith("quote/"):
        return list(signs)
    lively, began_s = [], 0.0
    for before, at in zip([float("-inf"), *signs], signs, strict=False):
        if at - before > QUIET_S["quote"]:
            began_s = at
        if at - began_s > PICTURE_S:
            lively.append(at)
    return lively


def silences(
    topic: str, signs: Sequence[float], sessions: Sequence[Span], blows: Sequence[Blow], watched: Span
) -> list[Silence]:
    """All that were longer than by themselves, in the sessions and as long as somebody watched. All in seconds."""
    quiet_s = QUIET_S[topic.split("/", 1)[0]]
    found = []
    for opens_s, closes_s in sessions:
        first_s, last_s = max(opens_s, watched[0]), min(closes_s, watched[1])
        if first_s >= last_s:
            continue
        marks = [first_s, *(at for at in signs if first_s < at < last_s), last_s]
        for began_s, ended_s in zip(marks, marks[1:], strict=False):
            if ended_s - began_s > quiet_s:
                due_s, blow = _excused_until(began_s, began_s + quiet_s, blows)
                found.append(Silence(topic, began_s, ended_s, due_s, blow, began_s == first_s, ended_s == last_s))
    return found


def _excused_until(began_s: float, due_s: float, blows: Sequence[Blow]) -> tuple[float, Blow | None]:
    """Every fault that began before the silence was overdue, and whose time to heal reaches into it, excuses it."""
    excuse = None
    for blow in sorted(blows, key=lambda one: one.began_s):
        if blow.began_s > due_s:
            break
        if blow.due_s is not None and blow.due_s > began_s:
            excuse, due_s = blow, max(due_s, blow.due_s)
    return due_s, excuse
