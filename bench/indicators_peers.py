"""NautilusTrader's compiled indicators, in an environment of its own: `python indicators_peers.py BARS.npy`.

BARS.npy holds float64 (2, bars, symbols): typical price and volume. Line protocol: "ready" on stdout, then for each
number of bars on stdin one line with the processor seconds that a bar of all symbols took; at the end of stdin one line
of JSON with the last values of every symbol: RSI, fast EMA, slow EMA, VWAP.
"""

from __future__ import annotations

import datetime
import importlib
import json
import sys
import time
from typing import Any

import numpy as np

PERIOD, FAST, SLOW = 14, 9, 21


def main() -> None:
    nautilus: Any = importlib.import_module("nautilus_trader.indicators")
    price, volume = np.load(sys.argv[1])
    bars, symbols = price.shape
    sets = [
        (
            nautilus.RelativeStrengthIndex(PERIOD, nautilus.MovingAverageType.WILDER),
            nautilus.ExponentialMovingAverage(FAST),
            nautilus.ExponentialMovingAverage(SLOW),
            nautilus.VolumeWeightedAveragePrice(),
        )
        for _ in range(symbols)
    ]
    # Floats and pairs are made beforehand: only the updates are timed.
    rows = [list(zip(sets, price[t].tolist(), volume[t].tolist(), strict=True)) for t in range(bars)]
    moment = datetime.datetime(2026, 6, 18, 14, 0, tzinfo=datetime.UTC)
    at = 0
    print("ready", flush=True)
    for line in sys.stdin:
        repeat = int(line)
        started = time.thread_time()
        for _ in range(repeat):
            for (rsi, quick, calm, vwap), last, shares in rows[at]:
                rsi.update_raw(last)
                quick.update_raw(last)
                calm.update_raw(last)
                vwap.update_raw(last, shares, moment)
            at = (at + 1) % bars
        print((time.thread_time() - started) / repeat, flush=True)
    print(json.dumps([[100.0 * rsi.value, quick.value, calm.value, vwap.value] for rsi, quick, calm, vwap in sets]))


if __name__ == "__main__":
    main()
