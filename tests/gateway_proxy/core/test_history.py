"""One-shot history: sized within IB's limits, merged, given again while it may not be asked again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.bus.topics import BAR_SECONDS
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.history import IDENTICAL_S, duration_for
from gateway_proxy.core.verdict import Verdict
from gateway_proxy.errors import BadMessage
from tests.gateway_proxy.core.core_world import CoreWorld


@pytest.fixture
def world() -> CoreWorld:
    return CoreWorld().start()


@given(st.sampled_from(sorted(BAR_SECONDS)), st.integers(1, 20_000), st.booleans())
def test_every_size_and_count_gets_a_duration_ib_accepts_or_a_refusal(size: str, count: int, rth: bool):
    """The syntax ceilings of the rule book 1.4: 86400 S, 365 D, 68 Y, and 2000 S for 1-second bars."""
    try:
        amount, unit = duration_for(size, count, rth).split(" ")
    except BadMessage as refusal:
        assert "count" in str(refusal)
        return

    limit = {"S": 2_000 if size == "1s" else 86_400, "D": 365, "Y": 68}[unit]
    assert (30 if unit == "S" else 1) <= int(amount) <= limit
    seconds = int(amount) * {"S": 1, "D": 86_400, "Y": 365 * 86_400}[unit]
    assert seconds >= min(count * BAR_SECONDS[size], 68 * 365 * 86_400) * (23_400 / 86_400 if unit == "D" else 1) * 0.99


@pytest.mark.parametrize(
    ("size", "count", "duration"),
    [("1min", 60, "2 D"), ("5s", 3, "30 S"), ("5s", 720, "3600 S"), ("1d", 250, "354 D"), ("1d", 1000, "4 Y"),
     ("1h", 7, "3 D"), ("1w", 52, "2 Y")],
)  # fmt: skip
def test_usual_requests_ask_for_what_they_need(size: str, count: int, duration: str):
    """Worked out by hand: regular hours, one day more than counted."""
    assert duration_for(size, count, rth=True) == duration


def test_identical_requests_under_way_cost_one(world: CoreWorld):
    """Ten engines that ask the same get the same answer."""
    numbers = [world.ask("bars", contract="SPY", count=30, owner=f"engine {n}") for n in range(10)]
    world.advance(1)

    assert len(world.sent(fx.RequestHistory)) == 1
    assert len({str(world.body(number)["bars"]) for number in numbers}) == 1
    assert world.core.history.merged == 9


def test_answer_is_given_again_while_ib_forbids_to_repeat_the_request(world: CoreWorld):
    """Fifteen seconds; then it is asked afresh."""
    world.ask("bars", contract="SPY")
    world.advance(2)
    world.ask("bars", contract="SPY")
    world.advance(IDENTICAL_S + 1)
    assert len(world.sent(fx.RequestHistory)) == 1

    number = world.ask("bars", contract="SPY")
    world.advance(2)

    assert len(world.sent(fx.RequestHistory)) == 2
    assert world.body(number)["bars"]


def test_growing_bar_of_an_answer_that_is_given_again_is_not_called_complete(world: CoreWorld):
    """Its minute has ended meanwhile, but the trades of its last seconds are not in it."""
    world.advance(34 - world.now)  # 11:00:54
    first = world.ask("bars", contract="SPY", count=5)
    world.advance(2)
    world.advance(8)  # 11:01:04

    again = world.ask("bars", contract="SPY", count=5)
    world.advance(1)

    assert len(world.sent(fx.RequestHistory)) == 1
    growing, remembered = world.body(first)["bars"][-1], world.body(again)["bars"][-1]
    assert not growing.complete
    assert remembered == growing


@pytest.mark.parametrize("live", [False, True])
def test_growing_bar_of_a_slow_answer_is_not_called_complete(world: CoreWorld, live: bool):
    """The Gateway made it at 11:00:55 and it arrives at 11:01:05: nobody knows the trades between."""
    world.advance(34 - world.now)  # 11:00:54
    world.gateway.mute.add(fx.RequestHistory)
    if live:
        world.subscribe("bars/SPY/1min/")
    number = 0 if live else world.ask("bars", contract="SPY", count=5)
    world.advance(1)
    made = tuple(world.gateway.bars("2 D", world.now))
    world.advance(10)

    [call] = world.sent(fx.RequestHistory)
    world.hear(ev.HistoryReceived(call.req_id, made))

    told = world.on("bars/SPY/1min/", "bar") if live else world.body(number)["bars"]
    assert [bar.complete for bar in told[-2:]] == [True, False]


def test_old_answers_are_not_kept(world: CoreWorld):
    """Whole days of bars that nobody may get any more would fill the memory."""
    for count in range(1, 50):
        world.ask("bars", contract="SPY", count=391 * count)
        world.advance(2)

    assert len(world.core.history._answers) < 12


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (162, "Historical Market Data Service error message:HMDS query returned no data: SPY@SMART Trades", "no_data"),
        (165, "Historical Market Data Service query message:no items retrieved", "no_data"),
        (162, "Historical Market Data Service error message:Historical data request pacing violation",
         "pacing_delayed"),
        (162, "Historical Market Data Service error message:No market data permissions for NYSE STK", "rejected"),
        (162, "Historical Market Data Service error message:Trading TWS session is connected from a different IP "
         "address", "gateway_unavailable"),
        (321, "Error validating request.-'bM' : cause - Historical data requested duration is invalid.", "rejected"),
        (322, "Error processing request.-'bS' : cause - Only 50 simultaneous API historical data requests allowed.",
         "refused"),
    ],
)  # fmt: skip
def test_each_refusal_of_ib_becomes_its_own_error(world: CoreWorld, code: int, text: str, error: str):
    """Never an empty list; 162 alone says nothing, its text decides."""
    world.gateway.refuse[fx.RequestHistory] = (code, text)

    number = world.ask("bars", contract="SPY")
    world.advance(1)

    assert world.failure(number).code == error
    assert text in str(world.failure(number))


def test_time_out_names_history_when_the_probe_is_answered(world: CoreWorld):
    """The old bot's riddle: connected, answering, and history silent."""
    world.gateway.mute.add(fx.RequestHistory)

    number = world.ask("bars", contract="SPY")
    world.advance(30)

    assert (world.failure(number).code, world.failure(number).verdict) == ("gateway_timeout", Verdict.HISTORY_SILENT)


def test_merged_caller_with_more_time_is_not_expired_by_the_first_ones_deadline(world: CoreWorld):
    """The queue deadline of a merged request belongs to who asked first; the other asks again."""
    world.ask("contract", contract="SPY")
    world.advance(1)
    world.gateway.mute.add(fx.RequestHistory)
    for days in range(1, 10):
        world.ask("bars", contract="SPY", count=391 * days, owner="other")
    world.advance(3)

    first = world.ask("bars", contract="SPY", count=9_000, expires_in_s=2.0)
    second = world.ask("bars", contract="SPY", count=9_000, expires_in_s=40.0)
    world.advance(3)
    assert world.failure(first).code == "expired"
    assert second not in world.replies
    world.gateway.mute.clear()
    world.advance(30)

    assert second in world.replies


def test_late_answer_is_told_as_late_and_not_twice(world: CoreWorld):
    """The caller's deadline passed while the Gateway worked."""
    world.gateway.mute.add(fx.RequestHistory)

    number = world.ask("bars", contract="SPY", expires_in_s=3.0)
    world.advance(60)

    assert world.failure(number).code == "gateway_timeout"
