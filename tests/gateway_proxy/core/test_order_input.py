"""Nothing malformed reaches the journal or the wire: frames of every kind of wrongness, through the real codec."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies

from gateway_proxy.bus.codec import decode_request
from gateway_proxy.bus.messages import TRADE_ARGS, CancelArgs, ModifyArgs
from gateway_proxy.core import effects as fx
from gateway_proxy.errors import ProxyError
from tests.gateway_proxy.core.order_world import EPOCH, SPY, OrderWorld, bracket, single

WRONG = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.floats(allow_nan=True, allow_infinity=True),
    strategies.text(max_size=80),
    strategies.sampled_from(["", "BUY\0", "a" * 65, "1e999", "\u202e", "DROP\nTABLE", -1, 0, 10**30, 1e-320, 1e308]),
    strategies.lists(strategies.integers(), max_size=3),
    strategies.dictionaries(strategies.text(max_size=5), strategies.integers(), max_size=3),
)
CITED: dict[str, Any] = {"topic": "bars/SPY/1min/", "seq": 1, "epoch": EPOCH}
GOOD: dict[str, dict[str, Any]] = {
    "order.bracket": asdict(bracket()) | {"cites": [CITED]},
    "order.place": asdict(single()) | {"cites": [CITED]},
    "order.cancel": asdict(CancelArgs("b1")),
    "order.modify": asdict(ModifyArgs("b1", limit_price=9.5)),
}


@given(data=strategies.data(), op=strategies.sampled_from(sorted(GOOD)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_malformed_request_is_refused_at_the_door_or_is_not_malformed(data, op):
    """Any fields wrong, missing or too many: one error, or tickets whose every word and number is sound."""
    args = dict(GOOD[op])
    for name in data.draw(strategies.lists(strategies.sampled_from(sorted(args)), min_size=1, max_size=3, unique=True)):
        if data.draw(strategies.booleans()):
            args[name] = data.draw(WRONG)
        else:
            args.pop(name, None)
    if "cites" in args and data.draw(strategies.booleans()):
        args["cites"] = [CITED | {data.draw(strategies.sampled_from(sorted(CITED))): data.draw(WRONG)}]
    args[data.draw(strategies.text(max_size=10))] = data.draw(WRONG)
    frame = json.dumps({"v": 1, "id": 1, "op": op, "args": args}).encode()
    world = OrderWorld().start()
    world.told.note(CITED["topic"], CITED["seq"], world.now)
    world.ask("order.bracket", bracket())
    rows, sent = len(world.journal), len(world.placements())

    try:
        request = decode_request(frame, TRADE_ARGS)
    except ProxyError:
        return
    world.ask(op, request.args, SPY)
    world.advance(5.0)

    assert sum(reply.request_id == world.requests for reply in world.replies) == 1
    for call in world.placements()[sent:]:
        for ticket in call.tickets:
            assert_sound(ticket)
    for row in world.journal[rows:]:
        json.dumps(row, allow_nan=False)


def assert_sound(ticket: fx.OrderTicket) -> None:
    """Printable ASCII and finite positive numbers: a NUL would inject fields into IB's protocol (E1)."""
    for one in fields(ticket):
        value = getattr(ticket, one.name)
        if isinstance(value, str):
            assert value.isascii() and (value.isprintable() or not value), one.name
        if isinstance(value, float):
            assert math.isfinite(value) and 0 < value < 1e7, one.name
    assert 1 <= ticket.quantity <= 1_000_000
    assert ticket.action in ("BUY", "SELL")


@given(frame=strategies.binary(max_size=200) | strategies.text(max_size=200).map(lambda text: text.encode()))
@settings(max_examples=200, deadline=None)
def test_noise_is_one_error_and_nothing_else(frame):
    """Bytes that are no request never become one."""
    try:
        request = decode_request(frame, TRADE_ARGS)
    except ProxyError:
        return
    raise AssertionError(f"noise became {request}")
