"""The processes of `bench.orders`: a relay that stamps orders on their way to the Gateway, and the floor.

The relay stands where the Gateway would: an order has arrived when its first byte reaches the relay. Behind it is the
simulator, which answers. The floor is the least that a durable order over ZeroMQ can cost: one REQ-ROUTER hop and one
synced write. Times are CLOCK_MONOTONIC in ns, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

import zmq

PLACE_ORDER: Final = b"3"
#: About what one order's two journal records weigh.
RECORD: Final = b"x" * 1500


class Frames:
    """Cuts what a client sends into frames, as far as needed to tell which message starts."""

    def __init__(self) -> None:
        self._buffer = b""
        self._greeting_left = 1

    def kinds(self, data: bytes) -> list[bytes]:
        """The message kinds of the frames that became complete with these bytes."""
        self._buffer += data
        if self._greeting_left:
            if len(self._buffer) < 4:
                return []
            self._buffer, self._greeting_left = self._buffer[4:], 0
        kinds = []
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < 4 + length:
                break
            kinds.append(self._buffer[4 : 4 + length].partition(b"\0")[0])
            self._buffer = self._buffer[4 + length :]
        return kinds


async def relay(port: int, gateway_port: int) -> None:
    """Passes bytes both ways and prints one arrival time per order."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", gateway_port)
        back = asyncio.get_running_loop().create_task(_pass(onward_reader, writer))
        frames = Frames()
        while data := await reader.read(65536):
            arrived_ns = time.monotonic_ns()
            onward.write(data)
            for kind in frames.kinds(data):
                if kind == PLACE_ORDER:
                    print(arrived_ns, flush=True)
        onward.close()
        await back

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def floor(endpoint: str, path: Path) -> None:
    """For each request: append, fdatasync, and answer with the time at which the bytes could have left."""
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    router.bind(endpoint)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    print("ready", flush=True)
    while True:
        route, empty, _request = router.recv_multipart()
        os.write(file, RECORD)
        os.fdatasync(file)
        router.send_multipart([route, empty, b"%d" % time.monotonic_ns()])


if __name__ == "__main__":
    if sys.argv[1] == "relay":
        asyncio.run(relay(int(sys.argv[2]), int(sys.argv[3])))
    else:
        floor(sys.argv[2], Path(sys.argv[3]))
