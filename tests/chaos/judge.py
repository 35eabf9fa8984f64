"""The judge: compares the simulator's ledger, the proxy's journal and the trader's notebook after everything settled.

The ledger is the truth about what IB got; the other two are claims. Each fault is a sentence under one of the names in
FAULTS. An order that the Gateway was made to forget (`restart_lost_orders`) is excused from what it can no longer show.
"""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway_proxy import journal
from gateway_proxy.core.identifiers import order_reference
from gateway_proxy.core.orders import TERMINAL, Order, State
from gateway_proxy.core.register import Register
from tests.chaos import notebook
from tests.chaos.notebook import DEFINITE_NO, Wish

ACCOUNT: Final = "DU1234567"
FAULTS: Final = (
    "duplicate", "lost_acknowledgement", "false_no", "lost_fill", "wrong_end", "wrong_price", "stuck", "halted",
    "journal", "pacing",
)  # fmt: skip
#: Quantities that differ by no more are equal.
DUST: Final = 1e-9
_LIVE: Final = frozenset({"PendingSubmit", "PreSubmitted", "Submitted", "Filled"})
_ENDED: Final = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})


@dataclass(slots=True)
class Held:
    """What the ledger says about one order reference."""

    perm_ids: set[int] = field(default_factory=set)
    order_ids: set[int] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    filled: float = 0.0
    price: float | None = None

    @property
    def lived(self) -> bool:
        return self.filled > 0 or bool(_LIVE.intersection(self.statuses))


@dataclass(slots=True)
class Ledger:
    """The simulator's ledger, read once. `forgotten`: references of orders that a fault erased."""

    held: dict[str, Held] = field(default_factory=lambda: defaultdict(Held))
    forgotten: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        ledger, newest = cls(), (0, "")
        whole = path.read_text().rpartition("\n")[0]
        for line in whole.splitlines():
            row = json.loads(line)
            match row["event"]:
                case "order":
                    ledger._order(row)
                    newest = max(newest, (row["perm_id"], row["order_ref"]))
                case "fill":
                    ledger.held[row["order_ref"]].filled += float(row["quantity"])
                case "violation":
                    ledger.violations.append(row["rule"])
                case "fault" if row["name"] == "restart_lost_orders" and not row.get("ended"):
                    ledger.forgotten.add(newest[1])
        return ledger

    def _order(self, row: dict[str, Any]) -> None:
        held = self.held[row["order_ref"]]
        held.perm_ids.add(row["perm_id"])
        held.order_ids.add(row["order_id"])
        held.statuses.append(row["status"])
        held.price = row.get("limit_price") or row.get("aux_price")


@dataclass(slots=True)
class Claims:
    """The journal, replayed."""

    register: Register
    kinds: Counter[str]
    halts: list[str]
    damage: list[str]

    @classmethod
    def read(cls, path: Path) -> Claims:
        text = io.StringIO()
        journal.export(path, text)
        claims = cls(Register(), Counter(), [], journal.verify(path))
        for line in text.getvalue().splitlines():
            row = json.loads(line)
            claims.kinds[row["kind"]] += 1
            if row["kind"] == "halt":
                claims.halts.append(row["body"]["reason"])
            claims.register.apply(row["kind"], row["client_order_id"], row["body"])
        return claims


@dataclass(slots=True)
class Verdict:
    """`faults`: name -> sentences; `counts`: what was judged."""

    faults: dict[str, list[str]]
    counts: dict[str, int]

    @property
    def is_clean(self) -> bool:
        return not any(self.faults.values())


def judge(
    ledger_path: Path, journal_path: Path, notebook_path: Path, *, settled: bool, account: str = ACCOUNT
) -> Verdict:
    """Everything wrong with one run. `settled`: the trader could end all its orders."""
    ledger, claims, wishes = Ledger.read(ledger_path), Claims.read(journal_path), notebook.read(notebook_path)
    entries = {wish.ref: order_reference(wish.ref, account, "entry") for wish in wishes}
    faults: dict[str, list[str]] = {name: [] for name in FAULTS}
    for name, sentence in (
        *doubled(ledger),
        *_repeated(ledger, wishes, entries),
        *_answers(ledger, claims, wishes, entries),
        *_prices(ledger, claims, wishes),
        *_ends(ledger, claims),
        *lost_fills(ledger, claims),
        *records(ledger, claims),
    ):
        faults[name].append(sentence)
    if not settled:
        faults["stuck"].append("the trader could not end all its orders")
    counts = {
        "signals": len({wish.signal for wish in wishes}),
        "requests": len(wishes),
        "accepted": sum(wish.was_accepted for wish in wishes),
        "answered_no": sum(wish.answer in DEFINITE_NO for wish in wishes),
        "once_unknown": sum("unknown" in wish.answers for wish in wishes),
        "answers_lost": sum("lost" in wish.answers for wish in wishes),
        "proven_absent": sum("not_placed" in wish.answers for wish in wishes),
        "moves": sum(len(wish.moves) for wish in wishes),
        "moves_accepted": sum(move.answer == "accepted" for wish in wishes for move in wish.moves),
        "orders_at_gateway": len(ledger.held),
        "filled_at_gateway": sum(held.filled > 0 for held in ledger.held.values()),
        "forgotten_by_gateway": len(ledger.forgotten),
        "journal_records": claims.kinds.total(),
    }
    return Verdict(faults, counts)


Faults = Iterator[tuple[str, str]]


def doubled(ledger: Ledger) -> Faults:
    """One reference, one order; one order id, one reference."""
    by_id: dict[int, set[str]] = defaultdict(set)
    for reference, held in ledger.held.items():
        if len(held.perm_ids) > 1:
            yield "duplicate", f"{reference} became {len(held.perm_ids)} orders: {sorted(held.perm_ids)}"
        for order_id in held.order_ids:
            by_id[order_id].add(reference)
    for order_id, references in by_id.items():
        if len(references) > 1:
            yield "duplicate", f"order id {order_id} was used for {sorted(references)}"


def _repeated(ledger: Ledger, wishes: list[Wish], entries: dict[str, str]) -> Faults:
    """One signal, one living order."""
    by_signal: dict[int, list[str]] = defaultdict(list)
    for wish in wishes:
        reference = entries[wish.ref]
        if reference in ledger.held and ledger.held[reference].lived and reference not in ledger.forgotten:
            by_signal[wish.signal].append(wish.ref)
    for signal, refs in by_signal.items():
        if len(refs) > 1:
            yield "duplicate", f"signal {signal} became {len(refs)} living orders: {refs}"


def _answers(ledger: Ledger, claims: Claims, wishes: list[Wish], entries: dict[str, str]) -> Faults:
    """A yes is in the ledger; a definite no is not; nobody waits for an answer."""
    for wish in wishes:
        reference = entries[wish.ref]
        lived = reference in ledger.held and ledger.held[reference].lived
        if wish.was_accepted and not lived:
            yield "lost_acknowledgement", f"{wish.ref} was answered {wish.answers}, the Gateway has no such order"
        if wish.was_accepted and wish.ref not in claims.register.orders:
            yield "lost_acknowledgement", f"{wish.ref} was accepted and is not in the journal"
        if wish.answer in DEFINITE_NO and lived and reference not in ledger.forgotten:
            yield "false_no", f"{wish.ref} was answered {wish.answers} and lived: {ledger.held[reference].statuses}"
        if wish.is_open:
            yield "stuck", f"{wish.ref} has no answer: {wish.answers}"


def _prices(ledger: Ledger, claims: Claims, wishes: list[Wish]) -> Faults:
    """Every leg stands where the last clear answer put it, at the Gateway and in the journal."""
    for wish in wishes:
        order = claims.register.orders.get(wish.ref)
        for leg in order.legs if order is not None else ():
            if leg.name not in wish.legs or leg.ticket.order_ref in ledger.forgotten:
                continue
            allowed, held = wish.may_stand_at(leg.name), ledger.held.get(leg.ticket.order_ref)
            if held is not None and held.price not in allowed:
                yield "wrong_price", f"{wish.ref} {leg.name} is at {held.price} at the Gateway, answered {wish.moves}"
            claimed = leg.ticket.stop_price if leg.name == "stop_loss" else leg.ticket.limit_price
            if held is not None and claimed not in allowed:
                yield "wrong_price", f"{wish.ref} {leg.name} is at {claimed} in the journal: {wish.moves}"


def _ends(ledger: Ledger, claims: Claims) -> Faults:
    """The journal's end of every leg is the Gateway's."""
    for order in claims.register.orders.values():
        for leg in order.legs:
            reference = leg.ticket.order_ref
            if leg.state not in TERMINAL:
                yield "stuck", f"{order.client_order_id} {leg.name} is {leg.state.value} in the journal"
            held = ledger.held.get(reference)
            if held is None or reference in ledger.forgotten:
                continue
            if held.statuses and held.statuses[-1] not in _ENDED:
                yield "stuck", f"{order.client_order_id} {leg.name} is {held.statuses[-1]} at the Gateway"
            if wrong := _wrong_end(order, leg.state, held):
                yield "wrong_end", f"{order.client_order_id} {leg.name}: {wrong}"


def lost_fills(ledger: Ledger, claims: Claims) -> Faults:
    """The journal knows every fill, and no other."""
    for order in claims.register.orders.values():
        for leg in order.legs:
            filled = ledger.held[leg.ticket.order_ref].filled if leg.ticket.order_ref in ledger.held else 0.0
            if abs(leg.executed - filled) > DUST and leg.ticket.order_ref not in ledger.forgotten:
                yield "lost_fill", f"{order.client_order_id} {leg.name}: {leg.executed:g} known, {filled:g} filled"


def _wrong_end(order: Order, state: State, held: Held) -> str:
    """What the journal claims and the ledger does not show; "" when they agree."""
    last = held.statuses[-1] if held.statuses else ""
    if (state is State.FILLED) != (last == "Filled"):
        return f"{state.value} in the journal, {last} at the Gateway"
    if state in (State.NOT_PLACED, State.EXPIRED_UNSENT) and held.lived:
        return f"{state.value} in the journal, but it lived: {held.statuses}"
    return ""


def records(ledger: Ledger, claims: Claims) -> Faults:
    """The hash chain, the counters, halts that no erased order explains, and IB's pacing rules."""
    for sentence in claims.damage:
        yield "journal", sentence
    if claims.kinds["sending"] > claims.kinds["intent"]:
        yield "journal", f"{claims.kinds['sending']} orders written, {claims.kinds['intent']} intents"
    known = {leg.ticket.order_ref for order in claims.register.orders.values() for leg in order.legs}
    for reference in ledger.held.keys() - known:
        yield "journal", f"the Gateway has order {reference}, the journal has not"
    for reason in claims.halts:
        if not ledger.forgotten:
            yield "halted", reason
    for rule, count in Counter(ledger.violations).items():
        yield "pacing", f"{rule} broken {count} times"
