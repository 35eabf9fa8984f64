"""What is done to the processes, by name: how often, and with what dice. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

#: Bytes of the longest bracket on the wire, three frames, and then some.
CUT_BYTES_MAX: Final = 1600


@dataclass(frozen=True, slots=True)
class Blow:
    """One thing done. `after_s`: how long orders flow before it. `seconds`: how long it lasts, if it does.

    `fault` and `options` are the words for the simulator's control port, "" for what is done by signals.
    """

    name: str
    after_s: float
    seconds: float = 0.0
    fault: str = ""
    options: dict[str, float] = field(default_factory=dict)


#: How often, out of a hundred. Kills by SIGKILL are the point; the rest is what else ends a session.
WEIGHTS: Final = {
    "proxy_killed": 40,
    "proxy_killed_while_recovering": 8,
    "trader_killed": 16,
    "both_killed": 6,
    "cut_at_byte_to_gateway": 14,
    "cut_at_byte_from_gateway": 6,
    "gateway_restarted": 4,
    "gateway_forgot_orders": 2,
    "gateway_half_open": 2,
    "gateway_mute": 2,
    "proxy_paused": 3,
    "gateway_paused": 2,
    "trader_paused": 1,
}
SIGKILLS: Final = {
    "proxy_killed": 1,
    "proxy_killed_while_recovering": 2,
    "trader_killed": 1,
    "both_killed": 2,
}


def blow(dice: random.Random, number: int) -> Blow:
    """Blow `number` of a run. Cuts walk through the bytes one after another, so that a long run meets every one."""
    name = dice.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]
    after_s = dice.uniform(0.0, 0.2)
    byte = 1 + number * 7 % CUT_BYTES_MAX
    match name:
        case "cut_at_byte_to_gateway":
            return Blow(name, after_s, fault="socket_cut", options={"after_received": byte})
        case "cut_at_byte_from_gateway":
            return Blow(name, after_s, fault="socket_cut", options={"after_sent": byte})
        case "gateway_restarted":
            return Blow(name, after_s, dice.uniform(0.3, 1.5), "restart")
        case "gateway_forgot_orders":
            return Blow(name, after_s, 0.5, "restart_lost_orders")
        case "gateway_half_open":
            return Blow(name, after_s, fault="half_open")
        case "gateway_mute":
            return Blow(name, after_s, dice.uniform(0.5, 5.0), "mute")
        case "proxy_killed_while_recovering":
            return Blow(name, after_s, dice.uniform(0.0, 0.8))
        case _:
            return Blow(name, after_s, dice.uniform(0.1, 3.0) if name.endswith("_paused") else 0.0)
