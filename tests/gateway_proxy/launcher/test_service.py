"""The launcher with real processes: order, restart, clean end, no orphans. The programs are three-line stand-ins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

READY = "from gateway_proxy import notify; notify.ready()\n"
STAY = "import time; time.sleep(60)\n"
PATIENCE_S = 20.0


class Run:
    """A launcher process over the given scripts, with its output so far."""

    def __init__(self, directory: Path, scripts: dict[str, str], settings: str) -> None:
        self.directory = directory
        programs = []
        for number, (name, script) in enumerate(scripts.items()):
            path = directory / f"{name}.py"
            path.write_text(f"import os; print('pid', os.getpid())\n{textwrap.dedent(script)}")
            after = repr(tuple(list(scripts)[number - 1 : number]))
            programs.append(f"Command(Program({name!r}, {after}), (sys.executable, {str(path)!r}))")
        main = directory / "main.py"
        main.write_text(
            "import sys\n"
            "from pathlib import Path\n"
            "from gateway_proxy.core.supervisor import LauncherSettings, Program\n"
            "from gateway_proxy.launcher.programs import Command\n"
            "from gateway_proxy.launcher.service import run\n"
            f"sys.exit(run([{', '.join(programs)}], LauncherSettings({settings}), Path({str(directory / 'run')!r})))\n"
        )
        self.output = directory / "output.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(main)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(directory)},
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.text.count(text) < times:
            assert time.monotonic() < deadline, f"no {times} x {text!r} in:\n{self.text}"
            time.sleep(0.02)

    def pids(self, name: str) -> list[int]:
        return [int(line.split()[-1]) for line in self.text.splitlines() if line.startswith(name) and "pid" in line]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        pids = [int(line.split()[-1]) for line in self.text.splitlines() if "| pid " in line]
        for pid in [self.process.pid, *pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


@pytest.fixture
def launch(tmp_path):
    runs: list[Run] = []

    def start(settings: str = "", **scripts: str) -> Run:
        runs.append(Run(tmp_path, scripts, settings))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def is_gone(pid: int) -> bool:
    """True when the process has ended, waiting a little for it; a zombie of somebody else counts as ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_ends_all_processes_and_leaves_nothing(launch, number):
    """Ctrl-C: everything stops in reverse order, the exit code is 0, no process and no socket stays."""
    run = launch(first=READY + STAY, second=READY + STAY)
    run.wait_for("second: ready")

    code = run.end(number)

    assert code == 0
    assert all(is_gone(pid) for pid in run.pids("first") + run.pids("second"))
    assert not list(run.directory.glob("gateway-proxy-*"))


def test_second_waits_until_first_is_ready(launch):
    """Readiness is what the process says, not that it runs."""
    run = launch(first="import time; time.sleep(0.3)\n" + READY + STAY, second=READY + STAY)

    run.wait_for("second: ready")
    run.end(signal.SIGINT)

    lines = run.text.splitlines()
    first_ready = next(number for number, line in enumerate(lines) if "first: ready" in line)
    second_spoke = next(number for number, line in enumerate(lines) if line.startswith("second") and "pid" in line)
    assert first_ready < second_spoke


def test_killed_process_comes_back_and_the_other_stays(launch):
    run = launch("restart_s=0.1", first=READY + STAY, second=READY + STAY)
    run.wait_for("second: ready")

    os.kill(run.pids("first")[0], signal.SIGKILL)
    run.wait_for("first: ready", times=2)
    run.end(signal.SIGINT)

    assert "first: killed by signal 9; restart in 0.1 s" in run.text
    assert len(run.pids("first")) == 2
    assert len(run.pids("second")) == 1


def test_wrong_configuration_of_one_stops_all(launch):
    """Exit code 2 of a process is the exit code of the launcher; nothing is tried again."""
    run = launch(first=READY + STAY, second="print('second: no such key'); raise SystemExit(2)")

    code = run.process.wait(PATIENCE_S)

    assert code == 2
    assert "second: no such key" in run.text
    assert len(run.pids("second")) == 1
    assert is_gone(run.pids("first")[0])


def test_process_that_keeps_dying_stops_all_with_its_last_words(launch):
    run = launch("restart_s=0.01, restarts_max=2", first="raise SystemExit('no disk')")

    code = run.process.wait(PATIENCE_S)

    assert code == 1
    assert run.text.count("no disk") == 3
    assert "2 restarts did not help" in run.text


def test_process_that_ignores_sigterm_is_killed_in_time(launch):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    run = launch("stop_s=0.5", first=stubborn + READY + STAY)
    run.wait_for("first: ready")

    code = run.end(signal.SIGINT)

    assert code == 0
    assert "first: did not stop in time: killed" in run.text
    assert is_gone(run.pids("first")[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_killed_launcher_leaves_no_orphans(launch):
    """Even SIGKILL of the launcher ends its processes: an engine without supervision must not go on trading."""
    run = launch(first=READY + STAY, second=READY + STAY)
    run.wait_for("second: ready")

    run.end(signal.SIGKILL)

    assert all(is_gone(pid) for pid in run.pids("first") + run.pids("second"))


def test_long_lines_and_broken_text_do_not_stop_the_relay(launch):
    """A line of a megabyte comes in pieces; bytes that are no UTF-8 are made visible."""
    script = "import sys; sys.stdout.buffer.write(b'x' * 1_000_000 + b'\\nbad \\xff byte\\n'); sys.stdout.flush()\n"
    run = launch(first=script + READY + STAY)

    run.wait_for("first: ready")
    run.end(signal.SIGINT)

    assert "bad \\xff byte" in run.text
    assert run.text.count("x") >= 1_000_000


def test_a_process_that_hangs_is_killed_and_started_again(launch):
    """It stops saying that it lives, as one under SIGSTOP does; nothing else is touched."""
    beats = "import time\nwhile True: notify.alive(); time.sleep(0.1)\n"
    run = launch("hang_s=1.0, restart_s=0.1", proxy=READY + beats, engine=READY + STAY)
    run.wait_for("engine: ready")

    os.kill(run.pids("proxy")[0], signal.SIGSTOP)
    run.wait_for("proxy: silent for 1 s: killed")
    run.wait_for("proxy: ready", times=2)

    assert len(run.pids("engine")) == 1
