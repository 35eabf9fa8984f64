"""Tickets: prices on the grid, exits on their sides, references that survive everything."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies

from gateway_proxy.bus.messages import BracketArgs, Contract, PlaceArgs
from gateway_proxy.core.identifiers import (
    ORDER_ID_MAX,
    OrderIds,
    execution_stem,
    is_ours,
    order_reference,
    payload_hash,
)
from gateway_proxy.core.tickets import (
    Expiry,
    bracket_fault,
    fault_of,
    multiplier_of,
    nearest_on_grid,
    off_grid,
    risk_of,
    tickets_of,
)
from gateway_proxy.errors import Refused
from tests.gateway_proxy.core.order_world import CALL, SPY, bracket, single

PRICES = strategies.floats(0.01, 99_999.0).map(lambda price: round(price, 4))
TICKS = strategies.sampled_from([0.01, 0.05, 0.1, 0.25, 0.0001, 1.0])


@given(price=PRICES, tick=TICKS)
def test_the_nearest_valid_price_is_valid_and_nearest(price, tick):
    """What a refusal suggests is accepted, and no other grid price is closer."""
    valid = nearest_on_grid(price, tick)

    assert off_grid("limit_price", max(valid, tick), ((0.0, tick),)) is None
    assert abs(valid - price) <= tick / 2 + 1e-9


@pytest.mark.parametrize(("price", "tick"), [(0.3, 0.1), (600.15, 0.05), (4521.25, 0.25), (1.1, 0.01), (0.07, 0.01)])
def test_binary_fractions_do_not_make_a_valid_price_invalid(price, tick):
    """0.3 is on the grid of 0.1, although 0.3 % 0.1 is not 0."""
    assert off_grid("limit_price", price, ((0.0, tick),)) is None


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (bracket(take_profit=10.0), "take_profit 10 must be above limit_price 10 of a BUY"),
        (bracket(take_profit=9.5), "must be above"),
        (bracket(stop_loss=10.0), "stop_loss 10 must be below limit_price 10 of a BUY"),
        (bracket(stop_loss=10.5), "must be below"),
        (bracket(action="SELL"), "take_profit 11 must be below"),
        (bracket(action="SELL", take_profit=9.0), "stop_loss 9 must be above"),
        (bracket(stop_loss=9.001), "stop_loss 9.001 is not on the price grid of 0.01; nearest valid price 9"),
        (bracket(take_profit=11.005), "take_profit"),
        (bracket(limit_price=10.0049), "limit_price"),
    ],
)
def test_a_bracket_that_cannot_be_says_what_would_be_right(args, text):
    """Sides first, then the grid; one sentence a trader understands."""
    assert text in (bracket_fault(args, ((0.0, 0.01),)) or "")


def test_a_short_bracket_is_the_mirror_of_a_long_one():
    """Exits buy back: profit below, stop above."""
    args = bracket(action="SELL", take_profit=9.0, stop_loss=11.0)

    legs = tickets_of(args, SPY.contract, "DU1", (1, 2, 3), None)

    assert bracket_fault(args, ((0.0, 0.01),)) is None
    assert [ticket.action for _, ticket in legs] == ["SELL", "BUY", "BUY"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (single(limit_price=None), "LMT needs limit_price"),
        (single(order_type="STP", limit_price=None), "STP needs stop_price"),
        (single(order_type="MKT"), "MKT takes no limit_price"),
        (single(stop_price=9.0), "LMT takes no stop_price"),
        (single(order_type="STP LMT"), "needs stop_price"),
        (single(order_type="STP LMT", stop_price=9.999), "stop_price 9.999"),
    ],
)
def test_each_order_type_takes_exactly_its_prices(args, text):
    """Neither a missing price nor one that would be ignored."""
    assert text in (fault_of(args, SPY) or "")


def test_an_option_is_worth_its_multiplier():
    """100 where IB did not say; the risk of a bracket is the way to its stop."""
    from dataclasses import replace

    assert multiplier_of(replace(CALL.contract, multiplier="")) == 100.0
    assert multiplier_of(replace(CALL.contract, multiplier="10")) == 10.0
    assert multiplier_of(SPY.contract) == 1.0
    assert risk_of(bracket(), CALL.contract) == 1.0 * 2 * 100
    assert risk_of(single(), CALL.contract) == 10.0 * 2 * 100


def test_expiry_is_written_in_ibs_utc_form():
    """Seconds, UTC, with the dash that marks it."""
    assert Expiry(1_781_539_199_999_999_999).good_till == "20260615-15:59:59"


@given(
    name=strategies.text(string.printable[:94], min_size=1, max_size=64),
    other=strategies.text(string.printable[:94], min_size=1, max_size=64),
    account=strategies.sampled_from(["DU1", "U1"]),
)
def test_a_reference_is_short_printable_and_one_orders_own(name, other, account):
    """19 lower-case letters and digits; another id, account or leg makes another one; the same makes the same."""
    references = {order_reference(name, account, leg) for leg in ("entry", "take_profit", "stop_loss")}

    assert len(references) == 3
    assert all(is_ours(one) and one.isascii() and one.isalnum() for one in references)
    assert order_reference(name, account, "entry") == order_reference(name, account, "entry")
    assert (order_reference(name, account, "entry") == order_reference(other, account, "entry")) is (name == other)
    assert order_reference(name, account, "entry") != order_reference(name, "DU2", "entry")


@pytest.mark.parametrize("reference", ["", "g1", "mine", "g1" + "a" * 17, "x1" + "a" * 16 + "E"])
def test_foreign_references_are_not_ours(reference):
    """Length, prefix and leg letter must all fit."""
    assert not is_ours(reference)


@pytest.mark.parametrize("change", [{"quantity": 3}, {"limit_price": 10.01}, {"action": "SELL"}, {"engine": "x"}])
def test_any_change_of_the_payload_changes_its_hash(change):
    """And the operation belongs to it."""
    assert payload_hash("order.bracket", bracket()) == payload_hash("order.bracket", bracket())
    assert payload_hash("order.bracket", bracket()) != payload_hash("order.bracket", bracket(**change))
    assert payload_hash("order.bracket", bracket()) != payload_hash("order.place", bracket())


@pytest.mark.parametrize(
    ("args", "digest"),
    [
        (PlaceArgs("scalp", "a", "SPY", "BUY", 1, "LMT", limit_price=599.5), "e818ac75b6b49e55f522ff2843e90bef"),
        (PlaceArgs("scalp", "\u00e9", Contract("SPY", con_id=7), "SELL", 2, "MKT"), "49cc05a431d2fadae66548b032916c19"),
        (BracketArgs("scalp", "b", "SPY", "BUY", 3, 600.0, 601.25, 1e-07), "a508df0667dff067155ab29d8aaf46ed"),
    ],
)
def test_a_repeated_request_is_recognised_by_every_later_version(args, digest):
    """The hash is in the journals of today: one that changed would turn a repetition into a conflict."""
    assert payload_hash("order.place", args) == digest


@pytest.mark.parametrize(
    ("exec_id", "stem"),
    [("0000e0d5.68a1.01.01", "0000e0d5.68a1.01"), ("a.b", "a"), ("plain", "plain"), (".x", ".x")],
)
def test_corrections_share_the_stem_of_their_execution(exec_id, stem):
    """Only what follows the last dot differs."""
    assert execution_stem(exec_id) == stem


def test_order_ids_never_go_down_and_end_with_a_clear_word():
    """Whatever is seen only raises them; at the end of the range they are refused."""
    ids = OrderIds()
    ids.saw(100)
    first = ids.take(3)
    ids.saw(5)
    ids.saw(2**40)
    second = ids.take(1)

    ids.saw(ORDER_ID_MAX - 1)

    assert (first, second) == ((101, 102, 103), (104,))
    with pytest.raises(Refused, match="exhausted"):
        ids.take(2)
    assert ids.take(1) == (ORDER_ID_MAX,)
