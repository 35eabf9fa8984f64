"""The desk: each request ends exactly once, whatever the Gateway, the queue and the session do."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.breaker import Breakers, BreakerSettings
from gateway_proxy.core.desk import FIRST_REQUEST_ID, Desk, Outcome
from gateway_proxy.core.scheduler import Keys, Lane, PacingSettings, RequestClass, Scheduler
from gateway_proxy.core.verdict import Verdict
from gateway_proxy.errors import BreakerOpen, PacingDelayed, QueueFull

SPY = Contract("SPY", con_id=1)


class Bench:
    """A desk with the real scheduler and breakers; `pump` lets pacing decide."""

    def __init__(self, **pacing: Any) -> None:
        self.now = 0.0
        self.scheduler = Scheduler(PacingSettings(**pacing))
        self.scheduler.reset_session(self.now)
        self.recorded: list[Verdict] = []
        self.desk = Desk(
            self.scheduler,
            Breakers(BreakerSettings()),
            why_silent=lambda *_: Verdict.HISTORY_SILENT,
            record=lambda _class, outcome, _now: self.recorded.append(outcome.verdict),
        )
        self.ended: list[Outcome] = []
        self.answers: list[Any] = []

    def contract(self, queue_s: float | None = None) -> int:
        return self.desk.ask(
            lambda req_id: fx.RequestContract(req_id, SPY), RequestClass.CONTRACT, lane=Lane.INTERACTIVE, owner="one",
            keys=Keys(), timeout_s=10.0, queue_s=queue_s, on_end=lambda outcome, at: self.ended.append(outcome),
            now=self.now, name="contract:SPY",
        )  # fmt: skip

    def quote(self) -> int:
        return self.desk.ask(
            lambda req_id: fx.RequestQuote(req_id, SPY), RequestClass.QUOTE, lane=Lane.STREAM, owner="proxy",
            keys=Keys(), timeout_s=10.0, queue_s=None, on_end=lambda outcome, at: self.ended.append(outcome),
            on_answer=lambda event, at: self.answers.append(event), now=self.now,
        )  # fmt: skip

    def pump(self) -> list[fx.Call]:
        for job in self.scheduler.expired(self.now):
            self.desk.expired(job.job_id, self.now)
        for grant in self.scheduler.due(self.now):
            assert self.desk.granted(grant, self.now)
        return [effect.call for effect in self.desk.effects() if isinstance(effect, fx.Send)]

    def advance(self, seconds: float) -> list[fx.Call]:
        self.now += seconds
        self.desk.handle_timer(self.now)
        return self.pump()

    def verdicts(self) -> list[Verdict]:
        return [outcome.verdict for outcome in self.ended]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_answered_request_ends_with_all_its_answers_and_its_timeline(bench: Bench):
    """Queue and Gateway time apart; answers in order."""
    req_id = bench.contract()
    bench.pump()
    details = ev.ContractDetails(SPY, 0.01)
    bench.now = 0.2

    bench.desk.receive(req_id, ev.ContractReceived(req_id, details), bench.now)
    bench.desk.receive(req_id, ev.ContractsEnded(req_id), bench.now)

    (outcome,) = bench.ended
    assert outcome.ok and [type(answer) for answer in outcome.answers] == [ev.ContractReceived, ev.ContractsEnded]
    assert (outcome.timeline.queued_ms, outcome.timeline.gateway_ms) == (0.0, 200.0)
    assert bench.desk.open_count() == 0


def test_request_ids_lie_above_every_order_id_and_are_never_used_twice(bench: Bench):
    """An error's id then says what it belongs to."""
    ids = [bench.contract() for _ in range(5)]

    assert min(ids) >= FIRST_REQUEST_ID
    assert len(set(ids)) == 5


def test_refused_request_carries_ibs_code_and_text(bench: Bench):
    """And what comes later under its id is a stray."""
    req_id = bench.contract()
    bench.pump()

    bench.desk.receive(req_id, ev.ErrorReceived(req_id, 200, "No security definition"), bench.now)
    assert not bench.desk.receive(req_id, ev.ContractsEnded(req_id), bench.now)

    assert [(o.verdict, o.code, o.text) for o in bench.ended] == [
        (Verdict.CONTRACT_UNKNOWN, 200, "No security definition")
    ]
    assert bench.desk.strays == 1


def test_notice_ends_nothing(bench: Bench):
    """2174 and its like come with a request id; the answer still comes."""
    req_id = bench.contract()
    bench.pump()

    bench.desk.receive(req_id, ev.ErrorReceived(req_id, 2174, "implied zone"), bench.now)

    assert bench.ended == []


def test_unanswered_request_ends_once_and_a_late_answer_is_counted(bench: Bench):
    """The time-out is measured from the bytes leaving."""
    req_id = bench.contract()
    bench.now = 5.0
    bench.pump()
    assert bench.desk.next_timer() == 15.0

    bench.advance(9.9)
    assert bench.ended == []
    bench.advance(0.1)
    bench.desk.receive(req_id, ev.ContractsEnded(req_id), bench.now)
    bench.advance(60)

    assert bench.verdicts() == [Verdict.HISTORY_SILENT]
    assert (bench.desk.strays, bench.desk.next_timer()) == (1, None)


def test_a_withdrawn_probe_makes_room_for_the_next(bench: Bench):
    """Half open: the one admitted request is closed by its caller; the next is admitted at once, not after 30 s."""
    for _ in range(BreakerSettings().fail_max):
        bench.contract()
        bench.pump()
        bench.advance(10.0)
    with pytest.raises(BreakerOpen):
        bench.contract()
    bench.advance(11.0)
    probe = bench.contract()
    bench.pump()
    with pytest.raises(BreakerOpen):
        bench.contract()

    bench.desk.close(probe, bench.now)

    assert bench.contract() > probe
    with pytest.raises(BreakerOpen):
        bench.contract()


def test_request_that_expires_in_the_queue_is_never_sent(bench: Bench):
    """Its end says so, once."""
    bench = Bench(contract_open_max=1)
    first = bench.contract()
    bench.pump()
    bench.contract(queue_s=2.0)
    bench.pump()
    assert bench.desk.is_queued({"contract:SPY"})

    bench.advance(2.0)
    bench.desk.receive(first, ev.ContractsEnded(first), bench.now)
    sent = bench.advance(10.0)

    assert sorted(bench.verdicts()) == [Verdict.EXPIRED_IN_QUEUE, Verdict.OK]
    assert sent == []


def test_request_that_a_rule_holds_beyond_its_deadline_is_refused_at_once(bench: Bench):
    """With the rule's name and when to come back; nothing is queued."""
    bench.scheduler.close_class(RequestClass.CONTRACT, until=60.0)

    with pytest.raises(PacingDelayed) as refused:
        bench.contract(queue_s=30.0)

    assert refused.value.retry_in_s == 60.0
    assert bench.desk.open_count() == 0
    bench.contract(queue_s=90.0)


def test_lost_session_ends_everything_once_queued_or_sent(bench: Bench):
    """And nothing of it is sent in the next session."""
    bench = Bench(contract_open_max=1)
    bench.contract()
    bench.quote()
    bench.pump()
    bench.contract()

    bench.desk.session_lost(bench.now)
    bench.scheduler.reset_session(bench.now)

    assert bench.verdicts() == [Verdict.SESSION_LOST] * 3
    assert bench.advance(60) == []
    assert bench.desk.open_count() == 0


def test_stream_goes_on_until_it_is_closed_and_then_is_cancelled_there(bench: Bench):
    """Its first answer ends the time-out, not the stream."""
    req_id = bench.quote()
    bench.pump()
    for value in (1.0, 2.0):
        bench.desk.receive(req_id, ev.TickReceived(req_id, 1, value), bench.now)
    bench.advance(100)
    assert (bench.ended, len(bench.answers)) == ([], 2)

    bench.desk.close(req_id, bench.now)

    assert bench.pump() == [fx.CancelQuote(req_id)]
    assert not bench.desk.receive(req_id, ev.TickReceived(req_id, 1, 3.0), bench.now)
    assert bench.ended == []


def test_stream_closed_in_the_queue_leaves_no_trace(bench: Bench):
    """Nothing is sent, neither request nor cancel."""
    req_id = bench.quote()

    bench.desk.close(req_id, bench.now)
    bench.desk.close(req_id, bench.now)

    assert bench.pump() == []
    assert bench.desk.open_count() == 0


def test_stream_that_never_answers_times_out_and_is_cancelled(bench: Bench):
    """The Gateway may still hold it."""
    req_id = bench.quote()
    bench.pump()

    sent = bench.advance(10.0)

    assert sent == [fx.CancelQuote(req_id)]
    assert bench.verdicts() == [Verdict.HISTORY_SILENT]


@pytest.mark.parametrize(
    ("code", "answered", "cancelled"),
    [(10197, False, True), (10182, True, True), (354, False, False), (200, False, False)],
)
def test_stream_that_ib_may_still_hold_is_cancelled_when_it_ends(
    bench: Bench, code: int, answered: bool, cancelled: bool
):
    """What another login took would come back by itself beside the one we open anew."""
    req_id = bench.quote()
    bench.pump()
    if answered:
        bench.desk.receive(req_id, ev.TickReceived(req_id, 1, 1.0), bench.now)

    bench.desk.receive(req_id, ev.ErrorReceived(req_id, code, "text"), bench.now)

    assert bench.pump() == ([fx.CancelQuote(req_id)] if cancelled else [])
    assert len(bench.ended) == 1


def test_lines_of_closed_streams_come_back(bench: Bench):
    """Open and close as many as you like: the budget is whole again."""
    bench = Bench(market_data_lines=10)
    for _ in range(50):
        req_id = bench.quote()
        assert fx.RequestQuote(req_id, SPY) in bench.advance(1.0)
        bench.desk.close(req_id, bench.now)
        assert bench.advance(1.0) == [fx.CancelQuote(req_id)]


def test_full_queue_refuses_and_keeps_nothing(bench: Bench):
    """The caller hears it; the desk holds no half request."""
    bench = Bench(queue_per_owner_max=2, contract_open_max=1)
    bench.contract()
    bench.pump()
    bench.contract()
    bench.contract()
    before = bench.desk.open_count()

    with pytest.raises(QueueFull):
        bench.contract()

    assert bench.desk.open_count() == before


def test_pacing_violation_closes_its_class_and_no_other(bench: Bench):
    """Ten minutes of rest for history; contracts go on."""
    req_id = bench.desk.ask(
        lambda number: fx.RequestHistory(number, SPY, "60 S", "5 secs", "TRADES", True), RequestClass.HISTORY_SMALL,
        lane=Lane.INTERACTIVE, owner="one", keys=Keys(), timeout_s=10.0, queue_s=None,
        on_end=lambda outcome, at: bench.ended.append(outcome), now=bench.now,
    )  # fmt: skip
    bench.pump()
    text = "Historical Market Data Service error message:Historical data request pacing violation"

    bench.desk.receive(req_id, ev.ErrorReceived(req_id, 162, text), bench.now)

    assert bench.verdicts() == [Verdict.PACING]
    contract = bench.contract()
    assert bench.pump() == [fx.RequestContract(contract, SPY)]
