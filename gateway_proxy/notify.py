"""Tells whoever started this process that it is ready, alive or stopping, in the sd_notify protocol.

systemd and our launcher read it. One datagram to the socket named by NOTIFY_SOCKET; without that variable every call
does nothing. It never blocks and never raises: a supervisor that does not listen is no reason to stop working.
"""

from __future__ import annotations

import os
import socket


def ready(status: str = "") -> bool:
    """Start-up is over and the process does its work. True if somebody was told."""
    return _send("READY=1" + (f"\nSTATUS={status}" if status else ""))


def alive() -> bool:
    """The loop still turns; to be sent at least every `watchdog_s()` seconds when that is not None."""
    return _send("WATCHDOG=1")


def stopping() -> bool:
    """The end has begun; the supervisor should not take it for a crash."""
    return _send("STOPPING=1")


def watchdog_s() -> float | None:
    """Half the time after which systemd would kill a silent process; None when nobody watches."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6


def _send(message: str) -> bool:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):  # an abstract socket of Linux
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
    except OSError:
        return False
    return True
