"""Verdicts: the closed list of causes that a request or a stream can end with. Pure tables.

Codes and texts by rule book 1.3, 3.3, 4 and 6. Code 162 alone says nothing: it covers six unrelated causes,
so its text after the colon decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from gateway_proxy.errors import (
    BreakerOpen,
    ContractUnknown,
    Expired,
    GatewayTimeout,
    GatewayUnavailable,
    NoData,
    PacingDelayed,
    ProxyError,
    Refused,
    Rejected,
)


class Verdict(StrEnum):
    OK = "ok"
    NO_DATA = "no_data"
    PACING = "pacing"
    LINES_FULL = "lines_full"
    SLOTS_FULL = "slots_full"
    FARM_DOWN = "farm_down"
    ENTITLEMENT = "entitlement"
    DELAYED_DATA = "delayed_data"
    CONTRACT_UNKNOWN = "contract_unknown"
    COMPETING_SESSION = "competing_session"
    CLIENT_ID_IN_USE = "client_id_in_use"
    GATEWAY_DOWN = "gateway_down"
    GATEWAY_SILENT = "gateway_silent"
    UPSTREAM_LOST = "upstream_lost"
    SESSION_LOST = "session_lost"
    HISTORY_SILENT = "history_silent"
    PROXY_STALLED = "proxy_stalled"
    BREAKER_OPEN = "breaker_open"
    EXPIRED_IN_QUEUE = "expired_in_queue"
    STREAM_DEAD = "stream_dead"
    LOOP_MISMATCH = "loop_mismatch"
    READER_DEAD = "reader_dead"
    MESSAGE_PACING = "message_pacing"
    MESSAGE_RATE = "message_rate"
    NETWORK_STALL = "network_stall"
    GATEWAY_HUNG = "gateway_hung"
    SESSION_DEAD = "session_dead"
    READ_ONLY = "read_only"
    CHAIN_OVERLOAD = "chain_overload"
    SECDEF_DOWN = "secdef_down"
    IDENTICAL_PACING = "identical_pacing"
    SILENT_PACING = "silent_pacing"
    SLOW_HISTORY = "slow_history"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


#: What to do about it, one plain sentence each; printed by doctor and carried by every published verdict.
ADVICE: Final[dict[Verdict, str]] = {
    Verdict.OK: "Nothing to do.",
    Verdict.NO_DATA: "IB has no data for this question; check the trading hours, the contract and the bar size.",
    Verdict.PACING: "IB's pacing limit was hit; the class rests. Is another program using this login?",
    Verdict.LINES_FULL: "All market data lines are in use; release some, or buy a quote booster.",
    Verdict.SLOTS_FULL: "50 historical requests are open; wait for some to end. Is another client leaking them?",
    Verdict.FARM_DOWN: "An IB data farm is down; it usually heals within seconds. Streams come back by themselves.",
    Verdict.ENTITLEMENT: "The account lacks the market data subscription for this contract.",
    Verdict.DELAYED_DATA: "Only delayed data arrive; do not trade on them. Check subscriptions and competing logins.",
    Verdict.CONTRACT_UNKNOWN: "IB knows no such contract; check symbol, expiry, strike, right and exchange.",
    Verdict.COMPETING_SESSION: "The same user is logged in elsewhere and has taken the data; log out there.",
    Verdict.CLIENT_ID_IN_USE: "Another program uses this client id, or the last session is not dead yet.",
    Verdict.GATEWAY_DOWN: "Nothing listens at [gateway] host and port; start IB Gateway or correct the address.",
    Verdict.GATEWAY_SILENT: "The Gateway holds the connection but does not answer; if it lasts, restart IB Gateway.",
    Verdict.UPSTREAM_LOST: "The Gateway has lost its link to IB (1100); wait. No opening orders until it is back.",
    Verdict.SESSION_LOST: "The connection to the Gateway broke while this was under way; it is being restored.",
    Verdict.HISTORY_SILENT: "The Gateway answers, but historical requests do not: an HMDS fault or silent pacing.",
    Verdict.PROXY_STALLED: "The proxy's own loop was blocked; look for a busy machine or a stopped process.",
    Verdict.BREAKER_OPEN: "This kind of request failed repeatedly and rests; retry after the given time.",
    Verdict.EXPIRED_IN_QUEUE: "It waited longer in our queue than its deadline; see health/pacing/ for the rule.",
    Verdict.STREAM_DEAD: "This one stream stopped; it is opened again.",
    Verdict.LOOP_MISMATCH: "The socket's event loop no longer runs; one thread must own connection and loop.",
    Verdict.READER_DEAD: "The client has stopped reading its socket; drop the connection and open it again.",
    Verdict.MESSAGE_PACING: "Too many messages at once; the Gateway holds them back and will recover.",
    Verdict.MESSAGE_RATE: "Error 100; the third one ends the session. Is [pacing] market_data_lines too high?",
    Verdict.NETWORK_STALL: "The network between here and the Gateway carries nothing; check it, then reconnect.",
    Verdict.GATEWAY_HUNG: "The Gateway's API hangs for everybody; restart IB Gateway.",
    Verdict.SESSION_DEAD: "Only this connection is dead; the proxy drops it and connects again.",
    Verdict.READ_ONLY: "Switch off Read-Only API in the Gateway's API settings; until then no order can be placed.",
    Verdict.CHAIN_OVERLOAD: "A large chain request has exhausted the Gateway; restart it, raise its memory.",
    Verdict.SECDEF_DOWN: "The security definition farm is down; contract lookups wait until it is back.",
    Verdict.IDENTICAL_PACING: "The same request came twice within 15 s, perhaps from another program; wait.",
    Verdict.SILENT_PACING: "IB has gone silent after many historical requests; rest ten minutes, ask less.",
    Verdict.SLOW_HISTORY: "IB slows large histories down; ask fewer at once, the proxy lowers its concurrency.",
    Verdict.REJECTED: "IB refused the request as it stands; the text says why.",
    Verdict.CANCELLED: "It was cancelled before it ended.",
}

_BY_CODE: Final[dict[int, Verdict]] = {
    100: Verdict.PACING,
    101: Verdict.LINES_FULL,
    165: Verdict.NO_DATA,
    166: Verdict.REJECTED,
    200: Verdict.CONTRACT_UNKNOWN,
    326: Verdict.CLIENT_ID_IN_USE,
    354: Verdict.ENTITLEMENT,
    366: Verdict.CANCELLED,
    392: Verdict.CONTRACT_UNKNOWN,
    504: Verdict.SESSION_LOST,
    10089: Verdict.ENTITLEMENT,
    10091: Verdict.ENTITLEMENT,
    10168: Verdict.ENTITLEMENT,
    10182: Verdict.STREAM_DEAD,
    10186: Verdict.ENTITLEMENT,
    10187: Verdict.ENTITLEMENT,
    10190: Verdict.LINES_FULL,
    10197: Verdict.COMPETING_SESSION,
    10225: Verdict.STREAM_DEAD,
}

#: For codes with many meanings, the words that decide, looked for in lower case, first match wins.
_BY_TEXT: Final[dict[int, tuple[tuple[str, Verdict], ...]]] = {
    162: (
        ("pacing violation", Verdict.PACING),
        ("no data", Verdict.NO_DATA),
        ("query cancelled", Verdict.CANCELLED),
        ("different ip", Verdict.COMPETING_SESSION),
        ("permissions", Verdict.ENTITLEMENT),
    ),
    420: (("pacing violation", Verdict.PACING), ("permissions", Verdict.ENTITLEMENT)),
    321: (("requests limitation exceeded", Verdict.PACING),),
    322: (("simultaneous api historical", Verdict.SLOTS_FULL), ("maximum number", Verdict.SLOTS_FULL)),
}

#: Codes that come with a request id but do not end the request (rule book 3.3, 5.3; wire reference b8).
NOTICES: Final = frozenset(
    {399, 404, 434, 10090, 10167, 2100, 2101, 2102, 2109, 2137, 2150, 2152, 2168, 2169, 2174, 2176}
)


def of_error(code: int, text: str) -> Verdict | None:
    """The verdict an IB error ends a request with, or None for a notice after which the answer still comes."""
    if code in NOTICES or 2100 <= code < 2200:
        return None
    lowered = text.lower()
    for words, verdict in _BY_TEXT.get(code, ()):
        if words in lowered:
            return verdict
    return _BY_CODE.get(code, Verdict.REJECTED)


_ERRORS: Final[dict[Verdict, type[ProxyError]]] = {
    Verdict.NO_DATA: NoData,
    Verdict.PACING: PacingDelayed,
    Verdict.CONTRACT_UNKNOWN: ContractUnknown,
    Verdict.GATEWAY_DOWN: GatewayUnavailable,
    Verdict.GATEWAY_SILENT: GatewayTimeout,
    Verdict.HISTORY_SILENT: GatewayTimeout,
    Verdict.UPSTREAM_LOST: GatewayUnavailable,
    Verdict.SESSION_LOST: GatewayUnavailable,
    Verdict.FARM_DOWN: GatewayUnavailable,
    Verdict.STREAM_DEAD: GatewayUnavailable,
    Verdict.COMPETING_SESSION: GatewayUnavailable,
    Verdict.PROXY_STALLED: GatewayTimeout,
    Verdict.BREAKER_OPEN: BreakerOpen,
    Verdict.EXPIRED_IN_QUEUE: Expired,
    Verdict.LINES_FULL: Refused,
    Verdict.SLOTS_FULL: Refused,
}


def error(verdict: Verdict, text: str, *, retry_in_s: float | None = None) -> ProxyError:
    """The typed error a caller gets for a verdict; its message starts with the facts, not with the advice."""
    return _ERRORS.get(verdict, Rejected)(text, retry_in_s=retry_in_s, verdict=verdict.value)


@dataclass(frozen=True, slots=True)
class Finding:
    """One published verdict: the body of `verdicts/` and part of `diagnose`."""

    verdict: Verdict
    evidence: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {"verdict": self.verdict.value, "evidence": self.evidence, "advice": ADVICE[self.verdict]}
