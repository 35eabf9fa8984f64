"""The command line: a configuration may be named before or after the command, and is then the one that counts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gateway_proxy import Client, cli
from gateway_proxy.journal import Journal


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A client that does not wait for a proxy to start."""
    connect = Client.connect
    monkeypatch.setattr(Client, "connect", lambda *where, **options: connect(*where, **options, timeout_s=0.01))


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A file whose proxy would live in a directory of its own; $GATEWAY_PROXY_RUNTIME would hide it."""
    monkeypatch.delenv("GATEWAY_PROXY_RUNTIME", raising=False)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text('[bus]\nruntime_dir = "mine/run"\n')
    return str(file)


@pytest.mark.parametrize("command", ["status", "kill", "resume"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_named_configuration_tells_where_the_proxy_runs(named, capsys, command, place):
    """Never the default directory in its stead: with `kill` that would stop another proxy."""
    words = ["--config", named, command] if place == "before" else [command, "--config", named]

    code = cli.main(words)

    assert code == cli.UNREACHABLE
    assert "mine/run/connection.json does not exist" in capsys.readouterr().err


def test_a_named_directory_goes_before_the_one_of_the_configuration(named, capsys):
    """--runtime is the more exact word."""
    assert cli.main(["status", "--config", named, "--runtime", "other"]) == cli.UNREACHABLE
    assert "other/connection.json does not exist" in capsys.readouterr().err


def test_a_wrong_configuration_is_told_and_nothing_is_asked(tmp_path, capsys):
    """A misspelt key ends the command, as it would end the proxy."""
    file = tmp_path / "wrong.toml"
    file.write_text("[bus]\nruntime = 1\n")

    assert cli.main(["kill", "--config", str(file)]) == cli.USAGE
    assert 'did you mean "runtime_dir"?' in capsys.readouterr().err


def test_the_doctor_looks_where_the_configuration_points(named, capsys):
    """Like every other command, but it goes on and looks at the Gateway."""
    assert cli.main(["doctor", "--config", named, "--json"]) == cli.FAILED
    assert "mine/run does not exist" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["gateway_proxy", "journal", "verify"], ["monitor", "--once", "--timeout", "0.1"]])
def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path, command):
    """`| head` closes the pipe early; no traceback follows."""
    Journal(tmp_path / "journal.sqlite3").close()
    where = ["--path", str(tmp_path / "journal.sqlite3")] if "journal" in command else []
    environment = {"GATEWAY_PROXY_RUNTIME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    reader, writer = os.pipe()
    os.close(reader)

    ended = subprocess.run(
        [sys.executable, "-m", *command, *where], stdout=writer, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(writer)

    assert (ended.stderr, ended.returncode) == (b"", 141)
