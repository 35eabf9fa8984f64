"""Frames to messages and back. Pure: bytes in, dataclasses out; it opens no socket and trusts nothing it reads.

A market frame is `topic + b"\\n" + JSON`, one frame so that CONFLATE keeps the topic. A request and a reply are one
JSON frame each. NaN and infinity are refused on reading (they are not JSON) and leave as null: whoever takes floats
from outside (`translate.py`) turns "no value" into None before it gets here.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import orjson

from gateway_proxy.bus.messages import Message, Request
from gateway_proxy.errors import BadMessage, ProxyError, TooLarge, UnknownOperation, UnsupportedVersion

VERSION: Final = 1
#: The longest request that is read. The sockets let four times as much in, so that a polite refusal is possible.
FRAME_BYTES_MAX: Final = 1 << 20
DEPTH_MAX: Final = 16
ID_LENGTH_MAX: Final = 64
EXPIRES_MS_MAX: Final = 3_600_000

_T = TypeVar("_T")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PATH = re.compile(r"^(?P<rule>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.S)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")
_write = msgspec.json.Encoder().encode


class _Envelope(msgspec.Struct, gc=False):
    v: int
    kind: str
    seq: int
    epoch: str
    sent_ns: int
    body: msgspec.Raw


_read_envelope = msgspec.json.Decoder(_Envelope).decode


def to_json(value: Any) -> bytes:
    """JSON of dicts, lists, numpy arrays and message dataclasses. NaN becomes null.

    Raises TypeError for anything else: a mistake of ours, never of a peer.
    """
    # orjson is the faster one on dicts, msgspec on slotted dataclasses (by 1.6 times); both write the same JSON.
    if isinstance(value, dict):
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return _write(value)


# ---------------------------------------------------------------- market frames


def market_head(topic: str, kind: str, epoch: str) -> tuple[bytes, bytes]:
    """What all frames of a topic share: the bytes before `seq` and those between it and `sent_ns`."""
    told = orjson.dumps(kind), orjson.dumps(epoch)
    return b'%b\n{"v":%d,"kind":%b,"seq":' % (topic.encode(), VERSION, told[0]), b',"epoch":%b,"sent_ns":' % told[1]


def encode_market(topic: str, kind: str, seq: int, epoch: str, sent_ns: int, body: Any) -> bytes:
    """One frame of the market socket. `body` is a message dataclass, a dict or a list of them."""
    return join_market(market_head(topic, kind, epoch), seq, sent_ns, body)


def join_market(head: tuple[bytes, bytes], seq: int, sent_ns: int, body: Any) -> bytes:
    """`encode_market` for whoever keeps the head of a topic."""
    text = to_json(body) if isinstance(body, dict) else _write(body)
    return b'%b%d%b%d,"body":%b}' % (head[0], seq, head[1], sent_ns, text)


def decode_market(frame: bytes) -> Message:
    """The message in one market frame; its body is parsed when `body` or `body_as` is used.

    Raises UnsupportedVersion for another major version, BadMessage for anything that is no market frame.
    """
    topic, separator, text = frame.partition(b"\n")
    if not separator:
        raise BadMessage("market frame: no newline between topic and envelope")
    try:
        envelope = _read_envelope(text)
        if envelope.v != VERSION:
            raise _unsupported(envelope.v)
        return Message(topic.decode(), envelope.kind, envelope.seq, envelope.epoch, envelope.sent_ns, envelope.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"market frame on topic {topic[:80]!r}: {error}") from error


_readers: dict[Any, Callable[[msgspec.Raw], Any]] = {}


def _reader(kind: Any) -> Callable[[msgspec.Raw], Any]:
    """Straight from bytes to the type. Kept, because making one costs 20 µs."""
    reader = _readers.get(kind)
    if reader is None:
        reader = _readers[kind] = msgspec.json.Decoder(kind, strict=True).decode
    return reader


def body_as(message: Message, kind: type[_T]) -> _T:
    """The body of a message as one of our dataclasses. Raises BadMessage if it is none."""
    if isinstance(message.content, msgspec.Raw):
        try:
            read: _T = _reader(kind)(message.content)
        except (msgspec.DecodeError, RecursionError):
            pass  # the slow way below finds the words for it
        else:
            return read
    return convert(message.body, kind, f"body of {message.topic}")


# ---------------------------------------------------------------- requests


def encode_request(request_id: str | int, op: str, args: Any, expires_ms: int | None = None) -> bytes:
    """One request frame. Raises TooLarge for what the proxy would refuse to read."""
    request = {"v": VERSION, "id": request_id, "op": op, "args": args}
    if expires_ms is not None:
        request["expires_ms"] = expires_ms
    frame = to_json(request)
    if len(frame) > FRAME_BYTES_MAX:
        raise TooLarge(f"{op}: request of {len(frame)} bytes; the limit is {FRAME_BYTES_MAX}")
    return frame


def decode_request(frame: bytes, ops: Mapping[str, type], bytes_max: int = FRAME_BYTES_MAX) -> Request:
    """The request in one frame, its args checked and typed by `ops[op]`.

    Raises BadMessage (or UnknownOperation, UnsupportedVersion, TooLarge) that says what was wrong, where, and what
    would be right; its `request_id` is set as soon as the id could be read, so that the sender can be told.
    """
    if len(frame) > bytes_max:
        raise TooLarge(f"request of {len(frame)} bytes; the limit is {bytes_max}")
    request_id: str | int | None = None
    try:
        envelope = _parse_object(frame)
        request_id = _request_id(envelope)
        if not _is_flat_text(frame):
            _check_tree(envelope)
        _check_no_key_twice(frame, envelope)
        return _typed_request(envelope, request_id, ops)
    except BadMessage as error:
        error.request_id = request_id
        raise


def _parse_object(frame: bytes) -> dict[str, Any]:
    try:
        envelope = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"request is not JSON: {error}") from error
    if not isinstance(envelope, dict):
        raise BadMessage('request: want a JSON object {"v":1,"id":…,"op":…,"args":{…}}')
    return envelope


def _request_id(envelope: dict[str, Any]) -> str | int:
    request_id = envelope.get("id")
    if isinstance(request_id, int) and not isinstance(request_id, bool) and abs(request_id) < 2**63:
        return request_id
    if isinstance(request_id, str) and 1 <= len(request_id) <= ID_LENGTH_MAX and not _CONTROL.search(request_id):
        return request_id
    raise BadMessage(
        f"id: want an integer or a printable string of 1 to {ID_LENGTH_MAX} characters, got {_seen(request_id)}"
    )


def _typed_request(envelope: dict[str, Any], request_id: str | int, ops: Mapping[str, type]) -> Request:
    version = envelope.get("v")
    if version != VERSION or isinstance(version, bool):
        raise _unsupported(version)
    op = envelope.get("op")
    if not isinstance(op, str) or op not in ops:
        raise UnknownOperation(
            f"op: no operation {_seen(op)} on this socket{_nearest(op, ops)}; it has {' '.join(ops)}"
        )
    args = envelope.get("args", {})
    if not isinstance(args, dict):
        raise BadMessage(f"args: want an object, got {_seen(args)}")
    return Request(request_id, op, convert(args, ops[op], op), _expires_in_s(envelope.get("expires_ms")))


def _expires_in_s(expires_ms: Any) -> float | None:
    if expires_ms is None:
        return None
    if not isinstance(expires_ms, int) or isinstance(expires_ms, bool) or not 0 < expires_ms <= EXPIRES_MS_MAX:
        raise BadMessage(f"expires_ms: want an integer from 1 to {EXPIRES_MS_MAX}, got {_seen(expires_ms)}")
    return expires_ms / 1000


def _is_flat_text(frame: bytes) -> bool:
    """True for a frame that cannot break the rules of `_check_tree`, told without a walk, as of nearly every request.

    Plain ASCII without escapes holds no control character but DEL, which JSON does not already refuse.
    """
    plain = frame.isascii() and b"\\" not in frame and b"\x7f" not in frame
    return plain and frame.count(b"{") + frame.count(b"[") <= DEPTH_MAX


def _check_tree(root: dict[str, Any]) -> None:
    """No control character in any key or string (a NUL would inject fields upstream), and no deep nesting."""
    todo: list[tuple[Any, int]] = [(root, 1)]
    while todo:
        value, depth = todo.pop()
        if depth > DEPTH_MAX:
            raise BadMessage(f"request nested deeper than {DEPTH_MAX} levels")
        if isinstance(value, str):
            if _CONTROL.search(value):
                raise BadMessage(f"control character in {_seen(value)}; want printable text")
        elif isinstance(value, dict):
            todo.extend((key, depth + 1) for key in value)
            todo.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            todo.extend((item, depth + 1) for item in value)


def _check_no_key_twice(frame: bytes, envelope: dict[str, Any]) -> None:
    """orjson keeps the last of two equal keys; an order with two quantities must not be guessed at."""
    # A dropped key also drops its colon; an escaped colon could hide that, so any escape takes the slow way.
    if b"\\" in frame or frame.count(b":") != orjson.dumps(envelope).count(b":"):
        json.loads(frame, object_pairs_hook=_refuse_twice)


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
        raise BadMessage(f"key {_seen(twice)} appears twice in one object")
    return read


# ---------------------------------------------------------------- replies


def encode_reply_ok(request_id: str | int, body: Any) -> bytes:
    return b'{"v":%d,"id":%b,"ok":true,"body":%b}' % (VERSION, orjson.dumps(request_id), to_json(body))


def encode_reply_error(request_id: str | int | None, error: ProxyError) -> bytes:
    """`request_id` None: the request was so broken that not even its id could be read."""
    told = {"code": error.code, "message": str(error), "retry_in_s": error.retry_in_s, "verdict": error.verdict}
    return orjson.dumps({"v": VERSION, "id": request_id, "ok": False, "error": told})


def decode_reply(frame: bytes) -> dict[str, Any]:
    """One reply, checked for version and shape; `ok` tells whether `body` or `error` is in it."""
    try:
        reply = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"reply is not JSON: {error}") from error
    if not isinstance(reply, dict):
        raise BadMessage("reply: want a JSON object")
    if reply.get("v") != VERSION:
        raise _unsupported(reply.get("v"))
    if reply.get("ok") is not True and not isinstance(reply.get("error"), dict):
        raise BadMessage("reply: neither ok nor an error")
    return reply


# ---------------------------------------------------------------- the boundary


def convert(raw: Any, kind: type[_T], where: str = "") -> _T:
    """Parsed JSON as one of our dataclasses, strictly: no "1" for 1, no missing field, every limit kept.

    Unknown fields are ignored, so that newer peers can say more. Raises BadMessage naming `where`, the field,
    the rule and what was sent.
    """
    try:
        return msgspec.convert(raw, kind, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BadMessage(_explain(str(error), raw, where, kind)) from error


def learn(kinds: Iterable[type]) -> None:
    """Let msgspec read the annotations of our dataclasses now; by itself it does so with the first message of each."""
    for kind in kinds:
        with suppress(msgspec.ValidationError):
            msgspec.convert({}, kind, strict=True)


def _explain(text: str, raw: Any, where: str, kind: Any) -> str:
    """msgspec's "Expected `int` >= 1 - at `$.quantity`" as "order.place: quantity: expected `int` >= 1, got -3"."""
    match = _PATH.match(text)
    rule, path = (match["rule"], match["path"] or "$") if match else (text, "$")
    names = [name for name in re.split(r"[.\[\]]+", path.removeprefix("$")) if name]
    missing = _MISSING.search(rule)
    value = _at(raw, names)
    if missing:
        keys = value if isinstance(value, dict) else ()
        problem = f"missing required field {missing['name']!r}{_nearest(missing['name'], keys, 'you sent')}"
    elif rule.startswith("Invalid enum value") and (choices := _choices(kind, names)):
        problem = f"want one of {' '.join(choices)}, got {_seen(value)}"
    else:
        problem = f"{rule[:1].lower()}{rule[1:]}" + (f", got {_seen(value)}" if "got `" not in rule else "")
    return ": ".join(part for part in (where, ".".join(names), problem) if part)


def _choices(kind: Any, names: list[str]) -> list[str]:
    """The words a field of this dataclass may hold; empty if it is not one of a list."""
    if len(names) != 1 or not dataclasses.is_dataclass(kind):
        return []
    hint = get_type_hints(kind).get(names[0])
    return [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []


def _at(raw: Any, names: list[str]) -> Any:
    for name in names:
        if isinstance(raw, dict):
            raw = raw.get(name)
        elif isinstance(raw, list) and name.isdigit():
            raw = raw[int(name)]
    return raw


def _nearest(word: Any, known: Iterable[str], lead: str = "did you mean") -> str:
    match = difflib.get_close_matches(str(word), list(known), n=1)
    if not match:
        return ""
    return f" ({lead} {match[0]!r})" if lead == "you sent" else f"; {lead} {match[0]!r}?"


def _seen(value: Any) -> str:
    """A short, harmless picture of what a peer sent."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unsupported(version: Any) -> UnsupportedVersion:
    return UnsupportedVersion(f"v: this side speaks protocol version {VERSION}, got {_seen(version)}")
