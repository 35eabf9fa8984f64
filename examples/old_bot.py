"""The pattern that killed the old bot, kept small: a new thread and event loop for every cycle, one shared connection.

Cycle 1 works. From then on nobody reads the socket: every request times out while isConnected() stays True, and the
Gateway has answered all of them. Run it against gateway_sim:  python examples/old_bot.py --port 4102
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from ib_async import IB, Stock

connection = IB()


def fetch(port: int, symbol: str, timeout_s: float) -> int:
    """60 one-minute bars, the old bot's way: the number of bars, 0 for a time-out, as the library reports it."""
    try:
        loop = asyncio.get_event_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    if not connection.isConnected():
        connection.connect("127.0.0.1", port, clientId=31, timeout=10)
    contract = Stock(symbol, "SMART", "USD")
    request = connection.reqHistoricalDataAsync(contract, "", "3600 S", "1 min", "TRADES", True, timeout=timeout_s)
    return len(loop.run_until_complete(request))


def run(port: int, cycles: int, pause_s: float, timeout_s: float) -> None:
    for cycle in range(1, cycles + 1):
        with ThreadPoolExecutor(max_workers=1) as pool:  # the fault: a new thread, and so a new loop, every cycle
            for symbol in ("SPY", "QQQ", "AAPL"):
                began = time.monotonic()
                bars = pool.submit(fetch, port, symbol, timeout_s).result()
                took_s = time.monotonic() - began
                outcome = f"{bars} bars" if bars else "TIMED OUT"
                state = f"isConnected() = {connection.isConnected()}"
                print(f"cycle {cycle} {symbol}: {outcome} after {took_s:.2f} s, {state}", flush=True)
        if cycle < cycles:
            time.sleep(pause_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4102)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between cycles; the old bot had 180")
    parser.add_argument("--timeout", type=float, default=4.0, help="the library's time-out; its default is 60")
    options = parser.parse_args()
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    run(options.port, options.cycles, options.pause, options.timeout)


if __name__ == "__main__":
    main()
