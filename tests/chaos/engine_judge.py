"""The judge of real engines: what their signals became, read from the simulator's ledger and the proxy's journal.

An engine keeps no notebook; its client_order_id tells the signal, so the journal knows what was wanted. Each fault is a
sentence under one of the names in FAULTS.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

from engine.ledger import trade_of
from gateway_proxy.core.orders import Order
from tests.chaos.judge import DUST, Claims, Faults, Held, Ledger, Verdict, doubled, lost_fills, records

FAULTS: Final = ("duplicate", "torn_bracket", "oversold", "naked", "lost_fill", "halted", "journal", "pacing", "stuck")
_STANDING: Final = frozenset({"PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel"})
_AT_WORK: Final = frozenset({"PreSubmitted", "Submitted", "Filled"})


def judge_engines(ledger_path: Path, journal_path: Path) -> Verdict:
    """Everything wrong with one run of real engines, at the moment at which it is asked."""
    ledger, claims = Ledger.read(ledger_path), Claims.read(journal_path)
    orders = list(claims.register.orders.values())
    faults: dict[str, list[str]] = {name: [] for name in FAULTS}
    for name, sentence in (
        *doubled(ledger),
        *_signals(orders),
        *_brackets(ledger, orders),
        *_positions(ledger, orders),
        *lost_fills(ledger, claims),
        *records(ledger, claims),
    ):
        faults[name].append(sentence)
    brackets = [order for order in orders if len(order.legs) > 1]
    counts = {
        "brackets": len(brackets),
        "brackets_at_gateway": sum(order.entry.ticket.order_ref in ledger.held for order in brackets),
        "entries_filled": sum(_held(ledger, order, "entry").filled > 0 for order in brackets),
        "closing_orders": len(orders) - len(brackets),
        "journal_records": claims.kinds.total(),
    }
    return Verdict(faults, counts)


def _held(ledger: Ledger, order: Order, name: str) -> Held:
    """What the Gateway has of one leg; nothing at all for one that never reached it."""
    references = (leg.ticket.order_ref for leg in order.legs if leg.name == name)
    return next((ledger.held[reference] for reference in references if reference in ledger.held), Held())


def _signals(orders: list[Order]) -> Faults:
    """One engine, one symbol, one bar, one side: one bracket. The id says all of it before its last dash."""
    signals = Counter(
        (order.engine, order.client_order_id.rpartition("-")[0]) for order in orders if len(order.legs) > 1
    )
    for (engine, signal), count in signals.items():
        if count > 1:
            yield "duplicate", f"the signal {signal} of {engine} became {count} brackets"


def _brackets(ledger: Ledger, orders: list[Order]) -> Faults:
    """An entry that works has both of its exits at the Gateway."""
    for order in orders:
        if len(order.legs) == 1 or not _AT_WORK.intersection(_held(ledger, order, "entry").statuses):
            continue
        for leg in order.legs:
            if leg.ticket.order_ref not in ledger.held:
                yield "torn_bracket", f"{order.client_order_id} works at the Gateway without its {leg.name}"


def _positions(ledger: Ledger, orders: list[Order]) -> Faults:
    """What a bracket bought was sold once, or an order to sell it stands: exit, closing order or stop of the proxy."""
    sellers: dict[str, list[Held]] = defaultdict(list)
    for order in orders:
        bracket = trade_of(order.client_order_id).partition("!")[0]
        sellers[bracket] += [
            _held(ledger, order, leg.name) for leg in order.legs if leg.name != "entry" or len(order.legs) == 1
        ]
    for order in orders:
        if len(order.legs) == 1:
            continue
        mine = sellers[order.client_order_id]
        held = _held(ledger, order, "entry").filled - sum(one.filled for one in mine)
        if held < -DUST:
            yield "oversold", f"{order.client_order_id} sold {-held:g} more than it bought"
        elif held > DUST and not any(one.statuses and one.statuses[-1] in _STANDING for one in mine):
            yield "naked", f"{order.client_order_id} holds {held:g} and no order stands to sell it"
