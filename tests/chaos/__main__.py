"""`python -m tests.chaos [--kills N] [--seed S]`: order flow under SIGKILL, cuts and pauses, judged on the ledger.

A run is a row of rounds, each with a market, a journal and a runtime directory of its own. After each round everything
is settled and judged. Exit code 0 if nothing was doubled, lost or stuck, 1 if something was; the tally is printed and
written to var/chaos.json after every round, so that an interrupted run tells what it did. A round that failed leaves
its files behind, and its seed repeats the blows (not the exact moments).

The Gateway itself is not killed with SIGKILL: its orders live at IB and not in its process, and the simulator plays
both. `gateway_restarted` and `gateway_forgot_orders` stand for it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.arena import Arena
from tests.chaos.blows import SIGKILLS, blow
from tests.chaos.judge import FAULTS, Verdict, judge
from tests.support.stack import ROOT

READY_GOAL_S = 5.0


@dataclass(slots=True)
class Tally:
    """What was done and what came of it, over all rounds."""

    seed: int
    blows: Counter[str] = field(default_factory=Counter)
    ready_s: dict[str, list[float]] = field(default_factory=dict)
    stuck: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in FAULTS})
    counts: Counter[str] = field(default_factory=Counter)
    failed_rounds: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def kills(self) -> int:
        return sum(count * SIGKILLS.get(name, 0) for name, count in self.blows.items())

    @property
    def is_clean(self) -> bool:
        return not self.stuck and not any(self.faults.values())

    def struck(self, name: str, ready_s: float | None) -> None:
        self.blows[name.partition(" ")[0]] += 1
        if ready_s is None:
            self.stuck += 1
            self.faults["stuck"].append(f"never ready again after {name}")
        else:
            self.ready_s.setdefault(name, []).append(ready_s)

    def judged(self, verdict: Verdict) -> None:
        self.counts.update(verdict.counts)
        for name, sentences in verdict.faults.items():
            self.faults[name] += sentences

    def as_json(self) -> dict[str, Any]:
        kills = [one for name, times in self.ready_s.items() if "proxy_killed" in name for one in times]
        return {
            "seed": self.seed,
            "seconds": round(time.monotonic() - self.began, 1),
            "blows": sum(self.blows.values()),
            "sigkills": self.kills,
            "by_name": dict(self.blows),
            "faults": {name: len(sentences) for name, sentences in self.faults.items()},
            "sentences": [sentence for sentences in self.faults.values() for sentence in sentences][:200],
            "ready_after_proxy_kill_s": _spread(kills),
            "ready_s": {name: _spread(times) for name, times in sorted(self.ready_s.items())},
            "counts": dict(self.counts),
            "failed_rounds": self.failed_rounds,
        }


def _spread(times: list[float]) -> dict[str, float]:
    if not times:
        return {"n": 0}
    late = sum(one > READY_GOAL_S for one in times)
    return {"n": len(times), "median": round(statistics.median(times), 2), "max": round(max(times), 2), "late": late}


def play(tally: Tally, seed: int, blows: int, *, keep: bool) -> None:
    """One round: a fresh arena, so many blows, everything settled, and the judgement into the tally."""
    directory = Path(tempfile.mkdtemp(prefix="gp-chaos-", dir="/tmp"))
    arena = Arena(directory, seed)
    dice = random.Random(seed)
    try:
        for number in range(blows):
            one = blow(dice, seed * blows + number)
            before = arena.starts
            ready_s = arena.strike(one, dice)
            cold = " (cold start)" if arena.starts > before and arena.started_cold else ""
            tally.struck(one.name + cold, ready_s)
        settled = arena.settle()
    finally:
        arena.close()
    verdict = judge(arena.ledger, arena.journal, arena.notebook, settled=settled)
    tally.judged(verdict)
    if verdict.is_clean and not keep:
        shutil.rmtree(directory)
    else:
        tally.failed_rounds.append(f"seed {seed}: {directory}")


def tell(tally: Tally) -> None:
    told = tally.as_json()
    faults = ", ".join(f"{count} {name}" for name, count in told["faults"].items())
    print(f"chaos: {told['blows']} blows, {told['sigkills']} SIGKILLs in {told['seconds']:.0f} s: {faults}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="end after so many SIGKILLs (default 200)")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the first round; printed")
    parser.add_argument("--round", type=int, default=40, help="blows between two judgements (default 40)")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "chaos.json", help="the tally")
    parser.add_argument("--keep", action="store_true", help="leave the files of clean rounds, too")
    options = parser.parse_args()
    options.out.parent.mkdir(exist_ok=True)
    tally = Tally(options.seed)
    print(f"chaos: seed {options.seed}", flush=True)
    rounds = 0
    while tally.kills < options.kills:
        play(tally, options.seed + rounds, options.round, keep=options.keep)
        rounds += 1
        options.out.write_text(json.dumps(tally.as_json(), indent=1) + "\n")
        tell(tally)
    told = tally.as_json()
    for name, spread in {"all proxy kills": told["ready_after_proxy_kill_s"], **told["ready_s"]}.items():
        print(f"  ready again after {name}: {spread}")
    for name, count in told["counts"].items():
        print(f"  {name}: {count}")
    for sentence in told["sentences"]:
        print(f"  FAULT {sentence}")
    for place in told["failed_rounds"]:
        print(f"  files: {place}")
    return 0 if tally.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
