"""Outages behind the Gateway, joined in memory: what is broken is repaired, what lives is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.recovery import RecoverySettings
from gateway_proxy.core.windows import WindowSettings
from tests.gateway_proxy.core.core_world import START, CoreWorld

TOPIC = "bars/SPY/1min/"
LOST = (1100, "Connectivity between IB and Trader Workstation has been lost.")
KEPT = (1102, "Connectivity between IB and Trader Workstation has been restored - data maintained.")
HMDS_BROKEN, HMDS_OK = (2105, "HMDS data farm connection is broken:ushmds"), (2106, "HMDS farm connection is OK:ushmds")
FARM_BROKEN, FARM_OK = (2103, "Market data farm connection is broken:usfarm"), (2104, "Market farm is OK:usfarm")
NO_CANARY = replace(RecoverySettings(), canary_symbol="")


def world_with(**changes) -> CoreWorld:
    return CoreWorld(**({"recovery": NO_CANARY} | changes)).start()


@pytest.fixture
def world() -> CoreWorld:
    return world_with()


def asked(world: CoreWorld) -> int:
    return len([call for call in world.sent(fx.RequestHistory) if call.keep_up_to_date])


def dead_verdicts(world: CoreWorld) -> list[str]:
    return [body["evidence"]["tried"] for body in world.on("verdicts/", "verdict") if body["verdict"] == "stream_dead"]


def levels(world: CoreWorld, event: str) -> list[str]:
    return [log.level for log in world.logs if log.event == event]


def drops(world: CoreWorld) -> int:
    return len([effect for effect in world.effects if isinstance(effect, fx.Disconnect)])


# ------------------------------------------------------------ verified, not believed


@pytest.mark.parametrize(("broken", "healed"), [(LOST, KEPT), (HMDS_BROKEN, HMDS_OK), (FARM_BROKEN, FARM_OK)])
def test_a_stream_that_lives_through_a_short_outage_is_left_alone(world, broken, healed):
    """Three seconds within one bar: fresh data prove the stream, and nothing is asked for again."""
    world.subscribe(TOPIC)
    world.flow(20)  # 11:00:42

    world.error(-1, *broken)
    world.advance(3.0)
    world.error(-1, *healed)
    world.flow(60)

    assert asked(world) == 1
    assert dead_verdicts(world) == []


@pytest.mark.parametrize(("broken", "healed"), [(LOST, KEPT), (HMDS_BROKEN, HMDS_OK), (FARM_BROKEN, FARM_OK)])
def test_a_stream_that_stays_silent_after_the_good_news_is_asked_for_again(world, broken, healed):
    """1102 is verified: without live data within the bound the stream is dead, whatever the text says."""
    world.subscribe(TOPIC)
    world.flow(60)

    world.error(-1, *broken)
    world.advance(10.0)
    world.error(-1, *healed)
    world.gateway.live.clear()
    world.advance(14.0)
    before = asked(world)
    world.advance(2.0)

    assert (before, asked(world)) == (1, 2)
    assert dead_verdicts(world) == ["stream"]


def test_a_bar_that_ended_inside_an_outage_is_asked_for(world):
    """The stream lives, but the minute that ended meanwhile lacks trades: it is refilled, not published as complete."""
    world.subscribe(TOPIC)
    world.flow(30)  # 11:00:52, the bar of 11:00 grows
    complete = len(world.bars())

    world.error(-1, *FARM_BROKEN)
    world.advance(12.0)  # 11:01:04; the update of 11:01 would close a bar that missed eight seconds
    meanwhile = len(world.bars())
    world.error(-1, *FARM_OK)
    world.flow(15)

    assert meanwhile == complete
    assert asked(world) == 2
    starts = [bar.start_ns for bar in world.bars()]
    assert starts == sorted(set(starts))
    assert world.bars()[-1].source == "backfill"
    assert not any(bar.gap for bar in world.bars())


def test_a_long_outage_is_no_death(world):
    """While the farm is known to be down, silence proves nothing and costs nothing."""
    world.subscribe(TOPIC)
    world.flow(30)

    world.error(-1, *HMDS_BROKEN)
    world.advance(600.0)

    assert asked(world) == 1
    assert dead_verdicts(world) == []


def test_1102_out_of_the_blue_raises_doubt_as_well(world):
    """A 1102 whose 1100 we never saw: the streams have to prove themselves."""
    world.subscribe(TOPIC)
    world.flow(30)
    world.error(-1, *KEPT)
    world.gateway.live.clear()

    world.advance(16.0)

    assert asked(world) == 2


# ------------------------------------------------------------ the ladder


def test_a_dead_feed_climbs_the_ladder_and_keeps_the_client_id(world):
    """Stream, class, then one new session; meanwhile the order path is untouched."""
    world.subscribe(TOPIC)
    world.subscribe("bars/QQQ/1min/")
    world.flow(10)

    world.advance(400.0)  # the Gateway answers everything and sends no update: a frozen feed

    assert dead_verdicts(world)[:4] == ["stream", "stream", "class", "session"]
    assert drops(world) == 1
    assert world.core.health.state.value == "ready"
    assert not any(isinstance(call, fx.PlaceOrders | fx.CancelOrder) for call in world.gateway.calls)


def test_a_dead_stream_is_told_once_however_often_it_is_asked_for_again(world):
    """QQQ is halted for an hour beside SPY: one warning, one verdict; its next death is told again."""
    world.subscribe(TOPIC)
    world.subscribe("bars/QQQ/1min/")
    world.flow(3_600.0)
    tries = levels(world, "bar stream dead")
    verdicts = dead_verdicts(world)

    world.grow("QQQ")
    world.flow(60.0)

    assert len(tries) > 5 and tries.count("warning") == 1
    assert verdicts == ["stream"]
    assert levels(world, "bar stream dead").count("warning") == 2


def test_a_dead_quote_line_is_told_once_however_often_it_is_asked_for_again(world):
    """Asking again brings the last values and nothing after them: the line is not alive by that."""
    world.subscribe("quote/SPY/")
    world.subscribe(TOPIC)
    world.flow(3_600.0)

    tries = levels(world, "quote line dead")
    assert len(tries) > 5 and tries.count("warning") == 1


def test_a_refused_stream_is_told_once_for_each_reason(world):
    """Asked for every two minutes, refused with the same words: one warning. Other words are news."""
    world.gateway.refuse[fx.RequestHistory] = (162, "No market data permissions for ARCA STK")
    world.subscribe(TOPIC)
    world.advance(1_800.0)
    first = levels(world, "bar stream failed")
    world.gateway.refuse[fx.RequestHistory] = (162, "Starting time must occur before ending time")
    world.advance(300.0)

    assert len(first) > 10 and first.count("warning") == 1
    assert levels(world, "bar stream failed").count("warning") == 2


def test_a_stream_that_ib_ends_again_and_again_is_told_once(world):
    """Each time it is asked for, its past comes and no life does: still the one stall."""
    world.subscribe(TOPIC)
    world.flow(60.0)
    for _ in range(5):
        (req_id,) = world.gateway.live
        world.error(req_id, 10182, "Failed to request live updates (disconnected).")
        world.advance(20.0)
    during = levels(world, "bar stream failed")

    world.flow(60.0)
    (req_id,) = world.gateway.live
    world.error(req_id, 10182, "Failed to request live updates (disconnected).")

    assert during == ["warning"] + ["info"] * 4
    assert levels(world, "bar stream failed")[5:] == ["warning"]


def test_a_silent_symbol_among_living_ones_costs_the_others_nothing(world):
    """SPY flows, QQQ is halted: QQQ is asked for now and then, SPY never, and the session stays."""
    world.subscribe(TOPIC)
    world.subscribe("bars/QQQ/1min/")
    world.flow(900.0)

    of_spy = [c for c in world.sent(fx.RequestHistory) if c.keep_up_to_date and c.contract.symbol == "SPY"]
    assert len(of_spy) == 1
    assert 2 <= asked(world) - 1 <= 10
    assert drops(world) == 0


@pytest.mark.parametrize(
    ("broken", "healed", "verdict"), [(HMDS_BROKEN, HMDS_OK, "farm_down"), (LOST, KEPT, "upstream_lost")]
)
def test_an_answer_that_an_outage_swallowed_is_named_after_it(world, broken, healed, verdict):
    """The farm is long back when the time is up; the request is told what was wrong while it was out."""
    world.gateway.mute.add(fx.RequestHistory)
    number = world.ask("bars", contract="SPY", count=77)
    world.advance(1.0)
    world.error(-1, *broken)
    world.advance(3.0)
    world.error(-1, *healed)

    world.advance(30.0)

    assert world.failure(number).verdict == verdict


def test_a_farm_flap_never_drops_the_session(world):
    """Fifty flaps in a row: no disconnect, no call about orders."""
    world.subscribe(TOPIC)
    for _ in range(50):
        world.flow(10)
        for notice in (FARM_BROKEN, HMDS_BROKEN):
            world.error(-1, *notice)
        world.advance(3.0)
        for notice in (FARM_OK, HMDS_OK):
            world.error(-1, *notice)

    assert drops(world) == 0
    assert not any(isinstance(call, fx.PlaceOrders | fx.CancelOrder) for call in world.gateway.calls)


def test_a_quote_line_that_goes_silent_is_asked_for_again(world):
    """A stock's line without a tick for the bound in an open session is dead; an option's may be quiet."""
    world.subscribe("quote/SPY/")
    world.advance(59.0)
    before = len(world.sent(fx.RequestQuote))

    world.advance(3.0)

    assert (before, len(world.sent(fx.RequestQuote))) == (1, 2)


# ------------------------------------------------------------ the canary


def test_silence_from_before_the_opening_is_no_death_of_a_quote(world):
    """At 09:30 the last tick may be from last night; the line has its whole time from then on."""
    opening = world.now + 600.0
    world.core.quotes._in_session = lambda key, at: at >= opening
    world.subscribe("quote/SPY/")
    world.advance(2.0)
    lines = len(world.sent(fx.RequestQuote))

    world.advance(600.0 + world.settings.quotes.stall_s / 2)
    early = len(world.sent(fx.RequestQuote)) - lines
    world.advance(world.settings.quotes.stall_s)

    assert (early, len(world.sent(fx.RequestQuote)) - lines) == (0, 1)


def test_history_is_tried_when_nothing_else_proved_it(world):
    """Idle proxy: one tiny request each five minutes, each with another end, none identical to the last."""
    world = world_with(recovery=RecoverySettings())
    world.advance(1_500.0)

    tried = [call for call in world.sent(fx.RequestHistory) if not call.keep_up_to_date]
    assert 4 <= len(tried) <= 5
    assert len({call.end for call in tried}) == len(tried)
    assert {call.duration for call in tried} == {"120 S"}
    assert world.core.health.state.value == "ready"


def test_silent_history_is_noticed_without_any_user_and_heals(world):
    """Two canaries unanswered: degraded, history_silent; one answered: ready again."""
    world = world_with(recovery=RecoverySettings())
    world.gateway.mute.add(fx.RequestHistory)
    world.advance(420.0)
    sick = world.core.health.state.value, world.core.health.verdict.value
    world.gateway.mute.clear()
    world.advance(60.0)

    assert sick == ("degraded", "history_silent")
    assert world.core.health.state.value == "ready"


def swallow_the_next_canary(world: CoreWorld, broken: tuple[int, str], healed: tuple[int, str]) -> None:
    """Let time pass until the canary is out, and break something before it is answered, for three seconds."""
    before = len(world.sent(fx.RequestHistory))
    while len(world.sent(fx.RequestHistory)) == before:
        world.advance(0.01)
    world.gateway.mute.add(fx.RequestHistory)
    world._agenda.clear()
    world.error(-1, *broken)
    world.advance(3.0)
    world.gateway.mute.clear()
    world.error(-1, *healed)


@pytest.mark.parametrize(("broken", "healed"), [(HMDS_BROKEN, HMDS_OK), (LOST, KEPT)])
def test_canaries_swallowed_by_outages_do_not_make_history_silent(broken, healed):
    """Two in a row are lost to farms that broke for 3 s and came back: the session is ready then, and stays so."""
    world = world_with(recovery=RecoverySettings())
    for _ in range(2):
        swallow_the_next_canary(world, broken, healed)
        world.advance(25.0)
    world.advance(300.0)

    told = {body["verdict"] for body in world.on("health/gateway/", "health") if body["state"] == "degraded"}
    assert "history_silent" not in told
    assert world.core.health.state.value == "ready"


def test_requests_swallowed_by_one_outage_do_not_make_history_silent(world):
    """Three callers lose their answers to one flap; when their time is up the farm is long back and history lives."""
    world.gateway.mute.add(fx.RequestHistory)
    numbers = [world.ask("bars", contract=symbol, count=77) for symbol in ("SPY", "QQQ", "AAPL")]
    world.advance(1.0)
    world.error(-1, *HMDS_BROKEN)
    world.advance(3.0)
    world.error(-1, *HMDS_OK)
    world.advance(30.0)

    assert [world.failure(number).verdict for number in numbers] == ["farm_down"] * 3
    assert world.core.health.state.value == "ready"


def test_silent_history_is_tried_at_once_when_a_farm_comes_back(world):
    """The canary that the flap swallowed is not waited for: ready within seconds of the good news, not after 50 s."""
    world = world_with(recovery=RecoverySettings())
    world.gateway.mute.add(fx.RequestHistory)
    world.advance(420.0)
    sick = world.core.health.verdict.value
    swallow_the_next_canary(world, HMDS_BROKEN, HMDS_OK)
    world.advance(4.0)

    assert sick == "history_silent"
    assert world.core.health.state.value == "ready"


def test_a_storm_of_good_news_about_silent_history_costs_few_canaries(world):
    """History stays silent while a farm flaps each second for a minute: at most one canary in five seconds."""
    world = world_with(recovery=RecoverySettings())
    world.gateway.mute.add(fx.RequestHistory)
    world.advance(420.0)
    before = len(world.sent(fx.RequestHistory))
    for _ in range(60):
        world.error(-1, *HMDS_BROKEN)
        world.advance(0.5)
        world.error(-1, *HMDS_OK)
        world.advance(0.5)

    assert 1 <= len(world.sent(fx.RequestHistory)) - before <= 13


# ------------------------------------------------------------ windows, account, escalation


def test_an_expected_outage_is_quiet_and_one_that_outlives_its_window_is_told_once():
    """From 11:00 to 11:30 IB is expected to be away. The outage that stays is told once, ten minutes after the end."""
    world = world_with(windows=WindowSettings(nightly=("11:01", "11:30"), weekend=()))
    world.advance(60.0)
    gate = world.core.caretaker.may_open_orders()
    world.error(-1, *LOST)
    world.advance(29 * 60.0)
    expected, quiet = world.on("health/gateway/", "health")[-10]["expected"], escalations(world)
    world.advance(2 * 3_600.0)

    assert gate[0] is False and "nightly reset" in gate[1]
    assert (expected, quiet) == ("nightly reset", 0)
    assert escalations(world) == 1
    assert world.core.health.state.value == "degraded"


def escalations(world: CoreWorld) -> int:
    return len([body for body in world.on("verdicts/", "verdict") if body["evidence"].get("escalated")])


def test_an_outage_outside_a_window_is_told_once_and_again_only_after_it_was_over(world):
    """No alarm storm: one escalation per outage."""
    for _ in range(2):
        world.error(-1, *LOST)
        world.advance(3_600.0)
        world.error(-1, *KEPT)
        world.advance(60.0)

    assert escalations(world) == 2


def test_a_storm_of_notices_is_one_story(world):
    """Two hundred pairs of 1100 and 1102 at once: a few transitions and messages, ready when it has been calm."""
    logged, told = len(world.logs), len(world.on("health/gateway/", "health"))
    for _ in range(200):
        world.error(-1, *LOST)
        world.error(-1, *KEPT)
    during = world.core.health.state.value
    world.advance(6.0)

    assert during == "degraded"
    assert world.core.health.state.value == "ready"
    assert len([log for log in world.logs[logged:] if log.event == "gateway state"]) <= 6
    assert len(world.logs) - logged <= 20
    assert len(world.on("health/gateway/", "health")) - told <= 20


def test_a_new_cause_is_told_in_the_middle_of_a_storm(world):
    """Flapping hides repetitions, never another verdict: a Gateway that falls silent bars entries."""
    for _ in range(10):
        world.error(-1, *LOST)
        world.error(-1, *KEPT)
    world.gateway.mute.add(fx.RequestTime)
    world.advance(18.0)

    assert world.core.health.verdict.value in ("gateway_silent", "session_lost")


def test_account_values_that_stop_are_asked_for_again(world):
    """IB pushes them every three minutes; after ten the subscription counts as dead."""
    world.advance(590.0)
    before = len(world.sent(fx.RequestAccountUpdates))

    world.advance(60.0)

    assert (before, len(world.sent(fx.RequestAccountUpdates))) == (1, 2)


def test_account_values_that_come_are_not_asked_for(world):
    """An hour of one value every three minutes costs no question; their silence is told once, and asked about on."""
    for _ in range(20):
        world.advance(180.0)
        world.hear(ev.AccountValueReceived("DU1", "NetLiquidation", "100000", "USD"))
    healthy = len(world.sent(fx.RequestAccountUpdates)), levels(world, "account values asked for again")
    world.gateway.mute.add(fx.RequestAccountUpdates)
    world.advance(3_600.0)

    assert healthy == (1, [])
    asked_again = levels(world, "account values asked for again")
    assert asked_again == ["warning"] + ["info"] * (len(asked_again) - 1)
    assert 4 <= len(asked_again) <= 6


def test_a_client_id_in_use_is_waited_for_with_the_same_id():
    """Error 326: the pause grows to fifteen seconds and no further, and the reason says why."""
    world = CoreWorld(recovery=NO_CANARY)
    world.reachable = False
    dials: list[float] = []
    while world.now < 100.0:
        world.advance(0.02)
        fresh = [effect for effect in world.effects if isinstance(effect, fx.Connect)]
        world.effects.clear()
        for _ in fresh:
            dials.append(world.now)
            world.core.receive_upstream(ev.ErrorReceived(-1, 326, "client id is already in use"), world.now)

    pauses = [b - a for a, b in zip(dials, dials[1:], strict=False)]
    assert 14.0 <= max(pauses) <= 16.0
    assert "326" in world.core.health.reason


def test_ibc_is_asked_about_a_farm_that_stays_down():
    """Five minutes outside of windows, with IBC configured: one RECONNECTDATA, and no second one within its time."""
    world = world_with(recovery=replace(NO_CANARY, ibc_port=7462))
    world.error(-1, *HMDS_BROKEN)

    world.advance(1_500.0)

    commands = [effect.command for effect in world.effects if isinstance(effect, fx.CommandGateway)]
    assert commands == ["RECONNECTDATA"]


assert START % 60 == 20
