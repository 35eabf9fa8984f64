"""The bar service: one upstream stream however many listen; what was missed is asked for, and only that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from tests.gateway_proxy.core.core_world import MINUTE, START, CoreWorld, minute_bar

TOPIC = "bars/SPY/1min/"


@pytest.fixture
def world() -> CoreWorld:
    return CoreWorld().start()


def live_id(world: CoreWorld) -> int:
    (req_id,) = world.gateway.live
    return req_id


def assert_unbroken(world: CoreWorld) -> None:
    """Every minute once, in order, each as it truly was."""
    bars = world.bars()
    starts = [bar.start_ns for bar in bars]
    assert starts == list(range(starts[0], starts[0] + len(starts) * MINUTE, MINUTE))
    truth = [minute_bar(start) for start in starts]
    assert [(bar.open, bar.close) for bar in bars] == [(bar.open, bar.close) for bar in truth]


def test_first_subscription_opens_one_stream_and_publishes_the_newest_bars(world: CoreWorld):
    """IB answers two days; a subscriber gets the configured number of them, and the growing one."""
    world.subscribe(TOPIC)
    world.advance(1)

    (call,) = world.sent(fx.RequestHistory)
    assert (call.duration, call.bar_size, call.keep_up_to_date, call.end) == ("2 D", "1 min", True, "")
    assert len(world.bars()) == world.settings.bars.backfill
    assert [bar.complete for bar in world.on(TOPIC, "bar")][-1] is False
    assert len(world.core.snapshot_of(TOPIC)) <= world.settings.bars.backfill + 1


def test_second_listener_and_bars_request_cost_nothing_upstream(world: CoreWorld):
    """The live series answers."""
    world.subscribe(TOPIC)
    world.advance(1)

    number = world.ask("bars", contract="SPY", count=60)

    assert world.body(number)["timeline"]["cache"] == "hit"
    assert len(world.body(number)["bars"]) == 60
    assert len(world.sent(fx.RequestHistory)) == 1


def test_what_a_longer_question_brought_is_not_asked_for_again(world: CoreWorld):
    """Engines that start one after another want more than the backfill; the first question pays for all of them."""
    world.subscribe(TOPIC)
    first = world.ask("bars", contract="SPY", count=480)
    world.flow(120)

    later = world.ask("bars", contract="SPY", count=480)

    assert len(world.body(first)["bars"]) == 480
    assert world.body(later)["timeline"]["cache"] == "hit"
    bars = world.body(later)["bars"]
    assert len(bars) == 480
    assert [bar.start_ns for bar in bars] == [bars[0].start_ns + number * MINUTE for number in range(480)]
    assert bars[0].start_ns == world.body(first)["bars"][0].start_ns + 2 * MINUTE
    assert len(world.sent(fx.RequestHistory)) == 2


def test_last_listener_leaving_closes_the_stream_after_the_grace(world: CoreWorld):
    """Not before, so that a restarting engine finds it open."""
    world.subscribe(TOPIC)
    world.advance(1)

    world.subscribe(TOPIC, wanted=False)
    world.advance(world.settings.bars.grace_s - 0.5)
    assert world.sent(fx.CancelHistory) == []
    world.advance(1.0)

    assert len(world.sent(fx.CancelHistory)) == 1
    assert world.core.bars.streams() == []


def test_listener_that_comes_back_within_the_grace_changes_nothing(world: CoreWorld):
    """One upstream request in all."""
    world.subscribe(TOPIC)
    world.advance(1)

    world.subscribe(TOPIC, wanted=False)
    world.advance(1.0)
    world.subscribe(TOPIC)
    world.advance(20.0)

    assert (len(world.sent(fx.RequestHistory)), world.sent(fx.CancelHistory)) == (1, [])


def test_bars_flow_for_an_hour_without_a_hole(world: CoreWorld):
    """Each minute once, finished when the next began or seven seconds after its end."""
    world.subscribe(TOPIC)
    world.flow(3_600)

    assert_unbroken(world)
    assert len(world.bars()) == world.settings.bars.backfill + 60


@pytest.mark.parametrize("away_s", [30, 200, 3_000])
def test_after_a_lost_session_only_what_is_missing_is_asked_and_no_bar_is_lost_or_rewritten(away_s: int):
    """The refill joins without a seam."""
    world = CoreWorld().start()
    world.subscribe(TOPIC)
    world.flow(300)
    world.reachable = False
    world.cut()
    world.advance(away_s)

    world.reachable = True
    world.flow(340)

    first, *later = world.sent(fx.RequestHistory)
    assert first.duration == "2 D" and all(call.duration.endswith(" S") for call in later)
    assert_unbroken(world)
    assert not any(bar.gap for bar in world.bars())


def test_what_cannot_be_had_any_more_is_marked():
    """IB's answer begins after the bars we hold: the first one says so."""
    world = CoreWorld().start()
    world.subscribe(TOPIC)
    world.flow(120)
    world.cut()
    world.gateway.hole_before = (START + 600) * 1_000_000_000 // MINUTE * MINUTE
    world.reachable = False
    world.advance(900)

    world.reachable = True
    world.advance(40)

    assert [bar.gap for bar in world.bars()].count(True) == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (10182, "Failed to request live updates (disconnected)."),
        (10225, "Bust event occurred, current subscription is deactivated."),
        (162, "Historical Market Data Service error message:API historical data query cancelled: 1"),
    ],
)
def test_stream_that_ib_ends_is_cancelled_there_told_and_asked_for_again(world: CoreWorld, code: int, text: str):
    """A dead stream would keep its slot and its line at the Gateway."""
    world.subscribe(TOPIC)
    world.flow(60)
    req_id = live_id(world)

    world.error(req_id, code, text)
    world.advance(10)
    world.flow(120)

    assert [call.req_id for call in world.sent(fx.CancelHistory)] == [req_id]
    assert len(world.sent(fx.RequestHistory)) == 2
    assert world.on(TOPIC, "verdict")[0]["verdict"] in ("stream_dead", "cancelled")
    assert_unbroken(world)


def test_silent_stream_in_a_session_is_asked_for_again_and_found_by_diagnose(world: CoreWorld):
    """Thirty seconds without an update while the market is open."""
    world.subscribe(TOPIC)
    world.flow(60)

    world.advance(31)
    assert world.on(TOPIC, "verdict")[-1]["verdict"] == "stream_dead"
    world.flow(120)

    assert len(world.sent(fx.RequestHistory)) == 2
    assert "stream_dead" in [finding["verdict"] for finding in world.core.findings.recent()]
    assert_unbroken(world)


def test_silence_after_the_close_is_no_stall_and_its_age_is_told_truly(world: CoreWorld):
    """At night nothing is asked, and health says how old the newest update is."""
    world.subscribe(TOPIC)
    world.advance(5 * 3_600)
    world.grow()
    asked = len([call for call in world.sent(fx.RequestHistory) if call.keep_up_to_date])

    world.advance(2 * 3_600)

    assert len([call for call in world.sent(fx.RequestHistory) if call.keep_up_to_date]) == asked
    assert world.core.bars.health(world.now)[0]["age_s"] == pytest.approx(7_200, abs=1)


def test_unknown_symbol_is_told_on_the_topic_and_tried_again_slowly(world: CoreWorld):
    """A subscriber waits for bars that will never come; it must be told."""
    world.subscribe("bars/NOPE/1min/")
    world.advance(1)

    (verdict,) = world.on("bars/NOPE/1min/", "verdict")
    assert verdict["verdict"] == "contract_unknown"
    world.advance(600)
    assert len(world.sent(fx.RequestContract)) < 15


def test_one_second_bars_cannot_be_subscribed_to(world: CoreWorld):
    """The topic says what would be right."""
    world.subscribe("bars/SPY/1s/")

    assert "5s is the shortest" in world.on("bars/SPY/1s/", "verdict")[0]["evidence"]["text"]


def test_stream_that_dies_right_after_its_backfill_is_asked_for_ever_more_slowly(world: CoreWorld):
    """A farm that answers history but refuses live updates must not cost a request every two seconds."""
    world.subscribe(TOPIC)
    for _ in range(600):
        world.advance(0.5)
        for req_id in list(world.gateway.live):
            if world.core.bars.streams()[0].state.value == "live":
                world.error(req_id, 10182, "Failed to request live updates (disconnected).")

    assert len(world.sent(fx.RequestHistory)) < 12


def test_lost_data_open_every_stream_afresh(world: CoreWorld):
    """1101 says that subscriptions are gone; the refill leaves no hole and no bar twice."""
    world.subscribe(TOPIC)
    world.flow(60)

    world.error(-1, 1101, "restored - data lost")
    world.flow(120)

    assert len(world.sent(fx.RequestHistory)) == 2
    assert len(world.gateway.live) == 1
    assert_unbroken(world)


def test_cancel_leaves_before_the_request_that_takes_its_place(world: CoreWorld):
    """At the limit of lines and slots the other order would be refused."""
    world.subscribe(TOPIC)
    world.flow(60)

    world.error(-1, 1101, "restored - data lost")
    world.advance(1)

    kinds = [type(call) for call in world.gateway.calls if isinstance(call, fx.RequestHistory | fx.CancelHistory)]
    assert kinds == [fx.RequestHistory, fx.CancelHistory, fx.RequestHistory]


def test_history_that_stays_silent_names_the_cause_and_is_tried_again(world: CoreWorld):
    """The Gateway answers the probe but not the request."""
    world.gateway.mute.add(fx.RequestHistory)
    world.subscribe(TOPIC)
    world.advance(world.settings.bars.timeout_s + 1)

    assert world.on(TOPIC, "verdict")[0]["verdict"] == "history_silent"
    world.gateway.mute.clear()
    world.advance(60)
    assert world.bars()


def test_hours_that_have_run_out_are_asked_again(world: CoreWorld):
    """A contract's trading hours reach some days ahead; a proxy runs for weeks."""
    world.subscribe(TOPIC)
    world.flow(60)
    asked = len(world.sent(fx.RequestContract))
    fresh = world.gateway.stocks["SPY"]
    world.gateway.stocks["SPY"] = replace(fresh, liquid_hours="20260617:0930-20260617:1600")

    world.advance(13 * 3_600)

    assert len(world.sent(fx.RequestContract)) > asked
    details = world.core.directory.known(Contract("SPY"))
    assert details is not None and details.liquid_hours.startswith("20260617")
