"""Orders against the market: statuses, fills, brackets, expiry, refusals."""

import pytest

from gateway_sim.settings import GatewaySettings
from tests.gateway_sim.direct import CONTRACTS, Bench


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return bench.connect(1)


def last_price(bench, symbol="SPY"):
    floor = bench.gateway.floor
    return floor.market.quote(floor.book.underlying(symbol), floor.market_s).last


def sequence(client, order_id):
    """Message kinds about one order, in order."""
    kinds = []
    for fields in client.received:
        if fields[0] == "5" and fields[1] == str(order_id):
            kinds.append("open")
        elif fields[0] == "3" and fields[1] == str(order_id):
            kinds.append(fields[2])
        elif fields[0] == "11" and fields[2] == str(order_id):
            kinds.append("exec")
        elif fields[0] == "59":
            kinds.append("commission")
    return kinds


def test_market_order_sequence_is_the_recorded_one(bench, client):
    client.order(1, quantity=10)
    bench.advance(2)

    assert sequence(client, 1) == [
        "open", "PreSubmitted", "exec", "open", "Filled", "open", "commission",
    ]  # fmt: skip


def test_market_order_fills_within_a_second_and_a_bit(bench, client):
    client.order(1)
    bench.advance(1.3)

    assert client.statuses(1)[-1] == "Filled"


def test_limit_order_fills_at_its_limit_or_better_and_rests_otherwise(bench, client):
    price = last_price(bench)
    client.order(1, kind="LMT", limit=round(price + 1, 2))
    client.order(2, kind="LMT", limit=round(price - 20, 2))
    bench.advance(5)

    assert client.statuses(1)[-1] == "Filled" and client.statuses(2)[-1] == "Submitted"
    assert float(client.of(11)[0][20]) <= price + 1


def test_stop_stays_presubmitted_until_it_triggers(bench, client):
    price = last_price(bench)
    client.order(1, action="SELL", kind="STP", aux=round(price - 30, 2))
    client.order(2, action="SELL", kind="STP", aux=round(price + 1, 2))
    bench.advance(3)

    assert client.statuses(1) == ["PreSubmitted"]
    assert client.statuses(2)[-1] == "Filled"


def test_trailing_stop_follows_and_fires(bench, client):
    client.order(1, action="SELL", kind="TRAIL", aux=0.05)
    bench.advance(600)

    assert client.statuses(1)[-1] == "Filled"


def bracket(client, entry="MKT", limit="", first=1, **more):
    client.order(first, kind=entry, limit=limit, transmit=False, quantity=5, **more)
    client.order(first + 1, action="SELL", kind="LMT", limit=700, parent=first, transmit=False, quantity=5)
    client.order(first + 2, action="SELL", kind="STP", aux=450, parent=first, quantity=5)


def test_untransmitted_orders_are_invisible(bench, client):
    client.order(1, kind="LMT", limit=500, transmit=False)
    client.send(16, 1)

    assert client.ids() == [53]


def test_last_child_transmits_the_bracket_and_children_wait(bench, client):
    bracket(client, "LMT", 500)

    assert client.statuses(1)[-1] == "Submitted"
    assert client.statuses(2) == ["PreSubmitted"] and client.statuses(3) == ["PreSubmitted"]


def test_filled_parent_activates_children(bench, client):
    bracket(client)
    bench.advance(3)

    assert client.statuses(1)[-1] == "Filled"
    assert client.statuses(2)[-1] == "Submitted" and client.statuses(3)[-1] == "PreSubmitted"


def test_cancelled_parent_cancels_children(bench, client):
    bracket(client, "LMT", 500)
    client.cancel(1)

    assert [client.statuses(number)[-1] for number in (1, 2, 3)] == ["Cancelled"] * 3
    assert client.codes() == [202, 202, 202]


def test_filled_child_cancels_its_sibling(bench, client):
    bracket(client)
    bench.advance(3)
    client.order(2, action="SELL", kind="LMT", limit=500, parent=1, quantity=5)
    bench.advance(3)

    assert client.statuses(2)[-1] == "Filled" and client.statuses(3)[-1] == "Cancelled"


def test_oca_group_cancels_the_rest(bench, client):
    price = last_price(bench)
    client.order(1, kind="LMT", limit=round(price - 50, 2), oca="group", oca_type=1)
    client.order(2, kind="LMT", limit=round(price + 1, 2), oca="group", oca_type=1)
    bench.advance(3)

    assert client.statuses(2)[-1] == "Filled" and client.statuses(1)[-1] == "Cancelled"


def test_partial_fills_add_up(bench, client):
    client.order(1, quantity=15_000, kind="LMT", limit=12, symbol="F")
    bench.advance(60)

    shares = [int(fields[19]) for fields in client.of(11)]
    assert len(shares) > 3 and sum(shares) == 15_000
    assert client.statuses(1)[-1] == "Filled" and "Submitted" in client.statuses(1)


def test_modify_keeps_the_perm_id(bench, client):
    client.order(1, kind="LMT", limit=500)
    client.order(1, kind="LMT", limit=505, quantity=3)

    assert len({fields[25] for fields in client.of(5)}) == 1
    assert client.of(5)[-1][14:18] == ["3", "LMT", "505.0", "0.0"]


def test_cancel_sequence_and_late_cancels(bench, client):
    client.order(1, kind="LMT", limit=500)
    client.order(2)
    bench.advance(2)
    client.take()
    client.cancel(1)
    client.cancel(1)
    client.cancel(2)
    client.cancel(77)

    assert client.statuses(1) == ["Cancelled"]
    assert client.errors() == [
        (1, 202, "Order Canceled - reason:"),
        (1, 10148, "OrderId 1 that needs to be cancelled cannot be cancelled, state: Cancelled."),
        (2, 10148, "OrderId 2 that needs to be cancelled cannot be cancelled, state: Filled."),
        (77, 10147, "OrderId 77 that needs to be cancelled is not found."),
    ]


@pytest.mark.parametrize(("more", "code"), [
    ({"symbol": "ZZZZ"}, 200), ({"kind": "LMT", "limit": 600.005}, 110), ({"kind": "STP", "aux": 600.001}, 110),
    ({"kind": "LMT"}, 107), ({"kind": "LMT", "limit": -1}, 110), ({"quantity": 0}, 434), ({"quantity": -5}, 434),
    ({"quantity": 1.5}, 10318), ({"kind": "PEG BEST"}, 387), ({"etrade": 1}, 10268), ({"quantity": 1_000_000}, 201),
    ({"parent": 999}, 10006), ({"account": "DU9"}, 321), ({"tif": "GTD", "good_till": "whenever"}, 391),
])  # fmt: skip
def test_refused_orders(bench, client, more, code):
    """One code, no status, nothing left behind."""
    client.order(1, **more)
    client.send(16, 1)

    assert client.codes() == [code]
    assert client.statuses(1) == []


def test_refused_parent_takes_its_children_along(bench, client):
    """110 on the parent, 135 on each child (rule book 5.3)."""
    bracket(client, "LMT", 500.001)

    assert client.errors() == [
        (1, 110, "The price does not conform to the minimum price variation for this contract."),
        (2, 135, "Can't find order with id =1"),
        (3, 135, "Can't find order with id =1"),
    ]


def test_day_order_expires_at_the_close_and_gtc_lives_on(bench):
    bench = Bench(GatewaySettings(start="2026-06-15 15:59"))
    client = bench.connect(1)
    client.order(1, kind="LMT", limit=500)
    client.order(2, kind="LMT", limit=500, tif="GTC")
    bench.advance(61)

    assert client.statuses(1)[-1] == "Cancelled" and (1, 202, "Order Canceled - reason:") in client.errors()
    assert client.statuses(2)[-1] == "Submitted"


def test_good_till_date_expires(bench, client):
    client.order(1, kind="LMT", limit=500, tif="GTD", good_till="20260615 11:00:30 US/Eastern")
    bench.advance(29)
    assert client.statuses(1)[-1] == "Submitted"

    bench.advance(3)

    assert client.statuses(1)[-1] == "Cancelled"


def test_immediate_or_cancel(bench, client):
    client.order(1, kind="LMT", limit=500, tif="IOC")
    bench.advance(2)

    assert client.statuses(1)[-1] == "Cancelled"


def test_order_before_the_open_waits_with_a_warning(bench):
    bench = Bench(GatewaySettings(start="2026-06-15 09:29"))
    client = bench.connect(1)
    client.order(1)
    bench.advance(30)
    assert client.codes() == [399] and client.of(11) == []

    bench.advance(35)

    assert client.statuses(1)[-1] == "Filled"


def test_option_position_is_settled_at_expiry(bench):
    bench = Bench(GatewaySettings(start="2026-06-15 15:58"))
    client = bench.connect(1)
    option = (0, "SPY", "OPT", "20260615", 580.0, "C", "100", "SMART", "", "USD", "", "")
    client.order(1, contract=option)
    bench.advance(5)
    assert client.statuses(1)[-1] == "Filled"
    account = bench.gateway.floor.blotter.account
    cash = account.cash
    bench.advance(180)

    assert account.open_positions() == []
    assert account.cash > cash + 1000


def test_positions_and_cash_follow_fills(bench, client):
    client.send(61, 1)
    client.order(1, quantity=100)
    bench.advance(3)
    price = float(client.of(11)[0][20])
    account = bench.gateway.floor.blotter.account

    assert client.of(61)[-1][-2] == "100"
    assert float(client.of(61)[-1][-1]) == pytest.approx(price + 0.01)
    assert account.cash == pytest.approx(100_000 - 100 * price - 1.0)
    client.order(2, action="SELL", quantity=100)
    bench.advance(3)
    sold = float(client.of(11)[-1][20])
    assert account.realized == pytest.approx(100 * (sold - price) - 2.0)
    assert float(client.of(59)[-1][5]) == pytest.approx(account.realized, abs=1e-5)
    assert client.of(61)[-1][-2] == "0"


def test_what_if_places_nothing(bench, client):
    client.order(1, quantity=100, what_if=True)
    bench.advance(3)

    assert client.ids() == [5] and bench.events("order") == []


def test_order_survives_its_client_and_news_wait_for_nobody(bench, client):
    client.order(1, kind="LMT", limit=500, ref="keep")
    bench.disconnect(client)
    other = bench.connect(2)
    other.send(5, 1)
    assert other.ids() == [53]
    other.send(16, 1)
    assert len(other.of(5)) == 1
    again = bench.connect(1)

    again.send(5, 1)

    assert again.statuses(1) == ["Submitted"]


def test_master_client_hears_everything(bench):
    bench = Bench(GatewaySettings(master_client=9))
    master, other = bench.connect(9), bench.connect(1)
    other.order(1)
    bench.advance(2)

    assert master.of(11) and master.of(3)[0][9] == "1"


def test_global_cancel_ends_everything(bench, client):
    other = bench.connect(2)
    client.order(1, kind="LMT", limit=500)
    bracket(other, "LMT", 500)
    client.send(58, 1)

    assert client.statuses(1)[-1] == "Cancelled"
    assert [other.statuses(number)[-1] for number in (1, 2, 3)] == ["Cancelled"] * 3


def test_completed_orders_and_executions_of_the_day(bench, client):
    client.order(1)
    client.order(2, kind="LMT", limit=500)
    bench.advance(2)
    client.cancel(2)
    client.take()
    client.send(99, 0)
    client.send(7, 3, 5, 0, "", "", "", "", "", "")

    assert client.ids() == [101, 101, 102, 11, 59, 55]
    filled, cancelled = client.of(101)
    assert filled[-6] == "Filled Size: 1" and cancelled[-6] == "Cancelled by Trader"


def test_midnight_forgets_executions(bench):
    bench = Bench(GatewaySettings(start="2026-06-15 15:58"))
    client = bench.connect(1)
    client.order(1)
    bench.advance(5)
    bench.advance(8.2 * 3600)
    client.take()

    client.send(7, 3, 5, 0, "", "", "", "", "", "")

    assert client.ids() == [55]


def test_contract_details_of_a_partial_option(bench, client):
    client.send(9, 8, 1, 0, "SPY", "OPT", "20260615", 0, "C", "", "SMART", "", "USD", "", "", 0, "", "", "")
    client.send(9, 8, 2, *CONTRACTS["ZZZZ"], 0, "", "", "")
    bench.advance(5)

    assert len(client.of(10)) > 50 and [fields[2] for fields in client.of(52)] == ["1"]
    assert client.errors() == [(2, 200, "No security definition has been found for the request")]
