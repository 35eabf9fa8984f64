"""Readiness reaches the supervisor's socket, and a missing supervisor changes nothing."""

from __future__ import annotations

import os
import socket

import pytest

from gateway_proxy import notify


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    """A bound notification socket, named in the environment as systemd does."""
    path = tmp_path / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(2.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield receiver


def test_ready_is_told_once_with_its_status(supervisor):
    assert notify.ready("serving") is True

    assert supervisor.recv(1024) == b"READY=1\nSTATUS=serving"


def test_life_and_end_are_told(supervisor):
    notify.alive()
    notify.stopping()

    assert [supervisor.recv(1024), supervisor.recv(1024)] == [b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/at/all.sock"])
def test_nobody_listening_is_no_fault(monkeypatch, address):
    """Started by hand, or the supervisor died: the process works on."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    assert notify.ready() is False


@pytest.mark.parametrize(("pid", "wanted"), [(str(os.getpid()), 15.0), ("1", None)])
def test_watchdog_interval_is_half_of_what_systemd_allows(monkeypatch, pid, wanted):
    """The variable counts only for the process it was meant for."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", pid)

    assert notify.watchdog_s() == wanted


def test_no_watchdog_without_the_variable(monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    assert notify.watchdog_s() is None
