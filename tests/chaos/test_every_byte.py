"""The socket is cut after a byte of an order and of a bracket, in virtual time: real proxy core, real simulator.

Every seventh byte; CHAOS_BYTE_STEP=1 takes every one, in some minutes.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.identifiers import order_reference
from gateway_proxy.core.orders import ALIVE, TERMINAL, State
from gateway_proxy.core.risk import RiskSettings
from gateway_proxy.settings import Settings
from gateway_sim.testing import World, run_virtual
from tests.chaos.judge import ACCOUNT
from tests.scenarios.virtual_proxy import VirtualProxy

STEP = int(os.environ.get("CHAOS_BYTE_STEP", "7"))
#: Parents whose children never came stay with the simulator and count against the 15 orders per side.
CUTS_PER_WORLD = 12
LIVE = ("PreSubmitted", "Submitted")
SETTINGS = Settings(
    orders=OrderSettings(entry_good_for_s=10.0, absence_wait_s=10.0, sweep_spacing_s=1.0, ack_timeout_s=2.0),
    risk=replace(
        RiskSettings(), max_orders_per_minute=None, max_cancels_per_minute=None, max_efficiency_ratio=None,
        max_position=None,
    ),
)  # fmt: skip
ORDER: dict[str, Any] = {"engine": "chaos", "contract": "SPY", "action": "BUY", "quantity": 1, "limit_price": 550.0}
SHAPES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "order.place": ({"order_type": "LMT"}, ("entry",)),
    "order.bracket": ({"take_profit": 560.0, "stop_loss": 540.0}, ("entry", "take_profit", "stop_loss")),
}


class Cuts:
    """One order after the other, each cut one byte later, until one whole order has passed before the cut."""

    def __init__(self, world: World, proxy: VirtualProxy, op: str) -> None:
        self._world = world
        self._proxy = proxy
        self._op = op
        self._shape, self._legs = SHAPES[op]
        self.outcomes: list[str] = []

    async def run(self, byte: int) -> None:
        self._proxy.subscribe("quote/SPY/")
        for at in range(byte, byte + CUTS_PER_WORLD * STEP, STEP):
            await self._proxy.until("ready")
            await asyncio.sleep(0.5)
            cuts = len(self._world.events("disconnect"))
            self.outcomes.append(await self._cut_after(at))
            # A cut that lies behind the whole order comes with what is sent after it.
            await self._until(lambda before=cuts: len(self._world.events("disconnect")) > before)

    async def _cut_after(self, byte: int) -> str:
        """What became of the order: "whole" or "nothing"."""
        name = f"{self._op}-{byte}"
        self._world.inject("socket_cut", after_received=byte)
        request = self._proxy.trade(self._op, client_order_id=name, **ORDER, **self._shape)
        await self._until(lambda: request in self._proxy.replies)
        order = self._proxy.core.orders._blotter.register.orders.get(name)
        assert order is not None, self._proxy.replies[request].error
        await self._until(lambda: order.state in ALIVE or order.state in TERMINAL)
        alive = [leg for leg in self._legs if self._perm_ids(name, leg)]
        assert all(len(self._perm_ids(name, leg)) <= 1 for leg in self._legs)
        assert len(alive) in (0, len(self._legs)), f"half a bracket after byte {byte}: {alive}"
        assert (order.state is State.NOT_PLACED) == (not alive), f"byte {byte}: {order.state}, at the Gateway: {alive}"
        if alive:
            self._proxy.trade("order.cancel", client_order_id=name, exits=True)
            await self._until(lambda: order.terminal)
        return "whole" if alive else "nothing"

    def _perm_ids(self, name: str, leg: str) -> set[int]:
        reference = order_reference(name, ACCOUNT, leg)
        rows = self._world.events("order")
        return {row["perm_id"] for row in rows if row["order_ref"] == reference and row["status"] in LIVE}

    @staticmethod
    async def _until(holds) -> None:
        for _ in range(6000):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("stuck")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("op", SHAPES)
def test_an_order_cut_after_any_byte_is_whole_or_nothing_and_known_as_such(op):
    """Every k: no half bracket, no second order, and the proxy's word for it is the ledger's."""

    outcomes: list[str] = []

    async def conversation(world: World) -> None:
        proxy = VirtualProxy(world, settings=SETTINGS)
        cuts = Cuts(world, proxy, op)
        await cuts.run(1 + len(outcomes) * STEP)
        proxy.stop()
        outcomes.extend(cuts.outcomes)

    while outcomes.count("whole") < 3:
        assert len(outcomes) * STEP < 3000, "the order never arrived"
        run_virtual(conversation, seed=3)

    assert outcomes.count("nothing") * STEP > 200
