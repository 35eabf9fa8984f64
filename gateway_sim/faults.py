"""The catalogue of faults: names, meaning, parameters. Data and validation only; `fault_desk` makes them happen.

Names of the first groups are those of rule book 12; the others play the gateway rows of the fault catalogue.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from math import inf

from gateway_sim.fault_state import FaultValue


@dataclass(frozen=True)
class FaultKind:
    """meaning: one line for people. lasts_s: default duration, 0 for something that happens at once and is over.
    parameters: names and defaults; a value given must have the default's type."""

    meaning: str
    lasts_s: float
    parameters: dict[str, FaultValue] = field(default_factory=dict)


CATALOGUE: dict[str, FaultKind] = {
    # --- history ---
    "hmds_silent": FaultKind("historical requests are never answered", 60.0),
    "hmds_down": FaultKind("history farm broken: 2105, no answers, 2106 at the end", 30.0),
    "hmds_slow": FaultKind("historical answers come late", 60.0, {"seconds": 20.0}),
    "hmds_lockout": FaultKind("after some more requests no historical request is answered", 600.0, {"after": 6}),
    "pacing_explicit": FaultKind("every historical request is refused with 162 pacing violation", 60.0),
    "pacing_silent": FaultKind("every historical request is swallowed as if over the limit", 60.0),
    "keepup_dead": FaultKind("live bars end with 10182, or without a word", 0.0, {"silent": False}),
    "bust": FaultKind("live bars end with 10225", 0.0),
    # --- connectivity ---
    "upstream_lost": FaultKind("1100 (repeated), then 1102: link to IB lost, data maintained", 30.0),
    "data_lost": FaultKind("1100, then 1101: all subscriptions are lost", 30.0),
    "nightly_reset": FaultKind("1100 with false 200 for look-ups; live bars die with 10182; then 1102", 15.0),
    "storm_1100": FaultKind("many 1100/1102 pairs at once", 0.0, {"count": 200}),
    "farm_flap": FaultKind("2103 and 2105, then 2104 and 2106; no ticks meanwhile", 5.0),
    "secdef_down": FaultKind("2157: contract look-ups hang, 2158 at the end", 30.0),
    "freeze_feed": FaultKind("streams stay open and silently stop", 30.0),
    "competing_session": FaultKind("10197 on quotes, 162 on history: another session has the data", 30.0),
    "delayed_only": FaultKind("no live entitlement: 10089, or 10167 with data 15 minutes old", inf),
    "clock_skew": FaultKind("reqCurrentTime is off", inf, {"seconds": 300.0}),
    # --- lines and look-ups ---
    "lines_full": FaultKind("all market data lines are taken by another program", 60.0),
    "secdef_slow": FaultKind("contract look-ups take many times longer", 60.0, {"factor": 20.0}),
    "chain_hang": FaultKind("vague option look-ups are never answered", 60.0),
    "model_greeks_missing": FaultKind("tick 13 carries no numbers", 120.0),
    "account_not_ready": FaultKind("account values say AccountReady false", 10.0),
    # --- the program and its sockets ---
    "mute": FaultKind("socket open, nothing read, nothing written (a stopped process)", 10.0),
    "api_hang_requests": FaultKind("requests are read and never answered", 30.0),
    "api_hang_handshake": FaultKind("connects succeed, the handshake never finishes", 30.0),
    "read_stall": FaultKind("the Gateway stops reading", 10.0),
    "write_stall": FaultKind("the Gateway stops writing; everything comes in one burst at the end", 10.0),
    "half_open": FaultKind("existing connections are dead and stay open", 0.0),
    "slow_line": FaultKind("bytes to the clients are throttled", 30.0, {"bytes_per_s": 2000}),
    "socket_cut": FaultKind(
        "connections are reset, now or after so many further bytes to or from a client", 0.0,
        {"after_sent": 0, "after_received": 0},
    ),
    "garbage": FaultKind("one frame with an impossible length, or one unreadable message", 0.0, {"frame": True}),
    "client_id_zombie": FaultKind("ids of clients that went away stay in use (326)", 60.0),
    "restart": FaultKind("the program restarts: all connections end, connects fail meanwhile", 20.0),
    # --- orders ---
    "restart_lost_orders": FaultKind(
        "restart that forgets the last orders and gives their ids out again", 20.0, {"lose": 1, "rollback": True}
    ),
    "order_dropped": FaultKind("the next orders vanish without a word", inf, {"count": 1}),
    "late_ack": FaultKind("orders are acted on late", 60.0, {"seconds": 5.0}),
    "hold_until_reconnect": FaultKind(
        "orders are stored and submitted after the client's next connect", inf, {"seconds": 2.0}
    ),
    "order_rejected": FaultKind(
        "the next orders are refused", inf, {"code": 201, "text": "Order rejected - reason:simulated", "count": 1}
    ),
    "child_rejected": FaultKind("the next attached order is refused with 201, its parent lives", inf),
    "order_103": FaultKind("the next order is accepted, yet answered with 103", inf),
    "reject_as_321": FaultKind("orders are refused with 321: API in read-only mode", 60.0),
    "notice": FaultKind(
        "a notice about every working order, which stays as it is", 0.0,
        {"code": 10349, "text": "Order TIF was set to DAY based on order preset."},
    ),
    "fork_on_modify": FaultKind("the next modification leaves two live orders", inf),
    "cancel_not_found": FaultKind("the next cancel is answered with 10147 and does nothing", inf),
    "fill_after_cancel": FaultKind("the next cancel is confirmed and then the order fills", inf, {"seconds": 0.5}),
    "fill_without_status": FaultKind("fills are told by execDetails only", 60.0),
    "doubled_order_messages": FaultKind("order messages come twice, the old status once more after the new one", 60.0),
    "small_fills": FaultKind("at most so much trades at once", 60.0, {"quantity": 1}),
    "execution_correction": FaultKind("the last execution is corrected", 0.0, {"price_change": 0.01}),
    "executions_forgotten": FaultKind("executions are forgotten, as after midnight", 0.0),
    "foreign_order": FaultKind("somebody places an order by hand in TWS", 0.0, {"symbol": "SPY", "quantity": 1}),
    "foreign_position": FaultKind("a position appears that no client made", 0.0, {"symbol": "SPY", "quantity": 100}),
    # --- market ---
    "jump": FaultKind("prices jump from one second to the next", 0.0, {"symbol": "*", "percent": -2.0}),
    "halt": FaultKind("trading in a symbol stops", 300.0, {"symbol": "SPY"}),
}  # fmt: skip


class FaultRefused(Exception):
    """No such fault, or not with these parameters; the text names the nearest valid name."""


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean "x"?`, or the list if nothing is near."""
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f'; did you mean "{close[0]}"?' if close else f"; known: {', '.join(sorted(known))}"


def checked(name: str, lasts_s: float | None, given: dict[str, FaultValue]) -> tuple[float, dict[str, FaultValue]]:
    """Duration and complete parameters of a fault. Raises FaultRefused."""
    kind = CATALOGUE.get(name)
    if kind is None:
        raise FaultRefused(f'no fault "{name}"{nearest(name, list(CATALOGUE))}')
    parameters = dict(kind.parameters)
    for key, value in given.items():
        if key not in parameters:
            raise FaultRefused(f'fault "{name}" has no parameter "{key}"{nearest(key, list(parameters))}')
        parameters[key] = _converted(name, key, value, parameters[key])
    duration = kind.lasts_s if lasts_s is None else lasts_s
    if not duration >= 0.0:
        raise FaultRefused(f'fault "{name}": duration {duration} is negative')
    return duration, parameters


def _converted(name: str, key: str, value: FaultValue, default: FaultValue) -> FaultValue:
    """`value` in the type of the default (texts come from the command line)."""
    try:
        if isinstance(default, bool):
            return value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, int):
            return int(value)
        if isinstance(default, float):
            return float(value)
        return str(value)
    except (KeyError, ValueError):
        kind = type(default).__name__
        raise FaultRefused(f'fault "{name}": {key} = {value!r} is not of type {kind}') from None
