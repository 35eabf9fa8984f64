"""Who is connected to the Gateway's port, and does he read? Looks at the kernel's tables from outside (Linux).

A client whose receive queue holds bytes that never get less is not reading its socket, whatever its library says.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
LOOKS: Final = 4
LOOK_SPACING_S: Final = 0.3


def why_unreachable(error: OSError) -> str:
    """Why a connect failed, without the address: whoever tells it, names that himself."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    # asyncio puts its own words over the system's; negative numbers are those of a failed name look-up.
    system = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
    return system or str(error)


@dataclass(frozen=True, slots=True)
class Peer:
    """One established connection to the Gateway. `state` is the process's: S sleeping, R running, T stopped."""

    pid: int
    program: str
    state: str
    local_port: int
    unread_bytes: int
    unsent_bytes: int


@dataclass(frozen=True, slots=True)
class Listener:
    """One peer, looked at several times. `unread_grows`: bytes waited at every look and never got fewer."""

    peer: Peer
    unread_grows: bool


def peers_of(host: str, port: int) -> list[Peer]:
    """Client ends, on this machine, of connections to host:port. Empty where the kernel has no such tables."""
    try:
        wanted = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return []
    rows = [row for name in ("tcp", "tcp6") for row in _table(PROC / "net" / name)]
    owners = _owners({inode for *_, inode in rows})
    found = []
    for address, remote_port, local_port, unread, unsent, inode in rows:
        if remote_port == port and address in wanted and inode in owners:
            pid = owners[inode]
            found.append(Peer(pid, _program(pid), _state(pid), local_port, unread, unsent))
    return found


def watch(host: str, port: int) -> list[Listener]:
    """Look LOOKS times; takes about a second."""
    seen: dict[tuple[int, int], list[Peer]] = {}
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_SPACING_S)
        for peer in peers_of(host, port):
            seen.setdefault((peer.pid, peer.local_port), []).append(peer)
    listeners = []
    for looks in seen.values():
        unread = [peer.unread_bytes for peer in looks]
        never_less = all(a <= b for a, b in zip(unread, unread[1:], strict=False))
        listeners.append(Listener(looks[-1], len(unread) == LOOKS and unread[0] > 0 and never_less))
    return listeners


def _table(path: Path) -> list[tuple[str, int, int, int, int, str]]:
    """Rows (remote address, remote port, local port, unread, unsent, inode) of established connections."""
    try:
        lines = path.read_text().splitlines()[1:]
    except OSError:
        return []
    rows = []
    for line in lines:
        fields = line.split()
        if fields[3] != "01":
            continue
        address, remote_port = fields[2].split(":")
        unsent, unread = fields[4].split(":")
        local_port = fields[1].split(":")[1]
        rows.append(
            (_address(address), int(remote_port, 16), int(local_port, 16), int(unread, 16), int(unsent, 16), fields[9])
        )
    return rows


def _address(text: str) -> str:
    """The kernel prints 32-bit words in host byte order."""
    packed = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _owners(inodes: set[str]) -> dict[str, int]:
    """Socket inode -> pid, for the processes we may look into."""
    owners: dict[str, int] = {}
    for directory in PROC.glob("[0-9]*/fd"):
        for link in _descriptors(directory):
            inode = link[8:-1] if link.startswith("socket:[") else ""
            if inode in inodes:
                owners[inode] = int(directory.parent.name)
    return owners


def _descriptors(directory: Path) -> list[str]:
    """What a process holds open, as far as it may be seen. One that is closed meanwhile hides none of the others."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    links = []
    for name in names:
        with suppress(OSError):
            links.append(os.readlink(directory / name))
    return links


def _program(pid: int) -> str:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    scripts = [word for word in words[1:] if word and not word.startswith("-")]
    return f"{Path(words[0]).name} {scripts[0]}" if scripts else Path(words[0]).name


def _state(pid: int) -> str:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "?"
