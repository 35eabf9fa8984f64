"""What a request line of the ledger says: enough to tell which of two requests is one too many."""

import json

import pytest

from tests.gateway_sim.direct import CONTRACTS, Bench

OPTION = (0, "SPY", "OPT", "20260615", 600.0, "C", "", "SMART", "", "USD", "", "")


def last_request(bench):
    return {name: fact for name, fact in bench.events("request")[-1].items() if name not in ("t", "client_id", "event")}


@pytest.mark.parametrize("live", [False, True])
def test_a_historical_request_says_symbol_size_duration_and_whether_it_stays_open(live):
    """In the client's own words; `keep_up_to_date` is there for both answers."""
    bench = Bench()

    bench.connect(1).history(4, "QQQ", size="1 min", duration="3600 S", live=live)

    assert last_request(bench) == {
        "kind": "reqHistoricalData", "req_id": 4, "symbol": "QQQ", "sec_type": "STK",
        "bar_size": "1 min", "duration": "3600 S", "keep_up_to_date": live,
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "message"), [
    ("reqMktData", (1, 11, 4, *CONTRACTS["QQQ"], False, "", False, False, "")),
    ("reqContractDetails", (9, 8, 4, *CONTRACTS["QQQ"], False, "", "", "")),
    ("reqRealTimeBars", (50, 3, 4, *CONTRACTS["QQQ"], 5, "TRADES", True, "")),
])  # fmt: skip
def test_every_request_about_a_contract_says_its_symbol(kind, message):
    bench = Bench()

    bench.connect(1).send(*message)

    assert last_request(bench) == {"kind": kind, "req_id": 4, "symbol": "QQQ", "sec_type": "STK"}


def test_option_parameters_say_whose():
    """The one request that names a symbol without a contract around it."""
    bench = Bench()

    bench.connect(1).send(78, 4, "SPY", "", "STK", 756733)

    facts = {"kind": "reqSecDefOptParams", "req_id": 4, "symbol": "SPY", "sec_type": "STK", "con_id": 756733}
    assert last_request(bench) == facts


def test_options_of_one_underlying_can_be_told_apart():
    bench = Bench()

    bench.connect(1).quotes(4, contract=OPTION)

    asked = last_request(bench)
    assert (asked["symbol"], asked["expiry"], asked["strike"], asked["right"]) == ("SPY", "20260615", 600.0, "C")


def test_an_order_says_its_symbol():
    bench = Bench()

    bench.connect(1).order(1, "QQQ")

    assert [last_request(bench)[name] for name in ("kind", "req_id", "symbol")] == ["placeOrder", 1, "QQQ"]


def test_requests_about_no_contract_say_none():
    bench = Bench()

    bench.connect(1).send(49, 1)

    assert last_request(bench) == {"kind": "reqCurrentTime"}


def test_a_strike_that_is_no_number_leaves_the_line_readable():
    """`Infinity` can be read off the wire, and is not JSON."""
    bench = Bench()

    bench.connect(1).quotes(4, contract=(*OPTION[:4], "Infinity", *OPTION[5:]))

    assert "strike" not in last_request(bench)
    assert json.dumps(bench.ledger, allow_nan=False)
