"""The windows over the panels: verdicts with their timelines, and the proxy's own diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from monitor.render import clock, milliseconds
from monitor.tui import panels
from monitor.view import Light, VerdictView


class TimelineScreen(ModalScreen[None]):
    """Arrows choose a request, its timeline stands below."""

    BINDINGS = [Binding("escape,t,q", "dismiss", "close")]

    def __init__(self, verdicts: Sequence[VerdictView]) -> None:
        super().__init__()
        self._verdicts = verdicts

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = "requests and their timelines"
            if self._verdicts:
                yield OptionList(*(Option(_line(one), id=str(one.number)) for one in self._verdicts))
                with VerticalScroll():
                    yield Static(panels.timeline(self._verdicts[0]), id="timeline")
            else:
                yield Static("no verdict has been published yet")
        yield Footer()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        chosen = next(one for one in self._verdicts if str(one.number) == event.option.id)
        self.query_one("#timeline", Static).update(panels.timeline(chosen))


def _line(one: VerdictView) -> Text:
    total = one.timeline.get("total_ms")
    took = milliseconds(float(total)) if isinstance(total, int | float) else "-"
    text = Text(f"{clock(one.wall_ns)} {took:>7}  ", "dim", no_wrap=True)
    text.append(f"{one.verdict:<18}", panels.STYLE[one.light])
    text.append(f" {one.request_class} {one.subject}")
    return text


class DiagnosisScreen(ModalScreen[None]):
    """What the proxy answers to "why do I get nothing?"."""

    BINDINGS = [Binding("escape,d,q", "dismiss", "close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="window") as window:
            window.border_title = "why?"
            yield Static("asking the proxy ...", id="diagnosis")
        yield Footer()

    def show(self, diagnosis: dict[str, Any]) -> None:
        text = Text()
        verdict = str(diagnosis.get("verdict", "no verdict"))
        text.append(verdict, panels.STYLE[Light.GREEN if verdict == "ok" else Light.RED])
        text.append(f"\n{diagnosis.get('advice', '')}\n")
        evidence = diagnosis.get("evidence")
        for name, value in evidence.items() if isinstance(evidence, dict) else ():
            text.append(f"\n{name}: ", "dim")
            text.append(str(value)[:500])
        self.query_one("#diagnosis", Static).update(text)

    def fail(self, reason: str) -> None:
        self.query_one("#diagnosis", Static).update(Text(reason, "bold red"))
