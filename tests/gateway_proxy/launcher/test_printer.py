"""Lines of many processes stay whole and named; a terminal that is not read holds nobody up."""

from __future__ import annotations

import io
import threading
import time

from gateway_proxy.launcher import printer
from gateway_proxy.launcher.printer import Printer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_line_carries_the_name_of_who_said_it():
    """Names are padded to one column, so that the texts stand under each other."""
    stream = io.StringIO()
    out = Printer(stream, width=6)

    out.say("proxy", "ready")
    out.say("engine", "warm", warning=True)
    out.finish()

    assert stream.getvalue() == "proxy  | ready\nengine | warm\n"


def test_colours_only_on_a_terminal():
    """Pipes and files get plain text; a name keeps its colour."""
    stream = Terminal()
    out = Printer(stream, width=5)

    out.say("proxy", "one")
    out.say("proxy", "two")
    out.finish()

    first, second = stream.getvalue().splitlines()
    assert first.startswith("\033[36mproxy |\033[0m")
    assert second.startswith("\033[36mproxy |\033[0m")


def test_terminal_that_is_not_read_holds_nobody_up(monkeypatch):
    """Beyond the queue lines are dropped, and the next line that fits tells how many."""
    unblock, wrote = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            wrote.set()
            unblock.wait(10)
            return super().write(text)

    monkeypatch.setattr(printer, "QUEUED_LINES_MAX", 3)
    stream = Stuck()
    out = Printer(stream, width=5)

    for number in range(50):
        out.say("proxy", f"line {number}")
    wrote.wait(10)
    unblock.set()
    while "line 0" not in stream.getvalue() or not out._lines.empty():
        time.sleep(0.001)
    out.say("proxy", "after")
    out.finish()

    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("proxy | [")
    assert last.endswith("lines lost: the terminal was not read] after")


def test_terminal_that_went_away_is_no_fault():
    stream = io.StringIO()
    out = Printer(stream, width=5)
    stream.close()

    out.say("proxy", "into the void")
    out.finish()

    assert not out._thread.is_alive()
