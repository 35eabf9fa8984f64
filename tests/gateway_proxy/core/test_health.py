"""The session's state machine: its whole table, its probes, and the moment it gives up on a silent Gateway."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core.health import (
    SYNCHRONIZATION,
    TRANSITIONS,
    GatewayHealth,
    GatewayState,
    HealthSettings,
    Turn,
)
from gateway_proxy.core.rules import PacingSettings, message_ceilings
from gateway_proxy.core.verdict import Verdict

SETTINGS = HealthSettings(probe_interval_s=2, probe_timeout_s=1, drop_after_s=10, synchronize_timeout_s=20)


class Watch:
    """A health machine with its clock in hand; probes are sent as soon as they are due."""

    def __init__(self, settings: HealthSettings = SETTINGS) -> None:
        self.now = 0.0
        self.health = GatewayHealth(settings, 1.0, 8.0, self.now)
        self.effects: list[fx.Effect] = []
        self.probes: list[float] = []

    def advance(self, seconds: float) -> Watch:
        """Let time pass, stopping at every timer; a timer that never moves on fails the test."""
        end = self.now + seconds
        for _ in range(1_000):
            due = self.health.next_timer()
            if due is None or due > end:
                self.now = end
                return self
            self.now = max(self.now, due)
            self.health.handle_timer(self.now)
            self.settle()
        raise AssertionError("the timer stands still")

    def settle(self) -> None:
        if self.health.take_probe():
            self.health.probe_sent(self.now)
            self.probes.append(self.now)
        self.effects += self.health.effects()

    def open(self) -> Watch:
        self.advance(0)
        self.health.session_opened(178, ("DU1",), self.now)
        self.advance(0)
        return self

    def ready(self) -> Watch:
        self.open()
        self.answer()
        for part in SYNCHRONIZATION:
            self.health.synchronized(part, self.now)
        self.settle()
        return self

    def answer(self) -> None:
        self.health.heard(self.now)
        self.health.probe_answered(self.now)

    def notice(self, code: int, text: str = "") -> None:
        self.health.connectivity(code, text, self.now)
        self.settle()

    def drops(self) -> list[str]:
        return [effect.reason for effect in self.effects if isinstance(effect, fx.Disconnect)]

    def dials(self) -> int:
        return sum(isinstance(effect, fx.Connect) for effect in self.effects)


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch


@pytest.mark.parametrize(("state", "turn"), list(product(GatewayState, Turn)))
def test_every_step_is_in_the_table_or_raises_and_changes_nothing(state: GatewayState, turn: Turn):
    """The table is the whole truth about the states."""
    health = GatewayHealth(SETTINGS, 1.0, 8.0, 0.0)
    health.state = state
    before = (health.state, health.reason, health.since, health.verdict)
    target = TRANSITIONS.get((state, turn))

    if target is None:
        with pytest.raises(AssertionError, match=f"cannot {turn.value} while {state.value}"):
            health._turn(turn, "why", Verdict.OK, 5.0)
        assert (health.state, health.reason, health.since, health.verdict) == before
        assert health.effects() == []
    else:
        health._turn(turn, "why", Verdict.OK, 5.0)
        assert (health.state, health.reason, health.since) == (target, "why", 5.0)


def test_session_is_ready_only_when_everything_was_answered(watch: Watch):
    """An open socket proves nothing: time, positions, account and orders must all have been read."""
    watch.open()
    assert watch.health.state is GatewayState.SYNCHRONIZING

    for part in SYNCHRONIZATION[:-1]:
        watch.health.synchronized(part, watch.now)
        assert watch.health.state is GatewayState.SYNCHRONIZING
    watch.health.synchronized(SYNCHRONIZATION[-1], watch.now)

    assert watch.health.state is GatewayState.READY


def test_probe_goes_out_regularly_however_much_is_heard(watch: Watch):
    """Ticks prove that bytes come, not that questions are answered; and probes carry the Gateway's clock."""
    watch.ready()
    watch.probes.clear()

    for _ in range(100):
        watch.advance(0.1)
        watch.health.heard(watch.now)
        if watch.health._probe_sent is not None:
            watch.answer()

    assert len(watch.probes) == 4


def test_silent_gateway_is_degraded_then_dropped_and_dialled_again(watch: Watch):
    """Degraded when a probe is late, dropped after the longest silence; the cause is named all the way."""
    watch.ready()

    watch.advance(3.5)
    assert (watch.health.state, watch.health.verdict) == (GatewayState.DEGRADED, Verdict.GATEWAY_SILENT)
    assert watch.health.may_open_orders == (False, "the Gateway does not answer reqCurrentTime")

    watch.advance(9.0)
    assert len(watch.drops()) == 1

    dialled = watch.dials()
    watch.health.session_closed("dropped", watch.now)
    watch.advance(1.0)
    assert (watch.health.state, watch.dials()) == (GatewayState.CONNECTING, dialled + 1)


@pytest.mark.parametrize("percent", range(0, 100, 10))
def test_by_default_a_stop_at_any_moment_is_noticed_well_within_three_seconds(percent: int):
    """Wherever in the probe cycle the Gateway stops: half a second of the promise is left to a busy machine."""
    settings = HealthSettings()
    watch = Watch(settings).ready()
    watch.advance(percent / 100 * settings.probe_interval_s)
    stopped = watch.now

    while watch.health.state is GatewayState.READY:
        watch.advance(0.01)

    assert watch.now - stopped <= 2.5 + 0.02


def test_by_default_probes_take_a_trifle_of_the_message_budget():
    """Of the messages a second that IB allows, at most one in fifty asks for the time."""
    most_per_s = message_ceilings(PacingSettings())[0]

    assert 1 / HealthSettings().probe_interval_s <= most_per_s / 50


def test_mute_gateway_before_ready_keeps_no_timer_spinning(watch: Watch):
    """While synchronizing a late probe is no state change; its timer must move on all the same."""
    watch.open()

    watch.advance(9.0)
    assert watch.drops() == []
    watch.advance(2.0)

    assert len(watch.drops()) == 1


def test_gateway_that_speaks_but_does_not_answer_gets_longer_but_not_for_ever(watch: Watch):
    """Ticks that flow may hide a dead request path."""
    watch.ready()

    for _ in range(250):
        watch.advance(0.1)
        watch.health.heard(watch.now)
    assert watch.health.state is GatewayState.DEGRADED
    assert watch.drops() == []

    for _ in range(100):
        watch.advance(0.1)
        watch.health.heard(watch.now)
    assert len(watch.drops()) == 1


def test_late_answer_clears_the_trouble(watch: Watch):
    """The round trip is what it took; the state is ready again."""
    watch.ready().advance(5.0)
    assert watch.health.state is GatewayState.DEGRADED

    watch.answer()

    assert watch.health.state is GatewayState.READY
    assert watch.health.rtt_s == 3.0


def test_session_that_never_synchronizes_is_dropped_and_says_what_is_missing(watch: Watch):
    """Twenty seconds after the handshake, with the names of what was never answered."""
    watch.open()

    for _ in range(200):
        watch.advance(0.11)
        if watch.health._probe_sent is not None:
            watch.answer()

    assert watch.drops() == ["the Gateway never answered: account, orders, positions"]


def test_failed_attempts_are_repeated_ever_more_slowly(watch: Watch):
    """Doubling pauses up to the limit."""
    pauses = []
    for _ in range(6):
        watch.advance(0)
        failed_at = watch.now
        watch.health.session_failed("refused", True, watch.now)
        due = watch.health.next_timer()
        assert due is not None
        pauses.append(due - failed_at)
        watch.advance(due - watch.now)

    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert watch.health.verdict is Verdict.GATEWAY_DOWN


def test_session_that_opens_and_dies_at_once_does_not_reset_the_pause(watch: Watch):
    """Only a session that became ready proves that dialling is worth while."""
    pauses = []
    for _ in range(3):
        watch.advance(8.0)
        watch.health.session_opened(178, ("DU1",), watch.now)
        watch.health.session_closed("cut", watch.now)
        due = watch.health.next_timer()
        assert due is not None
        pauses.append(due - watch.now)

    assert pauses == [1.0, 2.0, 4.0]


def test_client_id_in_use_is_said_and_forgotten_with_the_next_attempt(watch: Watch):
    """326 names the cause of this failure, not of a later one."""
    watch.advance(0)
    watch.notice(326, "client id in use")
    watch.health.session_failed("closed", False, watch.now)
    assert watch.health.verdict is Verdict.CLIENT_ID_IN_USE

    watch.advance(1.0)
    watch.health.session_failed("handshake never finished", False, watch.now)

    assert watch.health.verdict is Verdict.GATEWAY_SILENT


def test_fatal_code_halts_drops_and_nothing_later_moves_it(watch: Watch):
    """503 means the program cannot work with this Gateway: a human is needed, retrying is not."""
    watch.advance(0)

    watch.notice(503, "the TWS is out of date")
    watch.notice(503, "the TWS is out of date")
    watch.health.session_failed("closed", False, watch.now)
    watch.advance(100.0)

    assert watch.health.state is GatewayState.HALTED
    assert len(watch.drops()) == 1
    assert watch.dials() == 1


def test_lost_link_bars_opening_orders_until_1102(watch: Watch):
    """Orders sent while 1100 may execute much later."""
    watch.ready()

    watch.notice(1100, "Connectivity lost")
    assert (watch.health.state, watch.health.verdict) == (GatewayState.DEGRADED, Verdict.UPSTREAM_LOST)
    assert watch.health.may_open_orders[0] is False

    watch.notice(1102, "restored - data maintained")
    assert watch.health.state is GatewayState.READY
    assert watch.health.may_open_orders == (True, "")


def test_nobody_is_silent_before_the_question_has_left(watch: Watch):
    """A round trip that waits behind orders in our own queue says nothing about the Gateway."""
    watch.ready()
    watch.advance(1.9)
    watch.health.handle_timer(watch.now + 0.2)
    assert watch.health.take_probe()
    watch.health.probe_queued()

    watch.advance(30.0)
    waited = watch.health.state
    watch.health.probe_sent(watch.now)
    watch.advance(1.1)

    assert (waited, watch.health.state) == (GatewayState.READY, GatewayState.DEGRADED)


def test_a_night_of_dialling_in_vain_is_told_once(watch: Watch):
    """Each reason once, however often we dial; the outage keeps its beginning until the session is ready again."""
    watch.ready().advance(0.5)
    watch.effects.clear()
    watch.health.session_closed("connection reset", watch.now)
    began = watch.now
    for reason in ("nothing listens there",) * 5 + ("time-out",) * 2:
        watch.advance(10.0)
        watch.health.session_failed(reason, True, watch.now)
        watch.settle()
    outage = watch.health.body(lambda t: t)["outage"]
    loud = [e.fields["reason"] for e in watch.effects if isinstance(e, fx.Log) and e.level == "warning"]
    watch.advance(10.0)
    watch.ready()

    assert loud == ["connection reset", "nothing listens there", "time-out"]
    assert outage == {"since_ns": began, "reason": "time-out", "dials": 7}
    assert watch.health.body(lambda t: t)["outage"] is None


def test_storm_of_1100_is_one_transition(watch: Watch):
    """Counters and logs stay quiet in a bad night."""
    watch.ready()
    watch.effects.clear()

    for _ in range(300):
        watch.notice(1100, "Connectivity lost")

    assert len([e for e in watch.effects if isinstance(e, fx.Log) and e.event == "gateway state"]) == 1


def test_farm_flap_degrades_and_heals_without_touching_orders(watch: Watch):
    """A broken farm touches no order; another farm's recovery does not heal it."""
    watch.ready()

    watch.notice(2103, "Market data farm connection is broken:usfarm")
    watch.notice(2104, "Market data farm connection is OK:usopt")
    assert (watch.health.state, watch.health.reason) == (GatewayState.DEGRADED, "farm down: usfarm")
    assert watch.health.may_open_orders == (True, "")

    watch.notice(2104, "Market data farm connection is OK:usfarm")
    assert watch.health.state is GatewayState.READY


def test_blocked_loop_is_our_own_fault_and_says_so(watch: Watch):
    """A loop that came late is not called a silent Gateway."""
    watch.ready()

    watch.health.loop_lagged(3.0, watch.now)
    assert (watch.health.state, watch.health.verdict) == (GatewayState.DEGRADED, Verdict.PROXY_STALLED)

    watch.health.loop_lagged(0.01, watch.now)
    assert watch.health.state is GatewayState.READY


@pytest.mark.parametrize(
    ("trouble", "request_class", "verdict"),
    [
        ((1100, "lost"), "quote", Verdict.UPSTREAM_LOST),
        ((2105, "HMDS data farm connection is broken:ushmds"), "history_large", Verdict.FARM_DOWN),
        ((2105, "HMDS data farm connection is broken:ushmds"), "contract", Verdict.GATEWAY_SILENT),
        ((2103, "Market data farm connection is broken:usfarm"), "quote", Verdict.FARM_DOWN),
        (None, "history_small", Verdict.HISTORY_SILENT),
    ],
)
def test_timed_out_request_gets_the_cause_that_the_session_shows(
    watch: Watch, trouble: tuple[int, str] | None, request_class: str, verdict: Verdict
):
    """The farm of its own class, the lost link, or history alone (rule book 10.5)."""
    watch.ready()
    if trouble is not None:
        watch.notice(*trouble)

    assert watch.health.why_silent(request_class, watch.now, watch.now) is verdict


def test_session_with_too_much_garbage_is_dropped_once(watch: Watch):
    """A stream out of step never comes back into it."""
    watch.ready()

    for _ in range(30):
        watch.health.decode_failed("frame", watch.now)
    watch.settle()

    assert len(watch.drops()) == 1


def test_probe_that_found_no_room_in_the_queue_is_tried_again(watch: Watch):
    """A full queue must not end probing."""
    watch.ready().advance(0.5)
    watch.health.probe_refused(watch.now)
    watch.probes.clear()

    watch.advance(2.0)

    assert len(watch.probes) == 1
