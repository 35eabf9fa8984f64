"""Spans: when a request waited in our queue and when the Gateway had it, and what that means for who waited. Pure.

A question that needs several requests, some of them at once, is charged each moment once: first to our queue, while
anything it waited for was queued, else to the Gateway, while that had any of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway_proxy.bus.messages import Timeline

REMEMBERED_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Span:
    """One request's life in seconds of the proxy's clock; `sent_at` None: it never left our queue."""

    asked_at: float
    sent_at: float | None
    ended_at: float
    held_by: str


class Spans:
    """The newest span of each named request; at the limit the one that ended longest ago is forgotten."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}

    def ended(self, name: str, span: Span) -> None:
        if name:
            self._spans.pop(name, None)
            self._spans[name] = span
            if len(self._spans) > REMEMBERED_MAX:
                del self._spans[next(iter(self._spans))]

    def of(self, name: str) -> Span | None:
        return self._spans.get(name)


def timeline(spans: Iterable[Span], began: float, now: float) -> Timeline:
    """Where the time from `began` to `now` went. Without any span the answer was known already."""
    mine = [span for span in spans if span.ended_at > began]
    queue = [(max(began, span.asked_at), span.ended_at if span.sent_at is None else span.sent_at) for span in mine]
    gateway = [(max(began, span.sent_at), span.ended_at) for span in mine if span.sent_at is not None]
    queued_s = _covered(queue)
    longest = max(mine, key=lambda span: (span.sent_at or span.ended_at) - span.asked_at, default=None)
    return Timeline(
        queued_ms=round(queued_s * 1e3, 3),
        held_by="" if longest is None else longest.held_by,
        gateway_ms=round((_covered(queue + gateway) - queued_s) * 1e3, 3),
        total_ms=round((now - began) * 1e3, 3),
        cache="" if mine else "hit",
    )


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of their union."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        if end > max(begin, reached):
            total += end - max(begin, reached)
            reached = end
    return total
