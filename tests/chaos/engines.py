"""`python -m tests.chaos.engines [--kills N] [--seed S]`: real engines trade while they and the proxy are killed.

The engines of configs/local.toml at speed 30, options and brackets and all, in rounds of a market each. SIGKILL at
seeded moments: of the proxy, of an engine, of all of them; each is started again by its command at once, as the
launcher would. Then it is judged on the ledger. Exit code 0 if nothing was wrong; the tally goes to
var/chaos-engines.json.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.chaos.engine_judge import FAULTS, judge_engines
from tests.chaos.judge import Verdict
from tests.chaos.readiness import until_ready
from tests.support.pair import Pair
from tests.support.stack import LOCAL, ROOT

ENGINES: Final = ("scalp", "reversion")
SPEED: Final = 30.0
#: Between two blows, so that signals, fills and time stops happen.
FLOW_S: Final = (1.0, 9.0)
#: A round ends before the market's afternoon does: options of the day would expire.
ROUND_BLOWS: Final = 25
#: What an engine needs to close what its last life left open.
SETTLE_S: Final = 60.0
WEIGHTS: Final = {"proxy": 40, "scalp": 20, "reversion": 15, "proxy scalp reversion": 25}
_RISK: Final = "[risk]\nmax_efficiency_ratio = 1e9\n"


class EngineArena:
    """One market: a simulator, a proxy and the engines. `directory` must have a short path."""

    def __init__(self, directory: Path) -> None:
        tables = LOCAL.read_text()
        self.directory = directory
        self.pair = Pair(directory, more=_RISK + tables[tables.index("[engines.scalp]") :], speed=SPEED)
        self.journal = self.pair.runtime / "journal-paper.sqlite3"
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def start(self) -> None:
        self.pair.start()
        until_ready(self.pair.client)
        for name in ENGINES:
            self._start(name)

    def close(self) -> None:
        """Leaves no process; asks the simulator first, so that the ledger's last line is whole."""
        assert self.pair.simulator is not None
        self.pair.simulator.terminate()
        self.pair.simulator.wait(10.0)
        self.pair.close()

    def _start(self, name: str) -> None:
        if name == "proxy":
            self.pair.start_proxy()
            return
        with (self.directory / f"{name}.log").open("a") as log:
            command = ("-m", "engine", "--config", str(self.pair.config), "--name", name)
            self._processes[name] = self.pair.spawn(*command, output=log)

    def strike(self, names: tuple[str, ...]) -> float:
        """SIGKILL to these and a new start at once; seconds until the proxy accepts orders. Raises TimeoutError."""
        began = time.monotonic()
        for name in names:
            process = self.pair.proxy if name == "proxy" else self._processes[name]
            assert process is not None
            process.kill()
            process.wait()
            self._start(name)
        until_ready(self.pair.client)
        return time.monotonic() - began

    def settled(self) -> Verdict:
        """The judgement as soon as it is clean, or the last one: an engine between two orders is not a fault."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            time.sleep(1.0)
            verdict = judge_engines(self.pair.ledger_file, self.journal)
            if verdict.is_clean or time.monotonic() > deadline:
                return verdict


def play(seed: int, tally: dict[str, Any]) -> None:
    """One round into the tally; its files stay when something was wrong."""
    directory = Path(tempfile.mkdtemp(prefix="gp-eng-", dir="/tmp"))
    arena, dice, stuck = EngineArena(directory), random.Random(seed), ""
    try:
        arena.start()
        for _ in range(ROUND_BLOWS):
            if tally["kills"].total() >= tally["wanted"]:
                break
            time.sleep(dice.uniform(*FLOW_S))
            names = tuple(dice.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0].split())
            took_s = arena.strike(names)
            tally["kills"].update(names)
            tally["ready_s"].append(round(took_s, 2))
        verdict = arena.settled()
    except TimeoutError as error:
        stuck, verdict = str(error), judge_engines(arena.pair.ledger_file, arena.journal)
    finally:
        arena.close()
    tally["counts"].update(verdict.counts)
    for name, sentences in (verdict.faults | {"stuck": [stuck] if stuck else []}).items():
        tally["faults"][name] += sentences
    if verdict.is_clean and not stuck:
        shutil.rmtree(directory)
    else:
        tally["files"].append(f"seed {seed}: {directory}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.engines", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="end after so many SIGKILLs (default 40)")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="of the first round; printed")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "chaos-engines.json", help="the tally")
    options = parser.parse_args()
    options.out.parent.mkdir(exist_ok=True)
    tally: dict[str, Any] = {"seed": options.seed, "wanted": options.kills, "kills": Counter(), "ready_s": []}
    tally |= {"counts": Counter(), "faults": {name: [] for name in FAULTS}, "files": []}
    rounds = 0
    while tally["kills"].total() < options.kills:
        play(options.seed + rounds, tally)
        rounds += 1
        options.out.write_text(json.dumps(tally, indent=1) + "\n")
        told = ", ".join(f"{len(sentences)} {name}" for name, sentences in tally["faults"].items())
        print(f"engines: SIGKILLs {dict(tally['kills'])}: {told}", flush=True)
        if tally["faults"]["stuck"]:
            break
    wrong = [f"{name}: {sentence}" for name, sentences in tally["faults"].items() for sentence in sentences]
    print(f"  seed {options.seed}, slowest proxy {max(tally['ready_s'], default=0.0)} s; {dict(tally['counts'])}")
    for line in [f"FAULT {one}" for one in wrong] + [f"files: {place}" for place in tally["files"]]:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
