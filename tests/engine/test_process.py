"""The engine as a process: stops cleanly, waits for its proxy, and comes up whatever its compile cache looks like."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
TABLE = '[engines.alpha]\nstrategy = "scalp"\nsymbols = ["SPY"]\n[logs]\nformat = "json"\n'


def start(tmp_path: Path, **environ: str) -> subprocess.Popen[str]:
    config = tmp_path / "engine.toml"
    config.write_text(TABLE)
    return subprocess.Popen(
        [sys.executable, "-m", "engine", "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, "GATEWAY_PROXY_RUNTIME": str(tmp_path / "none"), **environ},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Lines until one holds `text`."""
    assert process.stderr is not None
    deadline, seen = time.monotonic() + 50, ""
    while time.monotonic() < deadline and (line := process.stderr.readline()):
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"no {text!r} in {seen}")


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    code = process.wait(timeout=10)
    assert process.stderr is not None
    process.stderr.close()
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_engine_waits_for_its_proxy_and_stops_with_zero(tmp_path, number):
    """Started too early it says so, and a stop is a stop."""
    process = start(tmp_path)

    said = wait_for(process, "no proxy yet")

    assert stop(process, number) == 0
    assert "strategy ready" in said


def test_engines_with_one_empty_cache_all_come_up_and_a_damaged_one_is_built_again(tmp_path):
    """Four at once on a cold cache, then one on garbage where the cache was."""
    cache = tmp_path / "cache"
    together = [start(tmp_path, NUMBA_CACHE_DIR=str(cache)) for _ in range(4)]
    for process in together:
        wait_for(process, "strategy ready")
    assert [stop(process) for process in together] == [0, 0, 0, 0]
    compiled = [path for path in cache.rglob("*.nb?") if "strategy_set" in path.name]
    assert compiled
    for path in compiled:
        path.write_bytes(b"garbage")

    again = start(tmp_path, NUMBA_CACHE_DIR=str(cache))

    wait_for(again, "strategy ready")
    assert stop(again) == 0
