"""Who may connect. ipc: the kernel keeps other users out. tcp: loopback, or CURVE keys and a gatekeeper.

CURVE alone fails open: without a ZAP handler libzmq admits any key. Therefore three things together: every socket has
a ZAP domain that is enforced, the gatekeeper below answers for it, and `find_hole` proves from outside that a
stranger's key and no key at all are refused. Key files are TOML, mode 0600, and are never logged.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import zmq
import zmq.utils.z85

from gateway_proxy.bus.codec import convert
from gateway_proxy.errors import BadMessage, ConfigError

Role = Literal["read", "trade"]
#: Which sockets a role may enter. The socket's name is its ZAP domain.
MAY_ENTER: Final[dict[str, frozenset[str]]] = {
    "read": frozenset({"market", "request"}),
    "trade": frozenset({"market", "request", "trade"}),
}
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}\Z")


@dataclass(frozen=True, slots=True, repr=False)
class ServerKey:
    """The proxy's own key, `server.toml`."""

    public: str
    secret: str


@dataclass(frozen=True, slots=True, repr=False)
class ClientKey:
    """What one client needs: its own key, and the proxy's public one by which it knows the right proxy."""

    public: str
    secret: str
    server: str

    @classmethod
    def load(cls, path: Path) -> ClientKey:
        """Raises ConfigError for a file that is missing, broken, or readable by others."""
        key: ClientKey = _load(path, cls)
        return key

    def secure(self, socket: zmq.Socket[Any]) -> None:
        """Make a connecting socket use this key."""
        socket.setsockopt(zmq.CURVE_SERVERKEY, self.server.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.secret.encode())


@dataclass(frozen=True, slots=True, repr=False)
class AllowedClient:
    """One line of the guest list, `clients/<name>.toml`: a public key and what it may do."""

    public: str
    role: Role


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """The proxy's key and everybody who may connect, by name."""

    server: ServerKey
    clients: dict[str, AllowedClient]

    @classmethod
    def load(cls, directory: Path) -> KeyRing:
        """Raises ConfigError naming the file that is missing, broken, or open to others."""
        paths = sorted((directory / "clients").glob("*.toml"))
        return cls(
            _load(directory / "server.toml", ServerKey), {path.stem: _load(path, AllowedClient) for path in paths}
        )

    def name_of(self, public: str) -> str | None:
        """Who this key is. Compares in constant time and looks at every key, so that timing tells nothing."""
        found = [name for name, client in self.clients.items() if hmac.compare_digest(client.public, public)]
        return found[0] if found else None

    def secure(self, socket: zmq.Socket[Any], domain: str) -> None:
        """Make a binding socket ask for keys. Call it before `bind`."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self.server.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def create_server_key(directory: Path) -> None:
    """Make the proxy's key. Raises ConfigError if there is one: replacing it would lock every client out."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "clients").mkdir(mode=0o700, exist_ok=True)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    _write(directory / "server.toml", {"public": public, "secret": secret})


def create_client_key(directory: Path, name: str, role: Role, secret_file: Path) -> None:
    """Admit a new client: its public key goes on the guest list, `secret_file` is for the client and nobody else."""
    if not _NAME.match(name) or role not in MAY_ENTER:
        raise ConfigError(f"client {name!r}, role {role!r}: want a name of letters and digits, and read or trade")
    ring = KeyRing.load(directory)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    _write(secret_file, {"public": public, "secret": secret, "server": ring.server.public})
    _write(directory / "clients" / f"{name}.toml", {"public": public, "role": role})


def remove_client(directory: Path, name: str) -> None:
    """Take a client off the guest list. Raises ConfigError when it is not on it; takes effect at the next start."""
    path = directory / "clients" / f"{name}.toml"
    if not _NAME.match(name) or not path.is_file():
        known = ", ".join(sorted(KeyRing.load(directory).clients)) or "nobody"
        raise ConfigError(f"client {name!r} is not on the list; there are: {known}")
    path.unlink()


def require_safe_host(host: str, has_keys: bool) -> None:
    """Raises ConfigError unless `host` is loopback or keys protect it: anybody who reaches the sockets may trade."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise ConfigError(f"[bus] host {host!r}: want an IP address such as 127.0.0.1 or ::1") from error
    if not is_loopback and not has_keys:
        raise ConfigError(
            f"[bus] host {host!r} is not a loopback address, and no keys protect it; "
            'set [bus] keys_dir, or use 127.0.0.1 or transport = "ipc" and an SSH tunnel'
        )


class Gatekeeper:
    """Answers libzmq's question "may this key enter?" (ZAP, RFC 27) for the sockets of one context. Non-blocking."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], ring: KeyRing) -> None:
        self._ring = ring
        self.refused = 0
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind("inproc://zeromq.zap.01")

    def answer_all(self) -> None:
        """Answer everything that waits. Call it when the socket's FD is readable."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            name = self._admitted(frames)
            self.refused += name is None
            code, text, user = (b"400", b"refused", b"") if name is None else (b"200", b"OK", name.encode())
            self.socket.send_multipart([b"1.0", frames[1], code, text, user, b""])

    def _admitted(self, frames: list[bytes]) -> str | None:
        if len(frames) != 7 or frames[0] != b"1.0" or frames[5] != b"CURVE":
            return None
        name = self._ring.name_of(zmq.utils.z85.encode(frames[6]).decode())
        if name is None or frames[2].decode(errors="replace") not in MAY_ENTER[self._ring.clients[name].role]:
            return None
        return name


def find_hole(endpoints: dict[str, str], server_public: str, timeout_s: float = 5.0) -> str | None:
    """The canary: try every endpoint with a stranger's key and with none. Returns what got in, None if nothing did.

    Blocks; run it in a thread while the gatekeeper's loop goes on. No answer at all within `timeout_s` is refusal, too.
    """
    public, secret = (key.decode() for key in zmq.curve_keypair())
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        for name, endpoint in endpoints.items():
            for what, key in (("a stranger's key", ClientKey(public, secret, server_public)), ("no key", None)):
                if _gets_in(context.socket(zmq.SUB if name == "market" else zmq.DEALER), endpoint, key, timeout_s):
                    return f"{what} was admitted to the {name} socket"
        return None
    finally:
        context.destroy(linger=0)


def _gets_in(socket: zmq.Socket[bytes], endpoint: str, key: ClientKey | None, timeout_s: float) -> bool:
    """`socket` must be of a type that the endpoint talks to, or the answer would be no for the wrong reason."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    if key is not None:
        key.secure(socket)
    refusals = (
        zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    )
    monitor = socket.get_monitor_socket(refusals | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    socket.connect(endpoint)
    try:
        if not monitor.poll(int(timeout_s * 1000)):
            return False
        return int.from_bytes(monitor.recv_multipart()[0][:2], "little") == zmq.EVENT_HANDSHAKE_SUCCEEDED
    finally:
        socket.disable_monitor()
        monitor.close(linger=0)
        socket.close(linger=0)


def _load(path: Path, kind: type[Any]) -> Any:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} can be read by others (mode {mode:04o}); chmod 600 it")
        read = convert(tomllib.loads(path.read_text()), kind, str(path))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read key file {path}: {error}") from error
    except BadMessage as error:
        # Not the error's own text: it would quote what it found, and that may be a secret.
        raise ConfigError(f"key file {path}: want the entries {' '.join(kind.__slots__)}") from error
    for name in ("public", "secret", "server"):
        if not _Z85.match(getattr(read, name, "0" * 40)):
            raise ConfigError(f"key file {path}: {name} is no key (40 characters of Z85)")
    return read


def _write(path: Path, entries: dict[str, str]) -> None:
    """A new file of mode 0600 from its first byte on; an old one is never overwritten."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot create key file {path}: {error.strerror}") from error
    with os.fdopen(fd, "w") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in entries.items())
