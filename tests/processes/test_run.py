"""`make run` as a newcomer sees it: it starts, trades, survives a killed proxy, and ends without a trace."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_proxy import config
from tests.support.stack import LOCAL, ROOT, Stack

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


@pytest.fixture
def stack(short_dir: Path) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(**overrides: str) -> Stack:
        made.append(Stack(short_dir, **overrides))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_run_trades_a_bracket_and_ctrl_c_leaves_nothing(stack):
    """Bars, a signal, a bracket and its fill; the monitor says healthy; no rule broken; the end is clean and quick."""
    run = stack()
    run.start()

    run.wait_for_text("bracket sent")
    fill = run.wait_until(lambda: run.ledger("fill"), "a fill at the simulator")[0]
    with run.client() as client:
        state = run.wait_until(lambda: client.status()["state"] == "ready", "the state ready")
        fills = run.wait_until(client.trades, "a fill on the bus")
    once = run.run("monitor", "--config", str(LOCAL), "--once", "--json")
    began = time.monotonic()
    code = run.stop()
    took_s = time.monotonic() - began

    assert state
    assert fill["order_id"] == fills[0].order_id
    assert (once.returncode, json.loads(once.stdout)["healthy"]) == (0, True)
    assert code == 0
    assert took_s < 5.0
    assert run.pids() == []
    assert [path.name for path in run.runtime.iterdir() if path.name != "runs"] == []
    assert run.ledger("violation") == []


def test_two_engines_share_streams_and_their_death_closes_them(stack):
    """Five subscriptions to three symbols cost three streams of the Gateway; SIGKILL of both engines frees them all."""
    run = stack(LAUNCHER__ENGINES="[]", LAUNCHER__MONITOR="false")
    run.start()
    run.wait_for_text("proxy: ready")
    names = config.load(LOCAL).engines
    engines = [run.spawn("engine", "--config", str(LOCAL), "--name", name) for name in names]

    with run.client() as client:

        def open_upstream() -> int:
            rules = client.health()["pacing"]["rules"]
            return next(int(rule["used"]) for rule in rules if rule["rule"] == "history_open")

        run.wait_for_text("engine ready", times=len(engines))
        run.wait_until(lambda: open_upstream() == 3, "three streams at the Gateway")
        opened = {stream["topic"]: stream["opened"] for stream in client.status()["streams"]}
        for engine in engines:
            engine.kill()
            engine.wait()
        run.wait_until(lambda: open_upstream() == 0, "no stream left at the Gateway")

    assert opened == {"bars/AAPL/1min/": 1, "bars/QQQ/1min/": 1, "bars/SPY/1min/": 1}


def test_killed_proxy_comes_back_and_nothing_is_doubled(stack):
    """A new epoch, the same streams, engines that carry on by themselves, and every order once at the Gateway."""
    run = stack()
    names = config.load(LOCAL).engines
    run.start()
    run.wait_until(lambda: run.ledger("fill"), "a fill at the simulator")
    before = run.connection()

    os.kill(before["pid"], signal.SIGKILL)
    run.wait_until(lambda: "proxy: killed by signal 9" in run.text, "the launcher's notice")
    after = run.wait_until(
        lambda: (run.runtime / "connection.json").exists() and run.connection() != before and run.connection(),
        "another epoch",
    )
    with run.client() as client:
        run.wait_until(lambda: client.status()["state"] == "ready", "the state ready")
        streams = run.wait_until(lambda: [s["topic"] for s in client.status()["streams"]], "the streams")
        bars = client.bars("SPY", "1min", count=60)
    run.wait_until(lambda: engines_that_named(after["epoch"], run.text) == set(names), "both engines in the new epoch")
    code = run.stop()

    assert after["epoch"] != before["epoch"]
    assert "bars/SPY/1min/" in streams
    assert len(bars) >= 60
    assert code == 0
    ids_by_reference: dict[str, set[int]] = {}
    for order in run.ledger("order"):
        ids_by_reference.setdefault(order["order_ref"], set()).add(order["order_id"])
    assert ids_by_reference
    assert all(len(order_ids) == 1 for order_ids in ids_by_reference.values()), ids_by_reference


def engines_that_named(epoch: str, text: str) -> set[str]:
    """The engines whose lines mention this life of the proxy."""
    spoke = (line.split("|")[0].strip() for line in text.splitlines() if f"epoch={epoch}" in line)
    return {name.removeprefix("engine-") for name in spoke if name.startswith("engine-")}


def test_second_run_on_the_same_directory_is_refused(stack):
    """One owner per runtime directory; the second says who holds it, and stops its own processes only."""
    first = stack()
    first.start()
    first.wait_for_text("proxy: ready")
    second = stack()
    second.ledger_file = second.ledger_file.with_name("second.jsonl")
    second.environment["GATEWAY_PROXY__SIMULATOR__LEDGER"] = str(second.ledger_file)
    second.output = second.output.with_name("second.txt")

    second.start()
    assert second.process is not None
    code = second.process.wait(60)

    assert code == 2
    assert f"another proxy (pid {first.connection()['pid']})" in second.text
    with first.client() as client:
        assert client.status()["mode"] == "paper"


def test_faults_of_the_configuration_stop_the_run_at_once(stack):
    run = stack(CLOCK__SPED="3", GATEWAY__PORT="abc")

    run.start()
    assert run.process is not None
    code = run.process.wait(30)

    assert code == 2
    assert run.text.splitlines() == [
        'launcher: GATEWAY_PROXY__CLOCK__SPED: [clock] has no key "sped"; did you mean "speed"?',
        'GATEWAY_PROXY__GATEWAY__PORT: [gateway] port: want an integer from 1 to 65535, got "abc"',
    ]


@pytest.mark.skipif(not (ROOT / ".venv" / ".ready").exists(), reason="make run would set up a .venv first")
def test_ctrl_c_on_a_terminal_ends_make_run_with_exit_code_0(stack):
    """The key reaches the launcher and not make, so that a clean stop is not reported as an interrupted target."""
    run = stack()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvpe("make", ["make", "run"], run.environment)
    shown = read_until(terminal, b"proxy: ready")
    assert b"proxy: ready" in shown, shown.decode(errors="replace")

    os.write(terminal, b"\x03")
    shown += read_until(terminal, b"never said")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0, shown.decode(errors="replace")
    assert b"stopping" in shown
    assert run.pids() == []


def read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows until it shows the text, or its other side is closed (Linux says EIO then)."""
    shown = b""
    while text not in shown:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
    return shown
