"""The judge of the trading days finds what is wrong: each test breaks one thing in a history that was sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest

from gateway_proxy.bus.messages import Bar, Quote
from gateway_proxy.core.effects import Log, Publish, Reply
from gateway_proxy.errors import GatewayUnavailable
from gateway_sim.faults import CATALOGUE
from tests.scenarios.days import FAULTS, HEAL_S, NIGHT, WEEKEND
from tests.scenarios.freshness import HEALS_S, Blow
from tests.scenarios.judge import History, alarms_told_twice, unsound

TOPIC, QUOTE = "bars/SPY/1min/", "quote/SPY/"
NS = 1_000_000_000
START_NS = 1_781_528_400 * NS  # 09:00 in New York on 2026-06-15
OPENS_S, CLOSES_S = 1_800.0, 3_600.0
NEXT_OPENS_S, NEXT_CLOSES_S = 90_000.0, 91_800.0
CUT = Blow("socket_cut", 2_400.0, 2_400.0)


def bar(
    start_s: float, *, complete: bool = False, source: Literal["backfill", "live"] = "live", gap: bool = False
) -> Bar:
    start_ns = START_NS + int(start_s * NS)
    return Bar(start_ns, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1, complete=complete, source=source, gap=gap)


def feed(opens_s: float, closes_s: float) -> list[tuple[float, Publish]]:
    """One session as it should be: an update every 5 s, and each bar finished when the next one begins."""
    told = []
    for at in range(int(opens_s), int(closes_s), 5):
        minute = at - at % 60
        if at == minute and at > opens_s:
            told.append((at + 0.1, Publish(TOPIC, "bar", bar(minute - 60, complete=True))))
        told.append((at + 0.1, Publish(TOPIC, "bar", bar(minute))))
    told.append((closes_s + 7.0, Publish(TOPIC, "bar", bar(closes_s - 60, complete=True))))
    return told


SOUND = History(
    start_ns=START_NS, watched=(30.0, 92_000.0), topics=(TOPIC,),
    sessions=((OPENS_S, CLOSES_S), (NEXT_OPENS_S, NEXT_CLOSES_S)),
    published=feed(OPENS_S, CLOSES_S) + feed(NEXT_OPENS_S, NEXT_CLOSES_S),
    asked={1: 500.0}, replies=((450.0, Reply("client", 1, body={})),),
)  # fmt: skip


def without(history: History, goes: Callable[[float, Bar], bool]) -> History:
    """Some messages never came."""
    return replace(history, published=[(at, one) for at, one in history.published if not goes(at, one.body)])


def silent(after_s: float, until_s: float, *blows: Blow) -> History:
    """No update in between; the bars it swallowed were refilled in time."""
    mute = without(SOUND, lambda at, one: not one.complete and after_s < at < until_s)
    return replace(mute, blows=blows)


def test_a_day_without_faults_is_sound():
    """The judge has nothing to say."""
    assert unsound(SOUND) == []


def test_a_silence_without_a_fault_is_wrong_after_two_updates_are_due():
    """One update that does not come is enough; nothing looks by chance."""
    [wrong] = unsound(silent(2_400.0, 2_404.0))

    assert wrong.startswith(f"{TOPIC}: silent for 10.0 s from 2395.1 s on, and no fault")


def test_a_silence_that_ends_within_its_bound_is_in_order():
    """A cut socket may silence a stream while the Gateway believes that our last session lives."""
    assert unsound(silent(2_400.0, 2_395.0 + HEALS_S["socket_cut"], CUT)) == []


def test_a_silence_that_outlasts_its_bound_is_wrong():
    """The next update came a tenth of a second after it."""
    [wrong] = unsound(silent(2_400.0, 2_400.0 + HEALS_S["socket_cut"], CUT))

    assert "socket_cut ended at 2400.0 s" in wrong


def test_each_kind_has_its_own_bound():
    """What a dead session may take is too long for a stream that IB ended by name."""
    lasts_s = HEALS_S["keepup_dead"] + 5.0

    assert unsound(silent(2_400.0, 2_400.0 + lasts_s, Blow("half_open", 2_400.0, 2_400.0))) == []
    assert unsound(silent(2_400.0, 2_400.0 + lasts_s, Blow("keepup_dead", 2_400.0, 2_400.0)))


def test_what_falls_ill_again_after_it_healed_is_found():
    """Fresh once within the bound is not enough: the second silence is nobody's fault."""
    twice = without(silent(2_400.0, 2_420.0, CUT), lambda at, one: not one.complete and 2_480.0 < at < 2_500.0)

    [wrong] = unsound(twice)
    assert "from 2475.1 s on, and no fault" in wrong


def test_a_fault_that_begins_when_the_silence_is_overdue_excuses_nothing():
    """The stream was dead before."""
    assert unsound(silent(2_380.0, 2_420.0, CUT))


def test_a_fault_that_hurts_no_stream_excuses_no_silence():
    """History may be mute; live bars go on."""
    assert unsound(silent(2_400.0, 2_420.0, Blow("hmds_silent", 2_390.0, 2_450.0)))


@pytest.mark.parametrize("ended_s", [OPENS_S - 1_200.0, OPENS_S - HEALS_S["restart"] - 1.0])
def test_the_night_before_excuses_no_late_opening(ended_s: float):
    """A fault long over: the first bar of the day must come with the first update."""
    [wrong] = unsound(silent(OPENS_S, OPENS_S + 20.0, Blow("restart", ended_s - 60.0, ended_s)))

    assert "from the opening on, silent" in wrong


def test_a_fault_just_before_the_opening_has_the_rest_of_its_bound():
    """Ten seconds of it are over when the market opens."""
    blow = Blow("restart", OPENS_S - 60.0, OPENS_S - 10.0)
    rest_s = HEALS_S["restart"] - 10.0

    assert unsound(silent(OPENS_S, OPENS_S + rest_s - 5.0, blow)) == []
    assert unsound(silent(OPENS_S, OPENS_S + rest_s, blow))


def test_an_opening_of_the_second_day_is_judged_as_the_first():
    """All sessions are looked at."""
    assert len(unsound(silent(NEXT_OPENS_S, NEXT_OPENS_S + 20.0))) == 1


def test_a_stream_that_never_came_back_before_the_close_is_found():
    """Overdue when the session ended."""
    assert unsound(silent(3_300.0, 4_000.0, Blow("socket_cut", 3_300.0, 3_300.0)))


def test_a_stream_whose_time_is_not_up_at_the_close_is_not_judged():
    """Nobody knows whether it would have come."""
    assert unsound(silent(3_580.0, 4_000.0, Blow("socket_cut", 3_580.0, 3_580.0))) == []


def test_silence_at_night_is_none():
    """Between the sessions and before anybody watches nothing is expected."""
    assert unsound(replace(SOUND, watched=(2_000.0, 92_000.0))) == []


@pytest.mark.parametrize(
    "stale",
    [bar(2_340.0), bar(2_400.0, source="backfill"), bar(2_400.0, complete=True, source="live")],
    ids=["of a minute that is over", "answer of history", "finished for want of updates"],
)
def test_what_does_not_live_proves_nothing(stale: Bar):
    """A message in the middle of a silence, but none that shows a living stream."""
    mute = silent(2_420.0, 2_450.0)
    message = (2_435.0, Publish(TOPIC, "bar", stale))
    published = sorted([*mute.published, message], key=lambda one: one[0])

    assert any("silent for 35.0 s" in wrong for wrong in unsound(replace(mute, published=published)))


def test_a_quote_is_judged_by_its_ticks():
    """A second is its rhythm; one that was held back and comes late is not of now."""
    quotes = [(at, Quote("SPY", time_ns=START_NS + at * NS)) for at in range(1_800, 3_600)]
    ticks = [(at + 0.1, Publish(QUOTE, "quote", quote)) for at, quote in quotes]
    sound = replace(SOUND, topics=(QUOTE,), sessions=SOUND.sessions[:1], published=ticks)
    late = [(at + 5.0 if 2_400 < at < 2_404 else at, one) for at, one in ticks]

    assert unsound(sound) == []
    assert len(unsound(replace(sound, published=sorted(late, key=lambda one: one[0])))) == 1


@pytest.mark.parametrize("minute_s", [2_400.0, NEXT_OPENS_S], ids=["inside", "the first of a day"])
def test_a_missing_bar_without_a_mark_is_found(minute_s: float):
    """A hole is told by the bar after it, also after a night."""

    def is_missing(_at: float, one: Bar) -> bool:
        return one.complete and one.start_ns == START_NS + minute_s * NS

    [wrong] = unsound(without(SOUND, is_missing))
    assert "a hidden hole of 1 min" in wrong

    marked = [
        (at, replace(one, body=replace(one.body, gap=True)))
        if one.body.complete and one.body.start_ns == START_NS + (minute_s + 60.0) * NS
        else (at, one)
        for at, one in without(SOUND, is_missing).published
    ]
    assert unsound(replace(SOUND, published=marked)) == []


def test_a_bar_told_twice_is_found():
    """Each finished bar comes once."""
    again = [*SOUND.published, (91_900.0, Publish(TOPIC, "bar", bar(NEXT_CLOSES_S - 60, complete=True)))]

    assert any("twice" in wrong for wrong in unsound(replace(SOUND, published=again)))


@pytest.mark.parametrize(
    ("replies", "word"),
    [
        ((), "0 answers"),
        (((450.0, Reply("client", 1, body={})), (451.0, Reply("client", 1, body={}))), "2 answers"),
        (((501.0, Reply("client", 1, body={})),), "1.0 s late"),
        (((450.0, Reply("client", 1, error=GatewayUnavailable("why?"))),), "has no verdict"),
    ],
    ids=["none", "two", "late", "an error without a verdict"],
)
def test_a_request_ends_once_in_time_and_with_a_reason(replies: tuple[tuple[float, Reply], ...], word: str):
    """Four ways to leave a caller alone."""
    [wrong] = unsound(replace(SOUND, replies=replies))

    assert word in wrong


def test_a_violation_and_an_escalated_outage_are_found():
    """What the Gateway counted, and a human called for a fault of seconds."""
    verdict = Publish("verdicts/", "verdict", {"verdict": "farm_down", "evidence": {"escalated": True}})
    told = replace(SOUND, violations=("message_rate",), published=[*SOUND.published, (91_900.0, verdict)])

    assert unsound(told) == ["violation of message_rate", "a short outage was escalated at 91900 s"]


def test_every_fault_that_is_played_has_a_bound_or_may_not_be_felt():
    """No kind is forgotten in the table, and the next fault comes after the longest bound."""
    played = {name for name, _ in (*FAULTS, NIGHT, WEEKEND)}

    assert played - set(HEALS_S) == {"hmds_silent", "secdef_down"}
    assert set(HEALS_S) <= played <= set(CATALOGUE)
    assert max(HEALS_S.values()) < HEAL_S


# ------------------------------------------------------------ alarms


def dead(at: float, topic: str = TOPIC, level: str = "warning") -> tuple[float, Log]:
    event = "bar stream dead" if topic == TOPIC else "quote line dead"
    return at, Log(level, event, {"topic": topic, "silent_s": 30.0, "tried": "stream"})


def refused(at: float, error: str = "disconnected") -> tuple[float, Log]:
    return at, Log("warning", "bar stream failed", {"topic": TOPIC, "error": error, "code": "gateway_unavailable"})


def stalled(*logs: tuple[float, Log]) -> list[str]:
    """What is wrong beside the silence itself, which lasts from 2,400 s to 2,600 s."""
    told = replace(silent(2_400.0, 2_600.0), logs=logs)
    return [wrong for wrong in unsound(told) if "silent for" not in wrong]


def test_a_stall_may_be_told_once_for_each_reason():
    """Dead, refused, refused in other words: three facts. The next try is information."""
    assert stalled(dead(2_430.0), refused(2_431.0), refused(2_440.0, "no data farm"), dead(2_500.0, level="info")) == []


def test_a_stall_that_is_told_at_every_retry_is_found():
    """One transition, three warnings: the second and the third are one too many."""
    assert len(stalled(dead(2_430.0), dead(2_460.0), dead(2_520.0))) == 2


def test_a_refusal_in_the_same_words_is_found():
    """However far apart the tries are."""
    assert len(stalled(refused(2_430.0), dead(2_460.0), refused(2_590.0))) == 1


def test_a_stream_that_lived_in_between_may_be_told_again():
    """Another stall, and another fault, are news."""
    assert stalled(dead(2_430.0), dead(2_640.0)) == []
    assert unsound(replace(SOUND, blows=(CUT,), logs=(refused(2_399.0), refused(2_401.0)))) == []


def test_the_picture_of_a_dead_quote_is_no_life():
    """Each time the line is asked for again it is answered once; that ends no stall. Ticks that go on do."""

    def ticks(*at_s: float) -> list[tuple[float, Publish]]:
        return [(at, Publish(QUOTE, "quote", Quote("SPY", time_ns=START_NS + int(at * NS)))) for at in at_s]

    night = replace(SOUND, topics=(QUOTE,), sessions=(), logs=(dead(2_460.0, QUOTE), dead(2_580.0, QUOTE)))
    mended = [float(at) for at in range(2_461, 2_500)]

    assert len(unsound(replace(night, published=ticks(2_461.0, 2_461.1)))) == 1
    assert unsound(replace(night, published=ticks(*mended))) == []


def test_an_account_that_spoke_lately_is_not_called_silent():
    """Values came three minutes ago; after more than ten minutes it is another matter."""
    warning = Log("warning", "account values asked for again", {"age_s": 600.0})
    spoke = [*SOUND.published, (91_900.0, Publish("account/", "account", None))]

    assert len(unsound(replace(SOUND, published=spoke, logs=((92_080.0, warning),)))) == 1
    assert unsound(replace(SOUND, published=spoke, logs=((92_501.0, warning),))) == []


def state(before: str, after: str, reason: str = "the socket closed") -> Log:
    level = "info" if after == "ready" else "warning"
    return Log(level, "gateway state", {"from": before, "to": after, "reason": reason})


def test_one_alarm_for_each_outage_is_in_order():
    """The same cause again after all was well is news."""
    fine = [state("ready", "disconnected"), state("disconnected", "ready"), state("ready", "disconnected")]

    assert alarms_told_twice(fine) == []


def test_the_same_alarm_within_one_outage_is_found():
    """Dialing again is not another outage."""
    storm = [state("ready", "disconnected"), state("disconnected", "connecting", "dialing")]
    storm.append(state("connecting", "disconnected"))

    assert len(alarms_told_twice(storm)) == 1


def test_a_transition_that_nobody_told_of_is_found():
    """The chain of states has a break."""
    assert len(alarms_told_twice([state("ready", "disconnected"), state("ready", "degraded")])) == 1
