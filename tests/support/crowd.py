"""A crowd of engines over one proxy, let go in the same moment, and what the ledger says they asked the Gateway for."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from engine.decisions import DROPPED
from gateway_sim.control import send_command
from tests.support.pair import Pair

PATIENCE_S = 90.0
NEW_YORK = ZoneInfo("America/New_York")
#: Asked by the clock, however many engines there are; everything else is compared.
BY_THE_CLOCK = frozenset({"reqCurrentTime"})
#: What tells two requests of a kind apart.
FACTS = ("symbol", "sec_type", "expiry", "strike", "right", "con_id", "bar_size", "duration", "keep_up_to_date")

#: Requests by kind and FACTS.
Asked = Counter[tuple[object, ...]]
#: What the strategy saw: its values by symbol and start of the bar (epoch seconds).
Decisions = dict[tuple[str, int], dict[str, Any]]


class Crowd:
    """Engines called e0, e1, …; `engine` is the table of each, with {name} and {log} (of its decisions) to fill in."""

    def __init__(self, directory: Path, size: int, engine: str, *, more: str = "", **pair: Any) -> None:
        directory.mkdir()
        self.names = [f"e{number}" for number in range(size)]
        self.decisions = [directory / f"{name}.jsonl" for name in self.names]
        tables = [engine.format(name=name, log=log) for name, log in zip(self.names, self.decisions, strict=True)]
        self.pair = Pair(directory, more=more + "".join(tables), **pair)
        self._engines: list[subprocess.Popen[str]] = []

    @contextmanager
    def waiting(self) -> Iterator[Crowd]:
        """Every engine is warm, looked for a proxy in vain and stands still; the proxy is ready and knows nothing."""
        pair = self.pair
        logs = [pair.directory / f"{name}.log" for name in self.names]
        (pair.directory / "proxy.log").touch()  # what a wait in vain shows
        try:
            for name, path in zip(self.names, logs, strict=True):
                with path.open("w") as log:
                    command = ("-m", "engine", "--config", str(pair.config), "--name", name)
                    self._engines.append(pair.spawn(*command, output=log))
            pair.wait_until(lambda: all("no proxy yet" in path.read_text() for path in logs), "engines", PATIENCE_S)
            for engine in self._engines:
                engine.send_signal(signal.SIGSTOP)
            pair.start()
            with pair.client() as client:
                pair.wait_until(lambda: client.status()["state"] == "ready", "ready")
            yield self
        finally:
            pair.close()

    def let_go(self, which: slice = slice(None)) -> None:
        for engine in self._engines[which]:
            engine.send_signal(signal.SIGCONT)

    def market_s(self) -> float:
        """What the market's clock shows, in whole epoch seconds."""
        answer = send_command("127.0.0.1", self.pair.control, "status")
        shown: str = orjson.loads(answer.removeprefix("ok "))["market_time"]
        return datetime.strptime(shown, "%Y-%m-%d %H:%M:%S").replace(tzinfo=NEW_YORK).timestamp()

    def asked_until(self, end_s: float) -> Asked:
        """What the Gateway was asked for before the market's clock showed `end_s`."""
        (connect,) = self.pair.ledger("connect")
        end_t = end_s - connect["market_time"] + connect["t"]
        entries = [entry for entry in self.pair.ledger("request") if entry["t"] < end_t]
        keys = [(entry["kind"], *map(entry.get, FACTS)) for entry in entries]
        return Counter(key for key in keys if key[0] not in BY_THE_CLOCK)


def rows(path: Path) -> list[dict[str, Any]]:
    """What is written of one engine's log of decisions; a line without its end is not."""
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    return list(map(orjson.loads, lines))


def decided(path: Path) -> Decisions:
    """What was decided on each bar; that a signal became no order is not about a bar."""
    own = (row for row in rows(path) if row["rule"] != DROPPED)
    return {(row["symbol"], row["bar_start_ns"] // 10**9): row["values"] for row in own}
