"""Nothing of ours: one plain REQ socket each for questions and orders, JSON in and out. PROTOCOL.md has all of it."""

import json
import os
import pathlib
import uuid

import zmq

home = os.environ.get("GATEWAY_PROXY_RUNTIME") or os.environ.get("XDG_RUNTIME_DIR", "~/.local/state") + "/gateway-proxy"
endpoints = json.loads((pathlib.Path(home).expanduser() / "connection.json").read_text())["endpoints"]


def ask(name, op, **args):
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 15_000)
        socket.connect(endpoints[name])
        socket.send_json({"v": 1, "id": 1, "op": op, "args": args, "expires_ms": 14_000})
        reply = socket.recv_json()
        return reply["body"] if reply["ok"] else reply["error"]


print(ask("request", "status"))
print(ask("request", "bars", contract="SPY", size="1min", count=3))
print(ask("request", "chain", contract="SPY", expiry="nearest", width=1))
order = {"contract": "SPY", "action": "BUY", "quantity": 1, "limit_price": 1.0, "take_profit": 2.0, "stop_loss": 0.5}
print(ask("trade", "order.bracket", engine="example", client_order_id=uuid.uuid4().hex, **order))
