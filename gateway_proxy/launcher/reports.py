"""Tells the bus how each process is, as `health/process/<name>/`. Nothing waits for it or fails because of it."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path
from typing import Any

from gateway_proxy.bus.client import Client
from gateway_proxy.errors import ProxyError

#: How long one attempt to reach the proxy may take, on the reporter's own thread.
TIMEOUT_S = 1.0

Bodies = dict[str, dict[str, Any]]


class Reporter:
    """`tell` replaces what has not been sent yet; a thread with its own Client sends when a proxy is there."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._newest: queue.Queue[Bodies | None] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def tell(self, bodies: Bodies | None) -> None:
        """State by process name; None ends the thread."""
        with contextlib.suppress(queue.Empty):
            self._newest.get_nowait()
        with contextlib.suppress(queue.Full):
            self._newest.put_nowait(bodies)

    def _run(self) -> None:
        while (bodies := self._newest.get()) is not None:
            with contextlib.suppress(ProxyError):
                self._send(bodies)

    def _send(self, bodies: Bodies) -> None:
        with Client.connect(
            self._runtime_dir, name="launcher", timeout_s=TIMEOUT_S, request_timeout_s=TIMEOUT_S
        ) as client:
            while True:
                for name, body in bodies.items():
                    client.report("process", name, body)
                newest = self._newest.get()
                if newest is None:
                    self._newest.put(None)
                    return
                bodies = newest
