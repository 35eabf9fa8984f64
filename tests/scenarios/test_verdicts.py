"""Every cause is named: the scenario is played, and the verdict must be the right one."""

from __future__ import annotations

import pytest

from gateway_proxy.core.diagnosis import TABLE
from gateway_proxy.core.verdict import Verdict
from tests.scenarios.__main__ import DOCUMENT, verdict_table
from tests.scenarios.cases import CASES, SCENARIOS, Case, run

#: Faults of the client's machine, which no Gateway can play: the first two need real processes and have their own test
#: (tests/processes/test_causes.py), the others are named from symptoms (tests/gateway_proxy/core/test_diagnosis.py).
NOT_THE_GATEWAY = {Verdict.LOOP_MISMATCH, Verdict.PROXY_STALLED, Verdict.READER_DEAD, Verdict.NETWORK_STALL}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_cause_is_named(case: Case):
    """The doctor, or the verdict published while it happens, names the cause that the scenario injects."""
    named = run(case)

    assert named.verdict == case.expected.value, f"{named.sign}; published {named.published}, state {named.state}"


def test_enough_causes_are_played():
    """At least twenty different verdicts are proved by a scenario."""
    assert len({case.expected for case in CASES}) >= 20
    assert all(case.file.is_file() for case in CASES)
    assert SCENARIOS.is_dir()


def test_whatever_the_table_can_say_of_the_gateway_is_played():
    """No cause that a Gateway can play is named from symptoms alone."""
    assert {row.verdict for row in TABLE} - {case.expected for case in CASES} == NOT_THE_GATEWAY


def test_the_published_list_of_verdicts_is_current():
    """docs/verdicts.md lists every verdict with its sign and advice; `python -m tests.scenarios` writes it."""
    assert verdict_table() in DOCUMENT.read_text(), "run: python -m tests.scenarios"


def test_every_row_of_the_decision_table_names_a_listed_verdict():
    """The table and the closed list belong together."""
    text = DOCUMENT.read_text()

    assert all(f"`{row.verdict.value}`" in text for row in TABLE)
