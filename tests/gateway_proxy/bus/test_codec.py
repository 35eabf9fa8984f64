"""Frames and messages, both ways, and everything a peer could get wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.bus import codec
from gateway_proxy.bus.messages import REQUEST_ARGS, TRADE_ARGS, Bar, BarsArgs, BracketArgs, Message
from gateway_proxy.errors import BadMessage, TooLarge, UnknownOperation, UnsupportedVersion

BAR = Bar(60_000_000_000, 1.0, 2.0, 0.5, 1.5, 10.0, None, 3, False, "backfill", True)
BRACKET: dict[str, Any] = {
    "engine": "scalp",
    "client_order_id": "a-1",
    "contract": "SPY",
    "action": "BUY",
    "quantity": 1,
    "limit_price": 10.0,
    "take_profit": 11.0,
    "stop_loss": 9.0,
}


def request(op: str = "bars", args: Any = None, **more: Any) -> bytes:
    return json.dumps(
        {"v": 1, "id": 7, "op": op, "args": {"contract": "SPY"} if args is None else args, **more}
    ).encode()


def refusal(frame: bytes, ops: dict[str, type] = REQUEST_ARGS) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        codec.decode_request(frame, ops)
    return caught.value


def test_what_was_learned_costs_the_first_message_nothing():
    """msgspec keeps what it read of a dataclass with that class; a class in a field is learned with it."""
    inner: Any = dataclasses.make_dataclass("Inner", [("price", float)])
    outer: Any = dataclasses.make_dataclass("Outer", [("inner", inner)])
    assert not hasattr(outer, "__msgspec_cache__")

    codec.learn([outer])

    assert hasattr(outer, "__msgspec_cache__") and hasattr(inner, "__msgspec_cache__")
    assert codec.convert({"inner": {"price": 1.0}}, outer) == outer(inner(1.0))


def test_bar_survives_the_bus():
    """Every field of a bar comes back as it went in."""
    frame = codec.encode_market("bars/SPY/1min/", "bar", 5, "e1", 99, BAR)

    message = codec.decode_market(frame)

    assert (message.topic, message.kind, message.seq, message.epoch, message.sent_ns) == (
        "bars/SPY/1min/",
        "bar",
        5,
        "e1",
        99,
    )
    assert codec.body_as(message, Bar) == BAR


def test_market_frame_is_the_documented_one():
    """Topic, newline, one JSON object with these keys in this order."""
    frame = codec.encode_market("fills/", "fill", 1, 'e"1', 2, {"price": float("nan")})

    assert frame == b'fills/\n{"v":1,"kind":"fill","seq":1,"epoch":"e\\"1","sent_ns":2,"body":{"price":null}}'


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"fills/",
        b"fills/\n",
        b"fills/\n{}",
        b"\xff\n{}",
        b'fills/\n{"v":1,"kind":"x","seq":"1","epoch":"","sent_ns":0,"body":0}',
    ],
)
def test_broken_market_frame_is_refused(frame):
    """A reader gets an error that names the topic, never half a message."""
    with pytest.raises(BadMessage):
        codec.decode_market(frame)


def test_other_major_version_is_refused_by_name():
    """Market frames and requests alike."""
    with pytest.raises(UnsupportedVersion, match="version 1, got 2"):
        codec.decode_market(b'fills/\n{"v":2,"kind":"fill","seq":1,"epoch":"e","sent_ns":0,"body":{}}')
    assert isinstance(refusal(request(v=2)), UnsupportedVersion)


def test_request_comes_out_typed():
    """Defaults filled in, deadline in seconds, unknown fields ignored."""
    asked = codec.decode_request(request(args={"contract": "SPY", "colour": "red"}, expires_ms=1500, x=1), REQUEST_ARGS)

    assert (asked.id, asked.op, asked.expires_in_s) == (7, "bars", 1.5)
    assert asked.args == BarsArgs("SPY")


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (request(args=[]), "args: want an object, got []"),
        (request(args={}), "bars: missing required field 'contract'"),
        (request(args={"contrct": "SPY"}), "missing required field 'contract' (you sent 'contrct')"),
        (request(args={"contract": "SPY", "count": "60"}), "bars: count: expected `int`, got `str`"),
        (request(args={"contract": "SPY", "count": 0}), "bars: count: expected `int` >= 1, got 0"),
        (request(args={"contract": "SPY", "count": 1.5}), "bars: count: expected `int`, got `float`"),
        (request(args={"contract": "SPY", "rth": 1}), "bars: rth: expected `bool`, got `int`"),
        (request(args={"contract": "SPY", "size": "7min"}), "bars: size: want one of 1s 5s"),
        (request(args={"contract": {"symbol": "SPY", "right": "X"}}), "bars: contract.right: invalid enum value 'X'"),
        (request(args={"contract": None}), "bars: contract: expected"),
        (request(expires_ms=0), "expires_ms: want an integer from 1"),
        (request(expires_ms=True), "expires_ms"),
        (request(expires_ms="1000"), "expires_ms"),
        (request(args={"contract": "S\x00PY"}), "control character"),
        (request(args={"contract": "SPY", "n\x1bote": 1}), "control character"),
        (request(args={"contract": "SPY\x9b"}), "control character"),
        (b'{"v":1,"id":7,"op":"bars","args":{"contract":"SPY","count":1e999}}', "not JSON"),
        (b'{"v":1,"id":7,"op":"bars","args":{"contract":"SPY","count":1,"count":2}}', "key 'count' appears twice"),
        (b'{"v":1,"id":7,"op":"bars","args":{"contract":"SPY","count":1,"count":2,"x":"\\u003a"}}', "appears twice"),
        (b'{"v":1,"id":7,"op":"bars","args":{"contract":"\xff"}}', "not JSON"),
    ],
)
def test_refusal_says_what_where_and_what_would_be_right(frame, told):
    """The text names the field and the rule."""
    assert told in str(refusal(frame))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", -1), ("quantity", 0), ("quantity", 1.5), ("quantity", "1"), ("quantity", True),
        ("quantity", 10**9),
        ("limit_price", -1.0), ("limit_price", 0), ("limit_price", 1e9), ("stop_loss", None), ("action", "HOLD"),
        ("engine", "a b"), ("engine", ""), ("client_order_id", "a b"),
        ("client_order_id", "x" * 65), ("tif", "FOREVER"),
    ],
)  # fmt: skip
def test_impossible_order_is_refused(field, value):
    """Wrong sign, wrong type, wrong word: named, and with the id, so that the sender can be told."""
    error = refusal(request("order.bracket", {**BRACKET, field: value}), TRADE_ARGS)

    assert field in str(error)
    assert error.request_id == 7


def test_good_bracket_is_read():
    """The base of the cases above is itself valid."""
    assert codec.decode_request(request("order.bracket", BRACKET), TRADE_ARGS).args == BracketArgs(**BRACKET)


@pytest.mark.parametrize(
    ("frame", "request_id"),
    [
        (b"nonsense", None),
        (b'{"v":1,"op":"bars"}', None),
        (b'{"v":1,"id":true,"op":"bars"}', None),
        (b'{"v":1,"id":"","op":"bars"}', None),
        (b'{"v":1,"id":"a\\u0000","op":"bars"}', None),
        (b'{"v":1,"id":1.5,"op":"bars"}', None),
        (b'{"v":1,"id":"q-1","op":"nope"}', "q-1"),
        (b'{"id":9,"op":"bars"}', 9),
    ],
)
def test_refusal_knows_the_id_as_soon_as_it_could_be_read(frame, request_id):
    """None means: not even that."""
    assert refusal(frame).request_id == request_id


def test_unknown_operation_lists_the_known_ones():
    """With the nearest one first in mind."""
    error = refusal(request("baars"))

    assert isinstance(error, UnknownOperation)
    assert "did you mean 'bars'?" in str(error) and "diagnose" in str(error)


def test_limits_of_size_and_depth():
    """One byte or one level more is refused; the limit itself is not."""
    fits = request(pad="x" * (codec.FRAME_BYTES_MAX - len(request(pad=""))))
    assert codec.decode_request(fits, REQUEST_ARGS).op == "bars"
    assert isinstance(refusal(fits + b" "), TooLarge)

    nested: Any = "end"
    for _ in range(codec.DEPTH_MAX - 2):
        nested = [nested]
    assert codec.decode_request(request(pad=nested), REQUEST_ARGS)
    assert "nested deeper" in str(refusal(request(pad=[nested])))


def test_replies_are_the_documented_ones():
    """Exactly the fields of PROTOCOL.md."""
    ok = json.loads(codec.encode_reply_ok("q", {"bars": [BAR]}))
    failed = json.loads(codec.encode_reply_error(None, BadMessage("no", retry_in_s=1.0, verdict="pacing")))

    assert (ok["v"], ok["id"], ok["ok"], ok["body"]["bars"][0]["close"]) == (1, "q", True, 1.5)
    assert failed == {
        "v": 1,
        "id": None,
        "ok": False,
        "error": {"code": "bad_message", "message": "no", "retry_in_s": 1.0, "verdict": "pacing"},
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_at_all_break_the_decoder(frame):
    """Whatever arrives: a Request or a BadMessage, no other exception."""
    for decode in (
        lambda: codec.decode_request(frame, TRADE_ARGS),
        lambda: (codec.decode_market(b"fills/\n" + frame).body, 1),
    ):
        with contextlib.suppress(BadMessage):
            assert decode() is not None


@given(st.dictionaries(st.sampled_from(sorted(BRACKET)), JSON, max_size=4))
def test_no_argument_at_all_breaks_the_boundary(damage):
    """A damaged order is a typed order or a refusal."""
    frame = json.dumps({"v": 1, "id": 1, "op": "order.bracket", "args": BRACKET | damage}).encode()
    with contextlib.suppress(BadMessage):
        args = codec.decode_request(frame, TRADE_ARGS).args
        assert 0 < args.limit_price < 1e7 and args.quantity >= 1


@given(JSON.map(lambda value: json.dumps(value).encode()))
def test_body_is_read_the_same_way_twice(text):
    """Parsed late or never: `body`, `body_as` and equality agree, and a broken body is a BadMessage."""
    frame = b'fills/\n{"v":1,"kind":"fill","seq":1,"epoch":"e","sent_ns":2,"body":' + text + b"}"
    with contextlib.suppress(BadMessage):
        message = codec.decode_market(frame)
        assert message == codec.decode_market(frame) and message.body is message.body
        assert hash(message) == hash(codec.decode_market(frame))
        with contextlib.suppress(BadMessage):
            assert isinstance(codec.body_as(codec.decode_market(frame), Bar), Bar)


@given(st.text(max_size=20), st.integers(0, 2**62), st.integers(0, 2**62), JSON)
def test_every_market_message_survives(epoch, seq, sent_ns, body):
    """Encode then decode is the identity, for bodies that JSON can hold."""
    body = json.loads(json.dumps(body).replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null"))
    try:
        frame = codec.encode_market("fills/", "fill", seq, epoch, sent_ns, body)
    except (TypeError, ValueError, OverflowError):
        return  # lone surrogates and integers beyond 64 bits are no JSON of ours
    message = codec.decode_market(frame)
    assert (message.epoch, message.seq, message.sent_ns) == (epoch, seq, sent_ns)


def test_message_is_a_value():
    """Two reads of one frame are equal, so tests and caches may compare them."""
    frame = codec.encode_market("fills/", "fill", 1, "e", 2, {"a": 1})

    assert codec.decode_market(frame) == Message("fills/", "fill", 1, "e", 2, {"a": 1})
