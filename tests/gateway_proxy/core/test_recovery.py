"""The recovery ladder: what is broken is repaired, nothing else is touched."""

from itertools import product

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core.recovery import LADDER, Recovery, RecoverySettings, Rung, Sign
from gateway_proxy.core.verdict import Verdict


class Shop:
    """A ladder with a clock and an order path that may be busy."""

    def __init__(self, **settings):
        self.busy = False
        self.now = 1_000.0
        self.ladder = Recovery(RecoverySettings(**settings), lambda: self.busy)

    def dead(self, name="bars/SPY/1min/", *, others_live=False, kind="bars"):
        return self.ladder.dead(kind, name, others_live=others_live, now=self.now)

    def performed(self):
        return [effect for effect in self.ladder.effects() if not isinstance(effect, fx.Log)]


def test_every_step_has_a_next_one():
    """The table is total: whatever was tried, every sign leads somewhere."""
    assert set(LADDER) == set(product(Rung, Sign))


def test_the_ladder_is_climbed_one_rung_at_a_time():
    """Stream, class, session; without IBC the session rung waits its time and the class is asked for meanwhile."""
    shop = Shop()

    tried = [shop.dead() for _ in range(4)]

    assert tried == [Rung.STREAM, Rung.CLASS, Rung.SESSION, Rung.CLASS]
    assert [type(effect) for effect in shop.performed()] == [fx.Disconnect]


def test_fresh_data_leads_back_to_the_ground():
    """After a cure the next death begins with the gentlest remedy again."""
    shop = Shop()
    shop.dead()
    shop.dead()

    shop.ladder.fresh("bars", "bars/SPY/1min/")

    assert shop.ladder.rungs() == {}
    assert shop.dead() is Rung.STREAM


def test_a_stream_whose_companions_live_never_moves_others():
    """A halted symbol is asked for again and again, and costs nobody else anything."""
    shop = Shop()

    tried = {shop.dead(others_live=True) for _ in range(20)}

    assert tried == {Rung.STREAM}
    assert shop.performed() == []


def test_streams_that_die_together_climb_together():
    """Three streams die in the same second: each is asked for once before the class is."""
    shop = Shop()
    names = ["bars/A/1min/", "bars/B/1min/", "bars/C/1min/"]

    first = [shop.dead(name) for name in names]
    second = shop.dead(names[0])

    assert first == [Rung.STREAM] * 3
    assert second is Rung.CLASS
    assert set(shop.ladder.rungs().values()) == {"class"}


def test_no_session_is_dropped_while_an_order_is_under_way():
    """The order channel comes first: the class is asked for again until the order has an answer."""
    shop = Shop()
    shop.busy = True
    tried = [shop.dead() for _ in range(5)]
    shop.busy = False
    tried.append(shop.dead())

    assert tried == [Rung.STREAM] + [Rung.CLASS] * 4 + [Rung.SESSION]


def test_sessions_are_dropped_rarely():
    """Two new sessions for dead streams are at least `reconnect_every_s` apart."""
    shop = Shop(reconnect_every_s=600.0)
    dropped = []
    for _ in range(200):
        shop.dead()
        dropped += [shop.now for effect in shop.performed() if isinstance(effect, fx.Disconnect)]
        shop.now += 30.0

    assert len(dropped) >= 9
    assert min(b - a for a, b in zip(dropped, dropped[1:], strict=False)) >= 600.0


def test_ibc_is_asked_only_when_configured_and_rarely():
    """Off by default; with a port the last rung sends one command, and the next one half an hour later."""
    silent, helped = Shop(), Shop(ibc_port=7462)

    for shop in (silent, helped):
        for _ in range(4):
            shop.dead()
    again = helped.dead()

    assert not any(isinstance(effect, fx.CommandGateway) for effect in silent.performed())
    assert helped.performed()[-1] == fx.CommandGateway("RECONNECTDATA")
    assert again is not Rung.PROGRAM
    helped.now += 1_800.0
    assert helped.ladder.command(Verdict.FARM_DOWN, helped.now)


@pytest.mark.parametrize(
    ("cause", "allowed", "sent"),
    [
        (Verdict.UPSTREAM_LOST, ("RECONNECTACCOUNT",), "RECONNECTACCOUNT"),
        (Verdict.GATEWAY_SILENT, ("RESTART",), "RESTART"),
        (Verdict.GATEWAY_SILENT, ("RECONNECTDATA",), None),
        (Verdict.COMPETING_SESSION, ("RECONNECTDATA", "RECONNECTACCOUNT", "RESTART"), None),
    ],
)
def test_each_cause_has_its_cure_and_only_an_allowed_one(cause, allowed, sent):
    """IBC is never asked for what the configuration does not list, nor about what it cannot cure."""
    shop = Shop(ibc_port=7462, ibc_commands=allowed)

    assert shop.ladder.command(cause, shop.now) is (sent is not None)
    assert shop.performed() == ([fx.CommandGateway(sent)] if sent else [])
