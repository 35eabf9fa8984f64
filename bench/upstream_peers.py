"""The processes of `bench.upstream`: a Gateway reduced to one bar stream and order acks, and a raw publisher.

Each bar carries its sending time (CLOCK_MONOTONIC, ns) in its volume, so that any reader here can tell its age.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time

import zmq

CONTRACT_FIELDS = (
    "SPY", "STK", "", "0", "", "SMART", "USD", "SPY", "SPY", "SPY", "756733", "0.01", "", "LMT,MKT", "SMART", "1", "0",
    "SPDR S&P 500", "ARCA", "", "", "", "", "US/Eastern", "", "", "", "", "0", "", "", "", "26", "", "ETF", "1", "1",
    "100",
)  # fmt: skip


def frame(*fields: object) -> bytes:
    payload = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


class Gateway:
    """One connection. Streams bars at `rate` a second once history with updates was asked for."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        streams: list[asyncio.Task[None]] = []
        try:
            await self._read_frame(reader)
            writer.write(frame("178", "20260615 11:00:00 EST"))
            while True:
                fields = (await self._read_frame(reader)).decode().split("\0")
                self._answer(fields, writer, streams)
        except (asyncio.IncompleteReadError, ConnectionError):
            for stream in streams:
                stream.cancel()
            writer.close()

    async def _read_frame(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return await reader.readexactly(length)

    def _answer(self, fields: list[str], writer: asyncio.StreamWriter, streams: list[asyncio.Task[None]]) -> None:
        kind = fields[0]
        if kind == "71":
            writer.write(frame(15, 1, "DU1234567") + frame(9, 1, 1))
        elif kind == "49":
            writer.write(frame(49, 1, int(time.time())))
        elif kind == "9":
            writer.write(frame(10, fields[2], *CONTRACT_FIELDS) + frame(52, 1, fields[2]))
        elif kind == "20":
            start = int(time.time()) // 60 * 60
            writer.write(frame(17, fields[1], "", "", 1, start - 60, 1, 1, 1, 1, 1, 1, 1))
            streams.append(asyncio.get_running_loop().create_task(self._stream(fields[1], start, writer)))
        elif kind in _ENDS:
            writer.write(_ENDS[kind](fields))

    async def _stream(self, req_id: str, start: int, writer: asyncio.StreamWriter) -> None:
        due = time.monotonic()
        while True:
            due += 1 / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            writer.write(frame(90, req_id, 7, start, 600.0, 600.1, 600.2, 599.9, 600.05, time.monotonic_ns()))


_ENDS = {
    "5": lambda fields: frame(53, 1),
    "16": lambda fields: frame(53, 1),
    "99": lambda fields: frame(102),
    "61": lambda fields: frame(62, 1),
    "7": lambda fields: frame(55, 1, fields[2]),
    "8": lambda fields: frame(9, 1, 1),
    "6": lambda fields: frame(8, 1, "11:00") + frame(54, 1, fields[3]),
    "76": lambda fields: frame(74, 1, fields[2]),
}


async def gateway(port: int, rate: float) -> None:
    server = await asyncio.start_server(Gateway(rate).serve, "127.0.0.1", port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


def raw_publisher(endpoint: str, rate: float) -> None:
    """A bare pyzmq hop of the same size and rate: what the bus could at best add."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
    socket.bind(endpoint)
    print("ready", flush=True)
    padding = b" " * 300
    due = time.monotonic()
    while True:
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        socket.send(b"%d" % time.monotonic_ns() + padding)


if __name__ == "__main__":
    if sys.argv[1] == "gateway":
        asyncio.run(gateway(int(sys.argv[2]), float(sys.argv[3])))
    else:
        raw_publisher(sys.argv[2], float(sys.argv[3]))
