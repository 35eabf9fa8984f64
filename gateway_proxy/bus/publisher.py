"""What the market socket says: numbers per topic, last values, welcomes, heartbeats. Pure: bytes out, time brought in.

It knows no socket. The server feeds it subscriptions and sends every frame it returns, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway_proxy.bus.codec import encode_market, join_market, market_head
from gateway_proxy.bus.topics import HEALTH_BUS, is_topic
from gateway_proxy.errors import BadMessage, QueueFull

#: A welcome reaches all subscribers of its topic, so a crowd that joins together shares one.
WELCOME_SPACING_S: Final = 0.1
#: Bounds the work of one turn when somebody subscribes to everything; the rest follows in the next turns.
WELCOMES_PER_TURN: Final = 256
PREFIX_BYTES_MAX: Final = 128

SnapshotOf = Callable[[str], Any]


@dataclass(slots=True)
class _Topic:
    """`seq` 0 means: nobody published on it yet, it is only waited for."""

    seq: int = 0
    kind: str = ""
    body: Any = None
    head: tuple[bytes, bytes] = (b"", b"")
    welcomed_at: float = -1e9


class Publisher:
    """Numbers and remembers what is published in one life of the proxy (`epoch`).

    snapshot_of: gives the body of a topic's welcome; None, or an answer of None, means the last body.
    topics_max: how many topics may exist; one more is refused, because each is kept for ever.
    A body handed in is remembered, not copied: do not change it afterwards.
    """

    def __init__(self, epoch: str, snapshot_of: SnapshotOf | None = None, topics_max: int = 10_000) -> None:
        self.epoch = epoch
        self.published = 0
        self._snapshot_of = snapshot_of
        self._topics_max = topics_max
        self._topics: dict[str, _Topic] = {}
        self._subscribed: set[str] = set()
        self._welcomes: OrderedDict[str, float] = OrderedDict()

    @property
    def subscriptions(self) -> frozenset[str]:
        """Every prefix that has at least one subscriber now."""
        return frozenset(self._subscribed)

    def publish(self, topic: str, kind: str, body: Any, sent_ns: int) -> bytes:
        """The frame of the next message on `topic`. Raises QueueFull when it would be one topic too many."""
        state = self._topics.get(topic)
        if state is None:
            state = self._open(topic)
        if state.kind != kind:
            state.kind, state.head = kind, market_head(topic, kind, self.epoch)
        state.seq += 1
        state.body = body
        self.published += 1
        return join_market(state.head, state.seq, sent_ns, body)

    def seq_of(self, topic: str) -> int:
        """The number of the newest message on `topic`, 0 when there is none."""
        state = self._topics.get(topic)
        return 0 if state is None else state.seq

    def _open(self, topic: str) -> _Topic:
        if len(self._topics) >= self._topics_max:
            raise QueueFull(f"topic {topic!r}: there are {self._topics_max} topics already")
        return self._topics.setdefault(topic, _Topic())

    # ------------------------------------------------------------ subscriptions

    def subscribed(self, prefix: bytes, now: float) -> str | None:
        """Somebody subscribed; call it for every subscription (XPUB_VERBOSE). Plans the welcomes that are owed.

        Returns the prefix if it is new, None if others hold it already.
        Raises BadMessage for a prefix that no topic can have, QueueFull beyond the bounded number of prefixes.
        """
        text = _prefix(prefix)
        opened = text not in self._subscribed
        if opened and len(self._subscribed) >= self._topics_max:
            raise QueueFull(f"subscription {text!r}: there are {self._topics_max} already")
        if is_topic(text) and text not in self._topics:
            self._open(text)
        self._subscribed.add(text)
        for topic, state in self._topics.items():
            if topic.startswith(text) and topic != HEALTH_BUS:
                self._welcomes.setdefault(topic, max(now, state.welcomed_at + WELCOME_SPACING_S))
        return text if opened else None

    def unsubscribed(self, prefix: bytes) -> str | None:
        """The last subscriber of a prefix left, or died. Returns the prefix if it was known."""
        text = _prefix(prefix)
        if text not in self._subscribed:
            return None
        self._subscribed.discard(text)
        waited_for = self._topics.get(text)
        if waited_for is not None and waited_for.seq == 0:
            del self._topics[text]
            self._welcomes.pop(text, None)
        return text

    # ------------------------------------------------------------ housekeeping frames

    def next_timer(self) -> float | None:
        """When a planned welcome is due; None if none is planned."""
        return min(self._welcomes.values(), default=None)

    def welcomes(self, now: float, sent_ns: int) -> list[bytes]:
        """The welcome frames due by `now`, at most WELCOMES_PER_TURN; `next_timer` tells whether more follow."""
        due = [topic for topic, at in self._welcomes.items() if at <= now][:WELCOMES_PER_TURN]
        return [self._welcome(topic, now, sent_ns) for topic in due]

    def _welcome(self, topic: str, now: float, sent_ns: int) -> bytes:
        del self._welcomes[topic]
        state = self._topics[topic]
        state.welcomed_at = now
        body = {"topic": topic, "seq": state.seq, "snapshot": self._snapshot(topic, state)}
        return encode_market(topic, "welcome", state.seq, self.epoch, sent_ns, body)

    def _snapshot(self, topic: str, state: _Topic) -> Any:
        snapshot = self._snapshot_of(topic) if self._snapshot_of else None
        return state.body if snapshot is None else snapshot

    def heartbeat(self, counters: dict[str, int], sent_ns: int) -> bytes:
        """The message on health/bus/ that carries every topic's seq, so that even a lost tail is noticed."""
        body = {
            "topics": {topic: state.seq for topic, state in self._topics.items() if topic != HEALTH_BUS},
            "subscriptions": len(self._subscribed),
            "published": self.published,
            **counters,
        }
        return self.publish(HEALTH_BUS, "heartbeat", body, sent_ns)

    def snapshot(self, prefix: str) -> dict[str, dict[str, Any]]:
        """The last value of every topic under `prefix` that has one: {topic: {"seq", "kind", "body"}}."""
        return {
            topic: {"seq": state.seq, "kind": state.kind, "body": self._snapshot(topic, state)}
            for topic, state in self._topics.items()
            if state.seq and topic.startswith(prefix)
        }


def _prefix(raw: bytes) -> str:
    if len(raw) > PREFIX_BYTES_MAX or not raw.isascii() or any(byte < 0x20 or byte == 0x7F for byte in raw):
        raise BadMessage(f"subscription {raw[:40]!r}: want at most {PREFIX_BYTES_MAX} printable ASCII characters")
    return raw.decode()
