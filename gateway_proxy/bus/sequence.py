"""Notices what got lost on the way. Pure: one Sequence per subscriber reads every message before its owner does.

ZeroMQ drops messages of a slow reader without a word, so each topic is numbered; a welcome says where a subscriber
starts and a heartbeat where every topic stands, so that a missing tail is noticed too.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_proxy.bus.messages import Message
from gateway_proxy.bus.topics import HEALTH_BUS


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages `first` to `last` of `topic` never arrived: ask a snapshot or history before trusting the topic."""

    topic: str
    first: int
    last: int

    @property
    def missed(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Restarted:
    """The proxy began a new life; numbers start again and a welcome follows on every topic."""

    old_epoch: str
    new_epoch: str


Notice = Gap | Restarted


class Sequence:
    """The last number seen per topic, in one epoch of the proxy.

    A first message without a welcome before it sets the start: what came earlier was never asked for.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self._last: dict[str, int] = {}

    def receive(self, message: Message) -> tuple[list[Notice], bool]:
        """(notices to hand out before it, whether to hand out the message itself).

        Duplicates and stragglers are not handed out; a welcome always is: its snapshot repairs any gap before it.
        """
        # Nearly always the next number of a known topic: 200 ns instead of 1000.
        if (
            self._last.get(message.topic) == message.seq - 1
            and message.epoch == self.epoch
            and message.kind != "welcome"
        ):
            self._last[message.topic] = message.seq
            return [], True
        return self._receive(message)

    def _receive(self, message: Message) -> tuple[list[Notice], bool]:
        notices: list[Notice] = []
        if message.epoch != self.epoch:
            if self.epoch:
                notices.append(Restarted(self.epoch, message.epoch))
            self.epoch = message.epoch
            self._last.clear()
        if message.kind == "heartbeat":
            notices += self._check_tails(message)
            return notices, True
        last = self._last.get(message.topic)
        if message.kind == "welcome":
            return notices + self._advance(message.topic, last, message.seq), True
        if last is not None and message.seq <= last:
            return notices, False
        return notices + self._advance(message.topic, last, message.seq - 1, message.seq), True

    def forget(self, prefix: str) -> None:
        """Stop watching the topics under `prefix`: they were unsubscribed."""
        for topic in [topic for topic in self._last if topic.startswith(prefix)]:
            del self._last[topic]

    def _advance(self, topic: str, last: int | None, missed_to: int, seq: int | None = None) -> list[Notice]:
        """Move `topic` to `seq`; everything after `last` up to `missed_to` is a gap."""
        self._last[topic] = max(last or 0, missed_to if seq is None else seq)
        if last is None or missed_to <= last:
            return []
        return [Gap(topic, last + 1, missed_to)]

    def _check_tails(self, heartbeat: Message) -> list[Notice]:
        """One connection keeps order, so a topic that stands higher in the heartbeat than here lost its tail."""
        if heartbeat.topic != HEALTH_BUS or not isinstance(heartbeat.body, dict):
            return []
        stands = heartbeat.body.get("topics", {})
        notices: list[Notice] = []
        for topic, last in list(self._last.items()):
            notices += self._advance(topic, last, stands.get(topic, last))
        return notices
