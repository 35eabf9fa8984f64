"""Spans: every moment of a question is charged once, to our queue or to the Gateway."""

from __future__ import annotations

from gateway_proxy.core.spans import REMEMBERED_MAX, Span, Spans, timeline
from tests.gateway_proxy.core.core_world import CoreWorld


def test_requests_at_once_are_not_counted_twice():
    """Two in parallel: queued 1 s and 2 s, at the Gateway until 3 s and 5 s."""
    spans = [Span(10.0, 11.0, 13.0, "message_rate"), Span(10.0, 12.0, 15.0, "contract_open")]

    told = timeline(spans, began=10.0, now=16.0)

    assert (told.queued_ms, told.gateway_ms, told.total_ms) == (2_000.0, 3_000.0, 6_000.0)
    assert (told.held_by, told.cache) == ("contract_open", "")


def test_request_that_another_asked_earlier_counts_from_our_own_question():
    """It was sent before we asked: we only waited for the rest of its answer."""
    told = timeline([Span(1.0, 2.0, 12.0, "")], began=10.0, now=12.0)

    assert (told.queued_ms, told.gateway_ms, told.total_ms) == (0.0, 2_000.0, 2_000.0)


def test_what_ended_before_the_question_is_a_cache_hit():
    """Nothing was waited for."""
    told = timeline([Span(1.0, 2.0, 3.0, "")], began=10.0, now=10.0)

    assert (told.cache, told.gateway_ms) == ("hit", 0.0)


def test_memory_of_spans_is_bounded():
    """The one that ended longest ago goes first."""
    spans = Spans()
    for number in range(REMEMBERED_MAX + 1):
        spans.ended(f"request {number}", Span(0.0, 0.0, float(number), ""))

    assert spans.of("request 0") is None
    assert spans.of("request 1") is not None


def test_every_answer_that_needed_the_gateway_says_where_its_time_went():
    """Contract, quote and chain; asked again, the contract is a cache hit."""
    world = CoreWorld().start()
    first = {op: world.ask(op, contract="SPY") for op in ("contract", "quote", "chain", "bars")}
    world.advance(10)
    again = world.ask("contract", contract="SPY")

    told = {op: world.body(number)["timeline"] for op, number in first.items()}
    assert told["contract"].gateway_ms > 0
    assert told["quote"].total_ms >= told["quote"].gateway_ms + told["quote"].queued_ms > 0
    assert told["chain"].gateway_ms > told["contract"].gateway_ms
    assert told["bars"]["gateway_ms"] > 0
    assert world.body(again)["timeline"].cache == "hit"
