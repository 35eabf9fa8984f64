"""Who may connect. Without keys, only this machine."""

from __future__ import annotations

import ipaddress

from gateway_proxy.errors import ConfigError


def require_safe_host(host: str) -> None:
    """Raises ConfigError unless `host` is a loopback address: anybody who reaches the sockets may trade."""
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError as error:
        raise ConfigError(f"[bus] host {host!r}: want an IP address such as 127.0.0.1 or ::1") from error
    raise ConfigError(
        f"[bus] host {host!r} is not a loopback address, and there are no keys to protect it; "
        'use 127.0.0.1, or transport = "ipc", and reach it from other hosts through an SSH tunnel'
    )
