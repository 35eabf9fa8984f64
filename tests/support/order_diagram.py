"""Draws the order table as Mermaid. `python -m tests.support.order_diagram` rewrites the drawing in docs/orders.md."""

from __future__ import annotations

from pathlib import Path

from gateway_proxy.core.orders import TERMINAL, TRANSITIONS, State

PAGE = Path(__file__).resolve().parents[2] / "docs" / "orders.md"
BEGIN, END = "<!-- order table: begin -->\n", "<!-- order table: end -->\n"


def drawing() -> str:
    """One arrow per pair of states; events that change nothing are left out."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (source, event), target in TRANSITIONS.items():
        if source is not target:
            arrows.setdefault((source, target), []).append(event.value)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> intent: accepted", "    [*] --> refused: refused"]
    lines += [f"    {a.value} --> {b.value}: {', '.join(events)}" for (a, b), events in arrows.items()]
    lines += [f"    {state.value} --> [*]" for state in State if state in TERMINAL]
    return "\n".join([*lines, "```", ""])


def page_with_drawing() -> str:
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + drawing() + END + tail


if __name__ == "__main__":
    PAGE.write_text(page_with_drawing())
