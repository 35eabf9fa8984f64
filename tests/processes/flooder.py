"""A client without manners: sends so many contract requests at once, then tells how many were refused as what.

python flooder.py RUNTIME_DIR COUNT
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import zmq


def main(runtime: Path, count: int) -> None:
    endpoint = json.loads((runtime / "connection.json").read_bytes())["endpoints"]["request"]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger, socket.sndhwm, socket.rcvhwm = 0, 0, 0
    socket.connect(endpoint)
    for number in range(count):
        contract = f"SPY.20260619.{'CP'[number % 2]}.{100 + number / 2:g}"
        request = {"v": 1, "id": number, "op": "contract", "args": {"contract": contract}, "expires_ms": 120_000}
        socket.send(json.dumps(request).encode())
    ended: Counter[str] = Counter()
    until = time.monotonic() + 2.0
    while (left_s := until - time.monotonic()) > 0:
        if socket.poll(int(left_s * 1000)):
            reply = json.loads(socket.recv())
            ended["ok" if reply["ok"] else reply["error"]["code"]] += 1
    print(json.dumps(ended), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
