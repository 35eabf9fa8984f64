"""Citations: on which published message an opening order was decided, held against what was told. Pure.

An order decided on old data, on another life's data or on a stream that has died since must not go out (reliability
I17). The shell notes here what it published; the order path asks when a request arrives and again before the write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway_proxy.bus.messages import Citation
from gateway_proxy.core.risk import Scope

#: Messages remembered per topic; what is older than that is too old to trade on, whatever its age.
REMEMBERED_MAX: Final = 64
_CITABLE: Final = ("bars/", "quote/", "chain/")


def is_citable(topic: str) -> bool:
    """Whether messages of this topic are data that a decision can rest on."""
    return topic.startswith(_CITABLE)


class Told:
    """When the newest messages of each topic were published, in one life of the proxy.

    stream_fault: why the stream behind a topic cannot be believed now, "" if it can.
    """

    def __init__(self, stream_fault: Callable[[str], str] = lambda topic: "") -> None:
        self.epoch = ""
        self._stream_fault = stream_fault
        self._topics: dict[str, deque[tuple[int, float]]] = {}

    def note(self, topic: str, seq: int, now: float) -> None:
        """Message `seq` of a citable topic goes out now."""
        told = self._topics.get(topic)
        if told is None:
            told = self._topics[topic] = deque(maxlen=REMEMBERED_MAX)
        told.append((seq, now))

    def fault(self, cited: Citation) -> str:
        """Why no opening order may rest on this message, its age aside; "" when one may."""
        message = f"{cited.topic} {cited.seq}"
        if cited.epoch != self.epoch:
            return f"{message} was told by another life of the proxy ({cited.epoch}, this one is {self.epoch})"
        told = self._topics.get(cited.topic)
        if told is None:
            return f"nothing was told on {cited.topic}; cite a message of a bars/, quote/ or chain/ topic"
        oldest, newest = told[0][0], told[-1][0]
        if not oldest <= cited.seq <= newest:
            return f"{message} is not among the last {len(told)} messages of its topic, {oldest} to {newest}"
        if fault := self._stream_fault(cited.topic):
            return f"{cited.topic} {fault}"
        return ""

    def age_s(self, cited: Citation, now: float) -> float:
        """How long ago a message without fault was published. Numbers that were skipped count as the one before."""
        return now - max(at for seq, at in self._topics[cited.topic] if seq <= cited.seq)


def stale_data(cites: Sequence[Citation], told: Told, scopes: Iterable[Scope], now: float) -> str:
    """Why the caps of these scopes forbid an opening order with these citations; "" when they do not."""
    for fault in map(told.fault, cites):
        if fault:
            return f"stale data: {fault}"
    for scope in scopes:
        if scope.caps.require_citation and not cites:
            return f"limit require_citation ({scope.name}): the order must say on which data it was decided (cites)"
        cap = scope.caps.max_data_age_s
        for cited in cites:
            if cap is not None and (age_s := told.age_s(cited, now)) > cap:
                message = f"{cited.topic} {cited.seq}"
                return f"limit max_data_age_s ({scope.name}): {message} is {age_s:.1f} s old, more than {cap:g}"
    return ""
