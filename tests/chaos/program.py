"""Runs one of the chaos programmes as its command does, for the short slices in the test suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.stack import ROOT


def tally_of(module: str, out: Path, *arguments: str) -> dict[str, Any]:
    """The tally of a run that found nothing wrong; a run that did fails the test with what it printed."""
    command = [sys.executable, "-m", module, *arguments, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tally: dict[str, Any] = json.loads(out.read_text())
    return tally
