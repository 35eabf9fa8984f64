"""A seeded trading day, twice: `python -m gateway_sim.simulate --seeds 3 --hours 6.5`.

A small raw client trades three symbols with their option chains against the gateway core in virtual time. Each seed is
run twice, each time in an interpreter of its own; ledgers and bytes must be identical. Prints one JSON line per seed
with the simulated hours per processor second of one run, and a last one with those per second of all. Exit code 1 if
two runs differ, or if the client, which keeps the rules, is charged with a violation; 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from gateway_sim.effects import Record, Send
from gateway_sim.gateway import Gateway
from gateway_sim.settings import GatewaySettings
from gateway_sim.wire import Field, encode, frame, split_fields

SYMBOLS = ("SPY", "QQQ", "AAPL")
OPEN = "2026-06-15 09:30"
ORDER_EVERY_S = 300.0
FIRST_ORDER_S = 30.0
HOURS_MAX = 14.5
"""Until midnight of the day that is traded."""
CONNECTION = 1
HEARD = (b"1\0", b"75\0")
"""Messages the trader acts on: prices and option parameters."""
_REST_OF_STOCK = ("STK", "", 0.0, "", "", "SMART", "", "USD", "", "")


class DayTrader:
    """Bars, chains, quotes and a bracket now and then, over the bare protocol."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._req_id = 1000
        self._order_id = 0
        self._last: dict[int, float] = {}
        self._symbol_of: dict[int, str] = {}
        self._streams: dict[str, int] = {}
        self._chains_seen: set[str] = set()
        self.digest = hashlib.sha256()
        self.messages = 0
        self.lines: list[str] = []

    def run(self, hours: float) -> None:
        """Trade from the open for so many simulated hours."""
        self._gateway.receive_connection(CONNECTION, "simulate", 0.0)
        self._feed(b"API\0" + frame(b"v157..178"), 0.0)
        self._send(0.0, 71, 2, 1, "")
        for symbol in SYMBOLS:
            self._begin(symbol)
        now, end, next_order = 0.0, hours * 3600.0, FIRST_ORDER_S
        while now < end:
            due = self._gateway.next_timer()
            now = min(next_order, end if due is None else due)
            self._gateway.handle_timer(now)
            self._collect()
            if now >= next_order:
                next_order += ORDER_EVERY_S
                self._order(now)

    def _begin(self, symbol: str) -> None:
        contract = (0, symbol, *_REST_OF_STOCK)
        self._send(0.0, 20, self._number(), *contract, 0, "", "1 min", "3600 S", 1, "TRADES", 2, True, "")
        stream = self._number()
        self._streams[symbol] = stream
        self._send(0.0, 1, 11, stream, *contract, False, "", False, False, "")
        listing = self._gateway.floor.book.listings[symbol]
        request = self._number()
        self._symbol_of[request] = symbol
        self._send(0.0, 78, request, symbol, "", "STK", listing.con_id)

    def _number(self) -> int:
        self._req_id += 1
        return self._req_id

    def _send(self, now: float, *fields: Field) -> None:
        self._feed(encode(*fields), now)

    def _feed(self, data: bytes, now: float) -> None:
        self._gateway.receive_bytes(CONNECTION, data, now)
        self._collect()

    def _collect(self) -> None:
        for effect in self._gateway.effects():
            if isinstance(effect, Record):
                self.lines.append(effect.line)
            elif isinstance(effect, Send):
                self.digest.update(effect.data)
                self._read(effect.data)

    def _read(self, data: bytes) -> None:
        """Whole frames, as a gateway without faults sends them; only what is acted on is decoded."""
        position, size = 0, len(data)
        while position < size:
            end = position + 4 + int.from_bytes(data[position : position + 4], "big")
            self.messages += 1
            if data.startswith(HEARD, position + 4):
                self._hear(split_fields(data[position + 4 : end]))
            position = end

    def _hear(self, fields: list[str]) -> None:
        if fields[0] == "1" and fields[3] == "4":
            self._last[int(fields[2])] = float(fields[4])
        elif fields[0] == "75" and fields[2] == "SMART":
            self._open_chain(self._symbol_of[int(fields[1])], fields)

    def _open_chain(self, symbol: str, fields: list[str]) -> None:
        """Stream the three strikes around the money of the nearest expiry, calls and puts."""
        last = self._last.get(self._streams[symbol])
        if symbol in self._chains_seen or last is None:
            return
        self._chains_seen.add(symbol)
        count = int(fields[6])
        expiry = min(fields[7 : 7 + count])
        strikes = sorted((float(text) for text in fields[8 + count :]), key=lambda strike: abs(strike - last))
        for strike in strikes[:3]:
            for right in "CP":
                option = (0, symbol, "OPT", expiry, strike, right, "100", "SMART", "", "USD", "", "")
                self._send(self._gateway.floor.now, 1, 11, self._number(), *option, False, "100,101", False, False, "")

    def _order(self, now: float) -> None:
        """A bracket in one of the symbols."""
        symbol = SYMBOLS[self._order_id // 3 % len(SYMBOLS)]
        price = self._last.get(self._streams[symbol])
        if price is None:
            return
        entry = self._order_id + 1
        self._leg(now, symbol, entry, "BUY", "LMT", round(price + 0.02, 2), 0.0, 0, False)
        self._leg(now, symbol, entry + 1, "SELL", "LMT", round(price * 1.001, 2), 0.0, entry, False)
        self._leg(now, symbol, entry + 2, "SELL", "STP", None, round(price * 0.999, 2), entry, True)
        self._order_id += 3

    def _leg(
        self,
        now: float,
        symbol: str,
        order_id: int,
        action: str,
        kind: str,
        limit: float | None,
        aux: float,
        parent: int,
        transmit: bool,
    ) -> None:
        fields: list[Field] = [3, order_id, 0, symbol, *_REST_OF_STOCK, "", "", action, 10, kind, limit]
        fields += [aux or "", "DAY", "", "", "O", 0, f"day-{order_id}", transmit, parent, *[0] * 6]
        fields += [*[""] * 7, "", 0, "", -1, 0, "", "", 0, "", "", 0, 0, "", 0, *[""] * 5, 0, *[""] * 4, 0, 0]
        fields += [*[""] * 9, 0, "", "", 0, 0, "", "", False, "", 0, 0, 0, 0, *[""] * 6, 0, *[""] * 8, 0, 0, 0, 0]
        fields += ["", "", 0, "", ""]
        self._send(now, *fields)


def run_day(seed: int, hours: float) -> tuple[DayTrader, float]:
    """One day; returns the trader and the processor seconds it took."""
    trader = DayTrader(Gateway(GatewaySettings(seed=seed, start=OPEN)))
    began = time.process_time()
    trader.run(hours)
    return trader, time.process_time() - began


@dataclass(frozen=True)
class Outcome:
    """What is left of a run: digests of the ledger and of every byte sent, counts of ledger lines by event."""

    ledger: str
    wire: str
    messages: int
    events: dict[str, int]
    took_s: float


def outcome_of(seed: int, hours: float) -> Outcome:
    """Run one day; a function of the seed and the hours except for the time it took."""
    trader, took_s = run_day(seed, hours)
    events = Counter(json.loads(line)["event"] for line in trader.lines)
    ledger = hashlib.sha256("\n".join(trader.lines).encode()).hexdigest()
    return Outcome(ledger, trader.digest.hexdigest(), trader.messages, dict(events), took_s)


def compared(seed: int, hours: float, first: Outcome, second: Outcome) -> dict[str, object]:
    """The result line of a seed."""
    return {
        "seed": seed, "identical": (first.ledger, first.wire) == (second.ledger, second.wire), "hours": hours,
        "hours_per_s": round(hours / min(first.took_s, second.took_s), 3), "messages": first.messages,
        "orders": first.events.get("order", 0), "fills": first.events.get("fill", 0),
        "violations": first.events.get("violation", 0), "ledger": first.ledger[:16], "wire": first.wire[:16],
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="gateway_sim.simulate", description="A seeded trading day, run twice.")
    options.add_argument("--seeds", type=int, default=1, help="how many seeds, from 1 up (default 1)")
    options.add_argument("--hours", type=float, default=6.5, help="simulated hours from the open (default 6.5)")
    arguments = options.parse_args(argv)
    if arguments.seeds < 1 or not 0.0 < arguments.hours <= HOURS_MAX:
        options.error(f"--seeds must be at least 1 and --hours above 0 and at most {HOURS_MAX:g}")
    seeds, hours, failed = range(1, arguments.seeds + 1), arguments.hours, False
    began = time.perf_counter()
    # Fresh interpreters: hash seeds and memory addresses differ, and the result must not.
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        runs = [(seed, pool.submit(outcome_of, seed, hours), pool.submit(outcome_of, seed, hours)) for seed in seeds]
        for seed, first, second in runs:
            result = compared(seed, hours, first.result(), second.result())
            failed = failed or not result["identical"] or result["violations"] != 0
            print(json.dumps(result), flush=True)
    took_s = time.perf_counter() - began
    rate = 2 * arguments.seeds * hours / took_s
    print(json.dumps({"seeds": arguments.seeds, "passed": not failed, "seconds": round(took_s, 1),
                      "simulated_hours_per_s": round(rate, 3)}), flush=True)  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
