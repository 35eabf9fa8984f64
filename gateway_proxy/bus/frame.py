"""One message as it came from the market socket. Knows nothing of what the bodies mean."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway_proxy.errors import BadMessage


class Message(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One frame of the market socket, read. `epoch` is one life of the proxy; `seq` counts per topic from 1.

    A Struct and not a dataclass, and its body parsed when somebody looks: readers handle every message of a topic, and
    this makes them 2.5 times faster. `content` is the body as plain JSON, or still unparsed.
    """

    topic: str
    kind: str
    seq: int
    epoch: str
    sent_ns: int
    content: Any

    @property
    def body(self) -> Any:
        """The body as plain JSON; `codec.body_as` gives it a type. Raises BadMessage if it is broken."""
        if not isinstance(self.content, msgspec.Raw):
            return self.content
        try:
            body = msgspec.json.decode(self.content)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadMessage(f"body of {self.topic}: {error}") from error
        msgspec.structs.force_setattr(self, "content", body)
        return body

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        head = (self.topic, self.kind, self.seq, self.epoch, self.sent_ns)
        return head == (other.topic, other.kind, other.seq, other.epoch, other.sent_ns) and self.body == other.body

    def __hash__(self) -> int:
        return hash((self.topic, self.epoch, self.seq, self.kind))
