"""The scenarios that ship with the project can be loaded and played."""

import pytest

from gateway_sim.scenario import build, load
from tests.gateway_sim.processes import ROOT

FILES = sorted((ROOT / "configs" / "scenarios").glob("*.toml"))


def test_there_are_some():
    assert len(FILES) >= 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example_scenario_plays(path):
    """Loads, and every planned fault happens when the time line says."""
    scenario = load(path)
    gateway = build(scenario)
    planned = [fault for fault in scenario.faults if fault.on is None]

    gateway.handle_timer(6 * 3600.0)

    assert gateway.floor.ledger.counts["fault"] >= len(planned)
