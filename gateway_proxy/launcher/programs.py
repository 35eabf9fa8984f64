"""Which programs a configuration asks for, with their commands. Pure: files, paths and the clock are the caller's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway_proxy.core.supervisor import Program
from gateway_proxy.settings import Settings


@dataclass(frozen=True, slots=True)
class Command:
    """One program: what the supervisor knows of it, the command line, and what its environment has in addition."""

    program: Program
    line: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def commands(settings: Settings, config_file: Path, run_dir: Path, live: tuple[str, ...] = ()) -> list[Command]:
    """Every program to start, in starting order.

    `run_dir`: where a simulated run keeps its ledger and its journal, unless the configuration names other places; the
    simulated account knows nothing of earlier runs, so an old journal would not fit it.    `live`: interlock flags of
    the command line, handed to the proxy.
    """
    result = []
    if settings.simulator.enabled:
        result.append(Command(Program("simulator"), _simulator(settings, run_dir)))
    if settings.launcher.proxy:
        after = ("simulator",) if settings.simulator.enabled else ()
        environment = {}
        if settings.simulator.enabled and not settings.journal.path:
            environment["GATEWAY_PROXY__JOURNAL__PATH"] = str(run_dir / "journal.sqlite3")
        line = _module("gateway_proxy", "--config", str(config_file), *live)
        result.append(Command(Program("proxy", after), line, environment))
    after = ("proxy",) if settings.launcher.proxy else ()
    if settings.record.enabled:
        environment = {}
        if settings.simulator.enabled and not settings.record.dir:
            environment["GATEWAY_PROXY__RECORD__DIR"] = str(run_dir / "recording")
        line = _module("gateway_proxy", "record", "--config", str(config_file))
        result.append(Command(Program("recorder", after), line, environment))
    for name in settings.engines if settings.launcher.engines is None else settings.launcher.engines:
        line = _module("engine", "--config", str(config_file), "--name", name)
        result.append(Command(Program(f"engine-{name}", after), line))
    if settings.launcher.monitor:
        line = _module("monitor", "--config", str(config_file), "--lines")
        result.append(Command(Program("monitor", after), line))
    return result


def _simulator(settings: Settings, run_dir: Path) -> tuple[str, ...]:
    simulator = settings.simulator
    arguments = {
        "--host": settings.gateway.host,
        "--port": settings.gateway.port,
        "--seed": simulator.seed,
        "--speed": settings.clock.speed,
        "--ledger": simulator.ledger or run_dir / "ledger.jsonl",
        "--start": simulator.start,
        "--scenario": simulator.scenario,
    }
    line = [word for flag, value in arguments.items() if value != "" for word in (flag, str(value))]
    return _module("gateway_sim", *line, *(["--skip-closed"] if simulator.skip_closed else []))


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)
