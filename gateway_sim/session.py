"""One client connection: handshake, framing, who it is. Pure; bytes in, messages out.

States follow the handshake (wire reference a): hello bytes, version range, startApi, ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from gateway_sim import versions
from gateway_sim.wire import FrameReader, WireError, split_fields

HELLO = b"API\0"
UNNAMED = -1
"""The client id of a connection before startApi."""


class Stage(Enum):
    """How far a connection has come."""

    HELLO = auto()
    VERSION = auto()
    START = auto()
    READY = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class VersionOffer:
    """The client's version range and connect options."""

    lowest: int
    highest: int
    options: str


_OFFER = re.compile(rb"^v(\d{1,4})(?:\.\.(\d{1,4}))?(?: (.*))?$", re.DOTALL)


class Session:
    """What the Gateway knows of one connection."""

    def __init__(self, connection: int, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        self.stage = Stage.HELLO
        self.version = 0
        self.client_id = UNNAMED
        self.market_data_type = 1
        self.auto_bind = False
        self.frames_read = 0
        self._reader = FrameReader()
        self._head = b""

    @property
    def is_ready(self) -> bool:
        return self.stage is Stage.READY

    def receive(self, received: bytes) -> Iterator[VersionOffer | list[str]]:
        """The version offer, then the fields of each message. Raises WireError on bytes no client would send."""
        if self.stage is Stage.CLOSED:
            return
        if self.stage is Stage.HELLO:
            self._head += received
            if not HELLO.startswith(self._head[: len(HELLO)]):
                raise WireError(f"connection begins with {self._head[:8]!r}, not with the API hello")
            if len(self._head) < len(HELLO):
                return
            received, self._head = self._head[len(HELLO) :], b""
            self.stage = Stage.VERSION
        for payload in self._reader.feed(received):
            if self.stage is Stage.CLOSED:
                return
            self.frames_read += 1
            yield self._offer(payload) if self.stage is Stage.VERSION else split_fields(payload)

    def agree(self, version: int) -> None:
        """The handshake was answered with this version."""
        self.version = version
        self.stage = Stage.START

    def start(self, client_id: int) -> None:
        self.client_id = client_id
        self.stage = Stage.READY

    def close(self) -> None:
        self.stage = Stage.CLOSED

    @staticmethod
    def _offer(payload: bytes) -> VersionOffer:
        match = _OFFER.match(payload.rstrip(b"\0"))
        if match is None:
            raise WireError(f"version offer {payload[:40]!r} is not v<min>..<max>")
        lowest = int(match[1])
        highest = int(match[2]) if match[2] else lowest
        return VersionOffer(lowest, highest, (match[3] or b"").decode("ascii", "replace"))


def negotiated(offer: VersionOffer) -> int | None:
    """The version to answer with, None if there is no common one."""
    return versions.negotiate(offer.lowest, offer.highest)
