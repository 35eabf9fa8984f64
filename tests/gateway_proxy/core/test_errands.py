"""Errands: each is advanced when what it waits for changed, and sends exactly one reply."""

from __future__ import annotations

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core.errands import ERRANDS_MAX, ERRANDS_PER_OWNER_MAX, Errand, Errands
from gateway_proxy.errors import NoData


class Steps(Errand):
    """Goes through the given steps: a set of keys to wait for, or an end."""

    def __init__(self, name: str, steps: list[frozenset[str] | str | Exception], deadline: float = 10.0) -> None:
        super().__init__("client", name, deadline)
        self.steps = steps
        self.abandoned = 0

    def advance(self, now: float) -> fx.Reply | frozenset[str]:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, frozenset) else fx.Reply(self.client, self.request_id, body=step)

    def abandon(self, now: float) -> None:
        self.abandoned += 1


def keys(*names: str) -> frozenset[str]:
    return frozenset(names)


@pytest.fixture
def errands() -> Errands:
    return Errands(lambda names: "queued" in names)


def replies(errands: Errands) -> list[fx.Reply]:
    return [effect for effect in errands.effects() if isinstance(effect, fx.Reply)]


def test_only_what_was_waited_for_wakes_it(errands: Errands):
    """Two steps, then the reply; what it held is given back once."""
    errand = Steps("1", [keys("a"), keys("b"), "done"])
    errands.add(errand, 0.0)

    for key in ("b", "a", "a", "b"):
        errands.wake(key)
        errands.run(1.0)

    assert [reply.body for reply in replies(errands)] == ["done"]
    assert (len(errands), errand.abandoned) == (0, 1)


def test_error_is_the_reply(errands: Errands):
    """A refusal on the way is typed and final."""
    errands.add(Steps("1", [NoData("nothing there")]), 0.0)

    (reply,) = replies(errands)
    assert isinstance(reply.error, NoData)


@pytest.mark.parametrize(("key", "code"), [("queued", "expired"), ("asked", "gateway_timeout")])
def test_late_errand_says_whether_it_waited_in_our_queue_or_for_the_gateway(errands: Errands, key: str, code: str):
    """Queue wait and Gateway time are never mixed."""
    errand = Steps("1", [keys(key)])
    errands.add(errand, 0.0)

    errands.handle_timer(10.0)
    errands.wake(key)
    errands.run(11.0)

    (reply,) = replies(errands)
    assert (reply.error.code if reply.error else "", errand.abandoned) == (code, 1)


def test_appointed_time_advances_it(errands: Errands):
    """And is kept only once."""
    errand = Steps("1", [keys("a"), "settled"])
    errand.wake_at = 3.0
    errands.add(errand, 0.0)
    assert errands.next_timer() == 3.0

    errands.handle_timer(3.0)

    assert [reply.body for reply in replies(errands)] == ["settled"]


def test_lost_session_answers_everybody_once(errands: Errands):
    """Without a session nothing can be found out."""
    for name in "123":
        errands.add(Steps(name, [keys("a")]), 0.0)

    errands.session_lost("cut", 1.0)
    errands.session_lost("cut", 1.0)

    assert [reply.error.code for reply in replies(errands) if reply.error] == ["gateway_unavailable"] * 3
    assert errands.next_timer() is None


def test_one_too_many_is_refused_at_once(errands: Errands):
    """Those under way go on."""
    for number in range(ERRANDS_MAX + 1):
        errands.add(Steps(str(number), [keys("a"), "done"]), 0.0)

    (refusal,) = replies(errands)
    assert refusal.error is not None and refusal.error.code == "queue_full"
    assert len(errands) == ERRANDS_MAX


def test_flood_of_one_owner_leaves_room_for_the_others(errands: Errands):
    """The flooder is refused by name at its own limit; another owner is served."""
    for number in range(ERRANDS_PER_OWNER_MAX + 1):
        errands.add(Steps(str(number), [keys("a")]), 0.0, "flooder")
    errands.add(Steps("other", [keys("b"), "done"]), 0.0, "other")
    errands.wake("b")
    errands.run(0.0)

    refused, served = replies(errands)
    assert refused.error is not None and refused.error.code == "queue_full"
    assert "flooder" in str(refused.error)
    assert served.body == "done"


def test_timer_set_anew_by_a_step_is_the_one_that_counts(errands: Errands):
    """An errand that was woken and waits longer is not called at its old time."""

    class Napping(Steps):
        def advance(self, now: float) -> fx.Reply | frozenset[str]:
            self.wake_at = now + 1.0 if self.steps[1:] else None
            return super().advance(now)

    errands.add(Napping("1", [keys("a"), keys("a"), "done"]), 0.0)
    first = errands.next_timer()
    errands.wake("a")
    errands.run(0.5)
    second = errands.next_timer()
    errands.handle_timer(1.5)

    assert (first, second) == (1.0, 1.5)
    assert [reply.body for reply in replies(errands)] == ["done"]
