"""The sidecar: a fresh client with an id of its own asks the Gateway the simplest questions.

What it gets tells "our client is broken" from "the Gateway is broken" (rule book 10.4, P7). It sends three messages,
places nothing, and is gone within seconds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.symptoms import Ending
from gateway_proxy.upstream import Upstream

HANDSHAKE_S: Final = 4.0
ROUND_TRIP_S: Final = 3.0
HISTORY_S: Final = 8.0
#: Liquid, and no permission problem of its own in most accounts.
CANARY: Final = Contract("SPY")
_HISTORY_ID: Final = 1


@dataclass(frozen=True, slots=True)
class SidecarReport:
    """How each question ended. `why` is the Gateway's or the kernel's own word for a failure."""

    refused: bool
    handshake: Ending
    round_trip: Ending | None = None
    history: Ending | None = None
    round_trip_ms: float | None = None
    gateway_time_s: int | None = None
    why: str = ""


def ask(host: str, port: int, client_id: int) -> SidecarReport:
    """One visit; blocks for at most HANDSHAKE_S + ROUND_TRIP_S + HISTORY_S. Not to be called inside a running loop."""
    return asyncio.run(visit(host, port, client_id))


async def visit(host: str, port: int, client_id: int) -> SidecarReport:
    """The same on a loop that runs already."""
    events: asyncio.Queue[ev.UpstreamEvent] = asyncio.Queue(maxsize=10_000)
    upstream = Upstream(host, port, client_id, connect_timeout_s=HANDSHAKE_S, deliver=events.put_nowait)
    upstream.connect()
    try:
        opened = await _next(events, (ev.SessionOpened, ev.SessionFailed), HANDSHAKE_S + 1.0)
        if not isinstance(opened, ev.SessionOpened):
            return _not_let_in(opened)
        began = asyncio.get_running_loop().time()
        upstream.send(fx.RequestTime())
        clock = await _next(events, (ev.CurrentTime,), ROUND_TRIP_S)
        if not isinstance(clock, ev.CurrentTime):
            return SidecarReport(False, Ending.OK, Ending.TIMEOUT)
        took_ms = round((asyncio.get_running_loop().time() - began) * 1e3, 1)
        history, why = await _history(upstream, events, clock.epoch_s)
        return SidecarReport(False, Ending.OK, Ending.OK, history, took_ms, clock.epoch_s, why)
    finally:
        upstream.disconnect("the sidecar leaves")


def _not_let_in(answer: ev.UpstreamEvent | None) -> SidecarReport:
    if isinstance(answer, ev.SessionFailed):
        silent = "in time" in answer.reason
        return SidecarReport(answer.refused, Ending.TIMEOUT if silent else Ending.REFUSED, why=answer.reason)
    return SidecarReport(False, Ending.TIMEOUT, why="the handshake did not end")


async def _history(
    upstream: Upstream, events: asyncio.Queue[ev.UpstreamEvent], gateway_time_s: int
) -> tuple[Ending, str]:
    """One tiny request whose end differs every time: it can never be identical to anybody's (rule book 10.4, P4)."""
    end = datetime.fromtimestamp(gateway_time_s, UTC) - timedelta(seconds=gateway_time_s % 3_600)
    call = fx.RequestHistory(
        _HISTORY_ID, CANARY, "120 S", "1 min", "TRADES", rth=False, end=end.strftime("%Y%m%d-%H:%M:%S")
    )
    began = asyncio.get_running_loop().time()
    upstream.send(call)
    answer = await _next(events, (ev.HistoryReceived, ev.ErrorReceived), HISTORY_S, req_id=_HISTORY_ID)
    if isinstance(answer, ev.HistoryReceived):
        if not answer.bars:
            return Ending.EMPTY, ""
        return (Ending.SLOW if asyncio.get_running_loop().time() - began > HISTORY_S / 2 else Ending.OK), ""
    if isinstance(answer, ev.ErrorReceived):
        return (Ending.EMPTY if "no data" in answer.text.lower() else Ending.REFUSED), f"{answer.code}: {answer.text}"
    upstream.send(fx.CancelHistory(_HISTORY_ID))
    return Ending.TIMEOUT, ""


async def _next(
    events: asyncio.Queue[ev.UpstreamEvent],
    kinds: tuple[type, ...],
    timeout_s: float,
    req_id: int | None = None,
) -> ev.UpstreamEvent | None:
    """The next event of one of these kinds (and of this request), None when the time is up."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
        try:
            event = await asyncio.wait_for(events.get(), left_s)
        except TimeoutError:
            return None
        if isinstance(event, kinds) and req_id in (None, getattr(event, "req_id", None)):
            return event
    return None
