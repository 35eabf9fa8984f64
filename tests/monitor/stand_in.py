"""A proxy that only has a bus: a real server, made-up news. `python -m tests.monitor.stand_in DIR` keeps it running."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_proxy.bus.messages import Request
from gateway_proxy.bus.server import BusServer, BusSettings
from gateway_proxy.bus.server import Client as Peer
from gateway_proxy.core.latency import LatencyBook
from gateway_proxy.errors import GatewayUnavailable

ANSWERS: dict[str, Any] = {
    "orders.open": {"orders": []},
    "executions": {"executions": []},
    "positions": {"positions": []},
    "diagnose": {"verdict": "ok", "evidence": {"rtt_ms": 3.1}, "advice": "Nothing to do."},
}


class StandIn:
    """One life of it. `publish` works from any thread; ops in ANSWERS are answered, others refused."""

    def __init__(self, directory: Path, heartbeat_s: float = 0.05) -> None:
        self.asked: list[str] = []
        self.subscribed: list[str] = []
        self.server = BusServer(
            directory,
            BusSettings(heartbeat_s=heartbeat_s),
            uuid.uuid4().hex,
            on_request=self._answer,
            on_trade=self._answer,
            on_subscription=lambda topic, opened: self.subscribed.append(topic),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in")
        self._thread.start()
        try:
            self._call(self.server.start)
        except BaseException:
            self._end_loop()
            raise

    def publish(self, topic: str, kind: str, body: Any) -> None:
        self._call(lambda: self.server.publish(topic, kind, body))

    def health(self, part: str, **body: Any) -> None:
        self.publish(f"health/{part}/", "health", body)

    def gateway(self, state: str = "ready", **more: Any) -> None:
        body = {"state": state, "since_ns": time.time_ns(), "mode": "paper", "connected": True, "rtt_ms": 3.2}
        self.health("gateway", **(body | more))

    def stop(self) -> None:
        self._call(self.server.close)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _answer(self, client: Peer, request: Request) -> None:
        self.asked.append(request.op)
        if request.op in ANSWERS:
            self.server.reply(client, request.id, body=ANSWERS[request.op])
        else:
            self.server.reply(client, request.id, error=GatewayUnavailable("only a stand-in"))

    def _call(self, what: Callable[[], Any]) -> Any:
        async def perform() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(perform(), self._loop).result(5)


# ---------------------------------------------------------------- a lively day, for looking at


class Day:
    """A made-up session, one step a second. The same seed is the same day."""

    def __init__(self, bus: StandIn, seed: int = 7) -> None:
        self.bus = bus
        self.random = random.Random(seed)
        self.latency = LatencyBook()
        self.started_ns = time.time_ns()
        self.step_number = 0
        self.price = 600.0
        self.signals = 0
        self.bars: list[dict[str, Any]] = []
        self.market_ns = 1_781_789_400_000_000_000
        for _ in range(90):
            self._bar()

    def _bar(self) -> None:
        opened = self.price
        walk = [opened := opened + self.random.gauss(0, 0.12) for _ in range(6)]
        bar = {
            "start_ns": self.market_ns, "open": self.price, "high": max(walk + [self.price]),
            "low": min(walk + [self.price]), "close": walk[-1], "volume": self.random.randint(20_000, 90_000),
            "complete": True, "source": "live",
        }  # fmt: skip
        self.price = walk[-1]
        self.market_ns += 60_000_000_000
        self.bars.append(bar)
        self.bus.publish("bars/SPY/1min/", "bar", bar)

    def step(self) -> None:
        n = self.step_number
        self.step_number += 1
        bad = 40 <= n % 120 < 55
        silent = n % 120 in range(70, 80)
        farm = "down" if bad else "up"
        state, reason = ("degraded", "farm usfarm is down (2103)") if bad else ("ready", "")
        if silent:
            state, reason = "degraded", "historical data farm does not answer"
        self.bus.gateway(
            state, since_ns=self.started_ns, reason=reason, rtt_ms=2.5 + self.random.random() * 3, server_version=178,
            client_id=1, loop_lag_ms=abs(self.random.gauss(0, 1.5)), last_message_age_s=0.2, clock_skew_s=-0.04,
            market_time_ns=self.market_ns,
            farms={
                "usfarm": {"type": "market data", "state": farm},
                "usopt": {"type": "market data", "state": "up"},
                "ushmds": {"type": "historical", "state": "idle"},
                "secdefil": {"type": "contracts", "state": "up"},
            },
        )  # fmt: skip
        self._bar()
        self._budgets(n)
        self._latency(silent)
        stream = {"topic": "bars/SPY/1min/", "state": "stale" if bad else "live", "age_s": 40.0 if bad else 1.2}
        self.bus.health(
            "streams",
            streams=[stream | {"bars": 60 + n, "feed": "history"},
                     {"topic": "quote/SPY/", "state": "live", "age_s": 0.3},
                     {"topic": "chain/SPY/", "state": "live", "age_s": 4.0}],
        )  # fmt: skip
        breaker = {"state": "open", "failures": 5, "retry_in_s": 12.0, "cause": "history_silent"}
        closed = {"state": "closed", "failures": 0, "retry_in_s": None, "cause": ""}
        self.bus.health("breakers", breakers={"history": breaker if silent else closed, "contracts": closed})
        self.report_engines(n)
        self._orders(n)
        if n == 2:
            self._chain()
        if silent and n % 120 == 72:
            self.bus.publish("verdicts/", "verdict", SLOW_VERDICT)

    def _budgets(self, n: int) -> None:
        used = 20 + 38 * abs(math.sin(n / 40))
        rules = [
            {"rule": "history_10min", "scope": "all", "used": round(used), "limit": 58, "window_s": 600,
             "next_free_s": 8.5 if used > 57 else 0},
            {"rule": "same_contract_2s", "scope": "SPY", "used": n % 6, "limit": 6, "window_s": 2, "next_free_s": 0},
            {"rule": "messages_1s", "scope": "all", "used": n % 17, "limit": 45, "window_s": 1, "next_free_s": 0},
            {"rule": "market_lines", "scope": "all", "used": 9, "limit": 100, "window_s": 0, "next_free_s": 0},
        ]  # fmt: skip
        lanes = {name: {"depth": 0, "oldest_s": 0.0} for name in ("protect", "order", "probe", "interactive", "stream")}
        lanes["backfill"] = {"depth": 4 + n % 3, "oldest_s": 12.5}
        owners = {"scalp-spy": {"queued": 1, "sent": 40 + n, "share": 0.5}, "scalp-qqq": {"queued": 3, "sent": 22}}
        self.bus.health("pacing", rules=rules, lanes=lanes, owners=owners, granted=300 + n, expired=0, refused=n // 50)

    def _latency(self, silent: bool) -> None:
        for _ in range(6):
            slow = 4000.0 if silent else 0.0
            self.latency.record("history", self.random.expovariate(1 / 30), slow + self.random.gauss(160, 30))
            self.latency.record("order", 0.2, self.random.gauss(24, 4))
            self.latency.record("contracts", 1.0, self.random.gauss(60, 9))
        self.bus.health("latency", **self.latency.body())

    def report_engines(self, n: int) -> None:
        is_signal = n % 20 == 5
        self.signals += is_signal
        closes = [bar["close"] for bar in self.bars]
        values = {
            "ema_fast": sum(closes[-9:]) / 9, "ema_slow": sum(closes[-21:]) / 21, "vwap": sum(closes[-60:]) / 60,
            "rsi": 50 + 20 * math.sin(n / 9),
        }  # fmt: skip
        for name, symbol in (("scalp-spy", "SPY"), ("scalp-qqq", "QQQ")):
            decision = {
                "symbol": symbol, "bar_start_ns": self.bars[-1]["start_ns"], "side": "BUY" if is_signal else "",
                "rule": "rsi", "reason": "rsi 31.2 crossed 35, close over vwap" if is_signal else "rsi 48 is not low",
                "values": values, "guard": "", "guard_reason": "",
            }  # fmt: skip
            self.bus.health(
                f"engine/{name}", state="ready", symbols=[symbol], last_bar_ns=self.bars[-1]["start_ns"],
                last_decision={symbol: decision}, signals=self.signals if symbol == "SPY" else 0, orders=self.signals,
                lag_ms=1.3, decide_us=41.0,
            )  # fmt: skip
        for name in ("sim", "proxy", "scalp-spy", "scalp-qqq"):
            self.bus.health(
                f"process/{name}",
                pid=100,
                state="running",
                uptime_s=float(n),
                restarts=int(name == "proxy"),
                rss_mb=81.0,
            )

    def _orders(self, n: int) -> None:
        phase, ref = n % 20, f"scalp-spy-{n // 20}"
        states = {6: "intent", 7: "sent", 8: "working", 11: "filled"}
        contract = {"symbol": "SPY", "sec_type": "OPT", "last_trade_date": "20260618", "strike": 600.0, "right": "C"}
        if phase in states:
            filled = 2 if phase == 11 else 0
            legs = [
                {"leg": leg, "order_id": 5 + i, "perm_id": 9, "state": "filled" if i == 0 and filled else "working",
                 "action": "BUY" if i == 0 else "SELL", "quantity": 2, "filled": filled if i == 0 else 0,
                 "average_price": 1.25 if filled and i == 0 else None, "limit_price": (1.25, 1.6, None)[i],
                 "stop_price": (None, None, 1.0)[i]}
                for i, leg in enumerate(("entry", "take_profit", "stop_loss"))
            ]  # fmt: skip
            self.bus.publish(
                "orders/scalp-spy/", "order",
                {"engine": "scalp-spy", "client_order_id": ref, "state": states[phase], "symbol": "SPY",
                 "action": "BUY",
                 "quantity": 2, "filled": filled, "order_ids": [5, 6, 7], "simulated": False, "contract": contract,
                 "legs": legs, "time_ns": time.time_ns()},
            )  # fmt: skip
        if phase == 11 or phase == 15:
            self.bus.publish(
                "fills/", "fill",
                {"exec_id": f"e{n}", "engine": "scalp-spy", "client_order_id": ref, "order_id": 5, "symbol": "SPY",
                 "leg": "entry" if phase == 11 else "take_profit", "contract": contract,
                 "action": "BUY" if phase == 11 else "SELL", "quantity": 2.0, "price": 1.25 if phase == 11 else 1.6,
                 "time_ns": time.time_ns(), "commission": 1.3, "realized_pnl": 67.4 if phase == 15 else None},
            )  # fmt: skip
        self.bus.publish(
            "account/", "account",
            {"account": "DU1", "currency": "USD", "net_liquidation": 100_213.5, "available_funds": 88_000.0,
             "daily_pnl": 67.4 * (n // 20) - 3.0, "unrealized_pnl": -3.0},
        )  # fmt: skip

    def _chain(self) -> None:
        rows = []
        for strike in range(597, 604):
            for right in "CP":
                distance = (self.price - strike) * (1 if right == "C" else -1)
                bid = max(distance, 0) + 1.1
                rows.append(
                    {"strike": float(strike), "right": right, "con_id": strike, "bid": bid, "ask": bid + 0.05,
                     "last": bid + 0.02, "volume": 4000 - 300 * abs(strike - 600), "open_interest": 12_000, "iv": 0.18,
                     "delta": 0.5, "gamma": 0.03, "theta": -0.9, "vega": 0.2}
                )  # fmt: skip
        self.bus.publish(
            "chain/SPY/", "chain", {"symbol": "SPY", "expiry": "20260618", "underlying_price": self.price, "rows": rows}
        )


SLOW_VERDICT: dict[str, Any] = {
    "verdict": "history_silent",
    "advice": "The Gateway answers, but historical requests do not: an HMDS fault or silent pacing.",
    "evidence": {
        "request_class": "history_small",
        "topic": "bars/SPY/1min/",
        "rtt_ms": 3.0,
        "waited_s": 12.0,
        "farm": "ushmds idle",
        "timeline": {"queued_ms": 5200.0, "held_by": "history_10min", "gateway_ms": 12_000.0, "total_ms": 17_200.0},
    },
}


def main() -> None:
    bus = StandIn(Path(sys.argv[1]), heartbeat_s=0.25)
    day = Day(bus)
    try:
        while True:
            day.step()
            time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
    except KeyboardInterrupt:
        bus.stop()


if __name__ == "__main__":
    main()
