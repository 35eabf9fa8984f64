"""A line with a clock: forwards both ways between a client and the simulator and notes when each order arrived.

The clock is the kernel's, read as the bytes reach the socket: a reader that waits for a processor says nothing about
what the order took. Where the kernel does not tell, the time of reading has to do.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time

#: Linux names it, Python does not: the kernel's wall time of arrival comes with the bytes.
SO_TIMESTAMPNS = 35
STAMP = struct.Struct("qq")
PLACE_ORDER = b"3"
CONTRACT_DETAILS = b"9"


class TimedLine:
    """Listens on `port`; `orders` and `contracts` hold when messages to the Gateway came in, seconds as time.time()."""

    def __init__(self, gateway_port: int) -> None:
        self._gateway_port = gateway_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.orders: list[float] = []
        self.contracts: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._gateway_port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux":
                near.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            threading.Thread(target=self._forward, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(far, near, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, outbound: bool) -> None:
        rest = b""
        try:
            while True:
                data, told, _, _ = source.recvmsg(65_536, socket.CMSG_SPACE(STAMP.size))
                if not data:
                    break
                at = arrival(told)
                target.sendall(data)
                if outbound:
                    rest = self._note(rest + data, at)
        except OSError:
            # One end has gone; the other is told below.
            rest = b""
        target.close()

    def _note(self, data: bytes, at: float) -> bytes:
        """Frames are a length and NUL-ended fields, the first of which is the message's number."""
        if data.startswith(b"API\0"):
            data = data[4:]
        while len(data) >= 4:
            (length,) = struct.unpack_from(">I", data)
            if len(data) < 4 + length:
                break
            kind = data[4 : 4 + length].split(b"\0", 1)[0]
            if kind == PLACE_ORDER:
                self.orders.append(at)
            elif kind == CONTRACT_DETAILS:
                self.contracts.append(at)
            data = data[4 + length :]
        return data


def arrival(told: list[tuple[int, int, bytes]]) -> float:
    """What the kernel told with the bytes, else now: seconds as time.time()."""
    for level, kind, value in told:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(value) == STAMP.size:
            seconds, nanoseconds = STAMP.unpack(value)
            return int(seconds) + int(nanoseconds) / 1e9
    return time.time()
