"""The recorder's rules: what is listened to, how rows are collected, when they must be on disk. Pure.

core.start(now, wall_ns)                  begin to listen, ask for the past
core.receive_message(what, now, wall_ns)  something was heard
core.receive_bars(…), receive_failure(…)  the past was told, or was not
core.effects(), core.next_timer(), core.handle_timer(now), core.finish(wall_ns)

A crash loses at most what is still in memory: `every_s` seconds or `rows_max` rows, whichever comes first.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway_proxy import BadMessage, Bar, Gap, Message, Restarted, topics
from gateway_proxy.recorder.tables import Row, bar_rows, mark_row, market_time_ns, rows_of, weight_of

NEW_YORK: Final = ZoneInfo("America/New_York")
ASK_AGAIN_S: Final = 5.0
#: Rows can be long; so much text at most waits in memory.
BYTES_MAX: Final = 64_000_000
#: Options whose quotes are kept while an order about them lives; each holds a market data line of the Gateway.
FOLLOWED_MAX: Final = 20
#: Words of the order table after which nothing of an order or leg is pending.
OVER: Final = frozenset({"refused", "expired_unsent", "filled", "cancelled", "rejected", "not_placed"})
#: What others ask for anyway; listening opens nothing at the Gateway.
LISTENING: Final = (
    topics.VERDICTS, topics.HEALTH_GATEWAY, topics.HEALTH_BREAKERS, "health/engine/", "health/process/",
    topics.POSITIONS, topics.ACCOUNT, topics.FILLS, "orders/", "quote/",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class History:
    """How much past a bars topic is given at the start and after a gap."""

    count: int = 480
    rth: bool = True


@dataclass(frozen=True, slots=True)
class RecordRules:
    """`streams` are whole topics, which the recorder opens; `listening` prefixes open nothing."""

    streams: tuple[str, ...]
    listening: tuple[str, ...] = LISTENING
    history: Mapping[str, History] = field(default_factory=dict)
    every_s: float = 60.0
    rows_max: int = 50_000
    follow_orders: bool = True


@dataclass(frozen=True, slots=True)
class Subscribe:
    topic: str


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    topic: str


@dataclass(frozen=True, slots=True)
class AskBars:
    """Every AskBars gets exactly one receive_bars or receive_failure."""

    topic: str
    symbol: str
    size: str
    count: int
    rth: bool


@dataclass(frozen=True, slots=True)
class Write:
    """Rows for one file: of one exchange day (YYYY-MM-DD, New York) and one table, in the order they were heard."""

    day: str
    table: str
    rows: list[Row]


Effect = Subscribe | Unsubscribe | AskBars | Write


class RecorderCore:
    """Collects rows per day and table and lets go of all of them together."""

    def __init__(self, rules: RecordRules) -> None:
        self.rules = rules
        self.heard = 0
        self.written = 0
        self.gaps = 0
        self._rows: dict[tuple[str, str], list[Row]] = {}
        self._count = 0
        self._bytes = 0
        self._due: float | None = None
        self._ask_at: dict[str, float] = {}
        self._followed: dict[str, set[str]] = {}
        self._last_ns = 0
        self._market_ns = 0
        self._effects: list[Effect] = []

    # ------------------------------------------------------------ the contract of pure cores

    def start(self, now: float, wall_ns: int) -> None:
        self._mark(now, wall_ns, "started")
        # Orders before bars: on one connection a decision's orders must not seem older than its bar.
        self._effects += [Subscribe(topic) for topic in (*self.rules.listening, *self.rules.streams)]
        self._ask_at = {topic: now for topic in self.rules.streams if topic.startswith("bars/")}
        self._ask_history(now)

    def receive_message(self, what: Message | Gap | Restarted, now: float, wall_ns: int) -> None:
        if isinstance(what, Gap):
            self.gaps += 1
            self._mark(now, wall_ns, "gap", what.topic, what.first, what.last)
            self._want_history(what.topic, now)
        elif isinstance(what, Restarted):
            self._mark(now, wall_ns, "restarted", why=f"{what.old_epoch} ended, {what.new_epoch} began")
            for topic in self.rules.streams:
                self._want_history(topic, now)
        else:
            self._take(what, now, wall_ns)
        self._ask_history(now)

    def receive_silence(self, seconds: float, now: float, wall_ns: int) -> None:
        """Nothing was heard for so long, not even a heartbeat."""
        self._mark(now, wall_ns, "silent", why=f"nothing heard for {seconds:.0f} s")

    def receive_unreadable(self, why: str, now: float, wall_ns: int) -> None:
        """A frame that is no message."""
        self.gaps += 1
        self._mark(now, wall_ns, "unreadable", why=why)

    def receive_bars(self, topic: str, bars: list[Bar], now: float, wall_ns: int) -> None:
        """The past of a bars topic: completed bars only, because the others come again."""
        received_ns = self._tick(wall_ns)
        for row in bar_rows(topic, [bar for bar in bars if bar.complete], received_ns):
            self._add("bars", row, now)

    def receive_failure(self, topic: str, retry_in_s: float | None, now: float) -> None:
        self._ask_at[topic] = now + max(ASK_AGAIN_S, retry_in_s or 0.0)

    def effects(self) -> list[Effect]:
        done, self._effects = self._effects, []
        return done

    def next_timer(self) -> float | None:
        due = [at for at in (self._due, *self._ask_at.values()) if at is not None]
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        self._ask_history(now)
        if self._due is not None and self._due <= now:
            self._let_go()

    def finish(self, now: float, wall_ns: int) -> None:
        """The recording ends here; everything goes to disk."""
        self._mark(now, wall_ns, "stopped")
        self._let_go()

    @property
    def waiting_rows(self) -> int:
        """Rows that a crash would lose now."""
        return self._count

    # ------------------------------------------------------------ inside

    def _take(self, message: Message, now: float, wall_ns: int) -> None:
        received_ns = self._tick(wall_ns)
        try:
            table, rows = rows_of(message, received_ns)
        except BadMessage as error:
            self.gaps += 1
            return self._mark(now, wall_ns, "unreadable", message.topic, message.seq, message.seq, str(error))
        self.heard += 1
        if table == "health" and message.topic == topics.HEALTH_GATEWAY and isinstance(message.body, dict):
            self._see_market_time(message.body.get("market_time_ns") or 0)
        for row in rows:
            self._add(table, row, now)
        if message.kind == "order" and self.rules.follow_orders:
            self._follow(message.body)

    def _add(self, table: str, row: Row, now: float) -> None:
        time_ns = market_time_ns(table, row)
        self._see_market_time(time_ns)
        # Bars belong to their own day, everything else to that of the newest market time; "" until that is known.
        day_ns = time_ns if table == "bars" else self._market_ns
        day = day_of(day_ns) if day_ns else ""
        self._rows.setdefault((day, table), []).append(row)
        self._count += 1
        self._bytes += weight_of(row)
        if self._due is None:
            self._due = now + self.rules.every_s
        if self._count >= self.rules.rows_max or self._bytes >= BYTES_MAX:
            self._let_go()

    def _mark(self, now: float, wall_ns: int, mark: str, topic: str = "", first: int = 0, last: int = 0, why: str = ""
              ) -> None:  # fmt: skip
        self._add("marks", mark_row(self._tick(wall_ns), mark, topic, first, last, why), now)

    def _let_go(self) -> None:
        today = day_of(self._market_ns or self._last_ns)
        for table in [table for day, table in self._rows if not day]:
            early = self._rows.pop(("", table))
            self._rows[today, table] = early + self._rows.get((today, table), [])
        self._effects += [Write(day, table, rows) for (day, table), rows in sorted(self._rows.items(), key=_key)]
        self.written += self._count
        self._rows, self._count, self._bytes, self._due = {}, 0, 0, None

    def _tick(self, wall_ns: int) -> int:
        self._last_ns = max(self._last_ns + 1, wall_ns)
        return self._last_ns

    def _see_market_time(self, time_ns: int) -> None:
        self._market_ns = max(self._market_ns, time_ns)

    def _want_history(self, topic: str, now: float) -> None:
        if topic in self.rules.streams and topic.startswith("bars/"):
            self._ask_at[topic] = min(self._ask_at.get(topic, math.inf), now)

    def _ask_history(self, now: float) -> None:
        for topic in [topic for topic, at in self._ask_at.items() if at <= now]:
            del self._ask_at[topic]
            _, symbol, size, _ = topic.split("/")
            history = self.rules.history.get(topic, History())
            self._effects.append(AskBars(topic, symbol, size, history.count, history.rth))

    def _follow(self, body: dict[str, Any]) -> None:
        """While an order about an option lives, that option's quotes are kept: its fills depend on them."""
        contract = body.get("contract") or {}
        if contract.get("sec_type") != "OPT":
            return
        key = f"{contract['symbol']}.{contract['last_trade_date']}.{contract['right']}.{contract['strike']:.10g}"
        topic, order_id = topics.quote(key), str(body["client_order_id"])
        states = [body["state"], *(leg["state"] for leg in body.get("legs", ()))]
        if any(state not in OVER for state in states):
            if topic not in self._followed and len(self._followed) < FOLLOWED_MAX:
                self._followed[topic] = set()
                self._effects.append(Subscribe(topic))
            if topic in self._followed:
                self._followed[topic].add(order_id)
        elif topic in self._followed:
            self._followed[topic].discard(order_id)
            if not self._followed[topic]:
                del self._followed[topic]
                self._effects.append(Unsubscribe(topic))


def day_of(time_ns: int) -> str:
    """The exchange's day, YYYY-MM-DD in New York."""
    return datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, NEW_YORK).date().isoformat()


def _key(item: tuple[tuple[str, str], list[Row]]) -> tuple[str, str]:
    return item[0]
