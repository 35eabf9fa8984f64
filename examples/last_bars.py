"""The last bars of a symbol, then every new one: `python examples/last_bars.py SPY`."""

import sys

from gateway_proxy import Bar, Client, Message, body_as

symbol = sys.argv[1] if len(sys.argv) > 1 else "SPY"
with Client.connect() as client:
    print(client.status()["state"])
    for bar in client.bars(symbol, "1min", count=5):
        print(bar.start_ns // 10**9, bar.close, "finished" if bar.complete else "growing")
    for heard in client.stream(f"bars/{symbol}/1min/"):
        if isinstance(heard, Message) and heard.kind == "bar":
            print(heard.seq, body_as(heard, Bar).close, flush=True)
