"""The decision table: every cause has symptoms that name it, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.core.diagnosis import TABLE, diagnose
from gateway_proxy.core.symptoms import Ending, Notice, Symptoms
from gateway_proxy.core.verdict import ADVICE, Verdict, error, of_error

HEALTHY = Symptoms(
    socket=True, unread_bytes=0, unread_grows=False, unsent_bytes=0, loop_lag_s=0.001, owner_reads=True, main=Ending.OK,
    fresh_handshake=Ending.OK, fresh=Ending.OK, history=Ending.OK, history_other=Ending.OK, fresh_history=Ending.OK,
    secdef=Ending.OK, ticks_flow=True, weighted_requests=3, newest_bar_age_s=4.0, market_open=True,
)  # fmt: skip


def told(code: int, text: str = "", age_s: float = 5.0) -> Notice:
    return Notice(age_s, code, text)


def sick(*notices: Notice, **facts: Any) -> Symptoms:
    return replace(HEALTHY, notices=notices, **facts)


PACING = "Historical Market Data Service error message:Historical data request pacing violation"
NO_DATA = "Historical Market Data Service error message:HMDS query returned no data: SPY@SMART Trades"
OTHER_IP = "Historical Market Data Service error message:Trading TWS session is connected from a different IP address"
SILENT: dict[str, Any] = {"history": Ending.TIMEOUT, "history_other": Ending.TIMEOUT, "fresh_history": Ending.TIMEOUT}

#: One row per cause that a client can experience: its symptoms and its name.
CAUSES: list[tuple[Verdict, Symptoms]] = [
    (Verdict.GATEWAY_DOWN, Symptoms(socket=False, port_refused=True, fresh_handshake=Ending.REFUSED)),
    (Verdict.CLIENT_ID_IN_USE, sick(told(326), socket=False, main=None)),
    (Verdict.CLIENT_ID_IN_USE, sick(socket=False, handshake_rejected=True, main=None)),
    (Verdict.LOOP_MISMATCH, sick(unread_bytes=9756, unread_grows=True, owner_reads=False, main=Ending.TIMEOUT)),
    (Verdict.PROXY_STALLED, sick(unread_bytes=300, loop_lag_s=4.0, main=Ending.SLOW)),
    (Verdict.READER_DEAD, sick(unread_bytes=9756, unread_grows=True, main=Ending.TIMEOUT)),
    (Verdict.NETWORK_STALL, sick(unsent_bytes=4000, main=Ending.TIMEOUT, fresh=Ending.TIMEOUT)),
    (Verdict.MESSAGE_PACING, sick(unsent_bytes=4000, main=Ending.TIMEOUT, fresh=Ending.OK, messages_per_s=45.0)),
    (Verdict.GATEWAY_HUNG, sick(main=Ending.TIMEOUT, fresh_handshake=Ending.TIMEOUT, fresh=Ending.TIMEOUT)),
    (Verdict.SESSION_DEAD, sick(main=Ending.TIMEOUT)),
    (Verdict.GATEWAY_SILENT, sick(main=Ending.TIMEOUT, fresh_handshake=None, fresh=None)),
    (Verdict.COMPETING_SESSION, sick(told(10197, "No market data during competing live session"))),
    (Verdict.COMPETING_SESSION, sick(told(162, OTHER_IP), history=Ending.REFUSED)),
    (Verdict.UPSTREAM_LOST, sick(told(1100, "Connectivity between IB and TWS has been lost."), **SILENT)),
    (Verdict.PACING, sick(told(162, PACING), history=Ending.REFUSED)),
    (Verdict.PACING, sick(told(420, "Invalid Real-time Query:Historical data request pacing violation"))),
    (Verdict.MESSAGE_RATE, sick(told(100, "Max rate of messages per second has been exceeded:max=50 rec=138 (1)"))),
    (Verdict.SLOTS_FULL, sick(told(322, "cause - Only 50 simultaneous API historical data requests allowed."))),
    (Verdict.LINES_FULL, sick(told(101, "Max number of tickers has been reached"))),
    (Verdict.LINES_FULL, sick(told(10190, "Max number of tick-by-tick requests has been reached."))),
    (Verdict.READ_ONLY, sick(told(321, "API interface is currently in Read-Only mode"))),
    (Verdict.FARM_DOWN, sick(told(2105, "HMDS data farm connection is broken:ushmds"), **SILENT)),
    (Verdict.FARM_DOWN, sick(told(2103, "Market data farm connection is broken:usfarm"))),
    (Verdict.FARM_DOWN, sick(told(10182, "Failed to request live updates (disconnected)."), **SILENT)),
    (Verdict.CHAIN_OVERLOAD, sick(secdef=Ending.TIMEOUT, **SILENT)),
    (Verdict.SECDEF_DOWN, sick(told(2157, "Sec-def data farm connection is broken:secdefnj"))),
    (Verdict.IDENTICAL_PACING, sick(history=Ending.TIMEOUT)),
    (Verdict.SILENT_PACING, sick(weighted_requests=58, **SILENT)),
    (Verdict.HISTORY_SILENT, sick(**SILENT)),
    (Verdict.ENTITLEMENT, sick(told(354, "Requested market data is not subscribed."))),
    (Verdict.ENTITLEMENT, sick(told(162, "No market data permissions for ISLAND STK"), history=Ending.REFUSED)),
    (Verdict.DELAYED_DATA, sick(newest_bar_age_s=15.5 * 60)),
    (Verdict.DELAYED_DATA, sick(delayed=True)),
    (Verdict.CONTRACT_UNKNOWN, sick(told(200, "No security definition has been found for the request"))),
    (Verdict.NO_DATA, sick(told(162, NO_DATA), history=Ending.EMPTY)),
    (Verdict.REJECTED, sick(told(321, "Historical data requested duration is invalid."), history=Ending.REFUSED)),
    (Verdict.SLOW_HISTORY, sick(history=Ending.SLOW)),
    (Verdict.SESSION_LOST, sick(socket=False, main=None)),
    (Verdict.REJECTED, sick(told(201, "Order rejected - reason:margin"))),
    (Verdict.SESSION_LOST, sick(told(201, "Order rejected - reason:margin"), socket=False, main=None)),
    (Verdict.OK, HEALTHY),
]


@pytest.mark.parametrize(("verdict", "symptoms"), CAUSES, ids=[f"{v}-{n}" for n, (v, _) in enumerate(CAUSES)])
def test_symptoms_name_their_cause(verdict, symptoms):
    """For every cause a client can experience the table says its name."""
    named, sign = diagnose(symptoms)

    assert named is verdict, f"said {named}: {sign}"


def test_every_row_decides_somewhere():
    """No row of the table is dead: each is the answer to some symptoms above."""
    reached = {diagnose(symptoms)[0] for _, symptoms in CAUSES}

    assert {row.verdict for row in TABLE} <= reached


@pytest.mark.parametrize(
    ("broken", "healed"),
    [(1100, 1102), (2105, 2106), (2103, 2104), (2157, 2158)],
)
def test_a_healed_cause_is_not_named_any_more(broken, healed):
    """1100 answered by 1102, 2105 by 2106 and so on: the newest word counts."""
    symptoms = sick(told(broken, "broken:x", age_s=30.0), told(healed, "OK:x", age_s=3.0))

    assert diagnose(symptoms)[0] is Verdict.OK


def test_old_notices_do_not_count():
    """What IB said ten minutes ago explains nothing now."""
    symptoms = sick(told(10197, "No market data during competing live session", age_s=601.0))

    assert diagnose(symptoms)[0] is Verdict.OK


def test_every_verdict_has_advice_and_an_error():
    """Whatever a request ends with, the caller gets a typed error and a sentence that helps."""
    for verdict in Verdict:
        assert ADVICE[verdict][-1] in ".?"
        assert error(verdict, "text").verdict == verdict.value


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (PACING, Verdict.PACING),
        (NO_DATA, Verdict.NO_DATA),
        (OTHER_IP, Verdict.COMPETING_SESSION),
        ("Historical Market Data Service error message:API historical data query cancelled: 7", Verdict.CANCELLED),
        ("Historical Market Data Service error message:No market data permissions for X", Verdict.ENTITLEMENT),
        ("Historical Market Data Service error message:invalid step: 1", Verdict.REJECTED),
    ],
)
def test_code_162_is_read_by_its_text(text, verdict):
    """One code, six causes: only the words after the colon tell them apart."""
    assert of_error(162, text) is verdict


@pytest.mark.parametrize("code", [399, 2174, 2176, 10167, 10090, 2104])
def test_notices_do_not_end_a_request(code):
    """After these the answer still comes."""
    assert of_error(code, "") is None


@pytest.mark.parametrize("code", [321, 165, 105])
def test_codes_that_libraries_take_for_warnings_do_end_a_request(code):
    """ib_async leaves such a request waiting for its time-out; here it ends at once."""
    assert of_error(code, "Error validating request") is not None
