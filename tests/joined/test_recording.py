"""Engine, proxy, Gateway and recorder joined: what was recorded is decided again as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import from_table
from engine.decisions import Logged
from engine.replay.audit import decide_again
from engine.replay.recorded import rows
from gateway_proxy import ConfigError
from tests.joined.joined_world import PARAMETERS, Joined, MemoryEngine, play

pytest.importorskip("pyarrow", reason="pyarrow is not installed: recordings are not tested")

from gateway_proxy.recorder.command import rules
from tests.joined.memory_recorder import MemoryRecorder, settle

TABLE = {
    "strategy": "scalp", "symbols": ["SPY"], "parameters": PARAMETERS, "sizing": {"max_quantity": 2},
    "bracket": {"stop_loss": 0.2}, "exits": {"max_bars": 10},
}  # fmt: skip
CONFIG = from_table({"engines": {"alpha": TABLE}}, "alpha", "the test")


def recorded(directory: Path, late_s: dict[str, float]) -> tuple[MemoryEngine, list[dict[str, Any]]]:
    """Half an hour of a live engine beside a recorder, and the same decided again from what was kept."""

    async def story(joined: Joined) -> None:
        what = rules(("bars/SPY/1min/",), {"alpha": TABLE}, 30.0, 50_000)
        recorder = MemoryRecorder(joined.proxy, what, directory)
        recorder.start()
        joined.engines[0].late_s = late_s
        await joined.run(1800)
        recorder.stop()
        await settle()

    (live,) = play(story).engines
    logged = Logged(live.records, [one for one in live.replies if one[1].question.purpose != "bars"])
    return live, decide_again(CONFIG.core_rules, CONFIG.strategy, [directory], logged)


def test_recording_is_decided_again_as_it_was(tmp_path: Path):
    """Every decision of the live run, word for word and bit for bit, with the guards that its own orders closed."""
    live, again = recorded(tmp_path, {})

    assert len(live.records) >= 25
    assert {one["guard"] for one in live.records} >= {"", "busy"}, "the test needs a signal held back by a trade"
    assert again == live.records
    with pytest.raises(ConfigError, match=r"no answers beside it, and chain was asked"):
        decide_again(CONFIG.core_rules, CONFIG.strategy, [tmp_path], Logged(live.records, []))
    traded = {fill["contract"] for fill in rows([tmp_path], "fills")}
    assert traded and rows([tmp_path], "quotes"), "the quotes of what was traded are kept"


@pytest.mark.parametrize("chain_s", [70.0, 190.0])
def test_recording_is_decided_again_when_answers_were_slow(tmp_path: Path, chain_s: float):
    """A chain that comes one bar late still makes an order; one that comes three bars late is a "no" that is kept."""
    live, again = recorded(tmp_path, {"chain": chain_s})

    held = [one["guard_reason"] for one in live.records if one["guard"] == "busy"]
    dropped = [one["reason"] for one in live.records if one["rule"] == "dropped"]
    assert "a trade is choosing" in held, "the test needs a signal held back by a trade that waits for its chain"
    assert ("the option chain came too late for this signal" in dropped) == (chain_s > 180)
    assert again == live.records
