"""The simulator against ib_async's own decoding limit: `python -m bench.sim_serving`.

The simulator must not be the bottleneck of a test. Served: bytes made by the gateway core, bars and ticks, with epoch
dates. Decoded: the very same bytes, pre-recorded, through ib_async's client in this process, without a socket. The
ratio is served / decoded, medians of interleaved rounds; above 1 the client is the slower one. End to end: a simulator
process, its socket and ib_async together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import ib_async

from gateway_sim.effects import Send
from gateway_sim.gateway import Gateway
from gateway_sim.limits import LimitSettings
from gateway_sim.settings import GatewaySettings
from gateway_sim.wire import Field, FrameReader, encode, frame

CHUNK_BYTES = 16_384
SYMBOLS = ("SPY", "QQQ", "IWM", "AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "META", "AMD")
_STOCK = ("STK", "", 0.0, "", "", "SMART", "", "USD", "", "")


class Core:
    """A gateway core with one raw client; gives what it sends."""

    def __init__(self) -> None:
        limits = LimitSettings(messages="record", history="record")
        self._gateway = Gateway(GatewaySettings(start="2026-06-15 15:59", limits=limits))
        self._now = 0.0
        self._gateway.receive_connection(1, "bench", 0.0)
        self.feed(b"API\0" + frame(b"v157..178"))
        self.request(71, 2, 1, "")

    def feed(self, data: bytes) -> bytes:
        self._gateway.receive_bytes(1, data, self._now)
        return self._sent()

    def request(self, *fields: Field) -> bytes:
        return self.feed(encode(*fields))

    def advance(self, seconds: float) -> bytes:
        """Bytes sent during so much simulated time."""
        target = self._now + seconds
        sent = []
        while (due := self._gateway.next_timer()) is not None and due <= target:
            self._now = max(self._now, due)
            self._gateway.handle_timer(self._now)
            sent.append(self._sent())
        self._now = target
        return b"".join(sent)

    def _sent(self) -> bytes:
        return b"".join(effect.data for effect in self._gateway.effects() if isinstance(effect, Send))


def decoding_client() -> Any:
    """An ib_async client past its handshake that is fed by hand; its tickers and bar lists are waiting for data."""
    ib = ib_async.IB()
    for number, symbol in enumerate(SYMBOLS):
        ib.wrapper.startTicker(number + 1, ib_async.Stock(symbol, "SMART", "USD", conId=number + 1), "mktData")
    client: Any = ib.client
    client._onSocketHasData(encode(178, "20260615 15:59:00 EST"))
    client.connState = ib_async.Client.CONNECTED
    client._onSocketHasData(encode(15, 1, "DU1") + encode(9, 1, 1))
    return client


def seconds_of(work: Callable[[], object]) -> float:
    """Processor seconds, which other programs on the machine do not lengthen; neither side ever waits."""
    began = time.process_time()
    work()
    return time.process_time() - began


def decode(client: Any, recorded: bytes) -> None:
    for start in range(0, len(recorded), CHUNK_BYTES):
        client._onSocketHasData(recorded[start : start + CHUNK_BYTES])


def history(rounds: int) -> None:
    """A day of 5-second bars, 4 668 of them, again and again."""
    core, client = Core(), decoding_client()
    served, decoded, count = [], [], 0
    for number in range(rounds + 1):
        fields = (20, 100 + number, 0, "SPY", *_STOCK, 0, "", "5 secs", "1 D", 1, "TRADES", 2, False, "")
        recorded = bytearray()

        def serve(fields: tuple[Field, ...] = fields, recorded: bytearray = recorded) -> None:
            recorded += core.request(*fields)
            recorded += core.advance(0.5)

        took_s = seconds_of(serve)
        client.wrapper._results[100 + number] = []
        decode_s = seconds_of(lambda data=bytes(recorded): decode(client, data))  # type: ignore[misc]
        count = recorded.count(b"\0") // 8
        if number:  # the first one also makes the market day
            served.append(count / took_s)
            decoded.append(count / decode_s)
    report("history bars", served, decoded, bars=count)


def ticks(rounds: int) -> None:
    """Quotes of ten stocks at IB's cadence."""
    core, client = Core(), decoding_client()
    for number, symbol in enumerate(SYMBOLS):
        core.request(1, 11, number + 1, 0, symbol, *_STOCK, False, "", False, False, "")
    core.advance(1.0)
    served, decoded, messages = [], [], 0
    for _ in range(rounds):
        recorded = bytearray()
        took_s = seconds_of(lambda recorded=recorded: recorded.extend(core.advance(5.0)))  # type: ignore[misc]
        decode_s = seconds_of(lambda data=bytes(recorded): decode(client, data))  # type: ignore[misc]
        messages = sum(1 for _ in FrameReader().feed(bytes(recorded)))
        served.append(messages / took_s)
        decoded.append(messages / decode_s)
    report("ticks", served, decoded, messages=messages)


def report(what: str, served: list[float], decoded: list[float], **more: int) -> None:
    ratio = statistics.median(a / b for a, b in zip(served, decoded, strict=True))
    print(json.dumps({
        "figure": what, "served_per_s": round(statistics.median(served)),
        "decoded_per_s": round(statistics.median(decoded)), "ratio": round(ratio, 2), **more,
    }), flush=True)  # fmt: skip


async def end_to_end(port: int, rounds: int) -> None:
    ib = ib_async.IB()
    await ib.connectAsync("127.0.0.1", port, clientId=1)
    [spy] = await ib.qualifyContractsAsync(ib_async.Stock("SPY", "SMART", "USD"))
    assert isinstance(spy, ib_async.Contract)
    began, bars = time.perf_counter(), 0
    for _ in range(rounds):
        bars += len(await ib.reqHistoricalDataAsync(spy, "", "20 D", "1 min", "TRADES", True, 2))
    took_s = time.perf_counter() - began
    ib.disconnect()
    print(json.dumps({"figure": "history end to end", "bars_per_s": round(bars / took_s), "bars": bars}), flush=True)


def main() -> int:
    options = argparse.ArgumentParser(prog="bench.sim_serving", description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    rounds = options.parse_args().rounds
    logging.disable(logging.CRITICAL)
    history(rounds)
    ticks(rounds)
    command = [sys.executable, "-m", "gateway_sim", "--port", "0", "--speed", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            port = int(simulator.stdout.readline().split("listening on ")[1].split()[0].split(":")[1])
            asyncio.run(end_to_end(port, rounds))
        finally:
            simulator.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
