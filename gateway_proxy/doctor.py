"""`gateway-proxy doctor`: why do I get no bars? Looks at what can be seen from outside and asks the running proxy."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from gateway_proxy.bus.client import Client
from gateway_proxy.bus.runtime import default_runtime_dir
from gateway_proxy.core.verdict import ADVICE, Verdict
from gateway_proxy.errors import ConfigError, ProxyError

_DIAL_S = 1.0


def examine(config: str | None, runtime: Path | None) -> dict[str, Any]:
    """One report: the verdict, what was checked with its result, and the proxy's own evidence."""
    checks: list[dict[str, Any]] = []
    directory = runtime or default_runtime_dir()
    if config is not None:
        checks += _configuration(config)
    checks.append(_permissions(directory))
    try:
        with Client.connect(runtime, name="doctor") as client:
            diagnosis = client.diagnose()
    except ProxyError as error:
        checks.append(_check("proxy", False, str(error)))
        return {"verdict": error.code, "advice": "Start the proxy, then ask again.", "checks": checks, "evidence": {}}
    checks.append(_check("proxy", True, "answers on the bus"))
    if any(not check["good"] for check in checks) and diagnosis["verdict"] == Verdict.OK:
        return {"verdict": "surroundings", "advice": "See the failed checks.", "checks": checks} | {
            "evidence": diagnosis["evidence"]
        }
    return {**diagnosis, "checks": checks, "advice": ADVICE[Verdict(diagnosis["verdict"])]}


def _check(name: str, good: bool, text: str) -> dict[str, Any]:
    return {"check": name, "good": good, "text": text}


def _configuration(config: str) -> list[dict[str, Any]]:
    from gateway_proxy.config import load

    try:
        settings = load(config)
    except ConfigError as error:
        return [_check("configuration", False, str(error))]
    gateway = settings.gateway
    try:
        socket.create_connection((gateway.host, gateway.port), timeout=_DIAL_S).close()
        port = _check("port", True, f"{gateway.host}:{gateway.port} accepts connections")
    except OSError as error:
        port = _check(
            "port", False, f"{gateway.host}:{gateway.port}: {error}; is IB Gateway running with its API enabled?"
        )
    return [_check("configuration", True, f"{config} is in order"), port]


def _permissions(directory: Path) -> dict[str, Any]:
    try:
        facts = directory.stat()
    except FileNotFoundError:
        return _check("runtime directory", False, f"{directory} does not exist; no proxy has run there")
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        return _check("runtime directory", False, f"{directory} must be yours alone (mode 0700)")
    return _check("runtime directory", True, f"{directory} is yours alone")


def render(report: dict[str, Any]) -> str:
    lines = [f"{'ok ' if check['good'] else 'BAD'}  {check['check']}: {check['text']}" for check in report["checks"]]
    gateway = report["evidence"].get("gateway", {})
    if gateway:
        lines.append(
            f"     gateway: {gateway['state']}, round trip {gateway['rtt_ms']} ms, {gateway['reason'] or 'no complaint'}"
        )
    for finding in report["evidence"].get("recent", [])[-5:]:
        lines.append(f"     lately: {finding['verdict']}: {finding['evidence'].get('text', '')}")
    lines += [f"verdict: {report['verdict']}", f"advice:  {report['advice']}"]
    return "\n".join(lines)
