"""The order table, exhaustively: every pair of state and event, every pair of change and change event."""

from __future__ import annotations

import itertools

import pytest

from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.orders import (
    ALIVE,
    CHANGES,
    POSSIBLY_LIVE,
    TERMINAL,
    TRANSITIONS,
    Change,
    ChangeEvent,
    Event,
    Execution,
    ImpossibleTransition,
    Leg,
    State,
    follow_change,
)
from tests.gateway_proxy.core.order_world import SPY
from tests.support import order_diagram

EVIDENCE = {Event.ACKNOWLEDGE, Event.PART_FILL, Event.FILL, Event.CANCEL, Event.REJECT, Event.FORK}


def leg_in(state: State, quantity: int = 10) -> Leg:
    ticket = OrderTicket(1, SPY.contract, "DU1", "BUY", quantity, "LMT", 10.0, None, "DAY", "g1aaaaaaaaaaaaaaaaE")
    return Leg("entry", ticket, state=state)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_every_pair_goes_where_the_table_says_or_raises_and_changes_nothing(state, event):
    """No third possibility, for all states and events."""
    leg = leg_in(state)
    target = TRANSITIONS.get((state, event))

    if target is None:
        with pytest.raises(ImpossibleTransition, match=state.value):
            leg.advance(event)
    else:
        assert leg.advance(event) is (target is not state)

    assert leg.state is (target or state)


@pytest.mark.parametrize(("change", "event"), list(itertools.product(Change, ChangeEvent)))
def test_every_change_goes_where_its_table_says_or_raises(change, event):
    """Cancels and modifications obey a table as well."""
    if (change, event) in CHANGES:
        assert follow_change(change, event) is CHANGES[change, event]
    else:
        with pytest.raises(ImpossibleTransition):
            follow_change(change, event)


@pytest.mark.parametrize("state", list(State))
def test_a_notice_never_moves_an_order(state):
    """A warning once ended a live order in another library, and it was sent again fifteen times (A1)."""
    assert TRANSITIONS[state, Event.NOTICE] is state


@pytest.mark.parametrize("state", [one for one in State if one not in (State.REFUSED, State.INTENT)])
def test_evidence_from_ib_is_never_impossible(state):
    """Whatever IB says about an order that may have been written has a row: the proxy cannot be crashed by news."""
    assert {event for event in EVIDENCE if (state, event) not in TRANSITIONS} == set()


def test_only_the_fence_makes_an_order_not_placed():
    """The one way there is conclusive absence, and only from unknown."""
    sources = {(state, event) for (state, event), target in TRANSITIONS.items() if target is State.NOT_PLACED}

    assert sources - {(State.NOT_PLACED, Event.NOTICE), (State.NOT_PLACED, Event.ABSENCE)} == {
        (State.UNKNOWN, Event.ABSENCE)
    }


def test_losing_sight_of_an_order_never_ends_it():
    """A time-out, a crash or a lost link leads to unknown and nowhere else."""
    targets = {target for (_, event), target in TRANSITIONS.items() if event is Event.LOSE}

    assert targets == {State.UNKNOWN}


def test_an_order_is_unsent_only_before_ib_could_have_seen_it():
    """Withdrawing is possible from intent, and from sending only because the journal refused the permission."""
    sources = {state for (state, event) in TRANSITIONS if event is Event.WITHDRAW}

    assert sources == {State.INTENT, State.SENDING}


def test_life_after_a_proven_end_is_an_alarm_not_a_revival():
    """Only late leads back; no ended order is quietly working again."""
    for state in TERMINAL - {State.FILLED, State.REFUSED}:
        assert TRANSITIONS[state, Event.ACKNOWLEDGE] is State.LATE


def test_a_fill_counts_from_every_state_in_which_bytes_may_be_out():
    """Cancel and fill race; the fill wins (A12)."""
    for state in POSSIBLY_LIVE | {State.CANCELLED}:
        if state is not State.INTENT:
            assert TRANSITIONS[state, Event.FILL] is State.FILLED


def test_every_state_that_waits_can_reach_an_end():
    """No dead ends: from every state a terminal one is reachable."""
    reach = {state: {target for (source, _), target in TRANSITIONS.items() if source is state} for state in State}
    for state in State:
        seen = {state}
        while more := {target for one in seen for target in reach[one]} - seen:
            seen |= more
        assert seen & TERMINAL


def test_states_are_sorted_into_ended_and_possibly_live():
    """Risk is reserved for exactly the states that have not ended."""
    assert set(State) == TERMINAL | POSSIBLY_LIVE
    assert not TERMINAL & POSSIBLY_LIVE
    assert ALIVE < POSSIBLY_LIVE


def test_filled_quantity_is_the_greater_of_executions_and_reports_and_never_more_than_ordered():
    """Statuses may run ahead of executions or lag behind; neither makes a fill disappear."""
    leg = leg_in(State.WORKING, quantity=10)
    seen: list[tuple[float, Event]] = []

    leg.executions["1"] = Execution("1.01", 4, 10.0, 0)
    seen.append((leg.filled, leg.fill_event()))
    leg.reported_filled = 7
    seen.append((leg.filled, leg.fill_event()))
    leg.executions["2"] = Execution("2.01", 60, 11.0, 0)
    seen.append((leg.filled, leg.fill_event()))

    assert seen == [(4, Event.PART_FILL), (7, Event.PART_FILL), (10, Event.FILL)]
    assert leg.average_price == pytest.approx((4 * 10 + 60 * 11) / 64)


def test_the_drawing_in_the_documentation_is_the_table():
    """docs/orders.md is generated; `python -m tests.support.order_diagram` renews it."""
    assert order_diagram.PAGE.read_text() == order_diagram.page_with_drawing()
