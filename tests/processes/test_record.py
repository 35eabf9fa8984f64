"""Recording as a user does it: the whole chain runs, a recorder beside it, and the recording tells what happened."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.support.stack import LOCAL, Stack

pytest.importorskip("pyarrow", reason="pyarrow is not installed: recordings are not tested")

from engine.replay.recorded import rows

pytestmark = [
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc"),
]
ENGINES = ("scalp", "reversion")


@pytest.fixture
def stack(short_dir: Path) -> Iterator[Stack]:
    logs = {f"ENGINES__{name.upper()}__DECISION_LOG": str(short_dir / f"{name}.jsonl") for name in ENGINES}
    running = Stack(
        short_dir, RECORD__ENABLED="true", RECORD__DIR=str(short_dir / "recording"), RECORD__EVERY_S="2",
        LAUNCHER__MONITOR="false", CHAIN__REFRESH_S="0.5", **logs,
    )  # fmt: skip
    yield running
    running.close()


def test_decisions_of_a_live_run_and_of_its_recording_are_identical(stack: Stack):
    """Simulator, proxy, two engines and a recorder for a while; then every decision again, from the files alone."""
    stack.start()
    stack.wait_for_text("signal held back")
    stack.wait_for_text(" filled ", times=10)
    assert stack.stop() == 0

    recording = str(stack.directory / "recording")
    for name in ENGINES:
        log = stack.directory / f"{name}.jsonl"
        done = stack.run(
            "engine", "replay", "--config", str(LOCAL), "--name", name, recording, "--against", str(log)
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        outcome = orjson.loads(done.stdout)
        # The recorder may have been stopped a moment before the engine.
        assert outcome["identical"] and outcome["logged"] - outcome["compared"] <= 6, outcome

    once, twice = (stack.run("engine", "--config", str(LOCAL), "--replay", recording) for _ in range(2))
    assert once.stdout == twice.stdout
    assert orjson.loads(once.stdout.splitlines()[0])["fills"].get("recorded"), once.stdout


def test_recorder_that_is_killed_leaves_a_readable_recording_and_goes_on(stack: Stack):
    """kill -9, and the launcher starts it again: what was written can be read, and the hole can be seen."""
    stack.start()
    recording = stack.directory / "recording"
    stack.wait_until(lambda: list(recording.glob("*/bars-*.parquet")), "a file of bars")
    before = {orjson.dumps(row) for row in rows([recording], "bars")}

    recorder = next(pid for pid in stack.pids() if b"\0record\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(recorder, signal.SIGKILL)
    stack.wait_until(lambda: len(rows([recording], "marks")) >= 2, "the mark of a second start")

    assert before <= {orjson.dumps(row) for row in rows([recording], "bars")}
    assert [row["mark"] for row in rows([recording], "marks")] == ["started", "started"]
    assert stack.stop() == 0
    assert rows([recording], "marks")[-1]["mark"] == "stopped"
    assert not list(recording.glob("*/*.part"))
