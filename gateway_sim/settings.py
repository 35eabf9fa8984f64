"""Everything that distinguishes one simulated Gateway from another. Frozen; made by the command line and scenarios."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from gateway_sim.clock import DEFAULT_START
from gateway_sim.limits import LimitSettings
from gateway_sim.listings import Listing


@dataclass(frozen=True)
class GatewaySettings:
    """start: New York wall time. cash: dollars on the paper account. speed: simulated seconds per real second."""

    seed: int = 1
    start: str = DEFAULT_START
    skip_closed: bool = False
    speed: float = 1.0
    account: str = "DU1234567"
    cash: float = 100_000.0
    master_client: int | None = None
    limits: LimitSettings = field(default_factory=LimitSettings)
    extra_listings: tuple[Listing, ...] = ()
    extra_holidays: frozenset[date] = frozenset()
    extra_half_days: frozenset[date] = frozenset()
