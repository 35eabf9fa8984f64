"""Every cause that can be played: its scenario file, what the client does, and the verdict that must name it.

`by` says who names it: the doctor (symptoms of the proxy and of a fresh client, through the decision table) or a
verdict published on `verdicts/` while it happens.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway_proxy.core.verdict import Verdict
from gateway_sim.testing import World, run_virtual
from tests.scenarios import plays
from tests.scenarios.virtual_proxy import VirtualProxy

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"
NOBODY_LISTENS = 9
Play = Callable[[VirtualProxy, World], Awaitable[None]]
V = Verdict


@dataclass(frozen=True, slots=True)
class Case:
    """One cause. `port`: dialled instead of the simulator's."""

    name: str
    expected: Verdict
    play: Play = plays.watch
    by: Literal["doctor", "verdicts/"] = "doctor"
    port: int | None = None

    @property
    def file(self) -> Path:
        return SCENARIOS / f"{self.name}.toml"

    @property
    def cause(self) -> str:
        """The first line of the scenario: what happens, in words."""
        return self.file.read_text().splitlines()[0].removeprefix("# ")


@dataclass(frozen=True, slots=True)
class Named:
    """What was named, and the sign that decided. `published`: everything that came on verdicts/."""

    verdict: str
    sign: str
    published: tuple[str, ...]
    state: str


CASES = (
    Case("gateway_down", V.GATEWAY_DOWN, plays.wait, port=NOBODY_LISTENS),
    Case("client_id_in_use", V.CLIENT_ID_IN_USE, plays.glance),
    Case("session_lost", V.SESSION_LOST, plays.at_once),
    Case("session_dead", V.SESSION_DEAD, plays.glance),
    Case("gateway_silent", V.GATEWAY_SILENT, plays.glance),
    Case("gateway_hung", V.GATEWAY_HUNG, plays.glance),
    Case("read_stall", V.GATEWAY_HUNG, plays.glance),
    Case("message_pacing", V.MESSAGE_PACING, plays.crowd),
    Case("message_rate", V.MESSAGE_RATE, plays.crowd),
    Case("competing_session", V.COMPETING_SESSION),
    Case("upstream_lost", V.UPSTREAM_LOST, plays.glance),
    Case("data_lost", V.UPSTREAM_LOST, plays.glance),
    Case("false_answers", V.UPSTREAM_LOST, plays.glance),
    Case("pacing_explicit", V.PACING),
    Case("silent_pacing", V.SILENT_PACING, plays.many_then_silence),
    Case("identical_pacing", V.IDENTICAL_PACING, plays.beside_a_neighbour),
    Case("slow_history", V.SLOW_HISTORY, plays.wait_long),
    Case("history_silent", V.HISTORY_SILENT, plays.wait_long),
    Case("slots_full", V.SLOTS_FULL, plays.six_streams),
    Case("lines_full", V.LINES_FULL),
    Case("read_only", V.READ_ONLY, plays.order),
    Case("rejected", V.REJECTED, plays.order),
    Case("farm_down", V.FARM_DOWN),
    Case("farm_flap", V.FARM_DOWN, plays.at_once),
    Case("secdef_down", V.SECDEF_DOWN, plays.look_up),
    Case("chain_overload", V.CHAIN_OVERLOAD, plays.look_up),
    Case("stream_dead", V.STREAM_DEAD, by="verdicts/"),
    Case("bust", V.STREAM_DEAD, by="verdicts/"),
    Case("frozen_feed", V.STREAM_DEAD, plays.wait_long, by="verdicts/"),
    Case("entitlement", V.ENTITLEMENT),
    Case("delayed_data", V.DELAYED_DATA, plays.listen),
    Case("contract_unknown", V.CONTRACT_UNKNOWN, plays.ask_for_nonsense),
    Case("no_data", V.NO_DATA, plays.ask_for_what_nobody_keeps),
)


def run(case: Case) -> Named:
    """Plays one scenario in virtual time against the real proxy core and Upstream. Takes well under a second."""
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    named: list[Named] = []

    async def conversation(world: World) -> None:
        proxy = VirtualProxy(world, port=case.port)
        await case.play(proxy, world)
        state = proxy.core.health.state.value
        verdict, sign, _ = await proxy.doctor()
        published = tuple(proxy.verdicts())
        if case.by == "verdicts/":
            told = published[0] if published else "nothing"
            named.append(Named(told, "told on verdicts/ when it happened", published, state))
        else:
            named.append(Named(verdict.value, sign, published, state))
        proxy.stop()

    run_virtual(conversation, case.file)
    return named[0]
