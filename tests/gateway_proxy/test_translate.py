"""ib_async's objects in our words: magic numbers become None, and every field finds its place."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

import ib_async as ib
import pytest
from ib_async.client import Client
from ib_async.util import UNSET_DOUBLE, UNSET_INTEGER

from gateway_proxy import translate
from gateway_proxy.bus.messages import Contract
from gateway_proxy.core.effects import OrderTicket


@pytest.mark.parametrize("value", [None, "", math.nan, math.inf, -math.inf, UNSET_DOUBLE, -UNSET_DOUBLE, UNSET_INTEGER])
def test_every_spelling_of_no_value_is_none(value: object):
    """Rule book 9: none of them may reach a strategy as a number."""
    assert translate.number(value) is None


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (-1, -1.0), ("1.5", 1.5), (1e300, 1e300)])
def test_numbers_stay(value: object, expected: float):
    """Zero and minus one are numbers here; who knows better says so."""
    assert translate.number(value) == expected


def test_option_tick_knows_minus_one_and_minus_two():
    """-1: no price or volatility; -2: no greek; a delta of -1 is a deep put."""
    tick = translate.option_tick_in(5, 13, iv=-1, delta=-1.0, price=-1, gamma=-2, vega=-2, theta=-0.03, spot=-1)

    assert (tick.iv, tick.price, tick.underlying_price, tick.gamma, tick.vega) == (None,) * 5
    assert (tick.delta, tick.theta) == (-1.0, -0.03)
    nothing = translate.option_tick_in(5, 13, *[math.nan] * 7)
    assert (nothing.iv, nothing.delta, nothing.theta) == (None, None, None)


@pytest.mark.parametrize(
    "contract",
    [
        Contract("SPY", con_id=1),
        Contract("SPY", "OPT", last_trade_date="20260618", strike=600.5, right="P", multiplier="100",
                 trading_class="SPY", con_id=2),
        Contract("EUR", "CASH", exchange="IDEALPRO", currency="USD"),
    ],
)  # fmt: skip
def test_contract_comes_back_as_it_went(contract: Contract):
    """Out and in again."""
    assert translate.contract_in(translate.contract_out(contract)) == contract


def test_contract_of_ib_is_tidied():
    """Right "0" or "?", a date with a time, an exchange that is missing (positions have none)."""
    raw = ib.Contract(
        secType="OPT",
        symbol="SPY",
        lastTradeDateOrContractMonth="20260618 16:00:00 US/Eastern",
        right="PUT",
        strike=600,
    )

    contract = translate.contract_in(raw)
    assert (contract.last_trade_date, contract.right, contract.exchange) == ("20260618", "P", "SMART")
    assert translate.contract_in(ib.Contract(secType="STK", symbol="SPY", right="?")).right == ""


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("1781535600", datetime(2026, 6, 15, 15, 0, tzinfo=UTC)),
        ("20260615", datetime(2026, 6, 15, tzinfo=UTC)),
    ],
)
def test_bar_starts_at_an_epoch_second_or_a_date(date: str, expected: datetime):
    """Intraday and daily bars (formatDate 2)."""
    assert translate.bar_start_ns(date) == int(expected.timestamp()) * 1_000_000_000


def test_bar_of_quotes_has_no_volume_wap_or_count():
    """IB writes -1 there."""
    raw = ib.BarData(open=1, high=2, low=1, close=2, volume=-1, average=-1, barCount=-1)
    raw.date = "1781535600"  # type: ignore[assignment]

    bar = translate.bar_in(raw, complete=True, live=False)

    assert (bar.volume, bar.wap, bar.count, bar.source) == (0.0, None, None, "backfill")


def test_details_pair_exchanges_with_their_price_rules():
    """The two lists of IB are parallel; an unreadable id is 0."""
    raw = ib.ContractDetails(
        contract=ib.Contract(secType="STK", symbol="SPY", primaryExchange="ARCA"),
        validExchanges="SMART,ARCA,IEX", marketRuleIds="26,27,x", minTick=0.01,
    )  # fmt: skip

    assert translate.details_in(raw).market_rules == (("SMART", 26), ("ARCA", 27), ("IEX", 0))


def test_order_carries_what_we_mean_and_nothing_else():
    """A stop has no limit price, an exit knows its parent and group."""
    ticket = OrderTicket(
        order_id=8, contract=Contract("SPY"), account="DU1", action="SELL", quantity=2, order_type="STP",
        limit_price=None, stop_price=590.5, tif="GTC", order_ref="gp1.x", parent_id=7, oca_group="g", transmit=True,
    )  # fmt: skip

    order = translate.order_out(ticket)

    assert (order.orderId, order.action, order.totalQuantity, order.auxPrice) == (8, "SELL", 2, 590.5)
    assert (order.parentId, order.ocaGroup, order.ocaType, order.transmit, order.tif) == (7, "g", 1, True, "GTC")
    assert order.lmtPrice == UNSET_DOUBLE
    assert not order.eTradeOnly and not order.firmQuoteOnly


def test_execution_keeps_its_identity_and_side():
    """BOT is a buy; the time is UTC nanoseconds."""
    raw = ib.Execution(
        execId="0001.01", orderId=7, clientId=1, permId=99, acctNumber="DU1", side="SLD", shares=2, price=1.5,
        cumQty=2, avgPrice=1.5, orderRef="gp1.x", time=datetime(2026, 6, 15, 15, 0, tzinfo=UTC),
    )  # fmt: skip

    event = translate.execution_in(-1, ib.Contract(secType="STK", symbol="SPY"), raw)

    assert (event.exec_id, event.perm_id, event.action, event.quantity) == ("0001.01", 99, "SELL", 2.0)
    assert event.time_ns == 1_781_535_600 * 1_000_000_000


class WrittenByIbAsync(Client):
    """ib_async's own writing of a message, kept instead of sent."""

    def __init__(self) -> None:
        super().__init__(None)
        self.connState, self._serverVersion = Client.CONNECTED, 178
        self.calls: list[tuple[tuple[object, ...], str]] = []

    def send(self, *fields, makeEmpty=True):
        self.fields = fields
        super().send(*fields, makeEmpty=makeEmpty)

    def sendMsg(self, msg):
        self.calls.append((self.fields, msg))


@pytest.mark.parametrize("quantity", [1, 2.5, Decimal("0.5"), UNSET_DOUBLE, UNSET_INTEGER, math.inf, None])
@pytest.mark.parametrize(
    "contract", [ib.Stock("SPY", "SMART", "USD"), ib.Option("SPY", "20260619", 600.5, "C", "SMART")]
)
def test_messages_are_written_as_ib_async_writes_them(contract, quantity):
    """Field for field the same text, for orders full of unset numbers, tags and subclasses of Contract."""
    client = WrittenByIbAsync()
    order = ib.LimitOrder("BUY", quantity, 600.05, algoStrategy="Adaptive", algoParams=[ib.TagValue("p", "Urgent")])

    client.placeOrder(7, contract, order)
    client.reqHistoricalData(8, contract, "", "60 S", "1 min", "TRADES", True, 2, True, [ib.TagValue("a", "b")])
    client.reqMktData(9, contract, "100,101", False, False, [])
    client.reqExecutions(10, ib.ExecutionFilter())

    assert [translate.message_out(fields) for fields, _ in client.calls] == [text for _, text in client.calls]
