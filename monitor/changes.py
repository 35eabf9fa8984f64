"""What changed from one body of a topic to the next, as sentences. Pure: two bodies in, tellings out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from monitor import lights
from monitor.bodies import (
    Body,
    contract_key,
    decision_text,
    decisions,
    inner,
    named,
    number,
    rows,
    text,
    whole,
)
from monitor.view import Light


@dataclass(frozen=True, slots=True)
class Telling:
    """An event that has no number yet."""

    kind: str
    light: Light
    subject: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


def of_gateway(old: Body | None, new: Body) -> Iterator[Telling]:
    before, after = text(old or {}, "state", "unknown"), text(new, "state", "unknown")
    if before != after and not _still_dialling(old or {}, new):
        reason = text(new, "reason")
        yield Telling(
            "gateway",
            lights.of(lights.GATEWAY, after),
            "gateway",
            f"{before} -> {after}" + (f": {reason}" if reason else ""),
            {"from": before, "to": after, "reason": reason},
        )
    old_farms = inner(old or {}, "farms")
    for name, farm in named(new, "farms"):
        state = text(farm, "state")
        was = text(inner(old_farms, name), "state")
        light = lights.of(lights.FARM, state)
        # A farm that falls asleep and wakes up again is ordinary life.
        if was != state and not (light is Light.GREEN and lights.of(lights.FARM, was) in (Light.GREEN, Light.DARK)):
            yield Telling("farm", light, name, f"farm {was or 'unknown'} -> {state}", {"from": was, "to": state})


def _still_dialling(old: Body, new: Body) -> bool:
    """One more attempt, or one more failure for the reason that was told before: no news."""
    if not inner(new, "outage") or text(old, "state") not in ("disconnected", "connecting"):
        return False
    known = text(inner(old, "outage"), "reason")
    return text(new, "state") == "connecting" or (
        text(new, "state") == "disconnected" and text(inner(new, "outage"), "reason") == known
    )


def of_breakers(old: Body | None, new: Body) -> Iterator[Telling]:
    old_breakers = inner(old or {}, "breakers")
    for name, breaker in named(new, "breakers"):
        state, was = text(breaker, "state"), text(inner(old_breakers, name), "state", "closed")
        if state != was:
            cause, retry_in_s = text(breaker, "cause"), number(breaker, "retry_in_s")
            more = f" ({cause})" if cause and state != "closed" else ""
            more += f", next probe in {retry_in_s:.0f} s" if retry_in_s and state == "open" else ""
            yield Telling(
                "breaker",
                lights.of(lights.BREAKER, state),
                name,
                f"breaker {was} -> {state}{more}",
                {"from": was, "to": state, "cause": cause},
            )


def of_streams(old: Body | None, new: Body) -> Iterator[Telling]:
    """Told: a stream that turns bad and one that is well again; a stream that opens or closes in peace is not."""
    before = {text(row, "topic"): text(row, "state") for row in rows(old or {}, "streams")}
    for row in rows(new, "streams"):
        topic, state = text(row, "topic"), text(row, "state")
        was = before.get(topic, "")
        if was == state:
            continue
        light, was_light = lights.of(lights.STREAM, state), lights.of(lights.STREAM, was)
        if light is Light.RED or was_light is Light.RED:
            yield Telling("stream", light, topic, f"{was or 'new'} -> {state}", {"from": was, "to": state})


def of_engine(name: str, old: Body | None, new: Body) -> Iterator[Telling]:
    state, was = text(new, "state"), text(old or {}, "state")
    if state != was:
        yield Telling("engine", lights.of(lights.WORKER, state), name, f"{was or 'new'} -> {state}")
    signals, signals_before = whole(new, "signals"), whole(old or {}, "signals")
    if signals is not None and signals > (signals_before or 0) and old is not None:
        fresh = [one for one in decisions(new) if one not in decisions(old)]
        chosen = next((one for one in reversed(fresh) if text(one, "side")), fresh[-1] if fresh else {})
        yield Telling("signal", Light.GREEN, name, decision_text(chosen) or "signal", {"decision": chosen})


def of_process(name: str, old: Body | None, new: Body) -> Iterator[Telling]:
    state, was = text(new, "state"), text(old or {}, "state")
    restarts, restarts_before = whole(new, "restarts") or 0, whole(old or {}, "restarts") or 0
    light = lights.of(lights.WORKER, state)
    if restarts > restarts_before and old is not None:
        yield Telling("process", Light.AMBER, name, f"restarted ({restarts} times so far)", {"restarts": restarts})
    elif state != was and (light is Light.RED or lights.of(lights.WORKER, was) is Light.RED):
        yield Telling("process", light, name, f"{was or 'new'} -> {state}")


def of_order(old: Body | None, new: Body) -> Iterator[Telling]:
    state, was = text(new, "state"), text(old or {}, "state")
    filled, filled_before = number(new, "filled") or 0.0, number(old or {}, "filled") or 0.0
    if state == was and filled == filled_before:
        return
    what = f"{text(new, 'action')} {number(new, 'quantity') or 0:g} {contract_key(new)}"
    reason = text(new, "reason")
    yield Telling(
        "order",
        lights.of_order(state),
        text(new, "engine"),
        f"{what} {state}" + _filled(filled, new) + _simulated(new) + (f": {reason}" if reason else ""),
        {"client_order_id": text(new, "client_order_id"), "state": state, "reason": reason},
    )


def _filled(filled: float, order: Body) -> str:
    quantity = number(order, "quantity") or 0.0
    return f" {filled:g}/{quantity:g}" if 0 < filled < quantity else ""


def _simulated(body: Body) -> str:
    return " (dry-run)" if body.get("simulated") is True else ""


def of_fill(old: Body | None, new: Body) -> Iterator[Telling]:
    """The execution itself once; the commission and the profit that follow under the same id only if they say money."""
    pnl = number(new, "realized_pnl")
    what = f"{text(new, 'action')} {number(new, 'quantity') or 0:g} {contract_key(new)} @ {number(new, 'price') or 0:g}"
    facts = {"client_order_id": text(new, "client_order_id"), "exec_id": text(new, "exec_id"), "realized_pnl": pnl}
    if old is None:
        leg = f" {text(new, 'leg')}" if text(new, "leg") else ""
        yield Telling("fill", Light.GREEN, text(new, "engine"), f"{what}{leg}{_simulated(new)}", facts)
    elif pnl and number(old, "realized_pnl") is None:
        yield Telling("fill", Light.GREEN, text(new, "engine"), f"{what}: realized {pnl:+.2f}", facts)


def of_verdict(new: Body) -> Iterator[Telling]:
    verdict = text(new, "verdict")
    light = lights.of_verdict(verdict)
    if light is not Light.GREEN:
        evidence = inner(new, "evidence")
        told = (text(new, "request_class"), text(evidence, "request_class"), text(evidence, "topic"))
        asked = next(filter(None, told), "request")
        about, advice = text(evidence, "about"), text(new, "advice")
        what = f"{verdict} {about}".rstrip() + (f": {advice}" if advice else "")
        yield Telling("verdict", light, asked, what, {"evidence": evidence})
