"""The shell's step: which effects share one transaction of the journal, and what comes between the steps."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_proxy import service as services
from gateway_proxy.core import effects as fx
from gateway_proxy.service import once_durable, transaction

INTENT = fx.Append("intent", "a", {})
SENDING = fx.Append("sending", "a", {"sent_ns": 1})
TOLD = fx.Publish("orders/scalp/", "order", {})
SEND = fx.Send(fx.RequestTime())
REPLY = fx.Reply("client", 1, body={})


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ([], (0, 0)),
        ([TOLD, SEND], (2, 2)),
        ([INTENT, TOLD, SENDING, TOLD, SEND], (0, 4)),
        ([TOLD, SEND, INTENT, REPLY, SENDING], (2, 3)),
        ([SENDING, SEND, INTENT], (0, 1)),
    ],
)
def test_intent_and_permission_are_one_sync_and_nothing_is_sent_or_answered_before_its_record(effects, expected):
    """Telling may wait for a later record; a byte to IB or an answer never passes one, nor is passed by one."""
    assert transaction(effects) == expected


@pytest.mark.parametrize(
    ("run", "rest", "expected"),
    [
        ([INTENT, TOLD, SENDING], [SEND, REPLY], ([SEND, TOLD], [REPLY])),
        ([INTENT, TOLD], [REPLY, SEND], ([TOLD], [REPLY, SEND])),
        ([INTENT, TOLD], [SEND, SEND, TOLD, SEND], ([SEND, SEND, TOLD], [TOLD, SEND])),
        ([], [SEND], ([SEND], [])),
    ],
)
def test_once_an_order_is_durable_its_bytes_leave_before_anybody_is_told(run, rest, expected):
    """Telling costs time, and the market does not wait; an answer is never passed."""
    assert once_durable(run, rest) == expected


def test_orders_are_looked_for_between_the_pieces_of_a_flood(monkeypatch):
    """However much the Gateway says in one turn of the loop, the trade socket is looked at every 0.3 ms of it."""
    now, looks = [100.0], []
    monkeypatch.setattr(services, "time", SimpleNamespace(monotonic=lambda: now[0]))
    core: Any = SimpleNamespace(told=SimpleNamespace(), effects=list, next_timer=lambda: None)
    bus: Any = SimpleNamespace(look_for_orders=lambda: looks.append(now[0]))

    def work(_event: Any, _now: float) -> None:
        now[0] += 0.0001

    core.receive_upstream = work
    nothing: Any = None

    async def flood() -> None:
        service = services.Service(
            core, services.Clock(), nothing, nothing, nothing, lambda _epoch: bus, lambda _deliver: nothing, nothing
        )
        for _ in range(100):
            service._receive_upstream(nothing)

    asyncio.run(flood())

    assert max(later - earlier for earlier, later in pairwise([100.0, *looks, now[0]])) < 0.00031
