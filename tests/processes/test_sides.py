"""IB's 15 working orders per contract, side and account, on real processes; the simulator's ledger is the judge."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway_proxy import Refused
from tests.support.pair import Pair

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform != "linux", reason="ipc credentials"),
]

PLACES = 15
#: Our own caps out of the way, so that IB's is the one that is met.
RISK = """
[risk]
max_open_orders = 100
max_orders_per_minute = 1000
"""


def test_sixteenth_order_of_a_side_is_refused_before_it_is_sent_until_one_of_them_ends(short_dir: Path):
    """Refused by the rule's name; the other side has places of its own; a cancel makes room; no rule is broken."""
    pair = Pair(short_dir, more=RISK).start()
    try:
        with pair.client() as client:
            pair.wait_until(lambda: client.status()["state"] == "ready", "ready")
            bid = client.quote("SPY").bid
            assert bid is not None

            def buy(ref: str) -> str:
                return client.place("SPY", "BUY", 1, limit_price=round(bid * 0.97, 2), ref=ref).state

            first = [buy(f"buy-{number}") for number in range(PLACES)]
            with pytest.raises(Refused, match=f"orders_per_side: {PLACES} of {PLACES} in use"):
                buy("one-too-many")
            refused = client.order("one-too-many").state
            other_side = client.place("SPY", "SELL", 1, limit_price=round(bid * 1.03, 2), ref="sell").state
            client.cancel("buy-7")
            after_cancel = buy("takes-its-place")
            with pytest.raises(Refused, match="orders_per_side"):
                buy("again-too-many")
            working = {update.client_order_id for update in client.orders()}
    finally:
        pair.close()
    placed = {entry["order_id"] for entry in pair.ledger("order")}

    assert (first, other_side, after_cancel) == (["accepted"] * PLACES, "accepted", "accepted")
    assert refused == "expired_unsent"
    assert len(working) == PLACES + 1
    assert working.isdisjoint({"buy-7", "one-too-many", "again-too-many"})
    assert len(placed) == PLACES + 2
    assert pair.ledger("violation") == []
