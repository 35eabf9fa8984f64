"""The TWS wire format: frames and NUL-terminated text fields. Pure; knows no message.

A frame is a 4-byte big-endian length and that many payload bytes; a payload is a list of fields, each *terminated* by
NUL (wire reference, part a). Numbers travel as decimal text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

FRAME_BYTES_MAX = 0xFFFFFF
"""Longest frame either side accepts; official clients give up above it (ibapi error 507)."""

UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INTEGER = "2147483647"
UNSET_LONG = "9223372036854775807"

_UNSET_MIN = 1.7e308
_LENGTH = struct.Struct(">I")

Field = str | int | float | bool | None


class WireError(Exception):
    """The bytes cannot be read as the protocol. `reason` says what was wrong with them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def frame(payload: bytes) -> bytes:
    """`payload` with its length in front."""
    return _LENGTH.pack(len(payload)) + payload


def number_text(value: float) -> str:
    """A float as the Gateway writes it: shortest decimal text, never with an exponent except for the unset value."""
    if value > _UNSET_MIN:
        return UNSET_DOUBLE
    text = repr(value)
    if "e" in text:
        text = f"{value:.10f}".rstrip("0")
        return text + "0" if text.endswith(".") else text
    return text


def field_text(value: Field) -> str:
    """One field as text: None is empty, a bool is 1 or 0, strings lose NULs (they would forge further fields)."""
    if isinstance(value, str):
        return value.replace("\0", "") if "\0" in value else value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int):
        return str(value)
    return number_text(value)


def encode(*fields: Field) -> bytes:
    """A whole frame holding `fields`; the first one is the message id.

    Non-ASCII characters become escapes, as servers from version 153 on do.
    """
    body = "\0".join([field_text(value) for value in fields]) + "\0"
    return frame(body.encode("ascii", "backslashreplace"))


_HEADS = tuple(_LENGTH.pack(length).decode("latin-1") for length in range(512))


def frames(payloads: Iterable[str]) -> bytes:
    """A batch of short ASCII payloads, each with its length in front: put together as text, encoded once."""
    return "".join([_HEADS[len(payload)] + payload for payload in payloads]).encode("latin-1")


class FrameReader:
    """Cuts a byte stream into payloads, whatever the slices it arrives in."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Yield each complete payload. Raises WireError on a length no client would send."""
        if self._rest:
            self._rest += received
        buffer = self._rest or received
        position, size = 0, len(buffer)
        try:
            while size - position >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(buffer, position)
                if not 1 <= length <= FRAME_BYTES_MAX:
                    raise WireError(f"frame length {length} outside 1..{FRAME_BYTES_MAX}")
                end = position + _LENGTH.size + length
                if size < end:
                    return
                payload = bytes(buffer[position + _LENGTH.size : end])
                position = end
                yield payload
        finally:
            if buffer is self._rest:
                del self._rest[:position]
            else:
                self._rest += received[position:]


def split_fields(payload: bytes) -> list[str]:
    """The fields of a payload. Raises WireError if it does not end in NUL."""
    if not payload.endswith(b"\0"):
        raise WireError("payload does not end in NUL")
    return payload[:-1].decode("utf-8", "backslashreplace").split("\0")


class FieldReader:
    """Reads the fields of one request in order; a missing or unreadable field is a WireError, never a guess."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._next = 0

    def text(self) -> str:
        if self._next >= len(self._fields):
            raise WireError(f"message {self._fields[0] if self._fields else '?'} ends after {len(self._fields)} fields")
        value = self._fields[self._next]
        self._next += 1
        return value

    def integer(self, default: int = 0) -> int:
        """An integer field; empty and the unset marker read as `default`. `1.0` is accepted as 1."""
        text = self.text()
        if text == "" or text == UNSET_INTEGER:
            return default
        try:
            return int(text)
        except ValueError:
            pass
        try:
            value = float(text)
        except ValueError:
            raise WireError(f"field {self._next - 1} is {text[:40]!r}, not an integer") from None
        if value != int(value) if abs(value) < 1e18 else True:
            raise WireError(f"field {self._next - 1} is {text[:40]!r}, not an integer")
        return int(value)

    def number(self) -> float | None:
        """A float field; None if empty or unset. NaN and infinities other than the client's own spelling are
        refused."""
        text = self.text()
        if text == "":
            return None
        if text in ("Infinite", "Infinity"):
            return float("inf")
        try:
            value = float(text)
        except ValueError:
            raise WireError(f"field {self._next - 1} is {text[:40]!r}, not a number") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise WireError(f"field {self._next - 1} is {text[:40]!r}, not a finite number")
        return None if value > _UNSET_MIN else value

    def flag(self) -> bool:
        """A boolean field; empty reads as False (stoqey leaves it out)."""
        text = self.text()
        if text in ("", "0", "false", "False"):
            return False
        if text in ("1", "true", "True"):
            return True
        raise WireError(f"field {self._next - 1} is {text[:40]!r}, not a flag")

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """A counted list of (tag, value)."""
        return tuple((self.text(), self.text()) for _ in range(self.count()))

    def count(self, limit: int = 1000) -> int:
        """A list length; bounded so that a forged count cannot make us loop."""
        value = self.integer()
        if not 0 <= value <= limit:
            raise WireError(f"field {self._next - 1}: list length {value} outside 0..{limit}")
        return value

    def remaining(self) -> int:
        return len(self._fields) - self._next
