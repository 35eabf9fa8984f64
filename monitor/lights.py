"""The colours of words: which states are well, which need a look, which need somebody now."""

from __future__ import annotations

from collections.abc import Iterable

from monitor.view import SEVERITY, Light

GATEWAY = {
    "ready": Light.GREEN,
    "degraded": Light.AMBER,
    "synchronizing": Light.AMBER,
    "connecting": Light.RED,
    "disconnected": Light.RED,
    "halted": Light.RED,
    "unreachable": Light.RED,
    "unknown": Light.DARK,
}
#: A farm that sleeps until it is asked (IB's codes 2107, 2108) is no fault.
FARM = {
    "up": Light.GREEN,
    "ok": Light.GREEN,
    "idle": Light.GREEN,
    "dormant": Light.GREEN,
    "inactive": Light.GREEN,
    "connecting": Light.AMBER,
    "down": Light.RED,
    "broken": Light.RED,
}
BREAKER = {"closed": Light.GREEN, "half_open": Light.AMBER, "open": Light.RED}
STREAM = {
    "live": Light.GREEN,
    "ok": Light.GREEN,
    "fresh": Light.GREEN,
    "closed": Light.GREEN,
    "idle": Light.GREEN,
    "opening": Light.AMBER,
    "backfilling": Light.AMBER,
    "waiting": Light.AMBER,
    "late": Light.AMBER,
    "stale": Light.RED,
    "failed": Light.RED,
    "lost": Light.RED,
}
WORKER = {
    "running": Light.GREEN,
    "ready": Light.GREEN,
    "trading": Light.GREEN,
    "idle": Light.GREEN,
    "warming": Light.GREEN,
    "starting": Light.AMBER,
    "waiting": Light.AMBER,
    "halted": Light.AMBER,
    "stopped": Light.AMBER,
    "paused": Light.AMBER,
    "failed": Light.RED,
    "dead": Light.RED,
    "exited": Light.RED,
}
#: Words of the order table: what may still move ("accepted" is the answer to a caller, before IB's own word).
ORDER_ALIVE = frozenset(
    ("accepted", "intent", "sending", "sent", "working", "partial", "unknown", "late", "duplicate_live")
)
ORDER = {
    "unknown": Light.RED,
    "duplicate_live": Light.RED,
    "late": Light.RED,
    "rejected": Light.AMBER,
    "refused": Light.AMBER,
    "not_placed": Light.AMBER,
    "expired_unsent": Light.AMBER,
}
#: Verdicts that are ordinary life; everything else that is not red is worth a look.
QUIET_VERDICTS = frozenset(("", "ok", "no_data", "cancelled"))
RED_VERDICTS = frozenset(
    (
        "farm_down",
        "competing_session",
        "gateway_down",
        "gateway_silent",
        "history_silent",
        "upstream_lost",
        "session_lost",
        "proxy_stalled",
        "client_id_in_use",
    )
)


def of(table: dict[str, Light], word: str) -> Light:
    """The light of a word; a word nobody knows is AMBER, no word is DARK."""
    if not word:
        return Light.DARK
    return table.get(word.lower().replace("-", "_"), Light.AMBER)


def of_order(state: str) -> Light:
    return ORDER.get(state.lower(), Light.GREEN)


def is_open(state: str) -> bool:
    return state.lower() in ORDER_ALIVE


def of_verdict(verdict: str) -> Light:
    if verdict in QUIET_VERDICTS:
        return Light.GREEN
    return Light.RED if verdict in RED_VERDICTS else Light.AMBER


def worst(lights: Iterable[Light]) -> Light:
    """The most worrying of them; GREEN when there are none."""
    return max(lights, key=SEVERITY.__getitem__, default=Light.GREEN)
