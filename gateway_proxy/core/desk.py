"""The desk: every data request between us and the Gateway, from our queue to its one end. Pure.

A service asks; the desk queues the call under pacing, sends it when granted, hands the answers back by request id,
and ends it exactly once: answered, refused, timed out, expired in the queue, or lost with the session.
A stream is a request whose answers go on until it is closed. It refuses to know what the answers mean.

At the limits: the scheduler refuses to queue (QueueFull reaches the caller); answers to ids that ended are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

from gateway_proxy.bus.messages import Timeline
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.breaker import Breakers
from gateway_proxy.core.scheduler import Granted, Job, Keys, Lane, RequestClass, Scheduler
from gateway_proxy.core.spans import Span, Spans
from gateway_proxy.core.verdict import Verdict, of_error
from gateway_proxy.errors import PacingDelayed, QueueFull

#: Data request ids start here, far above any order id, so that `error(id)` is unambiguous (reliability 6.3).
FIRST_REQUEST_ID: Final = 1_500_000_000

#: The answer that ends each one-shot call.
_LAST_ANSWER: Final[dict[type, type]] = {
    fx.RequestContract: ev.ContractsEnded,
    fx.RequestOptionParameters: ev.OptionParametersEnded,
    fx.RequestHistory: ev.HistoryReceived,
}
_CANCELS: Final[dict[type, Callable[[int], fx.Call]]] = {
    fx.RequestHistory: fx.CancelHistory,
    fx.RequestRealTimeBars: fx.CancelRealTimeBars,
    fx.RequestQuote: fx.CancelQuote,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. `answers` are its events in order; `code` and `text` are IB's when it was refused.

    `about` names what was asked, so that one bad request can be told from a bad class.
    """

    verdict: Verdict
    answers: tuple[Any, ...]
    timeline: Timeline
    code: int = 0
    text: str = ""
    about: str = ""

    @property
    def ok(self) -> bool:
        return self.verdict is Verdict.OK

    def sent_at(self, ended_at: float) -> float:
        """When the request left for the Gateway: no answer can be older than that."""
        return ended_at - self.timeline.gateway_ms / 1e3


OnAnswer = Callable[[Any, float], None]
OnEnd = Callable[[Outcome, float], None]


@dataclass(slots=True)
class _Request:
    req_id: int
    call: fx.Call
    request_class: RequestClass
    asked_at: float
    timeout_s: float | None
    on_end: OnEnd
    on_answer: OnAnswer | None
    sent_at: float | None = None
    answered_at: float | None = None
    held_by: str = ""
    name: str = ""
    job: Job | None = None
    answers: list[Any] = field(default_factory=list)

    @property
    def is_stream(self) -> bool:
        return self.on_answer is not None


class Desk:
    """`why_silent(request_class, sent_at, now)` names the cause of a time-out from the health of the session."""

    def __init__(
        self,
        scheduler: Scheduler,
        breakers: Breakers,
        *,
        why_silent: Callable[[RequestClass, float, float], Verdict],
        record: Callable[[RequestClass, Outcome, float], None],
    ) -> None:
        self._scheduler = scheduler
        self._breakers = breakers
        self._why_silent = why_silent
        self._record = record
        self._requests: dict[int, _Request] = {}
        #: (deadline, id) of what was sent; those that ended meanwhile are dropped when they come up.
        self._deadlines: list[tuple[float, int]] = []
        self._effects: list[fx.Effect] = []
        self._next_id = FIRST_REQUEST_ID
        #: What became of the latest request of each name.
        self.spans = Spans()
        self.strays = 0

    # ------------------------------------------------------------ asking

    def ask(
        self, make_call: Callable[[int], fx.Call], request_class: RequestClass, *, lane: Lane, owner: str, keys: Keys,
        timeout_s: float | None, queue_s: float | None, on_end: OnEnd, on_answer: OnAnswer | None = None, now: float,
        name: str = "",
    ) -> int:  # fmt: skip
        """Queue one call and return its id. With `on_answer` it is a stream.

        Raises QueueFull, BreakerOpen while this kind of request rests, or PacingDelayed when a rule certainly holds it
        for longer than `queue_s`; then nothing is queued.

        timeout_s: the Gateway's time, from the bytes leaving to the last answer (of a stream: to the first).
            None for a stream that is silent while its market is closed: whoever asked must judge the silence.
        queue_s: how long it may wait in our queue; None for as long as it takes.
        name: what `is_queued` knows it by.
        """
        breaker = self._breakers.of(request_class)
        if breaker is not None:
            breaker.admit(now)
        req_id = self.new_id()
        job = Job(
            job_id=req_id,
            lane=lane,
            owner=owner,
            request_class=request_class,
            keys=keys,
            deadline=None if queue_s is None else now + queue_s,
            stream=on_answer is not None,
        )
        self._refuse_if_hopeless(job, now)
        self._scheduler.push(job, now)
        if breaker is not None:
            breaker.asked(req_id, now)
        self._requests[req_id] = _Request(
            req_id, make_call(req_id), request_class, now, timeout_s, on_end, on_answer, name=name, job=job
        )
        return req_id

    def _refuse_if_hopeless(self, job: Job, now: float) -> None:
        """Better told at once than after the wait: the rule, and when to come back."""
        if job.deadline is None:
            return
        found = self._scheduler.explain(job, now)
        if job.deadline < found.goes_at < inf:
            wait_s = found.goes_at - now
            text = f"pacing rule {found.held_by} holds it for {wait_s:.1f} s, longer than its deadline allows"
            raise PacingDelayed(text, retry_in_s=round(wait_s, 3), verdict=Verdict.PACING.value)

    def is_queued(self, names: Collection[str]) -> bool:
        """Whether a request of one of these names has not left our queue yet."""
        return any(request.sent_at is None and request.name in names for request in self._requests.values())

    def budget_left(self, now: float) -> int:
        """Units of the historical budget that are free now."""
        return self._scheduler.budget_left(now)

    def is_sent(self, req_id: int | None) -> bool:
        """Whether a request is with the Gateway now."""
        request = self._requests.get(req_id) if req_id is not None else None
        return request is not None and request.sent_at is not None

    def sent_at(self, req_id: int | None, now: float) -> float:
        """When a request left for the Gateway; `now` for one that has not."""
        request = self._requests.get(req_id) if req_id is not None else None
        return now if request is None or request.sent_at is None else request.sent_at

    def held_by(self, req_id: int | None, now: float) -> str:
        """The pacing rule that keeps a request in our queue now; "" when none does or it has left."""
        request = self._requests.get(req_id) if req_id is not None else None
        if request is None or request.sent_at is not None or request.job is None:
            return ""
        return self._scheduler.explain(request.job, now).held_by

    def close(self, req_id: int, now: float) -> None:
        """Cancel: in the queue without a trace, at the Gateway with IB's cancel call. Unknown ids are ignored."""
        request = self._requests.pop(req_id, None)
        if request is None:
            return
        if (breaker := self._breakers.of(request.request_class)) is not None:
            # A probe that was withdrawn proves nothing, and the next one need not wait for its deadline.
            breaker.ended(req_id, Verdict.CANCELLED, 0.0, now)
        if request.sent_at is None:
            self._scheduler.cancel(req_id)
            return
        self._release(request, now, failed=False)
        self._cancel_upstream(request, now)

    def _cancel_upstream(self, request: _Request, now: float) -> None:
        cancel = _CANCELS.get(type(request.call))
        if cancel is None:
            return
        try:
            # Its slot and lines are free again on our side, so it must leave before any data that will take them.
            self.tell(cancel(request.req_id), RequestClass.UNSUBSCRIBE, Lane.PROBE, now)
        except QueueFull:
            self._effects.append(fx.Log("warning", "cancel refused by a full queue", {"req_id": request.req_id}))

    def tell(self, call: fx.Call, request_class: RequestClass, lane: Lane, now: float) -> int:
        """Queue a call that has no answer of its own; returns the id of its job. Raises QueueFull."""
        job_id = self.new_id()
        self._scheduler.push(Job(job_id, lane, "proxy", request_class), now)
        self._requests[job_id] = _Request(job_id, call, request_class, now, 0.0, _nothing_more, None)
        return job_id

    def new_id(self) -> int:
        """An id for a job or a request, never used before in this life."""
        job_id, self._next_id = self._next_id, self._next_id + 1
        return job_id

    # ------------------------------------------------------------ the scheduler's words

    def granted(self, grant: Granted, now: float) -> bool:
        """Pacing let it go: send it. False when the id is not ours."""
        req_id = grant.job.job_id
        request = self._requests.get(req_id)
        if request is None:
            return False
        request.sent_at, request.held_by = now, grant.held_by
        self._effects.append(fx.Send(request.call))
        if type(request.call) not in _LAST_ANSWER and not request.is_stream:
            del self._requests[req_id]
            self._scheduler.finished(req_id, now, latency_s=None, failed=False)
        elif request.timeout_s is not None:
            heappush(self._deadlines, (now + request.timeout_s, req_id))
        return True

    def expired(self, req_id: int, now: float) -> bool:
        request = self._requests.pop(req_id, None)
        if request is None:
            return False
        self._end(request, Verdict.EXPIRED_IN_QUEUE, now, text="its deadline passed in our queue; it was never sent")
        return True

    # ------------------------------------------------------------ the Gateway's words

    def receive(self, req_id: int, event: Any, now: float) -> bool:
        """One answer. False when no open request has this id."""
        request = self._requests.get(req_id)
        if request is None:
            self.strays += 1
            return False
        if isinstance(event, ev.ErrorReceived):
            self._receive_error(request, event, now)
            return True
        if request.is_stream:
            assert request.on_answer is not None
            if request.answered_at is None:
                request.answered_at = now
                self._opened(request, now)
            request.on_answer(event, now)
            return True
        request.answers.append(event)
        if type(event) is _LAST_ANSWER[type(request.call)]:
            del self._requests[req_id]
            self._release(request, now, failed=False)
            self._end(request, Verdict.OK, now)
        return True

    def _receive_error(self, request: _Request, event: ev.ErrorReceived, now: float) -> None:
        verdict = of_error(event.code, event.text)
        if verdict is None:
            return
        del self._requests[request.req_id]
        self._release(request, now, failed=verdict is Verdict.PACING)
        if request.is_stream and (request.answered_at is not None or verdict is Verdict.COMPETING_SESSION):
            # A dead stream still holds its line and slot there, and one that another login took would come back.
            self._cancel_upstream(request, now)
        if verdict is Verdict.PACING:
            self._scheduler.pacing_violation(request.request_class, now)
        self._end(request, verdict, now, code=event.code, text=event.text)

    def session_lost(self, now: float) -> None:
        """The socket is gone: what was sent is lost, what is queued cannot go."""
        lost, self._requests = list(self._requests.values()), {}
        self._deadlines.clear()
        for request in lost:
            if request.sent_at is None:
                self._scheduler.cancel(request.req_id)
            self._end(request, Verdict.SESSION_LOST, now, text="the connection to the Gateway broke")

    # ------------------------------------------------------------ time

    def next_timer(self) -> float | None:
        while self._deadlines and self._waiting(self._deadlines[0][1]) is None:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def _waiting(self, req_id: int) -> _Request | None:
        """A request whose answer is still to come; a stream that has answered has no deadline any more."""
        request = self._requests.get(req_id)
        return None if request is None or (request.is_stream and request.answered_at is not None) else request

    def handle_timer(self, now: float) -> None:
        while (due := self.next_timer()) is not None and due <= now:
            request = self._requests[heappop(self._deadlines)[1]]
            del self._requests[request.req_id]
            self._release(request, now, failed=True)
            self._cancel_upstream(request, now)
            assert request.sent_at is not None, "only what was sent has a deadline"
            verdict = self._why_silent(request.request_class, request.sent_at, now)
            self._end(request, verdict, now, text=f"no answer within {request.timeout_s:g} s")

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    # ------------------------------------------------------------ facts

    def open_count(self, request_class: RequestClass | None = None) -> int:
        return sum(request_class in (None, r.request_class) for r in self._requests.values())

    def _opened(self, request: _Request, now: float) -> None:
        """A stream gave its first answer: that is its latency; slot and line stay taken.

        One without a time-out may have been silent because its market was closed, which is nobody's slowness.
        """
        assert request.sent_at is not None
        if request.timeout_s is None:
            self._scheduler.finished(request.req_id, now, latency_s=None, failed=False)
            self._judge(request, Verdict.OK, now)
            return
        self.spans.ended(request.name, Span(request.asked_at, request.sent_at, now, request.held_by))
        self._scheduler.finished(request.req_id, now, latency_s=now - request.sent_at, failed=False)
        self._record(
            request.request_class,
            Outcome(Verdict.OK, (), self._timeline(request, now), about=_about(request.call)),
            now,
        )
        self._judge(request, Verdict.OK, now)

    def _release(self, request: _Request, now: float, *, failed: bool) -> None:
        latency = None if request.is_stream or request.sent_at is None else now - request.sent_at
        self._scheduler.finished(request.req_id, now, latency_s=latency, failed=failed)
        if request.is_stream:
            self._scheduler.release(request.req_id, now)

    def _end(self, request: _Request, verdict: Verdict, now: float, *, code: int = 0, text: str = "") -> None:
        outcome = Outcome(
            verdict, tuple(request.answers), self._timeline(request, now), code, text, _about(request.call)
        )
        if not request.is_stream or request.answered_at is None:
            self.spans.ended(request.name, Span(request.asked_at, request.sent_at, now, request.held_by))
        self._record(request.request_class, outcome, now)
        self._judge(request, verdict, now)
        request.on_end(outcome, now)

    def _judge(self, request: _Request, verdict: Verdict, now: float) -> None:
        """Tell the breaker of this class; a stream that ends after it opened says nothing about asking."""
        breaker = self._breakers.of(request.request_class)
        if breaker is None or (request.is_stream and request.answered_at is not None and verdict is not Verdict.OK):
            return
        latency_s = 0.0 if request.sent_at is None or request.timeout_s is None else now - request.sent_at
        before = breaker.state
        if breaker.ended(request.req_id, verdict, latency_s, now):
            facts = {
                "breaker": breaker.name,
                "from": before.value,
                "to": breaker.state.value,
                "cause": breaker.cause.value,
            }
            self._effects.append(fx.Log("warning", "breaker", facts))

    @staticmethod
    def _timeline(request: _Request, now: float) -> Timeline:
        sent_at = request.sent_at if request.sent_at is not None else now
        return Timeline(
            queued_ms=round((sent_at - request.asked_at) * 1e3, 3),
            held_by=request.held_by,
            gateway_ms=round((now - sent_at) * 1e3, 3) if request.sent_at is not None else 0.0,
            total_ms=round((now - request.asked_at) * 1e3, 3),
        )


def _about(call: fx.Call) -> str:
    """The contract, and for history the bar size: what a trader would call the request."""
    contract = getattr(call, "contract", None)
    name = contract.key if contract is not None else getattr(call, "symbol", "")
    return f"{name} {getattr(call, 'bar_size', '')}".strip()


def _nothing_more(_outcome: Outcome, _now: float) -> None:
    return
