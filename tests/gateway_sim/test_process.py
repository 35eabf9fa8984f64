"""The simulator as a process: start, stop, exit codes, ledger, readiness."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.gateway_sim.processes import ROOT, simulator

pytestmark = pytest.mark.process


def run(*arguments: str, **more) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway_sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT, **more)


def test_port_in_use_is_one_clear_line_and_exit_code_2():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = run("--port", str(port))

    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("--speed", "0"), ("--port", "70000"), ("--start", "yesterday"), ("--nonsense",)]
)
def test_bad_arguments_exit_with_2(arguments):
    assert run(*arguments).returncode == 2


def test_ready_is_told_to_the_supervisor(tmp_path):
    """READY=1 arrives on NOTIFY_SOCKET after the port is open."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(path)
        channel.settimeout(10)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            with simulator() as port:
                assert channel.recv(100) == b"READY=1"
                socket.create_connection(("127.0.0.1", port), 2).close()
        finally:
            del os.environ["NOTIFY_SOCKET"]


def test_ledger_lines_are_there_at_once(tmp_path):
    """A line is on disk as soon as the event happened, each with t, client_id and event."""
    ledger = tmp_path / "ledger.jsonl"
    with simulator("--ledger", str(ledger)) as port, socket.create_connection(("127.0.0.1", port), 2) as client:
        client.sendall(b"API\0\0\0\0\x09v157..178")
        client.recv(1000)
        client.sendall(b"\0\0\0\x0871\x002\x003\0\0")
        client.recv(1000)

        lines = [json.loads(line) for line in ledger.read_text().splitlines()]

    assert [(line["event"], line["client_id"]) for line in lines] == [("connect", 3)]
    assert lines[0]["t"] >= 0
