"""The monitor on a real bus: it finds the proxy, follows it through restarts, and asks nothing it must not."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.config import StateSettings
from monitor.lines import look_once, print_once
from monitor.view import View
from monitor.watcher import Watcher
from tests.monitor.stand_in import StandIn


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """Short, because the path of a Unix socket must be."""
    with tempfile.TemporaryDirectory(prefix="mon") as directory:
        yield Path(directory) / "rt"


@pytest.fixture
def proxy(runtime_dir: Path) -> Iterator[StandIn]:
    stand_in = StandIn(runtime_dir)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def watcher(runtime_dir: Path) -> Iterator[Watcher]:
    watcher = Watcher(StateSettings(silent_after_s=0.5), runtime_dir)
    watcher.start()
    yield watcher
    watcher.stop()


def wait_for(watcher: Watcher, is_right: Callable[[View], bool], timeout_s: float = 15.0) -> View:
    deadline = time.monotonic() + timeout_s
    while not is_right(view := watcher.view()):
        assert time.monotonic() < deadline, view
        time.sleep(0.02)
    return view


def test_late_joiner_sees_everything_published_before(proxy, watcher):
    """What was published before the monitor came is in the welcomes."""
    proxy.gateway()
    proxy.health("pacing", rules=[{"rule": "messages", "used": 4, "limit": 45}], lanes={})

    view = wait_for(watcher, lambda view: view.healthy and bool(view.pacing.rules))

    assert view.pacing.rules[0].used == 4


def test_monitor_opens_no_stream_and_asks_only_once(proxy, watcher):
    """Its subscriptions are prefixes, and its questions are the three that a late joiner needs."""
    proxy.gateway()

    wait_for(watcher, lambda view: view.healthy)
    watcher.diagnose().result(10)

    assert sorted(proxy.asked) == ["diagnose", "executions", "orders.open", "positions"]
    assert not [
        topic for topic in proxy.subscribed if topic.startswith(("bars/", "quote/", "chain/")) and topic.count("/") > 1
    ]


def test_restarted_proxy_is_followed(runtime_dir, watcher):
    """The monitor says unreachable while the proxy is gone and finds its next life by itself."""
    first = StandIn(runtime_dir)
    first.gateway()
    wait_for(watcher, lambda view: view.healthy)
    first.stop()
    gone = wait_for(watcher, lambda view: view.state == "unreachable")
    second = StandIn(runtime_dir)
    try:
        second.gateway()
        back = wait_for(watcher, lambda view: view.healthy)
    finally:
        second.stop()

    assert not gone.healthy
    assert back.epoch == second.server.epoch
    assert "restarted (new epoch)" in [event.text for event in watcher.events_since(0)]


def test_diagnose_without_a_proxy_fails_instead_of_hanging(watcher):
    answer = watcher.diagnose()

    assert answer.exception(timeout=10) is not None


@pytest.mark.parametrize(("state", "code"), [("ready", 0), ("degraded", 1), ("disconnected", 2), ("halted", 2)])
def test_once_tells_the_state_by_its_exit_code(proxy, watcher, state, code):
    proxy.gateway(state)
    out = io.StringIO()

    told = print_once(look_once(watcher, 10.0), json=True, out=out)

    answer = json.loads(out.getvalue())
    assert told == code == answer["exit_code"]
    assert (answer["healthy"], answer["state"]) == (state == "ready", state)


def test_once_without_a_proxy_says_so_and_exits_with_3(runtime_dir):
    watcher = Watcher(StateSettings(), runtime_dir)
    watcher.start()
    out = io.StringIO()
    try:
        code = print_once(look_once(watcher, 0.3), json=False, out=out)
    finally:
        watcher.stop()

    assert code == 3
    assert "unreachable" in out.getvalue().splitlines()[0]


@pytest.mark.process
def test_lines_go_on_until_sigterm_and_end_with_0(proxy, runtime_dir):
    """In a pipe the monitor prints plain lines; SIGTERM is an ordinary end."""
    proxy.gateway()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "monitor", "--lines", "--no-web"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GATEWAY_PROXY_RUNTIME": str(runtime_dir), "FORCE_COLOR": ""},
    )
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        code = process.wait(15)
    finally:
        process.kill()
        process.stdout.close()

    assert "unknown -> ready" in lines[0]
    assert " o ready | paper | rtt 3.2ms" in lines[1]
    assert code == 0


@pytest.mark.parametrize("arguments", [["--onc"], ["--json", "nonsense"], ["alerts", "shout"], ["--timeout", "soon"]])
def test_wrong_usage_exits_with_64(arguments, capsys):
    """2 means that the Gateway is down; a typo must not look like that."""
    from monitor.cli import main

    with pytest.raises(SystemExit) as left:
        main(arguments)

    assert left.value.code == 64
    assert "usage" in capsys.readouterr().err


def test_misspelt_setting_is_named_and_exits_with_64(tmp_path, capsys):
    from monitor.cli import main

    path = tmp_path / "local.toml"
    path.write_text("[monitor]\nstatus_evry_s = 2.0\n")

    code = main(["--config", str(path), "--once"])

    assert code == 64
    assert 'did you mean "status_every_s"?' in capsys.readouterr().err


def test_question_that_nobody_waits_for_any_more_is_dropped(runtime_dir, watcher):
    """A browser that leaves cancels its question; the reading thread must survive that, with and without a proxy."""
    watcher.diagnose().cancel()
    time.sleep(0.05)
    proxy = StandIn(runtime_dir)
    try:
        proxy.gateway()
        wait_for(watcher, lambda view: view.healthy)
        watcher.diagnose().cancel()

        assert watcher.diagnose().result(10)["verdict"] == "ok"
    finally:
        proxy.stop()


def test_monitor_whose_reading_thread_dies_ends_instead_of_showing_old_news(tmp_path, monkeypatch):
    """The launcher sees the exit code and starts it anew."""
    from monitor.cli import main

    config = tmp_path / "monitor.toml"
    config.write_text(f'[monitor.history]\ndirectory = "{tmp_path}/history"\n')
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(Watcher, "_run", lambda self: 1 / 0)

    assert main(["--config", str(config), "--lines", "--no-web"]) == 70
