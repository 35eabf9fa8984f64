"""The recovery benchmark: its blows fall anywhere, its figures are what they say, and nothing is imported late."""

from __future__ import annotations

import random
import subprocess
import sys

from bench.recovery import KINDS
from bench.recovery_figures import QUIET_S, Promise, Sample, line, pauses, spread
from tests.support.stack import ROOT


def test_blows_fall_in_every_part_of_the_probe_cycle_and_a_seed_repeats_them():
    """Sixty blows: none before the rest is over, and each sixth of the cycle is hit."""
    first, again, other = (pauses(60, 1.5, random.Random(seed).uniform) for seed in (1, 1, 2))

    parts = {int((pause_s - QUIET_S) / 1.5 * 6) for pause_s in first}
    assert first == again != other
    assert parts == set(range(6))


def test_figures_of_ten_known_times():
    """Worked out by hand: the median lies between the fifth and sixth, nine of ten are at most the ninth."""
    values_s = [0.010, 0.001, 0.009, 0.002, 0.008, 0.003, 0.007, 0.004, 0.006, 0.005]

    assert spread(values_s, 0.008) == {"median": 5.5, "p90": 9.0, "max": 10.0, "promised": 8.0, "broken": 2}
    assert spread(values_s, None) == {"median": 5.5, "p90": 9.0, "max": 10.0, "promised": None, "broken": None}


def test_figures_of_a_single_blow():
    """One round is the shortest run."""
    assert spread([0.25], 0.25) == {"median": 250.0, "p90": 250.0, "max": 250.0, "promised": 250.0, "broken": 0}


def test_a_line_names_its_kind_its_seed_and_both_promises():
    """What is noticed and what is ready are judged by bounds of their own."""
    told = line("killed gateway", 7, [Sample(0.3, 1.0), Sample(0.1, 6.0)], Promise(noticed_s=0.2, ready_s=5.0))

    assert (told["figure"], told["n"], told["seed"], told["unit"]) == ("killed gateway", 2, 7, "ms")
    assert (told["noticed"]["max"], told["noticed"]["broken"]) == (300.0, 1)
    assert (told["ready"]["max"], told["ready"]["broken"]) == (6000.0, 1)


def test_the_promises_are_those_of_the_documents():
    """3 s for a mute Gateway, 0.2 s for a closed socket, 5 s after kill -9; docs/health.md gives the same."""
    promised = {name: kind.promise for name, kind in KINDS.items() if kind.promise != Promise()}

    assert promised == {
        "stopped gateway": Promise(noticed_s=3.0),
        "killed gateway": Promise(noticed_s=0.2, ready_s=5.0),
        "closed socket": Promise(noticed_s=0.2),
        "gateway restart": Promise(noticed_s=0.2),
    }


def test_everything_is_imported_before_the_first_blow():
    """The way to the simulator's control port, too: imported during the first blow it made that one seem slow."""
    code = "import sys, bench.recovery; print('gateway_sim.control' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "True"
