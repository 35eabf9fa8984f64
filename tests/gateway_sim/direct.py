"""A bench that talks to the gateway core directly: raw clients, a manual clock, no socket and no sleep."""

from __future__ import annotations

import json
from typing import Any

from gateway_sim.effects import Close, PauseReading, Record, ResumeReading, Send
from gateway_sim.gateway import Gateway
from gateway_sim.settings import GatewaySettings
from gateway_sim.wire import Field, FrameReader, encode, frame

STOCK = ("STK", "", 0.0, "", "", "SMART", "", "USD", "", "")
CONTRACTS: dict[str, tuple[Field, ...]] = {
    symbol: (0, symbol, *STOCK) for symbol in ("SPY", "QQQ", "AAPL", "MSFT", "TSLA", "NVDA", "F", "ZZZZ")
}


def order_fields(order_id: int, symbol: str = "SPY", **more: Any) -> list[Field]:
    """placeOrder of version 178; more: action quantity kind limit aux tif ref transmit parent oca …"""
    contract = more.get("contract") or CONTRACTS[symbol]
    fields: list[Field] = [3, order_id, *contract, "", ""]
    fields += [more.get("action", "BUY"), more.get("quantity", 1), more.get("kind", "MKT"), more.get("limit", "")]
    fields += [more.get("aux", ""), more.get("tif", "DAY"), more.get("oca", ""), more.get("account", ""), "O", 0]
    fields += [more.get("ref", ""), more.get("transmit", True), more.get("parent", 0), 0, 0, 0, 0]
    fields += [more.get("outside", False), 0, "", "", "", more.get("good_till", ""), "", "", "", "", 0, "", -1]
    fields += [more.get("oca_type", 0), "", "", 0, "", "", more.get("etrade", 0), 0, "", 0, "", "", "", "", "", 0]
    fields += [
        "",
        "",
        "",
        "",
        0,
        0,
        "",
        more.get("trailing", ""),
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        0,
        "",
        "",
        0,
        0,
        "",
        "",
    ]
    fields += [
        more.get("what_if", False),
        "",
        0,
        0,
        0,
        0,
        "",
        "",
        "",
        "",
        "",
        "",
        0,
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
    ]
    fields += [0, 0, 0, 0, "", "", 0, "", ""]
    return fields


class Client:
    """A raw client on a bench; every message it received is a list of fields."""

    def __init__(self, bench: Bench, number: int, client_id: int) -> None:
        self.bench = bench
        self.number = number
        self.client_id = client_id
        self.reader = FrameReader()
        self.received: list[list[str]] = []
        self.raw = bytearray()
        self.closed = False
        self.aborted = False
        self.reading_paused = False

    def feed(self, data: bytes) -> None:
        self.raw += data
        for payload in self.reader.feed(data):
            self.received.append(payload[:-1].decode().split("\0"))

    def send(self, *fields: Field) -> None:
        self.send_bytes(encode(*fields))

    def send_bytes(self, data: bytes) -> None:
        self.bench.gateway.receive_bytes(self.number, data, self.bench.now)
        self.bench.collect()

    def take(self) -> list[list[str]]:
        """What arrived since the last call."""
        received, self.received = self.received, []
        return received

    def ids(self) -> list[int]:
        return [int(fields[0]) for fields in self.received]

    def of(self, message_id: int) -> list[list[str]]:
        return [fields for fields in self.received if fields[0] == str(message_id)]

    def errors(self) -> list[tuple[int, int, str]]:
        """(id, code, text) of every error that is not a farm notice."""
        rows = [(int(f[2]), int(f[3]), f[4]) for f in self.of(4)]
        return [row for row in rows if row[1] not in (2104, 2106, 2107, 2158, 0)]

    def codes(self) -> list[int]:
        return [code for _, code, _ in self.errors()]

    # --- requests in IB's layout ---

    def history(
        self, req_id: int, symbol: str = "SPY", size: str = "5 secs", duration: str = "60 S", **more: Any
    ) -> None:
        contract = more.get("contract") or CONTRACTS[symbol]
        self.send(
            20, req_id, *contract, False, more.get("end", ""), size, duration, more.get("rth", 1),
            more.get("what", "TRADES"), more.get("date_format", 2), more.get("live", False), "",
        )  # fmt: skip

    def quotes(self, req_id: int, symbol: str = "SPY", snapshot: bool = False, generic: str = "", **more: Any) -> None:
        contract = more.get("contract") or CONTRACTS[symbol]
        self.send(1, 11, req_id, *contract, False, generic, snapshot, False, "")

    def order(self, order_id: int, symbol: str = "SPY", **more: Any) -> None:
        self.send(*order_fields(order_id, symbol, **more))

    def cancel(self, order_id: int) -> None:
        self.send(4, 1, order_id, "")

    def statuses(self, order_id: int) -> list[str]:
        return [fields[2] for fields in self.of(3) if fields[1] == str(order_id)]


class Bench:
    """A gateway core with its clock in the test's hand."""

    def __init__(self, settings: GatewaySettings | None = None) -> None:
        self.gateway = Gateway(settings)
        self.now = 0.0
        self.ledger: list[dict[str, Any]] = []
        self.clients: dict[int, Client] = {}
        self.collect()

    def collect(self) -> None:
        """Perform the effects."""
        for effect in self.gateway.effects():
            if isinstance(effect, Record):
                self.ledger.append(json.loads(effect.line))
                continue
            client = self.clients.get(effect.connection)
            if client is None:
                continue
            if isinstance(effect, Send):
                client.feed(effect.data)
            elif isinstance(effect, Close):
                client.closed, client.aborted = True, effect.abort
            elif isinstance(effect, PauseReading):
                client.reading_paused = True
            elif isinstance(effect, ResumeReading):
                client.reading_paused = False

    def advance(self, seconds: float) -> None:
        """Let simulated time pass, every timer at its own second."""
        target = self.now + seconds
        while (due := self.gateway.next_timer()) is not None and due <= target:
            self.now = max(self.now, due)
            self.gateway.handle_timer(self.now)
            self.collect()
        self.now = target

    def connect(self, client_id: int | None = 1, versions: str = "v157..178") -> Client:
        """A client that has finished its handshake; client_id None stops before startApi."""
        number = len(self.clients) + 1
        client = Client(self, number, -1 if client_id is None else client_id)
        self.clients[number] = client
        self.gateway.receive_connection(number, "bench", self.now)
        client.send_bytes(b"API\0" + frame(versions.encode()))
        if client_id is not None:
            client.send(71, 2, client_id, "")
            client.take()
        return client

    def disconnect(self, client: Client) -> None:
        self.gateway.receive_disconnect(client.number, self.now)
        self.collect()

    def paused(self) -> list[int]:
        """Numbers of the clients whose bytes are not read at the moment."""
        return [number for number, client in self.clients.items() if client.reading_paused]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.ledger if line["event"] == name]

    def violations(self) -> list[str]:
        return [line["rule"] for line in self.events("violation")]
