"""A line with a clock: forwards both ways between a client and the simulator and notes when each order passed."""

from __future__ import annotations

import socket
import struct
import threading
import time

PLACE_ORDER = b"3"
CONTRACT_DETAILS = b"9"


class TimedLine:
    """Listens on `port`; `orders` and `contracts` hold monotonic seconds of the messages that passed to the Gateway."""

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
            threading.Thread(target=self._forward, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(far, near, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, outbound: bool) -> None:
        rest = b""
        try:
            while data := source.recv(65_536):
                at = time.monotonic()
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
