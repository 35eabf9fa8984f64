"""Engine, proxy, Gateway and recorder joined: what was recorded is decided again as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import from_table
from engine.replay.audit import decide_again
from engine.replay.recorded import rows
from tests.joined.joined_world import PARAMETERS, Joined, play

pytest.importorskip("pyarrow", reason="pyarrow is not installed: recordings are not tested")

from gateway_proxy.recorder.command import rules
from tests.joined.memory_recorder import MemoryRecorder, settle

TABLE = {
    "strategy": "scalp", "symbols": ["SPY"], "parameters": PARAMETERS, "sizing": {"max_quantity": 2},
    "bracket": {"stop_loss": 0.2}, "exits": {"max_bars": 10},
}  # fmt: skip
CONFIG = from_table({"engines": {"alpha": TABLE}}, "alpha", "the test")


def test_recording_is_decided_again_as_it_was(tmp_path: Path):
    """Every decision of the live run, word for word and bit for bit, with the guards that its own orders closed."""

    async def story(joined: Joined) -> None:
        what = rules(("bars/SPY/1min/",), {"alpha": TABLE}, 30.0, 50_000)
        recorder = MemoryRecorder(joined.proxy, what, tmp_path)
        recorder.start()
        await joined.run(1800)
        recorder.stop()
        await settle()

    joined = play(story)

    live = joined.engines[0].records
    again = decide_again(CONFIG.core_rules, CONFIG.strategy, [tmp_path], {"SPY": live[0]["bar_start_ns"]})
    assert len(live) >= 25
    assert {one["guard"] for one in live} >= {"", "busy"}, "the test needs a trade and a signal held back by it"
    assert again == live
    traded = {fill["contract"] for fill in rows([tmp_path], "fills")}
    assert traded and rows([tmp_path], "quotes"), "the quotes of what was traded are kept"
