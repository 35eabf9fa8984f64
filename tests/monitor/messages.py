"""Messages as the proxy would publish them, for the monitor's tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway_proxy import Message

WALL_NS = 1_800_000_000_000_000_000


class Bus:
    """Numbers messages like one life of the proxy."""

    def __init__(self, epoch: str = "first") -> None:
        self.epoch = epoch
        self._seq: Counter[str] = Counter()

    def message(self, topic: str, kind: str, body: Any, sent_ns: int = WALL_NS) -> Message:
        self._seq[topic] += 1
        return Message(topic, kind, self._seq[topic], self.epoch, sent_ns, body)

    def health(self, part: str, **body: Any) -> Message:
        return self.message(f"health/{part}/", "health", body)

    def gateway(self, state: str = "ready", **more: Any) -> Message:
        body = {"state": state, "since_ns": WALL_NS - 60_000_000_000, "mode": "paper", "connected": True, "rtt_ms": 3.2}
        return self.health("gateway", **(body | more))

    def heartbeat(self, sent_ns: int = WALL_NS) -> Message:
        body = {
            "topics": dict(self._seq),
            "subscriptions": 3,
            "published": 10,
            "requests": 4,
            "refused": 0,
            "dropped": 0,
        }
        return self.message("health/bus/", "heartbeat", body, sent_ns)

    def welcome(self, topic: str, snapshot: Any) -> Message:
        return Message(topic, "welcome", 1, self.epoch, WALL_NS, {"topic": topic, "seq": 1, "snapshot": snapshot})

    def order(self, ref: str = "scalp-1", state: str = "accepted", **more: Any) -> Message:
        body = {
            "engine": "scalp",
            "client_order_id": ref,
            "state": state,
            "symbol": "SPY",
            "action": "BUY",
            "quantity": 2,
            "filled": 0,
            "order_ids": [7, 8, 9],
            "simulated": False,
            "contract": {
                "symbol": "SPY", "sec_type": "OPT", "last_trade_date": "20260618", "strike": 600.0, "right": "C",
            },
        }  # fmt: skip
        return self.message("orders/scalp/", "order", body | more)

    def fill(self, exec_id: str = "e1", **more: Any) -> Message:
        body = {
            "exec_id": exec_id, "engine": "scalp", "client_order_id": "scalp-1", "leg": "entry", "order_id": 7,
            "symbol": "SPY", "contract": {"symbol": "SPY", "sec_type": "STK"}, "action": "BUY", "quantity": 2.0,
            "price": 1.25, "time_ns": WALL_NS,
        }  # fmt: skip
        return self.message("fills/", "fill", body | more)


def farms(**states: str) -> dict[str, dict[str, str]]:
    return {name: {"type": "market data", "state": state} for name, state in states.items()}
