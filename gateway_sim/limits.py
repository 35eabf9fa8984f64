"""IB's limits, written from the rule book (sections 1 to 5), and their judge. Pure.

Windows are sliding logs over elapsed simulated seconds, judged when a request arrives. A request that breaks a rule
does not enter the windows: the real Gateway never sent it on. Message rate is counted per client, everything else per
login.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Literal

MessageMode = Literal["reject", "pace", "record"]
HistoryMode = Literal["explicit", "slow", "silent", "record"]


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `limit` (weighted) within `window_s` seconds; window 0: at most `limit` at the same time."""

    name: str
    limit: int
    window_s: float = 0.0


@dataclass(frozen=True)
class LimitSettings:
    """The numbers and modes a scenario may change."""

    messages: MessageMode = "reject"
    """reject: error 100 and cut at the third strike; pace: reading stops until the window has room; record: ledger
    only."""
    history: HistoryMode = "explicit"
    """explicit: error 162; slow: answered late; silent: never answered; record: ledger only."""
    lines: int = 100
    message_strikes: int = 3
    open_history: int = 50
    account_summaries: int = 2
    clients: int = 32
    strict_large_bars: bool = False
    """Apply the historical trio to bars of one minute and more too, as IB did until 2018."""

    @property
    def messages_per_s(self) -> int:
        return self.lines // 2

    @property
    def depth_requests(self) -> int:
        """3, plus one per 100 lines above 400, at most 60 (rule book 3.1)."""
        return min(60, 3 + max(0, (self.lines - 400) // 100))

    @property
    def tick_by_tick(self) -> int:
        """5 % of the lines (rule book 1.8)."""
        return max(1, self.lines * 5 // 100)


SETTING_NAMES = frozenset(setting.name for setting in fields(LimitSettings))

HISTORY_IDENTICAL = Rule("historical_identical_15s", 1, 15.0)
HISTORY_SAME_CONTRACT = Rule("historical_6_per_2s", 5, 2.0)
HISTORY_BUDGET = Rule("historical_60_per_600s", 60, 600.0)
SNAPSHOTS = Rule("snapshots_100_per_s", 100, 1.0)
TICK_BY_TICK_REPEAT = Rule("tick_by_tick_same_instrument_15s", 1, 15.0)
MATCHING_SYMBOLS = Rule("matching_symbols_1_per_s", 1, 1.0)
WHAT_IF = Rule("what_if_1_per_min", 1, 60.0)
LARGE_BARS_SOFT = Rule("large_bars_soft", 30, 60.0)
"""Not a limit: beyond it each answer takes longer (rule book 1.2)."""

SLOW_PER_REQUEST_S = 5.0
"""Mode slow: how much later each further answer of a breached class comes."""
SOFT_DELAY_PER_REQUEST_S = 0.5
SOFT_DELAY_MAX_S = 20.0


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken rule: what it is and what stood in the window."""

    rule: str
    limit: int
    seen: int
    window: tuple[float, ...] = ()


class SlidingLog:
    """Times and weights of the last `window_s` seconds."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._entries: deque[tuple[float, int]] = deque()
        self._total = 0

    def total(self, now: float) -> int:
        """Weight inside the window; an entry exactly `window_s` old has left it."""
        while self._entries and now - self._entries[0][0] >= self.rule.window_s - 1e-9:
            self._total -= self._entries.popleft()[1]
        return self._total

    def would_breach(self, now: float, weight: int = 1) -> Breach | None:
        seen = self.total(now) + weight
        if seen <= self.rule.limit:
            return None
        return Breach(self.rule.name, self.rule.limit, seen, tuple(round(at, 4) for at, _ in self._entries))

    def add(self, now: float, weight: int = 1) -> None:
        self._entries.append((now, weight))
        self._total += weight

    def room_at(self, now: float) -> float:
        """The earliest time at which one more fits."""
        excess = self.total(now) + 1 - self.rule.limit
        for at, weight in self._entries:
            if excess <= 0:
                break
            excess -= weight
            now = max(now, at + self.rule.window_s)
        return now


class KeyedLogs:
    """One sliding log per key; keys idle for a window are dropped."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._logs: dict[Hashable, SlidingLog] = {}

    def of(self, key: Hashable, now: float) -> SlidingLog:
        if len(self._logs) > 256:
            self._logs = {known: log for known, log in self._logs.items() if log.total(now)}
        return self._logs.setdefault(key, SlidingLog(self._rule))


@dataclass(frozen=True, slots=True)
class HistoryCharge:
    """What a historical-like request weighs. identity: same request; instrument: contract, exchange and tick type."""

    identity: Hashable
    instrument: Hashable
    weight: int
    small: bool


class Judge:
    """All counters of one login."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self._messages: dict[int, SlidingLog] = {}
        self._strikes: dict[int, int] = {}
        self._identical = KeyedLogs(HISTORY_IDENTICAL)
        self._same_contract = KeyedLogs(HISTORY_SAME_CONTRACT)
        self._budget = SlidingLog(HISTORY_BUDGET)
        self._large = SlidingLog(LARGE_BARS_SOFT)
        self._snapshots = SlidingLog(SNAPSHOTS)
        self._tick_by_tick = KeyedLogs(TICK_BY_TICK_REPEAT)
        self._matching = SlidingLog(MATCHING_SYMBOLS)
        self._what_if = SlidingLog(WHAT_IF)

    # --- messages ---

    def message(self, connection: int, now: float) -> Breach | None:
        """Count one message of a connection; a breach is not counted into the window (unless merely recorded)."""
        log = self._message_log(connection)
        breach = log.would_breach(now)
        if breach is None or self.settings.messages == "record":
            log.add(now)
        return breach

    def message_room_at(self, connection: int, now: float) -> float:
        """When the next message of the connection fits (pace mode)."""
        return self._message_log(connection).room_at(now)

    def strike(self, connection: int) -> int:
        """Count a strike of the connection; returns how many it has."""
        self._strikes[connection] = self._strikes.get(connection, 0) + 1
        return self._strikes[connection]

    def message_count(self, connection: int, now: float) -> int:
        return self._message_log(connection).total(now)

    def forget(self, connection: int) -> None:
        self._messages.pop(connection, None)
        self._strikes.pop(connection, None)

    def _message_log(self, connection: int) -> SlidingLog:
        log = self._messages.get(connection)
        if log is None:
            rule = Rule("message_rate", self.settings.messages_per_s, 1.0)
            log = self._messages[connection] = SlidingLog(rule)
        return log

    # --- historical-like requests ---

    def history(self, charge: HistoryCharge, now: float) -> Breach | None:
        """Judge the trio, all rules at once; counts only if none is broken (or in record mode)."""
        if not charge.small and not self.settings.strict_large_bars:
            self._large.add(now)
            return None
        identical = self._identical.of(charge.identity, now)
        same = self._same_contract.of(charge.instrument, now)
        breach = (
            identical.would_breach(now)
            or same.would_breach(now, charge.weight)
            or self._budget.would_breach(now, charge.weight)
        )
        if breach is None or self.settings.history == "record":
            identical.add(now)
            same.add(now, charge.weight)
            self._budget.add(now, charge.weight)
        return breach

    def soft_delay(self, now: float) -> float:
        """Extra seconds a request for large bars takes because there were many lately."""
        return min(SOFT_DELAY_MAX_S, SOFT_DELAY_PER_REQUEST_S * max(0, self._large.total(now) - LARGE_BARS_SOFT.limit))

    def real_time_bars(self, now: float) -> Breach | None:
        """A new subscription to 5-second bars draws on the budget of small bars (rule book 0, number 4)."""
        return _counted(self._budget, now)

    # --- single windows ---

    def snapshot(self, now: float) -> Breach | None:
        return _counted(self._snapshots, now)

    def tick_by_tick(self, con_id: int, now: float) -> Breach | None:
        return _counted(self._tick_by_tick.of(con_id, now), now)

    def matching_symbols(self, now: float) -> Breach | None:
        return _counted(self._matching, now)

    def what_if(self, now: float) -> Breach | None:
        return _counted(self._what_if, now)


def _counted(log: SlidingLog, now: float) -> Breach | None:
    breach = log.would_breach(now)
    if breach is None:
        log.add(now)
    return breach
