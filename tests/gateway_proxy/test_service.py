"""The shell's step: which effects share one transaction of the journal."""

from __future__ import annotations

import pytest

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
