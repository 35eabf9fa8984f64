"""The judge of real engines: each fault it must find, forged into evidence that is otherwise in order."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy.core.effects import Append
from gateway_proxy.core.identifiers import order_reference
from gateway_proxy.journal import Journal
from tests.chaos.engine_judge import judge_engines
from tests.chaos.program import tally_of
from tests.gateway_proxy.core.order_world import OrderWorld, bracket

SIGNAL = "SPY-20260615-1101-B"
NAME = f"{SIGNAL}-aaaaaaaaaa"
LEGS = {"entry": 1, "take_profit": 2, "stop_loss": 3}


def row(leg: str, status: str, **facts: Any) -> dict[str, Any]:
    number = LEGS[leg]
    told = {"event": "order", "order_id": number, "perm_id": 500 + number, "status": status}
    return told | {"order_ref": order_reference(NAME, "DU1", leg)} | facts


def fill(leg: str, quantity: str) -> dict[str, Any]:
    return {"event": "fill", "order_ref": order_reference(NAME, "DU1", leg), "quantity": quantity}


class Evidence:
    """One bracket that works, nothing filled."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = OrderWorld().start()
        self.world.ask("order.bracket", bracket(NAME))
        self.rows = [row("entry", "Submitted"), row("take_profit", "PreSubmitted"), row("stop_loss", "PreSubmitted")]

    def faults(self) -> set[str]:
        ledger, journal = (self.directory / f"{name}{len(self.rows)}" for name in ("ledger", "journal"))
        ledger.write_text("".join(json.dumps(one) + "\n" for one in self.rows))
        records = [Append(one["kind"], one["client_order_id"], one["body"]) for one in self.world.journal]
        with Journal(journal) as kept:
            kept.append(records, 1)
        verdict = judge_engines(ledger, journal)
        assert verdict.counts["brackets"] > 0
        return {name for name, sentences in verdict.faults.items() if sentences}


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path)


def test_a_whole_bracket_is_no_fault(evidence):
    """The evidence itself is in order."""
    assert evidence.faults() == set()


def test_one_signal_with_two_brackets_is_a_duplicate(evidence):
    """The engine restarted and gave the same signal another id."""
    evidence.world.ask("order.bracket", bracket(f"{SIGNAL}-bbbbbbbbbb"))

    assert "duplicate" in evidence.faults()


def test_one_reference_with_two_orders_is_a_duplicate(evidence):
    """The proxy sent it twice."""
    evidence.rows.append(row("entry", "Submitted", order_id=9, perm_id=900))

    assert evidence.faults() == {"duplicate"}


def test_an_entry_without_its_stop_is_torn(evidence):
    """Two of three frames arrived, and the entry was let loose."""
    del evidence.rows[2]

    assert evidence.faults() == {"torn_bracket"}


def test_a_filled_entry_whose_exits_died_is_naked(evidence):
    """Contracts are held and nothing would sell them."""
    evidence.rows += [fill("entry", "2"), row("entry", "Filled")]
    standing = evidence.faults()
    evidence.rows += [row("take_profit", "Cancelled"), row("stop_loss", "Cancelled")]

    assert "naked" not in standing
    assert "naked" in evidence.faults()


def test_both_exits_filled_is_oversold(evidence):
    """What one exit sold, the other sold again."""
    evidence.rows += [fill("entry", "2"), row("entry", "Filled")]
    for leg in ("take_profit", "stop_loss"):
        evidence.rows += [fill(leg, "2"), row(leg, "Filled")]

    assert "oversold" in evidence.faults()


def test_a_fill_the_journal_does_not_know_is_lost(evidence):
    """The position is real and nobody knows."""
    evidence.rows += [fill("entry", "1")]

    assert "lost_fill" in evidence.faults()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and needs SIGKILL as Linux has it")
def test_six_kills_of_real_engines_double_and_tear_nothing(tmp_path):
    """Whole brackets or none, each signal once, nothing held without a seller."""
    tally = tally_of("tests.chaos.engines", tmp_path / "engines.json", "--kills", "6", "--seed", "3")

    assert sum(tally["kills"].values()) >= 6
    assert not any(tally["faults"].values())
    assert tally["counts"]["brackets"] > 0
