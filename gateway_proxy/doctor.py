"""`gateway-proxy doctor`: why do I get no bars? Collects every symptom it can and lets the decision table name it.

It asks the running proxy, sends a fresh client to the Gateway, looks at the kernel's socket tables, and checks the
configuration and the runtime directory. It works without a proxy too: then it judges whatever client it finds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from gateway_proxy.bus.client import Client
from gateway_proxy.bus.runtime import default_runtime_dir
from gateway_proxy.core.diagnosis import diagnose
from gateway_proxy.core.symptoms import Ending, Symptoms
from gateway_proxy.core.verdict import ADVICE, Verdict
from gateway_proxy.errors import ConfigError, ProxyError
from gateway_proxy.settings import GatewaySettings, Settings
from gateway_proxy.sidecar import SidecarReport, ask
from gateway_proxy.sockets import Listener, watch

#: Added to the proxy's client id for the fresh client, so that the two never clash.
SIDECAR_ID_OFFSET = 900
#: Verdicts that speak of one client's reading; the client is then named.
_READING = (Verdict.LOOP_MISMATCH, Verdict.READER_DEAD, Verdict.PROXY_STALLED)


def examine(config: str | None, runtime: Path | None) -> dict[str, Any]:
    """One report: verdict, sign, advice, checks, and the evidence they rest on."""
    checks: list[dict[str, Any]] = []
    settings = _configuration(config, checks)
    directory = runtime or default_runtime_dir(settings.bus.runtime_dir if settings else "")
    checks.append(_permissions(directory))
    symptoms, evidence = _proxy(directory, checks)
    if settings is not None:
        symptoms, more = _surroundings(settings.gateway, symptoms, checks)
        evidence |= more
    verdict, sign = diagnose(symptoms)
    unread = [one["peer"] for one in evidence.get("clients", ()) if one["unread_grows"]]
    if unread and verdict in _READING:
        sign = f"{unread[0]['program']}, pid {unread[0]['pid']}: {sign}"
    evidence["symptoms"] = symptoms.body()
    return {
        "verdict": verdict.value,
        "sign": sign,
        "advice": ADVICE[verdict],
        "checks": checks,
        "evidence": evidence,
    }


def _check(name: str, good: bool, text: str) -> dict[str, Any]:
    return {"check": name, "good": good, "text": text}


def _configuration(config: str | None, checks: list[dict[str, Any]]) -> Settings | None:
    from gateway_proxy.config import load

    if config is None:
        return None
    try:
        settings = load(config)
    except ConfigError as error:
        checks.append(_check("configuration", False, str(error)))
        return None
    checks.append(_check("configuration", True, f"{config} is in order"))
    return settings


def _permissions(directory: Path) -> dict[str, Any]:
    try:
        facts = directory.stat()
    except FileNotFoundError:
        return _check("runtime directory", False, f"{directory} does not exist; no proxy has run there")
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        return _check("runtime directory", False, f"{directory} must be yours alone (mode 0700)")
    return _check("runtime directory", True, f"{directory} is yours alone")


def _proxy(runtime: Path, checks: list[dict[str, Any]]) -> tuple[Symptoms, dict[str, Any]]:
    """The proxy's own symptoms, or empty ones when no proxy answers."""
    try:
        with Client.connect(runtime, name="doctor") as client:
            diagnosis = client.diagnose()
    except ProxyError as error:
        checks.append(_check("proxy", False, str(error)))
        return Symptoms(), {}
    evidence: dict[str, Any] = diagnosis["evidence"]
    checks.append(_check("proxy", True, f"answers; gateway session {evidence['gateway']['state']}"))
    if stopped := evidence["gateway"]["openings_stopped"]:
        checks.append(_check("orders", False, f"openings are stopped: {stopped}"))
    return msgspec.convert(evidence["symptoms"], Symptoms), evidence


def _surroundings(
    gateway: GatewaySettings, symptoms: Symptoms, checks: list[dict[str, Any]]
) -> tuple[Symptoms, dict[str, Any]]:
    """What a fresh client gets, and whether anybody on this machine leaves his socket unread."""
    listeners = watch(gateway.host, gateway.port)
    report = ask(gateway.host, gateway.port, gateway.client_id + SIDECAR_ID_OFFSET)
    checks.append(_sidecar_check(gateway, report))
    checks += [_listener_check(listener) for listener in listeners]
    symptoms = replace(
        symptoms,
        port_refused=report.refused,
        socket=symptoms.socket if symptoms.socket is not None else (False if report.refused else None),
        fresh_handshake=report.handshake,
        fresh=report.round_trip if report.round_trip is not None else _as_round_trip(report.handshake),
        fresh_history=report.history,
    )
    symptoms = _judge_listeners(symptoms, listeners)
    evidence = {"sidecar": asdict(report), "clients": [asdict(listener) for listener in listeners]}
    return symptoms, evidence


def _as_round_trip(handshake: Ending) -> Ending | None:
    """Who is not let in gets no answer either."""
    return None if handshake is Ending.OK else handshake


def _judge_listeners(symptoms: Symptoms, listeners: Iterable[Listener]) -> Symptoms:
    """A sleeping process whose socket stays unread has no loop that owns it; a stopped or busy one is blocked."""
    for listener in listeners:
        if not listener.unread_grows:
            continue
        asleep = listener.peer.state in ("S", "D")
        return replace(
            symptoms,
            unread_bytes=listener.peer.unread_bytes,
            unread_grows=True,
            owner_reads=False if asleep else symptoms.owner_reads,
            loop_lag_s=symptoms.loop_lag_s if asleep else 60.0,
            main=symptoms.main or Ending.TIMEOUT,
        )
    return symptoms


def _sidecar_check(gateway: GatewaySettings, report: SidecarReport) -> dict[str, Any]:
    where = f"{gateway.host}:{gateway.port}"
    if report.round_trip is Ending.OK:
        history = report.history.value if report.history is not None else "not asked"
        return _check(
            "fresh client", report.history is not Ending.TIMEOUT,
            f"{where} answered in {report.round_trip_ms} ms; one history request: {history} {report.why}".rstrip(),
        )  # fmt: skip
    why = report.why.removeprefix(f"{where}: ") or "let it in, but answers nothing"
    return _check("fresh client", False, f"{where}: {why}")


def _listener_check(listener: Listener) -> dict[str, Any]:
    peer = listener.peer
    name = f"{peer.program} (pid {peer.pid})"
    if listener.unread_grows:
        return _check("clients", False, f"{name} leaves {peer.unread_bytes} bytes unread and never takes them")
    return _check("clients", True, f"{name} reads its socket")


def _round_trip(rtt_ms: float | None) -> str:
    return "not measured" if rtt_ms is None else f"{rtt_ms:.0f} ms"


def _lately(finding: dict[str, Any]) -> str:
    evidence = finding["evidence"]
    name = f"{finding['verdict']} {evidence.get('about', '')}".rstrip()
    return f"{name}: {evidence.get('text', '')}"


def render(report: dict[str, Any]) -> str:
    """For people: the checks, what happened lately, the cause and what to do."""
    lines = [f"{'ok ' if check['good'] else 'BAD'}  {check['check']}: {check['text']}" for check in report["checks"]]
    gateway = report["evidence"].get("gateway")
    if gateway:
        complaint = gateway["reason"] or "no complaint"
        lines.append(f"     gateway: {gateway['state']}, round trip {_round_trip(gateway['rtt_ms'])}, {complaint}")
    lines += [f"     lately: {_lately(finding)}" for finding in report["evidence"].get("recent", [])[-5:]]
    healthy = report["verdict"] == Verdict.OK.value
    lines += [f"verdict: {report['verdict']} ({report['sign']})", f"advice:  {report['advice']}"]
    return "\n".join(lines if not healthy else lines[:-1])
