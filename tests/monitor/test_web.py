"""The dashboard's door and what it hands out: only to the right host, origin and token, and only to read."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy import ConfigError
from monitor.alerts import AlertBook
from monitor.config import AlertSettings, HistorySettings, StateSettings, WebSettings
from monitor.history import History
from monitor.rounds import Rounds
from monitor.samples import Sample
from monitor.series import Series
from monitor.view import Light
from monitor.watcher import Watcher
from monitor.web import payload
from monitor.web.guard import load_token
from monitor.web.server import SERVED, Dashboard, address, serve
from tests.monitor.messages import WALL_NS
from tests.monitor.stand_in import StandIn
from tests.monitor.test_watcher import wait_for

TOKEN = "a-token-for-the-tests-only-0123456789"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Running:
    proxy: StandIn
    watcher: Watcher
    rounds: Rounds
    settings: WebSettings

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.port, timeout=10)
        try:
            connection.request(method, path, headers={"Host": f"127.0.0.1:{self.settings.port}"} | headers)
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"gateway_monitor_{self.settings.port}={TOKEN}"}

    def json(self, path: str) -> Any:
        status, _, body = self.get(path, **self.cookie)
        assert status == 200, body
        return json.loads(body)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A stand-in proxy, a watcher on it and the dashboard, on a port of their own."""
    with tempfile.TemporaryDirectory(prefix="mon") as directory:
        proxy = StandIn(Path(directory) / "rt")
        watcher = Watcher(StateSettings(), Path(directory) / "rt")
        watcher.start()
        history = History(HistorySettings(), Path(directory) / "history")
        rounds = Rounds(watcher, Series(), AlertBook(AlertSettings()), history)
        settings = WebSettings(port=free_port(), refresh_s=0.1, visitors_max=2)
        stop = serve(Dashboard(settings, watcher, rounds, history), settings, TOKEN)
        try:
            proxy.gateway()
            wait_for(watcher, lambda view: view.healthy)
            yield Running(proxy, watcher, rounds, settings)
        finally:
            stop()
            watcher.stop()
            proxy.stop()


def test_token_in_the_address_opens_the_page_and_becomes_a_cookie(running):
    """The printed address works once and for all: afterwards the cookie is enough."""
    status, headers, body = running.get(f"/?token={TOKEN}")

    assert (status, b"<!doctype html>" in body) == (200, True)
    assert "HttpOnly; SameSite=Strict" in headers["set-cookie"]
    assert running.get("/", **running.cookie)[0] == 200


@pytest.mark.parametrize("path", ["/", "/stream", "/api/day", "/api/market", "/api/diagnose", "/assets/app.js"])
def test_nothing_is_shown_without_the_token(running, path):
    status, headers, body = running.get(path)
    wrong = running.get(f"{path}?token=wrong")

    assert (status, wrong[0]) == (401, 401)
    assert TOKEN not in body.decode()
    assert "set-cookie" not in headers


def test_foreign_host_name_is_refused_even_with_the_token(running):
    """DNS rebinding: a page may make its own name point to loopback, but it cannot fake the Host header."""
    assert running.get("/", Host="evil.example:8765", **running.cookie)[0] == 421
    assert running.get("/", Host=f"localhost:{running.settings.port}", **running.cookie)[0] == 200


def test_foreign_origin_is_refused_even_with_the_cookie(running):
    assert running.get("/api/day", Origin="http://evil.example", **running.cookie)[0] == 403
    assert running.get("/api/day", Origin=f"http://127.0.0.1:{running.settings.port}", **running.cookie)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_dashboard_takes_nothing(running, method):
    assert running.get("/api/day", method, **running.cookie)[0] == 405


def test_every_answer_forbids_what_is_foreign(running):
    """Nothing inline, nothing from elsewhere, no framing, no cache: also on refusals."""
    for status, headers, _ in (running.get("/", **running.cookie), running.get("/")):
        assert "script-src 'self'" in headers["content-security-policy"], status
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "/etc/passwd", "index.html", ""]
)
def test_only_the_listed_files_are_served(running, name):
    assert running.get(f"/assets/{name}", **running.cookie)[0] == 404


def test_assets_ask_for_nothing_from_the_network():
    """Works offline: no address of another host in what we wrote, and no markup made from text."""
    ours = {name: path.read_text() for name, path in SERVED.items() if not name.startswith("uplot/")}

    assert ours
    for name, text in ours.items():
        assert "innerHTML" not in text, name
        assert "outerHTML" not in text, name
        assert "insertAdjacentHTML" not in text, name
        assert "https://" not in text, name
        assert [line for line in text.splitlines() if "http://" in line and "www.w3.org" not in line] == [], name


def test_stream_brings_a_view_at_once_and_then_what_changed(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.settings.port, timeout=10)
    try:
        connection.request("GET", "/stream", headers=running.cookie)
        reply = connection.getresponse()
        first = read_view(reply)
        running.proxy.gateway("degraded", reason="usfarm down")
        later = first
        deadline = time.monotonic() + 10
        while later["view"]["state"] != "degraded" and time.monotonic() < deadline:
            later = read_view(reply)
    finally:
        connection.close()
        running.proxy.gateway()

    assert reply.headers["Content-Type"].startswith("text/event-stream")
    assert (first["view"]["state"], first["view"]["healthy"]) == ("ready", True)
    assert later["view"]["problems"][0]["text"] == "degraded: usfarm down"
    assert "ready -> degraded: usfarm down" in [event["text"] for event in later["events"]]


def read_view(reply: http.client.HTTPResponse) -> dict[str, Any]:
    while True:
        line = reply.readline()
        assert line, "the stream ended"
        if line.startswith(b"data: "):
            told: dict[str, Any] = json.loads(line[6:])
            return told


def test_one_visitor_too_many_is_told_so(running):
    """The bound is on open streams; a closed one makes room again."""
    open_ones = []
    try:
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", running.settings.port, timeout=10)
            connection.request("GET", "/stream", headers=running.cookie)
            reply = connection.getresponse()
            read_view(reply)
            open_ones.append(connection)
        status, headers, _ = running.get("/stream", **running.cookie)
    finally:
        for connection in open_ones:
            connection.close()

    assert (status, headers["retry-after"]) == (503, "10")


def test_market_resource_puts_indicators_beside_their_bars(running):
    bars = [
        {"start_ns": i * 60_000_000_000, "open": 1, "high": 2, "low": 0.5, "close": 1.5, "volume": 9} for i in (1, 2)
    ]
    for bar in bars:
        running.proxy.publish("bars/SPY/1min/", "bar", bar)
    decision = {
        "symbol": "SPY",
        "bar_start_ns": bars[1]["start_ns"],
        "side": "BUY",
        "values": {"vwap": 1.4, "close": 1.5},
    }
    running.proxy.health("engine/scalp", state="ready", last_decision={"SPY": decision})
    wait_for(running.watcher, lambda view: bool(view.engines))

    market = running.json("/api/market?topic=bars/SPY/1min/")

    assert market["t"] == [60.0, 120.0]
    assert market["indicators"] == {"vwap": [None, 1.4]}
    assert [(mark["t"], mark["side"]) for mark in market["signals"]] == [(120.0, "BUY")]


def test_chains_are_shown_as_published(running):
    chain = {"symbol": "SPY", "expiry": "20260618", "columns": {"strike": [600.0], "right": ["C"], "bid": [1.2]}}
    running.proxy.publish("chain/SPY/", "chain", chain)
    deadline = time.monotonic() + 10
    while not (chains := running.json("/api/chains")) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert chains == {"SPY": chain}


def test_diagnosis_is_the_proxys_own(running):
    assert running.json("/api/diagnose")["verdict"] == "ok"


def test_rounds_fill_the_strip_of_the_day(running):
    running.rounds.make(time.monotonic())

    day = running.json("/api/day")

    assert [stretch[2] for stretch in day["stretches"]] == ["green"]
    assert day["events"]


def test_hole_in_the_day_is_shown_as_a_hole():
    """Time that nobody watched is not coloured by what was seen before or after it."""
    seconds = [0, 10, 20, 5000, 5010]
    rows = [Sample(WALL_NS + s * 1_000_000_000, Light.GREEN, "ready") for s in seconds]

    stretches = payload.of_day(rows, [])["stretches"]

    assert [round(end - start) for start, end, *_ in stretches] == [30, 20]


def test_port_in_use_is_one_clear_message(running):
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
        serve(Dashboard(running.settings, running.watcher, running.rounds, None), running.settings, TOKEN)


def test_token_is_private_and_survives_restarts(tmp_path):
    """Made once, readable by its owner only; a truncated one is replaced."""
    path = tmp_path / "state" / "token"

    first = load_token(path)

    assert load_token(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("short")
    assert load_token(path) not in ("short", first)


def test_address_names_a_host_a_browser_can_open():
    assert address(WebSettings(host="0.0.0.0", port=1), "t") == "http://127.0.0.1:1/?token=t"
    assert address(WebSettings(host="::1", port=1), "t") == "http://[::1]:1/?token=t"
