"""Stale data never trades: an opening order may say on which message it was decided, and is held to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_proxy.bus.messages import Citation, PlaceArgs
from gateway_proxy.core.citations import REMEMBERED_MAX, Told, is_citable
from gateway_proxy.core.risk import Limits, RiskSettings
from tests.gateway_proxy.core.order_world import EPOCH, OrderWorld, bracket, single

BARS = "bars/SPY/1min/"


def cited(seq: int = 3, topic: str = BARS, epoch: str = EPOCH) -> tuple[Citation, ...]:
    return (Citation(topic, seq, epoch),)


def world_with(risk: RiskSettings | None = None) -> OrderWorld:
    """Bars 1 to 5 were told, ten seconds apart, the last one now."""
    world = OrderWorld(risk=risk or RiskSettings(max_data_age_s=60.0)).start()
    for seq in range(1, 6):
        world.told.note(BARS, seq, world.now - 10.0 * (5 - seq))
    return world


@pytest.mark.parametrize(
    ("cites", "words"),
    [
        (cited(5), ""),
        (cited(1), ""),
        (cited(6), "bars/SPY/1min/ 6 is not among the last 5 messages of its topic, 1 to 5"),
        (cited(5, epoch="life-0"), "told by another life of the proxy (life-0, this one is life-1)"),
        (cited(5, topic="quote/SPY/"), "nothing was told on quote/SPY/"),
        (cited(5, topic="health/gateway/"), "cite a message of a bars/, quote/ or chain/ topic"),
        ((*cited(5), *cited(9)), "bars/SPY/1min/ 9 is not among"),
    ],
)
def test_a_citation_must_name_a_message_of_this_life(cites, words):
    """What was told and is young passes; anything else is refused with what was cited and what there is."""
    world = world_with()

    request = world.ask("order.bracket", bracket(cites=cites))

    if words:
        assert (world.answer(request), words in str(world.reply(request).error)) == ("refused", True)
    else:
        assert world.answer(request) == "accepted"


@pytest.mark.parametrize(("age_s", "answer"), [(60.0, "accepted"), (60.1, "refused")])
def test_data_may_be_as_old_as_the_limit_and_no_older(age_s, answer):
    """The refusal names limit, message, age and cap."""
    world = world_with()
    world.told.note("bars/QQQ/1min/", 1, world.now - age_s)

    request = world.ask("order.place", single(cites=cited(1, topic="bars/QQQ/1min/")))

    assert world.answer(request) == answer
    if answer == "refused":
        told = "limit max_data_age_s (global): bars/QQQ/1min/ 1 is 60.1 s old, more than 60"
        assert told in str(world.reply(request).error)


def test_an_order_that_waited_for_pacing_is_asked_again_before_it_is_written():
    """Young when it arrived and old when its turn comes is old."""
    world = world_with(RiskSettings(max_data_age_s=2.0))
    world.pacing_open = False
    request = world.ask("order.place", single(cites=cited(5)))

    world.advance(3.0)
    world.grant_held()

    assert world.answer(request) == "expired"
    assert "max_data_age_s" in world.blotter.register.orders["p1"].reason
    assert world.placements() == []


def test_a_stream_that_died_since_takes_its_orders_with_it():
    """The newest bar of a stream in doubt is not the market."""
    faults = {BARS: "has not shown life since an outage"}
    told = Told(lambda topic: faults.get(topic, ""))
    told.epoch = EPOCH
    told.note(BARS, 1, 0.0)

    assert told.fault(*cited(1)) == "bars/SPY/1min/ has not shown life since an outage"
    faults.clear()
    assert told.fault(*cited(1)) == ""


def test_orders_that_only_reduce_need_no_data():
    """Nobody is locked into a position because the data stopped."""
    world = world_with(RiskSettings(require_citation=True))
    world.ask("order.place", single(cites=cited(5)))
    world.gateway.fill(world.order_ids("p1")[0])
    world.run()

    for name, cites in (("bare", ()), ("old", cited(5, epoch="life-0"))):
        closing = single(name, action="SELL", quantity=1, cites=cites)
        assert world.answer(world.ask("order.place", closing)) == "accepted"


@pytest.mark.parametrize("where", ["global", "engine scalp", "account DU1"])
def test_a_citation_can_be_demanded_of_all_or_of_one(where):
    """Without one the refusal says what is missing and who demands it."""
    scope, _, name = where.partition(" ")
    demand = Limits(require_citation=True)
    settings = {
        "global": RiskSettings(require_citation=True),
        "engine": RiskSettings(engines={name: demand}),
        "account": RiskSettings(accounts={name: demand}),
    }[scope]
    world = world_with(settings)

    request = world.ask("order.place", single("bare"))

    assert f"limit require_citation ({where})" in str(world.reply(request).error)
    assert world.answer(world.ask("order.place", single(cites=cited(5)))) == "accepted"
    other = world.ask("order.place", single("other", engine="other"))
    assert (world.answer(other) == "accepted") == (scope == "engine")


def test_the_tightest_age_binds():
    """An engine can be held to younger data, never to older."""
    world = world_with(RiskSettings(max_data_age_s=60.0, engines={"scalp": Limits(max_data_age_s=5.0)}))

    tight = world.ask("order.place", single(cites=cited(4)))
    loose = world.ask("order.place", single("p2", engine="other", cites=cited(4)))

    assert "max_data_age_s (engine scalp)" in str(world.reply(tight).error)
    assert world.answer(loose) == "accepted"


def test_the_same_order_decided_on_other_messages_is_the_same_order():
    """A restarted engine derives the same id and cites what it heard in its new life."""
    world = world_with()
    first = world.ask("order.place", single(cites=cited(4)))
    again = world.ask("order.place", single(cites=cited(5, epoch="life-0")))

    assert [world.answer(one) for one in (first, again)] == ["accepted", "accepted"]
    assert len(world.placements()) == 1


def test_the_journal_keeps_what_an_order_was_decided_on():
    """For whoever asks afterwards why it was sent; journals of before say nothing and are read all the same."""
    world = world_with()
    world.ask("order.place", single(cites=cited(4)))
    [intent] = [one for one in world.journal if one["kind"] == "intent"]
    told = list(intent["body"]["cites"])
    world.crash()
    world.start()

    assert told == [{"topic": BARS, "seq": 4, "epoch": EPOCH}]
    assert world.blotter.register.orders["p1"].cites == cited(4)
    del intent["body"]["cites"]
    world.crash()
    world.start()
    assert world.blotter.register.orders["p1"].cites == ()


def test_memory_of_what_was_told_is_bounded():
    """Beyond the last messages of a topic nothing is known, and nothing may be opened on it."""
    told = Told()
    for seq in range(1, REMEMBERED_MAX + 2):
        told.note(BARS, seq, float(seq))

    oldest, gone = Citation(BARS, 2, ""), Citation(BARS, 1, "")
    assert (told.fault(oldest), told.age_s(oldest, 66.0)) == ("", 64.0)
    assert "not among the last 64 messages" in told.fault(gone)


def test_only_data_can_be_cited():
    """Health says how things are, not what the market does."""
    assert [is_citable(topic) for topic in (BARS, "quote/SPY/", "chain/SPY/", "fills/", "health/bus/")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_arguments_without_citation_are_what_they_were():
    """The field is optional and empty for clients that do not know it."""
    assert PlaceArgs("e", "c", "SPY", "BUY", 1, "MKT").cites == ()
    assert replace(single(), cites=cited()).cites[0].seq == 3
