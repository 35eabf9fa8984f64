"""Whatever a client sends, the gateway neither crashes nor hangs, and its other clients never notice."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway_sim.limits import LimitSettings
from gateway_sim.request_decoders import DECODERS
from gateway_sim.settings import GatewaySettings
from gateway_sim.wire import encode, frame
from tests.gateway_sim.direct import Bench

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
RECORD = GatewaySettings(limits=LimitSettings(messages="record", history="record"))

TEXTS = st.sampled_from([
    "", "0", "1", "-1", "2147483647", "9" * 30, "1.5", "1e308", "1.7976931348623157e+308", "nan", "inf", "-5",
    "SPY", "OPT", "STK", "SMART", "USD", "20260615", "20260615 11:00:00 US/Eastern", "C", "600", "1 min",
    "5 secs", "60 S", "1 D", "1 Y", "TRADES", "BUY", "SELL", "LMT", "STP", "TRAIL", "GTD", "GTC", "true",
    "\x01", "ä", "'; DROP", "BAG", "IND", "SPX", "100,101,999999", "All", "$LEDGER:ALL", "DU1234567",
    "MidPoint", "Last", "BidAsk", "3000-01-01", "20260615-25:61:00", "1 day", "1M",
])  # fmt: skip


@pytest.fixture(scope="module")
def shared():
    """One bench for all examples, so that wreckage of one would show in the next."""
    bench = Bench(RECORD)
    return bench, bench.connect(99)


def still_alive(bench, other):
    other.take()
    other.send(49, 1)
    assert other.of(49)


@RELAXED
@given(data=st.data())
def test_random_fields_in_every_message(shared, data):
    bench, other = shared
    client = bench.connect(data.draw(st.integers(1000, 10**6)))
    for _ in range(5):
        number = data.draw(st.sampled_from(sorted(DECODERS)))
        client.send(number, *data.draw(st.lists(TEXTS, max_size=40)))
    bench.advance(1.0)
    bench.disconnect(client)

    still_alive(bench, other)


REQUEST = ["1", "11", "7", "0", "SPY", "STK", "", "0", "", "", "SMART", "", "USD", "", "", "0", "", "0", "0", ""]
HISTORY = ["20", "7", "0", "SPY", "STK", "", "0", "", "", "SMART", "", "USD", "", "", "0", "", "1 min", "3600 S", "1",
           "TRADES", "1", "0", ""]  # fmt: skip
DETAILS = ["9", "8", "7", "0", "SPY", "OPT", "20260615", "600", "C", "", "SMART", "", "USD", "", "", "0", "", "", ""]


@RELAXED
@given(data=st.data())
def test_one_wrong_field_in_a_good_message(shared, data):
    """Contract id, expiry, strike, bar size, duration, dates: every field of a plausible request in turn."""
    bench, other = shared
    client = bench.connect(data.draw(st.integers(1000, 10**6)))
    for template in (REQUEST, HISTORY, DETAILS):
        fields = list(template)
        fields[data.draw(st.integers(1, len(fields) - 1))] = data.draw(TEXTS)
        client.send(*fields)
    bench.advance(12.0)
    bench.disconnect(client)

    still_alive(bench, other)


@RELAXED
@given(data=st.data())
def test_random_orders(shared, data):
    bench, other = shared
    client = bench.connect(data.draw(st.integers(1000, 10**6)))
    for order_id in range(1, 4):
        client.order(
            order_id,
            data.draw(st.sampled_from(["SPY", "F", "ZZZZ"])),
            action=data.draw(st.sampled_from(["BUY", "SELL", "SSHORT", ""])),
            quantity=data.draw(st.sampled_from([0, 1, -1, 100, 10**9, "nan", 0.5])),
            kind=data.draw(
                st.sampled_from(["MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MTL", "X"])
            ),
            limit=data.draw(st.sampled_from(["", 0, 500, 700, -3, 600.001, 1e300])),
            aux=data.draw(st.sampled_from(["", 0, 500, 700, -3, 0.5])),
            tif=data.draw(st.sampled_from(["", "DAY", "GTC", "IOC", "FOK", "GTD", "?"])),
            good_till=data.draw(TEXTS),
            parent=data.draw(st.sampled_from([0, 0, order_id - 1, 77])),
            transmit=data.draw(st.booleans()),
            oca=data.draw(st.sampled_from(["", "g"])),
            oca_type=data.draw(st.sampled_from([0, 1, 2, 3])),
            trailing=data.draw(st.sampled_from(["", 0.01, 50])),
            what_if=data.draw(st.booleans()),
        )
        if data.draw(st.booleans()):
            client.cancel(data.draw(st.integers(0, 4)))
    bench.advance(5.0)
    client.send(58, 1)
    bench.disconnect(client)

    still_alive(bench, other)
    assert all(order.is_done for order in bench.gateway.floor.blotter.orders())


@RELAXED
@given(st.binary(max_size=200))
def test_random_bytes(shared, garbage):
    bench, other = shared
    for start in (b"", b"API\0", b"API\0" + frame(b"v157..178"), b"API\0" + frame(b"v157..178") + encode(71, 2, 5, "")):
        number = max(bench.clients) + 1
        bench.gateway.receive_connection(number, "fuzz", bench.now)
        bench.gateway.receive_bytes(number, start + garbage, bench.now)
        bench.collect()
        bench.gateway.receive_disconnect(number, bench.now)

    still_alive(bench, other)
