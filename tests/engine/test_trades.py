"""The life of a trade: the table in full, and what order updates mean."""

from __future__ import annotations

import itertools

import pytest

from engine.ledger import Ledger, trade_of
from engine.trades import TRANSITIONS, Event, ImpossibleTransition, Phase, Trade
from gateway_proxy import Contract, Fill
from tests.engine.conftest import OPEN_NS, update_of

ORDER = {
    "engine": "alpha", "client_order_id": "t1", "contract": {"symbol": "SPY"}, "quantity": 10, "limit_price": 2.1,
    "take_profit": 2.5, "stop_loss": 1.9,
}  # fmt: skip


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, Event)))
def test_every_pair_follows_the_table_or_raises_and_changes_nothing(phase, event):
    """No third way."""
    trade = Trade("t1", "SPY", "BUY", OPEN_NS, phase)

    if (phase, event) in TRANSITIONS:
        trade.advance(event)
        assert trade.phase is TRANSITIONS[phase, event]
    else:
        with pytest.raises(ImpossibleTransition):
            trade.advance(event)
        assert trade.phase is phase


@pytest.mark.parametrize(
    ("update", "event"),
    [
        (update_of(ORDER, "working"), Event.ACCEPTED),
        (update_of(ORDER, "unknown"), Event.LOST),
        (update_of(ORDER, "rejected"), Event.DEAD),
        (update_of(ORDER, "partial", filled=3.0), Event.BOUGHT),
        (update_of(ORDER, "filled", filled=10.0), Event.BOUGHT),
        (
            update_of(ORDER, "filled", filled=10.0, take_profit=("filled", 10.0), stop_loss=("cancelled", 0.0)),
            Event.FLAT,
        ),
        (
            update_of(ORDER, "filled", filled=10.0, take_profit=("cancelled", 0), stop_loss=("cancelled", 0)),
            Event.EXPOSED,
        ),
        (
            update_of(ORDER, "filled", filled=10.0, take_profit=("cancelled", 4), stop_loss=("cancelled", 0)),
            Event.EXPOSED,
        ),
    ],
)
def test_update_is_named_by_what_is_held_and_protected(update, event):
    """Contracts without a living exit are the one state that needs an act at once."""
    assert Trade("t1", "SPY", "BUY", OPEN_NS, Phase.WORKING).learn(update) is event


def fill(exec_id: str, action: str, price: float, commission: float | None = None, order: str = "t1") -> Fill:
    contract = Contract("SPY", "OPT", multiplier="100")
    return Fill(exec_id, "alpha", order, "entry", 1, "SPY", contract, action, 2.0, price, OPEN_NS, commission)  # type: ignore[arg-type]


def test_profit_counts_each_execution_and_each_commission_once():
    """Fills come twice, commissions later, closing orders under an id of their own."""
    ledger = Ledger("alpha")

    steps = [
        ledger.receive(fill("a", "BUY", 2.0)),
        ledger.receive(fill("a", "BUY", 2.0, commission=1.3)),
        ledger.receive(fill("a", "BUY", 2.0, commission=1.3)),
        ledger.receive(fill("b", "SELL", 2.5, commission=1.3, order="t1-x1")),
    ]

    assert steps == pytest.approx([0.0, -1.3, 0.0, 100.0 - 1.3])
    assert trade_of("t1-x1") == "t1"
    assert Ledger("beta").receive(fill("a", "BUY", 2.0, commission=1.0)) == 0.0
