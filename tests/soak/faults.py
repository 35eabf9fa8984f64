"""What befalls the Gateway, hour by hour, and how long its traces may be seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault. `lasts_s`: market seconds. `real_s`: at least so many real seconds, for what sockets must notice."""

    name: str
    lasts_s: float = 0.0
    real_s: float = 0.0

    def market_s(self, speed: float) -> float:
        return max(self.lasts_s, self.real_s * speed)


#: One an hour, in this order, again and again.
ROUND = (
    Blow("farm_flap", 3.0, 0.5),
    Blow("upstream_lost", 30.0, 1.0),
    Blow("keepup_dead"),
    Blow("data_lost", 20.0, 1.0),
    Blow("mute", 8.0, 3.0),
    Blow("socket_cut"),
    Blow("hmds_down", 30.0, 1.0),
    Blow("freeze_feed", 60.0, 6.0),
    Blow("restart", 20.0, 2.0),
    Blow("storm_1100"),
    Blow("half_open"),
    Blow("hmds_silent", 60.0, 2.0),
)
#: Real seconds after its end in which a fault may still be felt: back-off, half-open breakers, refills.
GRACE_S = 25.0
