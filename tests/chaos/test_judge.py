"""The judge itself: each fault it must find, forged into evidence that is otherwise in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.bus.messages import CancelArgs
from gateway_proxy.core.effects import Append
from gateway_proxy.core.identifiers import order_reference
from gateway_proxy.journal import Journal
from tests.chaos.judge import FAULTS, judge
from tests.chaos.notebook import Notebook, Wish
from tests.gateway_proxy.core.order_world import OrderWorld, bracket, single

ACCOUNT = "DU1"
REFERENCE = order_reference("p1", ACCOUNT, "entry")


class Evidence:
    """One order that was placed, accepted and cancelled, as the three witnesses tell it; then somebody forges."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        world = OrderWorld().start()
        world.ask("order.place", single("p1"))
        world.ask("order.cancel", CancelArgs("p1"))
        self.records: list[Append] = [Append(row["kind"], row["client_order_id"], row["body"]) for row in world.journal]
        self.rows: list[dict[str, Any]] = [self.order("Submitted"), self.order("Cancelled")]
        self.wishes = [(Wish("p1", 1, 1, "place", {"limit_price": 10.0}), ["lost", "accepted"])]
        self.moves: list[tuple[str, float, str]] = []

    @staticmethod
    def order(status: str, **facts: Any) -> dict[str, Any]:
        row = {"t": 1.0, "event": "order", "order_ref": REFERENCE, "order_id": 1, "perm_id": 500, "status": status}
        return row | {"limit_price": 10.0} | facts

    def faults(self, *, settled: bool = True) -> set[str]:
        """The names of what the judge found."""
        ledger, journal, notes = (self.directory / name for name in ("ledger", "journal", "notes"))
        ledger.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        with Journal(journal) as kept:
            kept.append(self.records, 1)
        with Notebook(notes) as notebook:
            for wish, answers in self.wishes:
                notebook.wish(wish)
                for answer in answers:
                    notebook.answer(wish, answer)
            for leg, price, answer in self.moves:
                notebook.move(self.wishes[0][0], leg, price)
                if answer:
                    notebook.moved(self.wishes[0][0], answer)
        verdict = judge(ledger, journal, notes, settled=settled, account=ACCOUNT)
        return {name for name, sentences in verdict.faults.items() if sentences}


@pytest.fixture
def evidence(tmp_path: Path) -> Iterator[Evidence]:
    yield Evidence(tmp_path)


def test_witnesses_that_agree_are_believed(evidence):
    """No fault where there is none."""
    assert evidence.faults() == set()


def test_one_reference_with_two_orders_is_a_duplicate(evidence):
    """The second permId is a second order, whatever its end."""
    evidence.rows.append(evidence.order("Cancelled", perm_id=501, order_id=2))

    assert evidence.faults() == {"duplicate"}


def test_one_order_id_for_two_references_is_a_duplicate(evidence):
    """An id that was given out again."""
    evidence.rows += [evidence.order("Inactive", perm_id=501, order_ref="g1aaaaaaaaaaaaaaaaE")]

    assert "duplicate" in evidence.faults()


def test_two_living_attempts_of_one_signal_are_a_duplicate(evidence):
    """The first attempt was called absent and was not."""
    again = order_reference("p2", ACCOUNT, "entry")
    evidence.wishes = [
        (Wish("p1", 1, 1, "place", {"limit_price": 10.0}), ["not_placed"]),
        (Wish("p2", 1, 2, "place", {"limit_price": 10.0}), ["accepted"]),
    ]
    evidence.rows += [evidence.order(status, perm_id=501, order_id=2, order_ref=again) for status in ("Submitted",)]

    assert {"duplicate", "false_no"} <= evidence.faults()


def test_a_yes_without_an_order_is_a_lost_acknowledgement(evidence):
    """The trader was told accepted; the Gateway never had it."""
    evidence.rows.clear()

    assert "lost_acknowledgement" in evidence.faults()


def test_a_fill_the_journal_does_not_know_is_lost(evidence):
    """The position is real and nobody knows."""
    evidence.rows += [{"event": "fill", "order_ref": REFERENCE, "quantity": "2"}, evidence.order("Filled")]

    assert {"lost_fill", "wrong_end"} <= evidence.faults()


@pytest.mark.parametrize("answers", [[], ["unknown"], ["lost"]])
def test_a_question_without_an_answer_is_stuck(evidence, answers):
    """Unknown at the very end counts as none."""
    evidence.wishes = [(Wish("p1", 1, 1, "place", {"limit_price": 10.0}), answers)]

    assert evidence.faults() == {"stuck"}


def test_an_order_that_never_ended_is_stuck(evidence):
    """At the Gateway, in the journal, or because the trader gave up."""
    evidence.rows.pop()

    assert "stuck" in evidence.faults()
    assert "stuck" in FAULTS


def test_what_the_gateway_forgot_on_command_is_excused(evidence):
    """Its last order was erased, so it cannot show its end."""
    evidence.rows[1:] = [{"event": "fault", "name": "restart_lost_orders"}]

    assert evidence.faults() == set()


def test_a_halt_that_nothing_explains_is_a_fault(evidence):
    """Trading never stops for no reason."""
    evidence.records.append(Append("halt", "", {"reason": "late"}))

    assert evidence.faults() == {"halted"}


@pytest.mark.parametrize(
    ("answer", "stands_at", "found"),
    [
        ("accepted", 9.5, {"wrong_price"}),  # the journal has not heard of it
        ("accepted", 10.0, {"wrong_price"}),
        ("refused", 10.0, set()),
        ("refused", 9.5, {"wrong_price"}),
        ("unknown", 10.0, set()),
        ("unknown", 9.5, set()),
        ("lost", 9.5, set()),
        ("", 9.5, set()),
        ("", 9.4, {"wrong_price"}),
    ],
)
def test_an_entry_must_stand_where_the_last_clear_answer_put_it(evidence, answer, stands_at, found):
    """A yes moved it, a no did not; without either both prices are lawful, and no third one is."""
    evidence.moves = [("entry", 9.5, answer)]
    evidence.rows[-1] = evidence.order("Cancelled", limit_price=stands_at)

    assert evidence.faults() == found


@pytest.mark.parametrize(
    ("answer", "stop_at_gateway", "found"),
    [
        ("refused", 9.0, set()),
        ("refused", 8.9, {"wrong_price"}),  # moved, although the answer was a definite no
        ("lost", 8.9, set()),
        ("lost", 8.8, {"wrong_price"}),
        ("accepted", 8.9, {"wrong_price"}),  # the journal has not heard of it
    ],
)
def test_an_exit_must_stand_where_the_last_clear_answer_put_it(tmp_path, answer, stop_at_gateway, found):
    """Each leg by its own price: a stop by its trigger."""
    evidence = Evidence(tmp_path)
    world = OrderWorld().start()
    world.ask("order.bracket", bracket("b1"))
    evidence.records = [Append(row["kind"], row["client_order_id"], row["body"]) for row in world.journal]
    prices: dict[str, dict[str, float | None]] = {"entry": {"limit_price": 10.0}, "take_profit": {"limit_price": 11.0}}
    prices["stop_loss"] = {"limit_price": None, "aux_price": stop_at_gateway}
    evidence.rows = [
        evidence.order("Submitted", order_ref=order_reference("b1", ACCOUNT, leg), order_id=n, perm_id=500 + n) | facts
        for n, (leg, facts) in enumerate(prices.items(), 1)
    ]
    args = {"limit_price": 10.0, "take_profit": 11.0, "stop_loss": 9.0}
    evidence.wishes = [(Wish("b1", 1, 1, "bracket", args), ["accepted"])]
    evidence.moves = [("stop_loss", 8.9, answer)]

    assert evidence.faults() - {"stuck"} == found
