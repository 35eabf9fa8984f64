"""pytest: the fixture `virtual_gateway`, for any project that tests an IB client.

Put `pytest_plugins = ["gateway_sim.pytest_plugin"]` into a conftest.py, then

    def test_my_bot(virtual_gateway):
        async def conversation(world): ...
        world = virtual_gateway(conversation, seed=3)
        assert world.violations() == []
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway_sim.testing import World, run_virtual


@pytest.fixture
def virtual_gateway() -> Callable[..., World]:
    """`run_virtual`: a conversation against a simulated Gateway in virtual time."""
    return run_virtual
