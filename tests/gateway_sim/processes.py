"""Real simulator processes on free loopback ports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def simulator(*arguments: str) -> Iterator[int]:
    """A running `python -m gateway_sim`; yields its port. Stopped with SIGTERM, which must give exit code 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway_sim", "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on" in line, process.communicate()
        yield int(line.split("listening on ")[1].split()[0].split(":")[1])
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    assert errors == ""
