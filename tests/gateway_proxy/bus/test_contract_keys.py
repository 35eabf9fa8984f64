"""The names of contracts in topics: one instrument, one name; no two instruments share one."""

import pytest

from gateway_proxy.bus.messages import Contract


@pytest.mark.parametrize(
    ("contract", "key"),
    [
        (Contract("SPY"), "SPY"),
        (Contract("SPY", exchange="ARCA"), "SPY"),
        (Contract("BRK B"), "BRK B"),
        (Contract("SPY", "OPT", last_trade_date="20260618", strike=600.0, right="C"), "SPY.20260618.C.600"),
        (Contract("SPX", "OPT", last_trade_date="20260618", strike=12345.25, right="P"), "SPX.20260618.P.12345.25"),
        (Contract("SAP", exchange="IBIS", currency="EUR"), "SAP.STK.EUR"),
        (Contract("ES", "FUT", exchange="CME", last_trade_date="20260619"), "ES.FUT.USD.20260619"),
        (Contract("EUR", "CASH", exchange="IDEALPRO"), "EUR.CASH.USD"),
        (Contract("SPX", "IND", exchange="CBOE"), "SPX.IND.USD"),
    ],
)
def test_every_instrument_has_a_name_of_its_own(contract, key):
    """The future ES is not the stock ES, and SAP in euros is not SAP in dollars."""
    assert contract.key == key
