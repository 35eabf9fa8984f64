"""What both arenas wait for: a proxy that has reconciled and accepts orders."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gateway_proxy import Client
from gateway_proxy.errors import ProxyError

#: Not ready by then is stuck.
STUCK_S: Final = 45.0


def until_ready(connect: Callable[[], Client]) -> None:
    """Raises TimeoutError unless orders are reconciled and accepted within STUCK_S."""
    deadline = time.monotonic() + STUCK_S
    while time.monotonic() < deadline:
        try:
            with connect() as client:
                while time.monotonic() < deadline:
                    status = client.request("status", timeout_s=3.0)
                    if status["state"] == "ready" and not status["orders"]["not_ready"]:
                        return
                    time.sleep(0.02)
        except ProxyError:
            time.sleep(0.02)
    raise TimeoutError(f"not ready within {STUCK_S:.0f} s")
