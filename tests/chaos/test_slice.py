"""A short slice of `make chaos`: about ten SIGKILLs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.chaos.arena import ROOT


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="needs a fork server and SIGSTOP as Linux has them")
def test_ten_kills_double_lose_and_block_nothing(tmp_path):
    """0 duplicates, 0 lost acknowledgements, 0 stuck, and the tally says what was done."""
    out = tmp_path / "chaos.json"

    command = ["--kills", "8", "--round", "14", "--seed", "7", "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "tests.chaos", *command], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    tally = json.loads(out.read_text())
    assert tally["sigkills"] >= 8
    assert set(tally["faults"].values()) == {0}
    assert tally["counts"]["accepted"] > 0
