"""The decision table: from symptoms to the one cause. Pure; rule book 10.5, top to bottom, first match wins.

Rows that name a code IB sent stand before rows that only infer from silence, because a stated cause is better than a
deduced one; otherwise the order is the rule book's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway_proxy.core.symptoms import Ending, Symptoms
from gateway_proxy.core.verdict import Verdict

V = Verdict
FAILED: Final = (Ending.TIMEOUT, Ending.REFUSED)
#: Above this share of the ten-minute budget silence of history is more likely our own pacing (rule book 10.5, row F).
MANY_REQUESTS: Final = 40
#: Half of what IB allows per second; only then does a stalled write point to message pacing (row M).
MANY_MESSAGES: Final = 25.0
LAG_S: Final = 1.0
DELAYED_S: Final = 13 * 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """`sign` in words is printed as the evidence that decided."""

    verdict: Verdict
    sign: str
    matches: Callable[[Symptoms], bool]


def _history_silent(s: Symptoms) -> bool:
    return s.history is Ending.TIMEOUT and s.main is Ending.OK


TABLE: Final[tuple[Row, ...]] = (
    Row(
        V.GATEWAY_DOWN,
        "no session, and nothing listens at the port",
        lambda s: s.socket is False and bool(s.port_refused),
    ),
    Row(
        V.CLIENT_ID_IN_USE,
        "the handshake is rejected: error 326, or closed at once while a fresh client is served",
        lambda s: s.code(326) or (s.socket is False and bool(s.handshake_rejected) and s.fresh is Ending.OK),
    ),
    Row(
        V.LOOP_MISMATCH,
        "unread bytes pile up, the loop that runs is not the one that owns the socket, a fresh client is served fast",
        lambda s: bool(s.unread_grows) and s.owner_reads is False and s.fresh in (None, Ending.OK),
    ),
    Row(
        V.PROXY_STALLED,
        "our own loop comes late; unread bytes are read in bursts",
        lambda s: s.loop_lag_s is not None and s.loop_lag_s > LAG_S,
    ),
    Row(
        V.READER_DEAD,
        "unread bytes never get less though the loop turns; a fresh client is served",
        lambda s: bool(s.unread_grows) and s.main is Ending.TIMEOUT and s.fresh in (None, Ending.OK),
    ),
    Row(
        V.MESSAGE_PACING,
        "what we write is not taken after a burst of messages: the Gateway paces us",
        lambda s: (
            bool(s.unsent_bytes)
            and s.main is Ending.TIMEOUT
            and (s.messages_per_s > MANY_MESSAGES or s.code(0, words="max rate", within_s=10.0))
        ),
    ),
    Row(
        V.NETWORK_STALL,
        "what we write is not taken, and a fresh client gets nothing either",
        lambda s: bool(s.unsent_bytes) and s.main is Ending.TIMEOUT and s.fresh is not Ending.OK,
    ),
    Row(
        V.GATEWAY_HUNG,
        "round trips time out and a fresh client's handshake hangs",
        lambda s: s.main is not Ending.OK and s.fresh_handshake is Ending.TIMEOUT,
    ),
    Row(
        V.SESSION_DEAD,
        "round trips time out on our session only; a fresh client is served",
        lambda s: s.main is Ending.TIMEOUT and s.fresh is Ending.OK,
    ),
    Row(V.GATEWAY_SILENT, "round trips time out", lambda s: s.main is Ending.TIMEOUT),
    Row(
        V.COMPETING_SESSION,
        "error 10197, or 162 naming another address",
        lambda s: s.code(10197) or s.code(162, words="different ip"),
    ),
    Row(V.UPSTREAM_LOST, "1100 or 2110 stands", lambda s: s.standing((1100, 2110), (1101, 1102))),
    Row(V.PACING, "162 or 420 naming a pacing violation", lambda s: s.code(162, 420, words="pacing violation")),
    Row(V.MESSAGE_RATE, "error 100: too many messages a second", lambda s: s.code(100)),
    Row(V.SLOTS_FULL, "322: only 50 historical requests", lambda s: s.code(322, words="simultaneous api historical")),
    Row(V.LINES_FULL, "error 101 or 10190: no market data line is free", lambda s: s.code(101, 10190)),
    Row(V.READ_ONLY, "321: the API is in read-only mode", lambda s: s.code(321, words="read-only")),
    Row(
        V.FARM_DOWN,
        "2105 or 2103 stands, or live bars were deactivated (10182) and history fails",
        lambda s: (
            s.standing((2105,), (2106, 2107))
            or s.standing((2103,), (2104, 2108))
            or (s.code(10182) and s.history in FAILED)
        ),
    ),
    Row(
        V.CHAIN_OVERLOAD,
        "history and contract requests both hang while round trips work; 2157, or no word at all",
        lambda s: s.secdef is Ending.TIMEOUT and _history_silent(s),
    ),
    Row(V.SECDEF_DOWN, "2157 stands", lambda s: s.standing((2157,), (2158,))),
    Row(
        V.CHAIN_OVERLOAD,
        "contract requests hang without a word while round trips work",
        lambda s: s.secdef is Ending.TIMEOUT and s.main is Ending.OK,
    ),
    Row(
        V.IDENTICAL_PACING,
        "this request gets no answer while another one does, at once",
        lambda s: _history_silent(s) and Ending.OK in (s.history_other, s.fresh_history),
    ),
    Row(
        V.SILENT_PACING,
        f"history is silent after more than {MANY_REQUESTS} units in ten minutes; everything else works",
        lambda s: _history_silent(s) and s.weighted_requests > MANY_REQUESTS,
    ),
    Row(V.SLOW_HISTORY, "history answers, but slowly: IB's soft slow-down", lambda s: s.history is Ending.SLOW),
    Row(
        V.HISTORY_SILENT,
        "history is silent on every client without a code; round trips, ticks and contracts work",
        lambda s: _history_silent(s) or (s.fresh is Ending.OK and s.fresh_history is Ending.TIMEOUT),
    ),
    Row(V.ENTITLEMENT, "354, 10089 or 10168, or 162 naming permissions", lambda s: _entitlement(s)),
    Row(
        V.DELAYED_DATA,
        "10167 or delayed ticks, or the newest bar of an open market is a quarter of an hour old",
        lambda s: s.code(10167) or s.delayed or (s.newest_bar_age_s or 0.0) > DELAYED_S,
    ),
    Row(V.CONTRACT_UNKNOWN, "error 200 or 2127 for this contract", lambda s: s.code(200, 2127, 392)),
    Row(
        V.NO_DATA,
        "162: the query returned no data; the market may be closed",
        lambda s: s.code(162, words="no data") or s.code(165) or s.history is Ending.EMPTY,
    ),
    Row(
        V.REJECTED,
        "321 or 162 for the request: IB refuses it as it stands (some libraries keep waiting for an answer)",
        lambda s: s.code(321, 10314, 10299, 10187) or s.code(162, words="invalid"),
    ),
    Row(V.SESSION_LOST, "no session; it is being restored", lambda s: s.socket is False),
    # Last, because a refused order is no reason for missing bars: it is named when nothing else is wrong.
    Row(V.REJECTED, "201 or 203: IB refused an order; its text says why", lambda s: s.code(201, 203)),
)


def _entitlement(s: Symptoms) -> bool:
    return s.code(354, 10089, 10091, 10168, 10186) or s.code(162, 10187, words="permission")


def diagnose(symptoms: Symptoms) -> tuple[Verdict, str]:
    """The cause and the sign that decided; OK when nothing matches."""
    for row in TABLE:
        if row.matches(symptoms):
            return row.verdict, row.sign
    return Verdict.OK, "nothing is wrong that can be seen from here"
