"""The conversation with the client library that is installed anyway; `make conformance` holds it with all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.__main__ import CLIENTS, converse
from tests.conformance.steps import STEPS


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(240)
def test_ib_async_holds_the_whole_conversation(capfd):
    """Every step is reached and passed, over a real socket."""
    assert converse(Path(sys.executable), CLIENTS["ib_async"][1])

    lines = capfd.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert sum(line.startswith("ok ") for line in lines) == len(STEPS)


def test_unknown_client_is_refused_by_name():
    command = [sys.executable, "-m", "tests.conformance", "ib_sync"]

    result = subprocess.run(command, capture_output=True, text=True, timeout=30)

    assert result.returncode == 2
    assert "no client ib_sync; known: ib_async, ib_insync, ibapi" in result.stderr
