"""What the engine hears about bars: a window per symbol, its past when it is missing, each new bar once. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.bars import BarWindow, Taken, unbelievable
from engine.effects import Ask, Effect, Failure, Log, Question, Reply
from gateway_proxy import Bar, Message, topics

#: Real seconds an engine waits for history before it works with what it has.
HISTORY_TIMEOUT_S = 20.0
ASK_AGAIN_S = 5.0


class History(enum.Enum):
    """Whether a symbol's past is known: nothing is decided while the answer is still to come."""

    MISSING = "missing"
    ASKED = "asked"
    KNOWN = "known"


#: Messages that a bar became known by, as `order.bracket` cites them; none for bars that came as an answer.
Cites = tuple[dict[str, Any], ...]


@dataclass(slots=True)
class _Series:
    window: BarWindow
    history: History = History.MISSING
    ask_at: float = 0.0
    failure: str = ""
    told_ns: int = 0
    newest_is_live: bool = False
    cites: Cites = ()
    refused: int = 0


@dataclass(frozen=True, slots=True)
class NewBar:
    """A completed bar to decide on. `live` False: it came with history, an earlier life may have acted on it."""

    symbol: str
    window: BarWindow
    start_ns: int
    live: bool
    cites: Cites = ()


@dataclass(slots=True)
class Feed:
    """`size` is the bar size of the bus, `capacity` the bars a window holds and a backfill asks for."""

    symbols: tuple[str, ...]
    size: str
    capacity: int
    rth: bool = True
    _series: dict[str, _Series] = field(default_factory=dict)
    _effects: list[Effect] = field(default_factory=list)
    _new: list[NewBar] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._series = {symbol: _Series(BarWindow(self.capacity)) for symbol in self.symbols}

    @property
    def bar_s(self) -> int:
        return topics.BAR_SECONDS[self.size]

    def window(self, symbol: str) -> BarWindow:
        return self._series[symbol].window

    def last_bar_ns(self) -> dict[str, int | None]:
        return {symbol: series.window.last_start_ns for symbol, series in self._series.items()}

    def topic(self, symbol: str) -> str:
        return topics.bars(symbol, self.size)

    # ------------------------------------------------------------ what happened

    def receive_message(self, message: Message) -> None:
        """A message of a bars/ topic. Other topics and symbols that nobody asked for are ignored."""
        symbol = message.topic.split("/")[1]
        series = self._series.get(symbol)
        if series is None or message.topic != self.topic(symbol):
            return
        if message.kind == "welcome":
            snapshot = message.body.get("snapshot") if isinstance(message.body, dict) else None
            rows = snapshot if isinstance(snapshot, list) else [snapshot] if snapshot else []
            self._take(symbol, rows, live=False, cites=_cites(message))
        elif message.kind == "bar":
            self._take(symbol, [message.body], live=True, cites=_cites(message))
            if isinstance(message.body, dict) and message.body.get("gap"):
                self._want_history(series)

    def receive_gap(self, topic: str) -> None:
        """Messages of this topic were lost: ask for the past before deciding again."""
        for symbol, series in self._series.items():
            if topic == self.topic(symbol):
                self._want_history(series)

    def receive_reply(self, reply: Reply, now: float) -> None:
        """The answer to a `bars` question."""
        symbol = reply.question.subject
        series = self._series[symbol]
        if isinstance(reply, Failure):
            # With a failure the engine goes on with the bars it has and asks again; a wait would blind it.
            series.history = History.KNOWN if len(series.window) else History.MISSING
            series.ask_at = now + max(ASK_AGAIN_S, reply.retry_in_s or 0.0)
            # Once per cause: an outage of a night is asked about thousands of times.
            level: Any = "warning" if reply.code != series.failure else "debug"
            series.failure = reply.code
            self._effects.append(Log(level, "no history", {"symbol": symbol, "code": reply.code, "why": reply.message}))
        else:
            series.failure = ""
            series.history = History.KNOWN
            series.ask_at = float("inf")
            series.window.heal()
            rows = reply.body.get("bars", ()) if isinstance(reply.body, dict) else ()
            self._take(symbol, rows, live=False)
        self._tell(symbol, series)

    def ask_history(self, now: float) -> None:
        """Ask for every series that lacks its past and whose time has come."""
        for symbol, series in self._series.items():
            if series.history is not History.ASKED and series.ask_at <= now:
                series.history, series.ask_at = History.ASKED, float("inf")
                args = {"contract": symbol, "size": self.size, "count": self.capacity, "rth": self.rth}
                self._effects.append(Ask(Question("bars", symbol), "request", "bars", args, HISTORY_TIMEOUT_S))

    def next_timer(self) -> float | None:
        due = [series.ask_at for series in self._series.values() if series.ask_at != float("inf")]
        return min(due, default=None)

    def effects(self) -> list[Effect]:
        done = self._effects.copy()
        self._effects.clear()
        return done

    def new_bars(self) -> list[NewBar]:
        """Completed bars to decide on, each once, in the order they became known; empties the list."""
        done = self._new.copy()
        self._new.clear()
        return done

    # ------------------------------------------------------------ inside

    def _want_history(self, series: _Series) -> None:
        if series.history is not History.ASKED:
            series.history, series.ask_at = History.MISSING, 0.0

    def _take(self, symbol: str, rows: Iterable[Any], *, live: bool, cites: Cites = ()) -> None:
        series = self._series[symbol]
        for row in rows:
            try:
                bar = row if isinstance(row, Bar) else msgspec.convert(row, Bar)
            except msgspec.ValidationError as error:
                self._refuse(symbol, series, str(error))
                continue
            taken = series.window.take(bar)
            if taken is Taken.REFUSED:
                self._refuse(symbol, series, unbelievable(bar) or "")
            elif taken is Taken.APPENDED:
                series.newest_is_live, series.cites = live, cites
                if live:
                    self._tell(symbol, series)
        if not live:
            self._tell(symbol, series)

    def _refuse(self, symbol: str, series: _Series, why: str) -> None:
        series.refused += 1
        self._effects.append(Log("warning", "bar refused", {"symbol": symbol, "why": why, "refused": series.refused}))

    def _tell(self, symbol: str, series: _Series) -> None:
        newest = series.window.last_start_ns
        if newest is None or newest <= series.told_ns or series.history is not History.KNOWN:
            return
        series.told_ns = newest
        self._new.append(NewBar(symbol, series.window, newest, series.newest_is_live, series.cites))


def _cites(message: Message) -> Cites:
    """A welcome to a topic on which nothing was told yet has no number to cite."""
    return ({"topic": message.topic, "seq": message.seq, "epoch": message.epoch},) if message.seq else ()
