"""The simulate programme: a seeded day run twice."""

import json
from dataclasses import replace

import pytest

from gateway_sim.simulate import compared, main, outcome_of, run_day


def test_two_runs_of_a_seed_are_identical(capsys):
    """Same ledger, same bytes; the rule-abiding client is charged with nothing."""
    assert main(["--seeds", "1", "--hours", "0.02"]) == 0

    result, total = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert result["identical"] and result["violations"] == 0
    assert result["orders"] >= 3 and result["fills"] >= 1 and result["hours_per_s"] > 0.0
    assert total["passed"]


def test_a_difference_in_one_byte_fails():
    """Two outcomes are only the same if both digests are."""
    one = outcome_of(1, 0.001)

    assert compared(1, 0.001, one, outcome_of(1, 0.001))["identical"]
    assert not compared(1, 0.001, one, replace(one, wire="other"))["identical"]
    assert not compared(1, 0.001, one, replace(one, ledger="other"))["identical"]


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--hours", "0"], ["--hours", "nan"], ["--hours", "99"]])
def test_impossible_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "--seeds must be" in capsys.readouterr().err


def test_another_seed_is_another_day():
    first, second = (run_day(seed, 0.01)[0] for seed in (1, 2))

    assert first.digest.digest() != second.digest.digest()
