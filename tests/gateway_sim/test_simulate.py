"""The simulate programme: a seeded day run twice."""

import json

from gateway_sim.simulate import main, run_day


def test_two_runs_of_a_seed_are_identical(capsys):
    """Same ledger, same bytes; the rule-abiding client is charged with nothing."""
    assert main(["--seeds", "1", "--hours", "0.02"]) == 0

    result = json.loads(capsys.readouterr().out)
    assert result["identical"] and result["violations"] == 0
    assert result["fills"] >= 1 and result["hours_per_s"] > 0.001


def test_another_seed_is_another_day():
    first, second = (run_day(seed, 0.01)[0] for seed in (1, 2))

    assert first.digest.digest() != second.digest.digest()
