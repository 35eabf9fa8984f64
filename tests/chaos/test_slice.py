"""A short slice of `make chaos`: about ten SIGKILLs."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.program import tally_of


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork server and SIGSTOP as Linux has them")
def test_ten_kills_double_lose_and_block_nothing(tmp_path):
    """0 duplicates, 0 lost acknowledgements, 0 stuck, and the tally says what was done."""
    tally = tally_of("tests.chaos", tmp_path / "chaos.json", "--kills", "8", "--round", "14", "--seed", "7")

    assert tally["sigkills"] >= 8
    assert set(tally["faults"].values()) == {0}
    assert tally["counts"]["accepted"] > 0
