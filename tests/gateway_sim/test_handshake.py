"""The first seconds of a connection."""

import pytest

from gateway_sim.wire import encode, frame
from tests.gateway_sim.direct import Bench


@pytest.mark.parametrize(("offer", "version"), [("v157..178", "178"), ("v157..176", "176"), ("v100..157", "157"),
                                                ("v100..225 +PACEAPI", "178"), ("v160", "160")])  # fmt: skip
def test_announces_the_highest_common_version(offer, version):
    """min(client max, 178), two fields and nothing else before startApi."""
    client = Bench().connect(None, offer)

    [hello] = client.take()

    assert hello[0] == version
    assert len(hello) == 2


def test_closes_when_there_is_no_common_version():
    """A protobuf-only client (213 and up) gets no answer but a closed socket."""
    client = Bench().connect(None, "v213..225")

    assert client.closed
    assert client.take() == []


def test_start_sends_accounts_next_id_and_farm_notices_in_order():
    """managedAccounts, nextValidId, then 2104, 2107, 2158."""
    bench = Bench()
    client = bench.connect(None)
    client.take()

    client.send(71, 2, 5, "")

    assert client.ids() == [15, 9, 4, 4, 4]
    assert [fields[3] for fields in client.of(4)] == ["2104", "2107", "2158"]
    assert client.of(15)[0] == ["15", "1", "DU1234567"]


def test_duplicate_client_id_gets_326_and_the_old_connection_stays():
    bench = Bench()
    first = bench.connect(5)
    second = bench.connect(5)

    assert second.closed and not first.closed
    first.send(49, 1)
    assert first.of(49)


def test_requests_before_start_api_are_ignored():
    client = Bench().connect(None)
    client.take()

    client.send(49, 1)

    assert client.take() == []


def test_next_valid_id_survives_a_reconnect():
    """Ids only go up per client id during the simulator's life."""
    bench = Bench()
    client = bench.connect(3)
    client.order(41)
    bench.disconnect(client)
    again = bench.connect(None)

    again.send(71, 2, 3, "")

    assert again.of(9)[0][2] == "42"


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"API\0" + b"\xff\xff\xff\xff", b"API\0\0\0\0\0",
                                     b"API\0" + frame(b"hello")])  # fmt: skip
def test_garbage_drops_that_client_and_nobody_else(garbage):
    bench = Bench()
    other = bench.connect(1)
    number = 77
    bench.gateway.receive_connection(number, "bench", 0.0)

    bench.gateway.receive_bytes(number, garbage, 0.0)
    bench.collect()

    assert "malformed_bytes" in bench.violations()
    other.send(49, 1)
    assert other.of(49)


@pytest.mark.parametrize("message", [(9999, 1), (20, 1), (3, "x"), (1, 11, "abc"), ("abc",), ("",)])
def test_unreadable_message_is_answered_with_320_and_the_connection_stays(message):
    bench = Bench()
    client = bench.connect(1)

    client.send_bytes(encode(*message))

    assert client.codes() == [320]
    client.send(49, 1)
    assert client.of(49)


def test_frames_may_arrive_in_any_slices():
    """One byte at a time gives the same conversation as one piece."""
    whole, sliced = Bench().connect(None), Bench().connect(None)
    data = encode(71, 2, 1, "") + encode(49, 1) + encode(17, 1)
    whole.send_bytes(data)

    for position in range(len(data)):
        sliced.send_bytes(data[position : position + 1])

    assert whole.received == sliced.received


def test_thirty_third_client_is_turned_away():
    """32 API clients per gateway."""
    bench = Bench()
    clients = [bench.connect(number) for number in range(33)]

    assert [client.closed for client in clients] == [False] * 32 + [True]
