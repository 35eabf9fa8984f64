"""An ear on the bus: a thread of its own that notes when which message came."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from gateway_proxy import Client, Message, ProxyError


class Ear:
    """Use as a context manager. `heard` holds (monotonic seconds, topic, body), oldest first."""

    def __init__(self, runtime: Path, *topics: str) -> None:
        self._runtime = runtime
        self._topics = topics
        self._stop = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.heard: list[tuple[float, str, Any]] = []

    def __enter__(self) -> Ear:
        self._thread.start()
        assert self._listening.wait(30.0), "no message on the bus"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _listen(self) -> None:
        with Client.connect(self._runtime, name="ear", timeout_s=30.0) as client:
            try:
                for message in client.stream(*self._topics):
                    if isinstance(message, Message):
                        self.heard.append((time.monotonic(), message.topic, message.body))
                    self._listening.set()
                    if self._stop.is_set():
                        return
            except ProxyError:
                return

    def state_since(self, since: float, *states: str) -> float | None:
        """When one of these session states was first published after `since`; None if it was not yet."""
        return next(
            (at for at, topic, body in list(self.heard)
             if at >= since and topic == "health/gateway/" and body.get("state") in states),
            None,
        )  # fmt: skip

    def newest_state(self) -> str | None:
        """The session state that was published last; None before the first."""
        states = (body.get("state") for _, topic, body in reversed(list(self.heard)) if topic == "health/gateway/")
        return next(states, None)

    def finished_bars(self, topic: str) -> list[int]:
        """Start times of the finished bars, as they came."""
        return [_start_of(body) for _, name, body in list(self.heard) if name == topic and _is_complete(body)]


def _is_complete(body: Any) -> bool:
    return bool(body.get("complete") if isinstance(body, dict) else getattr(body, "complete", False))


def _start_of(body: Any) -> int:
    return int(body["start_ns"] if isinstance(body, dict) else body.start_ns)
