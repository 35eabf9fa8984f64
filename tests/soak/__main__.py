"""`make soak HOURS=4 SPEED=30`: the old bot's dry run over real processes, with a fault every hour.

Three symbols every 180 market seconds: 60 bars, the chain around the money, a dry-run bracket. Samples of the proxy's
memory, descriptors and latency go to a file. Prints a table and returns 0 when nothing failed outside of a fault,
everything was fresh at the end, and nothing grew.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from gateway_proxy import Client, ProxyError
from tests.soak.faults import GRACE_S, ROUND, Blow
from tests.support.pair import Pair

SYMBOLS = ("SPY", "QQQ", "AAPL")
CYCLE_S = 180.0
HOUR_S = 3_600.0
SAMPLE_S = 1.0
#: Nobody closes the dry-run brackets of hours, and all their stops together are no loss of a day.
RISK = "[risk]\ndaily_loss = 1e9"
RSS_GROWTH_MAX = 24 * 1024 * 1024
FILES_GROWTH_MAX = 4
BUSY = "busy machine"
LATE_S, BUSY_GRACE_S = 0.5, 3.0


@dataclass
class Course:
    """One soak: what was asked, what failed, what was measured."""

    pair: Pair
    speed: float
    series: TextIO
    began: float = field(default_factory=time.monotonic)
    blows: list[tuple[str, float, float]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def market_s(self) -> float:
        return (time.monotonic() - self.began) * self.speed

    def strike(self, blow: Blow) -> None:
        lasts_s = blow.market_s(self.speed)
        self.pair.inject(blow.name, f"{lasts_s:g}" if lasts_s else None)
        now = time.monotonic()
        self.blows.append((blow.name, now, now + lasts_s / self.speed + GRACE_S))
        self._write({"fault": blow.name, "market_s": round(self.market_s), "lasts_s": lasts_s})

    def fault_at(self, began: float, ended: float) -> str:
        """The fault that overlaps this time, "" if there is none."""
        return next((name for name, since, until in self.blows if since <= ended and began <= until), "")

    def witness(self) -> None:
        """Sleeps in a thread of its own; what comes late here was kept waiting by the machine, not by us."""
        while True:
            began = time.monotonic()
            time.sleep(0.1)
            late_s = time.monotonic() - began - 0.1
            if late_s > LATE_S:
                self.blows.append((BUSY, began, time.monotonic() + BUSY_GRACE_S))

    def perform(self, name: str, question: Any) -> Any:
        """Ask once; note latency and outcome, and whether a fault explains a failure."""
        began = time.monotonic()
        try:
            answer = question()
        except ProxyError as error:
            ended = time.monotonic()
            fault = self.fault_at(began, ended) or "no fault"
            print(f"  {self.market_s:7.0f} {name}: {error} ({fault}, after {ended - began:.1f} s)", flush=True)
            self.outcomes[f"{name}: {error.code} {error.verdict or ''}".strip()] += 1
            if fault == "no fault":
                self.unexplained.append(f"{name} at market second {self.market_s:.0f}: {type(error).__name__}: {error}")
            return None
        self.outcomes[f"{name}: ok"] += 1
        if not self.fault_at(began, time.monotonic()):
            self.latencies_s.append(time.monotonic() - began)
        return answer

    def sample(self, client: Client) -> None:
        assert self.pair.proxy is not None
        process = Path("/proc") / str(self.pair.proxy.pid)
        try:
            gateway = client.status()["gateway"]
        except ProxyError as error:
            gateway = {"state": f"{type(error).__name__}"}
        row = {
            "t": round(time.monotonic() - self.began, 1),
            "rss": int((process / "statm").read_text().split()[1]) * 4096,
            "files": len(list((process / "fd").iterdir())),
            "threads": len(list((process / "task").iterdir())),
            "state": gateway["state"],
            "rtt_ms": gateway.get("rtt_ms"),
            "loop_lag_ms": gateway.get("loop_lag_ms"),
            "open_requests": gateway.get("open_requests"),
        }
        self.samples.append(row)
        self._write(row)

    def _write(self, row: dict[str, Any]) -> None:
        self.series.write(json.dumps(row) + "\n")


def cycle(course: Course, client: Client, number: int) -> None:
    """What the old bot did for each symbol."""
    for symbol in SYMBOLS:
        course.perform("bars", lambda symbol=symbol: client.bars(symbol, count=60, fresh=True, timeout_s=25.0))
        chain = course.perform("chain", lambda symbol=symbol: client.chain(symbol, timeout_s=25.0))
        calls = [row for row in chain or () if row.right == "C" and row.ask and row.con_id]
        if not calls:
            continue
        best = max(calls, key=lambda row: row.volume or 0.0)
        option = {"symbol": symbol, "sec_type": "OPT", "last_trade_date": chain.expiry, "strike": best.strike}
        price = round(best.ask, 2)
        course.perform(
            "dry-run bracket",
            lambda option=option, price=price, symbol=symbol: client.bracket(
                option | {"right": "C"}, "BUY", 1, limit_price=price, take_profit=round(price * 1.5 + 0.5, 1),
                stop_loss=max(0.05, round(price * 0.5, 1)), ref=f"soak-{number}-{symbol}", engine="soak",
            ),
        )  # fmt: skip


def live(course: Course, hours: float) -> None:
    """Cycles, samples and blows until the time is over; then a quiet end for the last one to heal."""
    end_s = hours * HOUR_S
    blows: Iterator[Blow] = iter(ROUND[turn % len(ROUND)] for turn in range(10_000))
    next_cycle, next_blow, next_sample, number = 0.0, HOUR_S / 2, 0.0, 0
    with Client.connect(course.pair.runtime, name="soak", timeout_s=30.0) as client:
        while course.market_s < end_s:
            now_s = course.market_s
            if now_s >= next_blow and now_s < end_s - GRACE_S * course.speed:
                next_blow += HOUR_S
                course.strike(next(blows))
            if now_s >= next_cycle:
                next_cycle, number = max(now_s, next_cycle + CYCLE_S), number + 1
                cycle(course, client, number)
            if time.monotonic() - course.began >= next_sample:
                next_sample = time.monotonic() - course.began + SAMPLE_S
                course.sample(client)
            time.sleep(min(0.05, CYCLE_S / course.speed / 10))


def judge(course: Course) -> list[str]:
    """What is wrong; empty when the soak was clean."""
    faults = [f"unexplained: {text}" for text in course.unexplained[:10]]
    quarter = max(1, len(course.samples) // 4)
    early, late = course.samples[quarter : 2 * quarter] or course.samples, course.samples[-quarter:]
    for name, limit in (("rss", RSS_GROWTH_MAX), ("files", FILES_GROWTH_MAX), ("threads", 2)):
        grown = median(row[name] for row in late) - median(row[name] for row in early)
        if grown > limit:
            faults.append(f"{name} grew by {grown:g}")
    with Client.connect(course.pair.runtime, name="judge", timeout_s=30.0) as client:
        status = client.status()
        if status["state"] != "ready":
            faults.append(f"state at the end: {status['state']}: {status['gateway']['reason']}")
        faults += [f"{row['topic']} is {row['state']}" for row in status["streams"] if row["state"] != "live"]
    faults += [f"violation {line['rule']}" for line in course.pair.ledger("violation")[:5]]
    return faults


def report(course: Course, hours: float, faults: list[str]) -> None:
    latencies = sorted(course.latencies_s) or [0.0]
    busy = sum(name == BUSY for name, _, _ in course.blows)
    faults_played = len(course.blows) - busy
    print(f"soak: {hours:g} market hours at speed {course.speed:g}, {faults_played} faults, machine busy {busy} times")
    for name, count in sorted(course.outcomes.items()):
        print(f"  {count:6} {name}")
    p99 = latencies[int(0.99 * (len(latencies) - 1))]
    print(f"  latency outside of faults: median {median(latencies) * 1e3:.1f} ms, 99 % {p99 * 1e3:.1f} ms")
    for name, unit in (("rss", 1024 * 1024), ("files", 1), ("threads", 1)):
        first, last = course.samples[len(course.samples) // 4][name] / unit, course.samples[-1][name] / unit
        print(f"  {name}: {first:.1f} after a quarter, {last:.1f} at the end")
    lags = sorted(row["loop_lag_ms"] for row in course.samples if row["loop_lag_ms"] is not None) or [0.0]
    print(f"  the proxy's loop was late: median {median(lags):.1f} ms, at most {lags[-1]:.1f} ms")
    print("  clean" if not faults else "\n".join(f"  BAD {fault}" for fault in faults))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=4.0, help="market hours (default 4)")
    parser.add_argument("--speed", type=float, default=30.0, help="market seconds per real second (default 30)")
    parser.add_argument("--out", type=Path, help="the series; left out: bench/results/soak-<time>.jsonl")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)  # so that no process of ours is left behind
    out = options.out or Path(time.strftime("bench/results/soak-%Y%m%d-%H%M%S.jsonl"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gp-soak-", dir="/tmp") as directory, out.open("w", buffering=1) as series:
        pair = Pair(Path(directory), mode="dry-run", speed=options.speed, start="2026-06-15 09:35", more=RISK)
        try:
            pair.start()
            with pair.client() as client:
                pair.wait_until(lambda: client.status()["state"] == "ready", "ready")
            course = Course(pair, options.speed, series)
            threading.Thread(target=course.witness, daemon=True).start()
            live(course, options.hours)
            faults = judge(course)
            report(course, options.hours, faults)
        finally:
            pair.close()
    print(f"  series: {out}")
    return 1 if faults else 0


def _stop(_number: int, _frame: object) -> None:
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(main())
