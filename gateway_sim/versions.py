"""Server versions at which the layout of a message changes, and what this server announces.

Source: wire reference, "Layout changes between 157 and 178".
"""

from __future__ import annotations

SERVER_VERSION_MIN = 100
SERVER_VERSION_MAX = 178

DURATION = 158
POST_TO_ATS = 160
AUTO_CANCEL_PARENT = 162
SUGGESTED_SIZE = 163
SIZE_RULES = 164
ADVANCED_ORDER_REJECT = 166
MANUAL_ORDER_TIME = 169
PEG_BEST_PEG_MID = 170
ZONE_IN_DATES = 174
BOND_ISSUER_ID = 176
NO_FA_PROFILE = 177
PENDING_PRICE_REVISION = 178


def negotiate(client_min: int, client_max: int) -> int | None:
    """The version to announce: the highest both sides know, None if there is none."""
    version = min(client_max, SERVER_VERSION_MAX)
    return version if version >= max(client_min, SERVER_VERSION_MIN) else None
