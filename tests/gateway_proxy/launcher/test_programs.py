"""One configuration gives one list of programs, in starting order, with the commands of the contract."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from gateway_proxy.core.supervisor import LauncherSettings
from gateway_proxy.launcher.programs import Command, commands
from gateway_proxy.settings import ClockSettings, GatewaySettings, JournalSettings, Settings, SimulatorSettings

CONFIG = Path("configs/local.toml")
RUN_DIR = Path("/run/7")
SIMULATED = Settings(
    clock=ClockSettings(speed=30.0),
    gateway=GatewaySettings(port=4102),
    simulator=SimulatorSettings(enabled=True, seed=7, start="2026-06-18 09:25"),
    engines={"spy": {}, "qqq": {}},
)


def by_name(found: list[Command]) -> dict[str, Command]:
    return {command.program.name: command for command in found}


def test_simulated_run_has_everything_in_starting_order():
    """The proxy comes after the simulator, engines and monitor after the proxy."""
    found = commands(SIMULATED, CONFIG, RUN_DIR)

    assert [(command.program.name, command.program.after) for command in found] == [
        ("simulator", ()),
        ("proxy", ("simulator",)),
        ("engine-spy", ("proxy",)),
        ("engine-qqq", ("proxy",)),
        ("monitor", ("proxy",)),
    ]


def test_simulator_gets_port_speed_and_ledger():
    """The simulator listens where the proxy will connect, and its clock runs at the proxy's speed."""
    line = by_name(commands(SIMULATED, CONFIG, RUN_DIR))["simulator"].line

    assert line[:3] == (sys.executable, "-m", "gateway_sim")
    assert " ".join(line[3:]) == (
        "--host 127.0.0.1 --port 4102 --seed 7 --speed 30.0 --ledger /run/7/ledger.jsonl "
        "--start 2026-06-18 09:25 --skip-closed"
    )


def test_simulated_run_has_a_journal_of_its_own():
    """The simulated account forgets everything at the end; an order journal of an earlier run would not fit it."""
    proxy = by_name(commands(SIMULATED, CONFIG, RUN_DIR))["proxy"]

    assert proxy.environment == {"GATEWAY_PROXY__JOURNAL__PATH": "/run/7/journal.sqlite3"}


def test_named_journal_and_ledger_are_used_as_they_are():
    settings = replace(
        SIMULATED, journal=JournalSettings("j.sqlite3"), simulator=SimulatorSettings(enabled=True, ledger="l.jsonl")
    )

    found = by_name(commands(settings, CONFIG, RUN_DIR))

    assert found["proxy"].environment == {}
    assert "l.jsonl" in found["simulator"].line


def test_real_gateway_has_no_simulator_and_its_journal_stays():
    settings = Settings(engines={"spy": {}})

    found = commands(settings, CONFIG, RUN_DIR, ("--live", "--account", "U1"))

    assert [command.program.name for command in found] == ["proxy", "engine-spy", "monitor"]
    assert found[0].program.after == ()
    assert found[0].environment == {}
    assert found[0].line[1:] == ("-m", "gateway_proxy", "--config", "configs/local.toml", "--live", "--account", "U1")


def test_only_what_is_asked_for_is_started():
    """Somebody else runs the proxy; one engine of two; no monitor."""
    settings = replace(
        SIMULATED,
        simulator=SimulatorSettings(),
        launcher=LauncherSettings(proxy=False, engines=("qqq",), monitor=False),
    )

    assert [command.program for command in commands(settings, CONFIG, RUN_DIR)] == [
        by_name(commands(SIMULATED, CONFIG, RUN_DIR))["engine-qqq"].program.__class__("engine-qqq", ())
    ]
