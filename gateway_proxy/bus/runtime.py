"""The runtime directory: where a proxy tells the world that it lives. One proxy per directory, proved by a lock.

Holds `lock` (flock, with the owner's pid), `connection.json` and, for ipc, the three sockets. Mode 0700, because
whoever may enter may trade.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from gateway_proxy.bus.auth import ClientKey
from gateway_proxy.bus.codec import convert
from gateway_proxy.bus.messages import PROTOCOL_VERSION
from gateway_proxy.errors import AlreadyRunning, BadMessage, ConfigError, ProxyUnreachable, UnsupportedVersion

#: sun_path holds 108 bytes with its closing NUL; libzmq refuses longer ones with a misleading error.
IPC_PATH_BYTES_MAX: Final = 107
SOCKETS: Final = ("market", "request", "trade")


@dataclass(frozen=True, slots=True)
class Connection:
    """The content of connection.json: which proxy lives there and how to reach it. `endpoints` has the SOCKETS."""

    protocol: str
    epoch: str
    pid: int
    endpoints: dict[str, str]
    curve_public_key: str | None = None


def default_runtime_dir(configured: str = "") -> Path:
    """$GATEWAY_PROXY_RUNTIME, else `configured`, $XDG_RUNTIME_DIR/gateway-proxy, ~/.local/state/gateway-proxy."""
    if chosen := os.environ.get("GATEWAY_PROXY_RUNTIME") or configured:
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(base) / "gateway-proxy"
    return Path.home() / ".local" / "state" / "gateway-proxy"


def read_connection(directory: Path) -> Connection:
    """What the proxy of this directory wrote. Raises ProxyUnreachable saying where it looked and how to start one."""
    path = directory / "connection.json"
    try:
        connection = convert(orjson.loads(path.read_bytes()), Connection, str(path))
    except FileNotFoundError as error:
        raise ProxyUnreachable(f"no proxy runs here: {path} does not exist; {_how_to_start(directory)}") from error
    except (OSError, orjson.JSONDecodeError, BadMessage) as error:
        raise ProxyUnreachable(f"cannot use {path}: {error}") from error
    if connection.protocol.partition(".")[0] != PROTOCOL_VERSION.partition(".")[0]:
        raise UnsupportedVersion(f"{path}: proxy speaks protocol {connection.protocol}, we speak {PROTOCOL_VERSION}")
    if missing := [name for name in SOCKETS if name not in connection.endpoints]:
        raise ProxyUnreachable(f"{path}: no endpoint for {' '.join(missing)}")
    return connection


def _how_to_start(directory: Path) -> str:
    return (
        "start one with `make run` or `python -m gateway_proxy --config FILE`, "
        f"or set GATEWAY_PROXY_RUNTIME if it uses another directory than {directory}"
    )


class Locator:
    """Where the proxy is now. It may restart with a new epoch or new ports; `refresh` notices, for one stat."""

    def __init__(
        self,
        directory: Path | None = None,
        endpoints: dict[str, str] | None = None,
        key: ClientKey | None = None,
    ) -> None:
        self.key = key
        self.directory = directory or default_runtime_dir()
        self._fixed = Connection(PROTOCOL_VERSION, "", 0, dict(endpoints)) if endpoints else None
        self._read_at: tuple[int, int] | None = None
        self.connection: Connection | None = self._fixed

    @property
    def epoch(self) -> str:
        """The life of the proxy that is announced now; "" if none ever was, or the endpoints were given by hand."""
        self.refresh()
        return self.connection.epoch if self.connection else ""

    def refresh(self) -> None:
        """Look again. A file that is missing or unreadable changes nothing: the proxy may be restarting."""
        if self._fixed is not None:
            return
        try:
            status = (self.directory / "connection.json").stat()
            if self._read_at != (status.st_ino, status.st_mtime_ns):
                self.connection = read_connection(self.directory)
                self._read_at = (status.st_ino, status.st_mtime_ns)
        except (OSError, ProxyUnreachable):
            return

    def endpoint(self, socket: str) -> str:
        """The address of one of the SOCKETS. Raises ProxyUnreachable if no proxy ever announced itself here."""
        self.refresh()
        if self.connection is None:
            self.connection = read_connection(self.directory)
        if self.connection.curve_public_key is not None and self.key is None:
            raise ConfigError("this proxy only admits known keys: pass keys=FILE to connect")
        return self.connection.endpoints[socket]

    def why_silent(self) -> str:
        """The likely reason that nobody answers, in words."""
        if self._fixed is not None or self.connection is None:
            return "no proxy answers there"
        pid = self.connection.pid
        if not is_alive(pid):
            path = self.directory / "connection.json"
            return f"{path} names process {pid}, which is gone; {_how_to_start(self.directory)}"
        return f"process {pid} exists but does not answer; it may be starting, stopped or busy"


def is_alive(pid: int) -> bool:
    """True if a process with this pid exists on this machine (it may belong to another user)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


class RuntimeDir:
    """Owned from `acquire` to `release`; in between no second proxy can start here.

    The lock also guards the ipc sockets: a second bind on the same path would silently steal them.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self._lock_fd: int | None = None

    def acquire(self) -> None:
        """Create the directory, check that only we may enter it, take the lock, clear what a crash left.

        Raises AlreadyRunning naming the pid of the owner, ConfigError for a directory that cannot be used.
        """
        self.prepare()
        fd = self._lock()
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        self._lock_fd = fd
        self._clear()

    def prepare(self) -> None:
        """Create the directory, or check that it is ours alone. Raises ConfigError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
        except OSError as error:
            raise ConfigError(f"[bus] runtime_dir {str(self.path)!r}: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise ConfigError(f"[bus] runtime_dir {str(self.path)!r}: must be a directory that belongs to us")
        if stat.S_IMODE(status.st_mode) & 0o077:
            self._close_to_others(stat.S_IMODE(status.st_mode))

    def _close_to_others(self, mode: int) -> None:
        """Only a directory that is plainly ours (empty, or used by us before) is changed without asking."""
        if not (self.path / "lock").exists() and any(self.path.iterdir()):
            raise ConfigError(
                f"[bus] runtime_dir {str(self.path)!r} is open to others (mode {mode:04o}) and holds other files; "
                "give the proxy a directory of its own, or chmod 700 it"
            )
        self.path.chmod(0o700)

    def _lock(self) -> int:
        path = self.path / "lock"
        for _ in range(3):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(fd)
                raise AlreadyRunning(
                    f"another proxy (pid {owner}) uses runtime directory {str(self.path)!r}"
                ) from error
            # A proxy that just stopped may have removed the file that we opened; a lock on that proves nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == path.stat().st_ino:
                    return fd
            os.close(fd)
        raise AlreadyRunning(f"runtime directory {str(self.path)!r}: proxies start and stop here at this very moment")

    def ipc_endpoint(self, socket: str) -> str:
        """Raises ConfigError if the path is too long for a Unix socket."""
        path = (self.path / f"{socket}.sock").absolute()
        length = len(os.fsencode(path))
        if length > IPC_PATH_BYTES_MAX:
            raise ConfigError(
                f"[bus] runtime_dir: socket path {str(path)!r} has {length} bytes, the limit is {IPC_PATH_BYTES_MAX}; "
                "choose a shorter directory"
            )
        return f"ipc://{path}"

    def write_connection(self, connection: Connection) -> None:
        """Atomic: a reader sees the old file, the new one or none, never half of one."""
        fresh = self.path / f"connection.json.{os.getpid()}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(_pretty(connection))
            file.flush()
            os.fsync(fd)
        fresh.replace(self.path / "connection.json")

    def release(self) -> None:
        """Remove everything we made; the directory itself stays."""
        if self._lock_fd is None:
            return
        self._clear()
        (self.path / "lock").unlink(missing_ok=True)
        os.close(self._lock_fd)
        self._lock_fd = None

    def _clear(self) -> None:
        for name in ("connection.json", *(f"{socket}.sock" for socket in SOCKETS)):
            (self.path / name).unlink(missing_ok=True)


def _pretty(connection: Connection) -> bytes:
    written: dict[str, Any] = {
        "protocol": connection.protocol,
        "epoch": connection.epoch,
        "pid": connection.pid,
        "endpoints": connection.endpoints,
        "curve_public_key": connection.curve_public_key,
    }
    return orjson.dumps(written, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
