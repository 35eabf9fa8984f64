"""One life of one program: its process, its lines, its readiness socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from gateway_proxy.launcher.programs import Command

#: A longer line is shown in pieces.
LINE_BYTES_MAX = 64 * 1024
#: How long to wait for the last lines of a process that has ended; something it started may hold the pipe.
LAST_LINES_S = 0.5
_LEASH = Path(__file__).with_name("leash.py")
#: The supervisor's own supervisor speaks to the launcher, not to its children.
_NOT_INHERITED = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Child:
    """Spawned by `live`, which returns its exit code when all is over. In a process group of its own.

    `on_line(text)` gets each line of stdout and stderr, `on_ready()` the announcement READY=1, `on_alive()` every
    WATCHDOG=1.
    """

    def __init__(
        self,
        command: Command,
        socket_path: Path,
        on_line: Callable[[str], None],
        on_ready: Callable[[], None],
        on_alive: Callable[[], None],
    ) -> None:
        self.command = command
        self.pid: int | None = None
        self._sent_early: signal.Signals | None = None
        self._socket_path = socket_path
        self._on_line = on_line
        self._on_ready = on_ready
        self._on_alive = on_alive

    async def live(self) -> int:
        """Runs the program to its end. Returns its exit code, negative for a signal; OSError if it cannot start."""
        with self._readiness_socket():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *self.command.line),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
            self.pid = process.pid
            if self._sent_early is not None:
                self.send(self._sent_early)
            assert process.stdout is not None
            lines = asyncio.create_task(self._relay(process.stdout))
            try:
                code = await process.wait()
                self.pid = None
                await asyncio.wait([lines], timeout=LAST_LINES_S)
            finally:
                lines.cancel()
            return code

    def send(self, number: signal.Signals) -> None:
        """Delivers a signal to the process and everything it started, as soon as it exists; nothing if it has ended."""
        if self.pid is None:
            self._sent_early = number
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def rss_mb(self) -> float | None:
        """Resident memory; None where /proc does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        own = {"NOTIFY_SOCKET": str(self._socket_path), "PYTHONUNBUFFERED": "1"}
        return {**inherited, **self.command.environment, **own}

    async def _relay(self, stream: asyncio.StreamReader) -> None:
        async for line in _lines(stream):
            self._on_line(line)

    @contextlib.contextmanager
    def _readiness_socket(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(self._socket_path))
            receiver.setblocking(False)
            loop.add_reader(receiver, self._receive, receiver)
            try:
                yield
            finally:
                loop.remove_reader(receiver)
                self._socket_path.unlink(missing_ok=True)

    def _receive(self, receiver: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            words = receiver.recv(4096).split(b"\n")
            if b"READY=1" in words:
                self._on_ready()
            if b"WATCHDOG=1" in words:
                self._on_alive()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """The lines of a stream without their ends; over-long ones in pieces, broken UTF-8 made visible."""
    rest = b""
    while chunk := await stream.read(LINE_BYTES_MAX):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="backslashreplace").rstrip("\r")
        if len(rest) > LINE_BYTES_MAX:
            yield rest.decode(errors="backslashreplace")
            rest = b""
    if rest:
        yield rest.decode(errors="backslashreplace")
