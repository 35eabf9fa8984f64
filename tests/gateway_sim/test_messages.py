"""Field counts and orders of the messages, per server version, against the numbers of the wire reference."""

import pytest

from gateway_sim import messages, order_messages
from gateway_sim.contracts import ContractQuery
from gateway_sim.order_request import PlaceOrder
from gateway_sim.orders import Execution, Order, Status
from gateway_sim.request_decoders import decode_request
from gateway_sim.wire import FrameReader, WireError, encode, number_text, split_fields
from tests.gateway_sim.direct import Bench, order_fields


def fields(message):
    [payload] = FrameReader().feed(message)
    return split_fields(payload)


@pytest.fixture(scope="module")
def spy():
    return Bench().gateway.floor.book.underlying("SPY")


@pytest.fixture
def order(spy):
    request = PlaceOrder(7, ContractQuery(symbol="SPY"), "BUY", 100.0, "LMT", 599.5, account="DU1")
    return Order(request, spy, 3, 1_700_000_001, 0.0, Status.SUBMITTED)


@pytest.mark.parametrize(("version", "count"), [(157, 128), (163, 131), (173, 136), (176, 136), (177, 135), (178, 135)])
def test_open_order_field_count(order, version, count):
    assert len(fields(order_messages.open_order(version, order))) == count


@pytest.mark.parametrize(("version", "count"), [(157, 96), (170, 101), (176, 101), (177, 100), (178, 100)])
def test_completed_order_field_count(order, version, count):
    order.completed_s = 1_781_535_600
    assert len(fields(order_messages.completed_order(version, order))) == count


@pytest.mark.parametrize(("version", "count"), [(157, 39), (163, 40), (164, 40), (178, 40)])
def test_contract_details_field_count(spy, version, count):
    assert len(fields(messages.contract_details(version, 1, spy, "SMART", "", "", 0))) == count


@pytest.mark.parametrize(("version", "count"), [(157, 31), (177, 31), (178, 32)])
def test_execution_field_count(order, version, count):
    execution = Execution("a.b.01", 1_781_535_600.0, order, 599.5, 100.0, 100.0, 599.5, 1.0, None, "ARCA")
    assert len(fields(order_messages.execution_details(version, -1, execution))) == count


@pytest.mark.parametrize(("version", "count"), [(157, 5), (165, 5), (166, 6), (178, 6)])
def test_error_field_count(version, count):
    assert len(fields(messages.error(version, -1, 2104, "text"))) == count


def test_order_status_field_count(order):
    assert len(fields(order_messages.order_status(order))) == 12


def test_dates_have_a_zone_from_174_on():
    assert messages.stamp(1_781_535_600, 178) == "20260615 11:00:00 America/New_York"
    assert messages.stamp(1_781_535_600, 157) == "20260615  11:00:00"


def test_numbers_never_carry_an_exponent():
    assert number_text(0.00001234) == "0.00001234"
    assert number_text(600.0) == "600.0"
    assert number_text(1.7976931348623157e308) == "1.7976931348623157E308"


def test_a_nul_in_a_text_cannot_forge_a_field():
    assert fields(encode(4, "a\0b", 3)) == ["4", "ab", "3"]


@pytest.mark.parametrize("cut", range(1, 114, 7))
def test_short_place_order_is_refused_at_any_length(cut):
    """A placeOrder that ends early is an error, never an order."""
    whole = fields(encode(*order_fields(1, kind="LMT", limit=500)))
    assert len(whole) == 114

    with pytest.raises(WireError):
        decode_request(whole[:cut], 178)


@pytest.mark.parametrize("place", [2, 17, 19, 27, 28])
@pytest.mark.parametrize("value", ["nan", "inf", "--", "1e400", "0x10", "٣x"])
def test_unreadable_numbers_in_an_order_are_refused(place, value):
    bench = Bench()
    client = bench.connect(1)
    whole = fields(encode(*order_fields(1, kind="LMT", limit=500)))
    whole[place] = value

    client.send(*whole)

    assert client.codes() == [320]
    assert bench.events("order") == []
