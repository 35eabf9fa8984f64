"""Processes start in order, come back when they die, and end in reverse order; every pause and every end is bounded."""

from __future__ import annotations

import itertools
import random

import pytest

from gateway_proxy.core.supervisor import (
    EXIT_CONFIG,
    TRANSITIONS,
    Effect,
    Finish,
    Kill,
    LauncherSettings,
    Phase,
    Program,
    Say,
    Start,
    Supervisor,
    Terminate,
    Trigger,
)

PROGRAMS = (
    Program("simulator"),
    Program("proxy", after=("simulator",)),
    Program("spy", after=("proxy",)),
    Program("qqq", after=("proxy",)),
)
SETTINGS = LauncherSettings(restarts_max=4, stop_s=3.0, ready_timeout_s=20.0, stable_s=60.0)


def deeds(supervisor: Supervisor) -> list[Effect]:
    """The effects without the sentences."""
    return [effect for effect in supervisor.effects() if not isinstance(effect, Say)]


def running(*programs: Program, now: float = 0.0) -> Supervisor:
    """A supervisor whose processes are all ready at `now`."""
    supervisor = Supervisor(programs or PROGRAMS, SETTINGS)
    supervisor.receive_begin(now)
    while started := [effect.name for effect in deeds(supervisor) if isinstance(effect, Start)]:
        for name in started:
            supervisor.receive_ready(name, now)
    return supervisor


def test_each_process_waits_for_those_it_comes_after():
    """The proxy starts when the simulator is ready, the engines when the proxy is; not earlier, not twice."""
    supervisor = Supervisor(PROGRAMS, SETTINGS)

    supervisor.receive_begin(0.0)
    first = deeds(supervisor)
    supervisor.receive_ready("simulator", 1.0)
    second = deeds(supervisor)
    supervisor.receive_ready("simulator", 1.5)
    repeated = deeds(supervisor)
    supervisor.receive_ready("proxy", 2.0)
    third = deeds(supervisor)

    assert first == [Start("simulator", 0)]
    assert second == [Start("proxy", 0)]
    assert repeated == []
    assert third == [Start("spy", 0), Start("qqq", 0)]


def test_pause_before_a_restart_doubles_up_to_the_limit_of_restarts():
    """0.5, 1, 2, 4 s; the next death stops everything with exit code 1 and says why."""
    supervisor = running(Program("proxy"))
    now, pauses_s = 0.0, []

    for _ in range(SETTINGS.restarts_max):
        supervisor.receive_exit("proxy", -9, now)
        due = supervisor.next_timer()
        assert due is not None
        pauses_s.append(due - now)
        assert deeds(supervisor) == []
        supervisor.handle_timer(due)
        assert [type(effect) for effect in deeds(supervisor)] == [Start]
        now = due
    supervisor.receive_exit("proxy", 1, now)
    effects = supervisor.effects()

    assert pauses_s == [0.5, 1.0, 2.0, 4.0]
    assert effects[-1] == Finish(1)
    assert any(isinstance(effect, Say) and "4 restarts did not help" in effect.text for effect in effects)


def test_pause_never_exceeds_its_maximum():
    settings = LauncherSettings(restarts_max=20, restart_max_s=30.0)
    supervisor = Supervisor([Program("proxy")], settings)
    supervisor.receive_begin(0.0)
    now, pauses_s = 0.0, []

    for _ in range(12):
        supervisor.receive_exit("proxy", 1, now)
        due = supervisor.next_timer()
        assert due is not None
        pauses_s.append(due - now)
        supervisor.handle_timer(due)
        now = due

    assert max(pauses_s) == 30.0
    assert pauses_s == sorted(pauses_s)


def test_stable_run_forgets_earlier_deaths():
    """A process that ran for a minute and dies once an hour is restarted for ever, each time after the first pause."""
    supervisor = running(Program("proxy"))
    now = 0.0

    for _ in range(3 * SETTINGS.restarts_max):
        now += SETTINGS.stable_s
        supervisor.receive_exit("proxy", -11, now)
        due = supervisor.next_timer()
        assert due == now + SETTINGS.restart_s
        supervisor.handle_timer(due)
        supervisor.receive_ready("proxy", due)
        now = due

    assert all(not isinstance(effect, Finish) for effect in supervisor.effects())


def test_death_of_the_proxy_touches_nothing_else():
    """Engines and simulator live on; they find the new proxy by themselves."""
    supervisor = running()

    supervisor.receive_exit("proxy", -9, 10.0)
    supervisor.handle_timer(10.5)
    after_death = deeds(supervisor)
    supervisor.receive_ready("proxy", 11.0)

    assert after_death == [Start("proxy", 1)]
    assert deeds(supervisor) == []


def test_wrong_configuration_is_never_retried():
    """Exit code 2 stops the others in order and becomes the exit code of the whole."""
    supervisor = Supervisor(PROGRAMS, SETTINGS)
    supervisor.receive_begin(0.0)
    supervisor.receive_ready("simulator", 1.0)
    supervisor.effects()

    supervisor.receive_exit("proxy", EXIT_CONFIG, 2.0)
    first = deeds(supervisor)
    supervisor.receive_exit("simulator", -15, 2.1)

    assert first == [Terminate("simulator")]
    assert deeds(supervisor) == [Finish(EXIT_CONFIG)]


def test_process_that_never_gets_ready_is_killed_and_tried_again():
    supervisor = Supervisor([Program("proxy")], SETTINGS)
    supervisor.receive_begin(0.0)
    supervisor.effects()

    assert supervisor.next_timer() == SETTINGS.ready_timeout_s
    supervisor.handle_timer(SETTINGS.ready_timeout_s)
    killed = deeds(supervisor)
    supervisor.receive_exit("proxy", -9, 20.1)
    supervisor.handle_timer(20.6)

    assert killed == [Kill("proxy")]
    assert deeds(supervisor) == [Start("proxy", 1)]


def test_a_process_that_falls_silent_is_killed_and_comes_back():
    """It said that its loop turned and stopped saying so: it hangs. Its death then is like any other."""
    supervisor = running()
    supervisor.receive_alive("proxy", 5.0)
    supervisor.receive_alive("proxy", 6.0)

    for second in range(6, 66):
        supervisor.handle_timer(float(second))
    early = supervisor.effects()
    supervisor.handle_timer(66.0)
    killed = supervisor.effects()
    supervisor.receive_exit("proxy", -9, 66.1)
    supervisor.handle_timer(67.0)

    assert early == []
    assert killed == [Say("proxy", "silent for 60 s: killed", warning=True), Kill("proxy")]
    assert [effect for effect in deeds(supervisor) if isinstance(effect, Start)] == [Start("proxy", 1)]


def test_a_process_that_never_spoke_may_be_silent():
    """The simulator and the monitor send no sign of life; nobody waits for one."""
    supervisor = running()

    assert supervisor.next_timer() is None


@pytest.mark.parametrize("wakes_at", [64.5, 65.0, 65.5, 66.5, 3_600.0])
def test_nobody_is_called_silent_by_a_launcher_that_slept_itself(wakes_at):
    """Stopped together at 50 s with the limit at 65 s: whenever it wakes, everybody gets the whole time again."""
    supervisor = running()
    supervisor.receive_alive("proxy", 5.0)
    for second in range(6, 51):
        supervisor.handle_timer(float(second))

    supervisor.handle_timer(wakes_at)
    for number in range(1, 60):
        supervisor.handle_timer(wakes_at + number)

    assert supervisor.effects() == []
    supervisor.handle_timer(wakes_at + 60.0)
    assert Kill("proxy") in supervisor.effects()


def test_the_clock_is_looked_at_every_second_while_somebody_is_watched():
    """Otherwise a gap could not be told from a wait."""
    supervisor = running()
    supervisor.receive_alive("proxy", 5.0)
    first = supervisor.next_timer()
    supervisor.handle_timer(6.0)

    assert (first, supervisor.next_timer()) == (6.0, 7.0)


def test_signs_of_life_can_be_ignored():
    """Somebody looks into a process with a debugger."""
    supervisor = Supervisor((Program("proxy"),), LauncherSettings(hang_s=0.0))
    supervisor.receive_begin(0.0)
    supervisor.receive_ready("proxy", 1.0)

    supervisor.receive_alive("proxy", 2.0)

    assert supervisor.next_timer() is None


def test_program_that_cannot_be_started_counts_as_dead():
    supervisor = Supervisor([Program("proxy")], SETTINGS)
    supervisor.receive_begin(0.0)
    supervisor.effects()

    supervisor.receive_start_failed("proxy", "no such file", 0.0)

    assert supervisor.next_timer() == SETTINGS.restart_s


def test_stop_goes_backwards_and_ends_with_exit_code_0():
    """Engines first, simulator last; the next stage is asked when the one before has ended."""
    supervisor = running()

    supervisor.receive_stop(100.0)
    stages = [deeds(supervisor)]
    for name in ("spy", "qqq", "proxy", "simulator"):
        supervisor.receive_exit(name, -15, 100.1)
        stages.append(deeds(supervisor))

    assert stages == [
        [Terminate("spy"), Terminate("qqq")],
        [],
        [Terminate("proxy")],
        [Terminate("simulator")],
        [Finish(0)],
    ]


def test_stuck_engine_does_not_use_up_the_time_of_the_proxy():
    """Three stages share three seconds: after one, the stuck engine is killed and the proxy is asked politely."""
    supervisor = running()
    supervisor.receive_stop(100.0)
    supervisor.receive_exit("qqq", 0, 100.1)
    supervisor.effects()

    due = supervisor.next_timer()
    supervisor.handle_timer(101.0)
    killed = deeds(supervisor)
    supervisor.receive_exit("spy", -9, 101.1)

    assert due == 101.0
    assert killed == [Kill("spy")]
    assert deeds(supervisor) == [Terminate("proxy")]


def test_second_wish_to_stop_kills_at_once():
    supervisor = running()
    supervisor.receive_stop(100.0)
    supervisor.effects()

    supervisor.receive_stop(100.2)
    killed = deeds(supervisor)
    for name in ("simulator", "spy", "proxy", "qqq"):
        supervisor.receive_exit(name, -9, 100.3)

    assert {effect.name for effect in killed if isinstance(effect, Kill)} == {"simulator", "proxy", "spy", "qqq"}
    assert deeds(supervisor) == [Finish(0)]


def test_stop_during_a_pause_starts_nothing_again():
    supervisor = running(Program("proxy"))
    supervisor.receive_exit("proxy", -9, 10.0)

    supervisor.receive_stop(10.1)

    assert deeds(supervisor) == [Finish(0)]
    assert supervisor.next_timer() is None


def test_process_that_cannot_even_be_killed_does_not_hold_the_end():
    """It waits for a disk, say. The launcher says so and ends; it does not ask again and again."""
    supervisor = running(Program("proxy"))
    supervisor.receive_stop(100.0)

    calls = 0
    while (due := supervisor.next_timer()) is not None:
        supervisor.handle_timer(due)
        calls += 1

    assert calls == 2
    assert deeds(supervisor) == [Terminate("proxy"), Kill("proxy"), Finish(0)]


def test_nothing_to_run_finishes_on_stop():
    supervisor = Supervisor([], SETTINGS)
    supervisor.receive_begin(0.0)

    supervisor.receive_stop(1.0)

    assert deeds(supervisor) == [Finish(0)]


@pytest.mark.parametrize("programs", [[Program("a", after=("b",))], [Program("a"), Program("a")]])
def test_programs_out_of_order_are_refused(programs):
    with pytest.raises(ValueError, match="a: "):
        Supervisor(programs, SETTINGS)


@pytest.mark.parametrize(("phase", "trigger"), sorted(itertools.product(Phase, Trigger), key=str))
def test_every_pair_goes_where_the_table_says_or_raises_and_changes_nothing(phase, trigger):
    supervisor = Supervisor([Program("proxy")], SETTINGS)
    process = supervisor._processes["proxy"]
    process.phase = phase

    if (phase, trigger) in TRANSITIONS:
        supervisor._step(process, trigger)
        assert process.phase is TRANSITIONS[phase, trigger]
    else:
        with pytest.raises(AssertionError):
            supervisor._step(process, trigger)
        assert process.phase is phase


@pytest.mark.parametrize("seed", range(40))
def test_random_lives_keep_one_instance_each_and_end_within_the_stop_time(seed):
    """Whatever happens, a process is never started while it lives, and the whole ends in time. Seed: the parameter."""
    chance = random.Random(seed)
    supervisor = Supervisor(PROGRAMS, SETTINGS)
    alive: set[str] = set()
    now, stopped_at, finished = 0.0, None, None
    supervisor.receive_begin(now)

    for _ in range(400):
        for effect in supervisor.effects():
            if isinstance(effect, Start):
                assert effect.name not in alive
                alive.add(effect.name)
            elif isinstance(effect, Finish):
                finished = now
        if finished is not None:
            break
        due = supervisor.next_timer()
        step = chance.choice(["ready", "exit", "wait", "wait", "stop" if chance.random() < 0.05 else "wait"])
        if step == "wait" and due is not None:
            now = max(now, due)
            supervisor.handle_timer(now)
        elif step == "stop":
            stopped_at = now if stopped_at is None else stopped_at
            supervisor.receive_stop(now)
        elif alive and step in ("ready", "exit"):
            name = chance.choice(sorted(alive))
            if step == "ready":
                supervisor.receive_ready(name, now)
            else:
                alive.remove(name)
                supervisor.receive_exit(name, chance.choice([0, 1, -9]), now)
        now += chance.random() * 0.01

    if stopped_at is not None and finished is not None:
        assert finished - stopped_at < SETTINGS.stop_s + 3 + 1
