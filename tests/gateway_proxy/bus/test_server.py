"""The server's end, asked by plain ZeroMQ sockets that know nothing of our code, and by peers that mean harm."""

from __future__ import annotations

import json
import os
import socket as os_socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from gateway_proxy.bus.runtime import RuntimeDir
from gateway_proxy.bus.server import BusSettings
from gateway_proxy.errors import AlreadyRunning, ConfigError
from tests.gateway_proxy.bus.conftest import RunningBus, eventually

ENVELOPE = {"v": 1, "id": "q-1", "op": "status", "args": {}}


class Peers:
    """Plain ZeroMQ sockets of other programs, closed at the end of the test."""

    def __init__(self) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._sockets: list[Any] = []

    def socket(self, kind: int) -> Any:
        socket: Any = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        self._sockets.append(socket)
        return socket

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(linger=0)
        self._context.term()


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.close()


def connect(peers: Peers, bus: RunningBus, kind: int, name: str = "request") -> Any:
    assert bus.server.connection is not None
    socket = peers.socket(kind)
    socket.connect(bus.server.connection.endpoints[name])
    return socket


def ready(bus: RunningBus) -> None:
    bus.answers["status"] = lambda request: {"state": "ready"}


def ask_raw(socket: Any, frame: bytes) -> Any:
    socket.send(frame)
    return json.loads(socket.recv())


def test_plain_req_socket_gets_its_answer(bus, peers):
    """Any language with a ZeroMQ binding and JSON can ask."""
    ready(bus)
    socket = connect(peers, bus, zmq.REQ)

    socket.send_json(ENVELOPE)

    assert socket.recv_json() == {"v": 1, "id": "q-1", "ok": True, "body": {"state": "ready"}}


def test_an_order_passes_data_requests_that_came_before_it(bus, peers):
    """Between any two of them the trade socket can be looked at; one order never comes into the middle of another."""
    data, trade = connect(peers, bus, zmq.DEALER), connect(peers, bus, zmq.DEALER, "trade")
    story: list[str] = []

    def answer(request):
        story.append(request.op)
        if story.count("status") == 3 and "resume" not in story:
            for number in range(5):
                trade.send_json({"v": 1, "id": number, "op": "resume", "args": {}})
            time.sleep(0.2)
        bus.server.look_for_orders()
        story.append("done")
        return {}

    def ask_all_while_nobody_reads():
        for _ in range(20):
            data.send_json(ENVELOPE)
        time.sleep(0.2)

    bus.answers |= {"status": answer, "resume": answer}
    bus.call(ask_all_while_nobody_reads)
    for socket, count in ((data, 20), (trade, 5)):
        for _ in range(count):
            socket.recv()

    assert story == [*["status", "done"] * 2, "status", *["resume", "done"] * 5, "done", *["status", "done"] * 17]


@pytest.mark.parametrize("delimiter", [[], [b""]])
def test_dealer_is_answered_the_way_it_asked(bus, peers, delimiter):
    """With or without the empty frame that REQ would put in front."""
    ready(bus)
    socket = connect(peers, bus, zmq.DEALER)

    socket.send_multipart([*delimiter, json.dumps(ENVELOPE).encode()])

    frames = socket.recv_multipart()
    assert frames[:-1] == delimiter
    assert json.loads(frames[-1])["ok"] is True


def test_slow_question_never_delays_another_one(bus, peers):
    """One DEALER asks two things; the second is answered although the first never is."""
    ready(bus)
    socket = connect(peers, bus, zmq.DEALER)

    socket.send_json({**ENVELOPE, "id": 1, "op": "bars", "args": {"contract": "SPY"}})
    socket.send_json({**ENVELOPE, "id": 2})

    assert socket.recv_json()["id"] == 2


def test_binary_columns_come_as_a_second_frame(bus, peers):
    """The JSON says what the float64 columns are."""
    socket = connect(peers, bus, zmq.REQ)
    socket.send_json({**ENVELOPE, "op": "bars", "args": {"contract": "SPY", "layout": "binary"}})
    peer, request = eventually(lambda: bus.peers and (bus.peers[0], bus.seen[0]))

    bus.call(bus.server.reply, peer, request.id, body={"columns": ["close"]}, columns=struct.pack("<2d", 1.0, 2.0))

    reply, columns = socket.recv_multipart()
    assert json.loads(reply)["body"] == {"columns": ["close"]}
    assert struct.unpack("<2d", columns) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("frame", "code", "told"),
    [
        (b"", "bad_message", "not JSON"),
        (b"{", "bad_message", "not JSON"),
        (b"[]", "bad_message", "want a JSON object"),
        (b'{"v":1,"op":"status"}', "bad_message", "id: want"),
        (b'{"v":2,"id":7,"op":"status"}', "unsupported_version", "version 1"),
        (b'{"v":1,"id":7,"op":"order.place"}', "unknown_op", "it has bars"),
        (
            b'{"v":1,"id":7,"op":"bars","args":{"contract":"SPY","count":-1}}',
            "bad_message",
            "count: expected `int` >= 1",
        ),
        (b'{"v":1,"id":7,"op":"bars","args":{"contract":"SPY","count":NaN}}', "bad_message", "not JSON"),
        (b'{"v":1,"id":7,"op":"bars","args":{"contract":"S\\u0000PY"}}', "bad_message", "control character"),
        (b'{"v":1,"id":7,"op":"status","args":' + b"[" * 500 + b"]" * 500 + b"}", "bad_message", "nested"),
        (b'{"v":1,"id":7,"op":"status","pad":"' + b"x" * (1 << 20) + b'"}', "too_large", "the limit is"),
    ],
)
def test_bad_frame_gets_one_clear_refusal_and_harms_nobody(bus, peers, frame, code, told):
    """The reply says what was wrong; the next question on the same socket is answered."""
    ready(bus)
    socket = connect(peers, bus, zmq.REQ)

    reply = ask_raw(socket, frame)

    assert (reply["ok"], reply["error"]["code"]) == (False, code)
    assert told in reply["error"]["message"]
    assert ask_raw(socket, json.dumps(ENVELOPE).encode())["ok"] is True
    assert [request.op for request in bus.seen] == ["status"]


def test_refusal_carries_the_id_of_the_question(bus, peers):
    """So that a client with many questions under way knows which one failed."""
    socket = connect(peers, bus, zmq.DEALER)

    assert ask_raw(socket, b'{"v":1,"id":7,"op":"nonsense"}')["id"] == 7


def test_extra_frames_are_refused(bus, peers):
    """A request is one frame."""
    socket = connect(peers, bus, zmq.REQ)

    socket.send_multipart([json.dumps(ENVELOPE).encode(), b"more"])

    assert "2 frames" in socket.recv_json()["error"]["message"]


def test_oversized_frame_costs_only_its_sender_the_connection(bus, peers):
    """libzmq hangs up on 10 MB; another client is answered meanwhile."""
    ready(bus)
    loud, quiet = connect(peers, bus, zmq.DEALER), connect(peers, bus, zmq.REQ)
    loud.setsockopt(zmq.RCVTIMEO, 300)

    loud.send(b"x" * 10_000_000)

    assert ask_raw(quiet, json.dumps(ENVELOPE).encode())["ok"] is True
    with pytest.raises(zmq.Again):
        loud.recv()


def test_client_that_left_costs_one_counter(bus, peers):
    """A reply to nobody is dropped and counted."""
    socket = connect(peers, bus, zmq.DEALER)
    socket.send_json({**ENVELOPE, "op": "bars", "args": {"contract": "SPY"}})
    peer, request = eventually(lambda: bus.peers and (bus.peers[0], bus.seen[0]))
    socket.close(linger=0)

    def dropped() -> Any:
        bus.call(bus.server.reply, peer, request.id, body={})
        return bus.server.counters["dropped"]

    assert eventually(dropped)


def test_stolen_routing_id_gets_nothing(bus, peers):
    """A second socket with the routing id of the first is ignored; the answer goes to the first."""
    ready(bus)
    first, second = peers.socket(zmq.DEALER), peers.socket(zmq.DEALER)
    for socket in (first, second):
        socket.setsockopt(zmq.ROUTING_ID, b"engine")
        socket.setsockopt(zmq.RCVTIMEO, 300)
    first.connect(bus.server.connection.endpoints["request"])
    assert ask_raw(first, json.dumps(ENVELOPE).encode())["ok"] is True
    second.connect(bus.server.connection.endpoints["request"])
    second.send_json(ENVELOPE)

    with pytest.raises(zmq.Again):
        second.recv()
    assert ask_raw(first, json.dumps(ENVELOPE).encode())["ok"] is True


def test_plain_sub_socket_reads_topic_and_json(bus, peers):
    """Split at the first newline; the rest is JSON. The welcome comes first."""
    bus.publish("health/gateway/", "health", {"state": "ready"})
    socket = connect(peers, bus, zmq.SUB, "market")
    socket.subscribe("health/gateway/")

    topic, _, text = socket.recv().partition(b"\n")
    envelope = json.loads(text)

    assert topic == b"health/gateway/"
    assert (envelope["v"], envelope["kind"], envelope["seq"], envelope["epoch"]) == (1, "welcome", 1, "epoch-1")
    assert envelope["body"] == {"topic": "health/gateway/", "seq": 1, "snapshot": {"state": "ready"}}


def test_heartbeat_carries_every_topic(bus, peers):
    """Numbers of all topics, and the counters of the bus."""
    bus.publish("health/gateway/", "health", {"state": "ready"})
    socket = connect(peers, bus, zmq.SUB, "market")
    socket.subscribe("health/bus/")

    envelope = json.loads(socket.recv().partition(b"\n")[2])

    assert envelope["kind"] == "heartbeat"
    assert envelope["body"]["topics"] == {"health/gateway/": 1}
    assert set(envelope["body"]) == {"topics", "subscriptions", "published", "requests", "refused", "dropped"}


def test_nonsense_subscriptions_are_counted_and_ignored(bus, peers):
    """Control characters and user messages on the market socket change nothing."""
    socket = connect(peers, bus, zmq.XSUB, "market")

    socket.send(b"\x01bars/\x00/")
    socket.send(b"hello")

    eventually(lambda: bus.server.counters["refused"] >= 2)
    assert bus.subscriptions == []


def test_killed_subscriber_is_noticed(bus):
    """SIGKILL of the last subscriber closes the stream as leaving does."""
    program = (
        "import sys, time, zmq; s = zmq.Context().socket(zmq.SUB); s.connect(sys.argv[1]); "
        "s.subscribe('bars/SPY/1min/'); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, bus.server.connection.endpoints["market"]])
    eventually(lambda: ("bars/SPY/1min/", True) in bus.subscriptions)

    child.kill()
    child.wait()

    assert eventually(lambda: ("bars/SPY/1min/", False) in bus.subscriptions)


# ---------------------------------------------------------------- runtime directory


def test_second_proxy_on_the_same_directory_is_refused_and_changes_nothing(bus, runtime_dir, peers):
    """The lock names the owner; the first proxy goes on answering on its sockets."""
    ready(bus)

    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        RunningBus(runtime_dir, "epoch-2")

    socket = connect(peers, bus, zmq.REQ)
    assert ask_raw(socket, json.dumps(ENVELOPE).encode())["ok"] is True


def test_directory_is_closed_to_others_and_clean_afterwards(runtime_dir):
    """0700 and 0600 while it runs; nothing left when it stopped."""
    bus = RunningBus(runtime_dir)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in runtime_dir.iterdir()}
    announced = json.loads((runtime_dir / "connection.json").read_text())
    bus.stop()

    assert stat.S_IMODE(runtime_dir.stat().st_mode) == 0o700
    assert {name: mode & 0o077 for name, mode in modes.items()} == dict.fromkeys(modes, 0)
    assert set(modes) == {"lock", "connection.json", "market.sock", "request.sock", "trade.sock"}
    assert announced["endpoints"]["trade"] == f"ipc://{runtime_dir}/trade.sock"
    assert (announced["protocol"], announced["epoch"], announced["pid"]) == ("1.0", "epoch-1", os.getpid())
    assert announced["curve_public_key"] is None
    assert list(runtime_dir.iterdir()) == []


def test_leftovers_of_a_killed_proxy_are_cleared(runtime_dir):
    """Stale sockets and a stale connection file do not stop the next life."""
    for name in ("market.sock", "trade.sock", "connection.json", "lock"):
        (runtime_dir / name).write_text("left by a crash")

    bus = RunningBus(runtime_dir)

    assert json.loads((runtime_dir / "connection.json").read_text())["pid"] == os.getpid()
    bus.stop()


def test_socket_path_that_is_too_long_says_so(runtime_dir):
    """Unix allows 107 bytes; the message names path, length and cure, and the lock is free again."""
    deep = runtime_dir / ("x" * 100)

    with pytest.raises(ConfigError, match="the limit is 107; choose a shorter directory"):
        RunningBus(deep)

    free = RuntimeDir(deep)
    free.acquire()
    free.release()


def test_directory_full_of_other_things_and_open_to_others_is_refused(runtime_dir):
    """We do not close a directory that others may be using."""
    runtime_dir.chmod(0o755)
    (runtime_dir / "thesis.txt").write_text("do not touch")

    with pytest.raises(ConfigError, match="open to others"):
        RunningBus(runtime_dir)

    assert stat.S_IMODE(runtime_dir.stat().st_mode) == 0o755


def test_port_in_use_is_named(runtime_dir: Path):
    """The message has the address; the directory is left clean."""
    with os_socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"cannot bind tcp://127.0.0.1:{port}: Address already in use"):
            RunningBus(
                runtime_dir, settings=BusSettings(transport="tcp", market_port=port, request_port=0, trade_port=0)
            )

    assert list(runtime_dir.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "localhost", "*"])
def test_address_that_others_can_reach_is_refused(runtime_dir, host):
    """Without keys only loopback addresses are bound."""
    with pytest.raises(ConfigError, match="host"):
        RunningBus(runtime_dir, settings=BusSettings(transport="tcp", host=host))
