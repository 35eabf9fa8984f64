"""The quote book: one market data line per contract, shared by everybody who holds it. Pure.

A line is opened by its first holder and given back a grace after the last one left. Ticks only update the book;
what is published is conflated. A line that IB ends is opened again while somebody still holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import Contract, Quote
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.recovery import Recovery, Rung
from gateway_proxy.core.scheduler import Keys, Lane, RequestClass
from gateway_proxy.core.verdict import Finding, Verdict, error
from gateway_proxy.errors import ProxyError

#: Option volume and open interest, and the underlying's implied volatility (rule book 9).
_GENERIC_TICKS: Final = {"OPT": "100,101,106"}
_RETRY_FIRST_S: Final = 10.0
_RETRY_MAX_S: Final = 120.0
KIND: Final = "quotes"
#: Lines are looked at this often for silence, as a share of `verify_s`.
_LOOK_SHARE: Final = 0.1

#: IB's tick numbers -> fields of the book; the second line are the delayed ones.
_FIELDS: Final[dict[int, str]] = {
    1: "bid", 0: "bid_size", 2: "ask", 3: "ask_size", 4: "last", 5: "last_size", 8: "volume", 9: "close",
    66: "bid", 69: "bid_size", 67: "ask", 70: "ask_size", 68: "last", 71: "last_size", 74: "volume", 75: "close",
}  # fmt: skip
_OPEN_INTEREST: Final = {27: "C", 28: "P"}
_MODEL: Final = (13, 83)


@dataclass(frozen=True, slots=True)
class QuoteSettings:
    """How quotes are shared."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    conflate_s: float = 0.1  # at most one quote per contract in this time
    timeout_s: float = 15.0  # from asking to the first tick
    stall_s: float = 60.0  # market time without a tick of a stock in a session, then it is asked for again
    verify_s: float = 15.0  # market time after an outage by which a line must have shown that it lives
    grace_s: float = 5.0  # a line nobody holds stays open this long; IB answers error 300 to hasty cancels


@dataclass(slots=True)
class Line:
    """One market data line and what came over it."""

    contract: Contract
    holders: set[str] = field(default_factory=set)
    req_id: int | None = None
    quote: Quote = field(default_factory=lambda: Quote(""))
    open_interest: float | None = None
    iv: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    opened_at: float = 0.0
    updated_at: float | None = None
    failure: ProxyError | None = None
    retry_at: float | None = None
    retry_s: float = _RETRY_FIRST_S
    release_at: float | None = None
    silent_from: float = 0.0
    prove_by: float | None = None
    deaths: int = 0

    def forget(self) -> None:
        """What an earlier subscription said is not the market of the next one."""
        self.quote = Quote(self.contract.key)
        self.open_interest = self.iv = self.delta = self.gamma = self.theta = self.vega = None
        self.updated_at = None


class QuoteBook:
    """`hold` and `release` lines by contract key; `wake` is called with `quote:<key>` when something came."""

    def __init__(
        self, desk: Desk, time: MarketTime, wake: Callable[[str], None], settings: QuoteSettings, *,
        in_session: Callable[[str, float], bool], found: Callable[[Finding, float], None], recovery: Recovery,
    ) -> None:  # fmt: skip
        self._found = found
        self._in_session = in_session
        self._recovery = recovery
        self._is_outage = False
        self._look_at = 0.0
        self._desk = desk
        self._time = time
        self._wake = wake
        self._settings = settings
        self._lines: dict[str, Line] = {}
        self._changed: dict[str, None] = {}
        self._publish_at: float | None = None
        self._published: set[str] = set()
        self._effects: list[fx.Effect] = []
        self._is_open = False

    # ------------------------------------------------------------ holding

    def hold(self, contract: Contract, holder: str, now: float) -> Line:
        """The line of this contract, kept open until `release`. Holding twice with one name is holding once."""
        line = self._lines.get(contract.key)
        if line is None:
            line = self._lines[contract.key] = Line(contract, quote=Quote(contract.key))
        line.holders.add(holder)
        line.release_at = None
        if line.req_id is None and self._is_open and (line.retry_at is None or line.retry_at <= now):
            self._open(line, now)
        return line

    def release(self, key: str, holder: str, now: float) -> None:
        line = self._lines.get(key)
        if line is None:
            return
        line.holders.discard(holder)
        if not line.holders:
            line.release_at = now + self._settings.grace_s

    def publish(self, key: str, now: float, *, wanted: bool) -> None:
        """Whether `quote/<key>/` has a subscriber; a new one gets what is known already."""
        (self._published.add if wanted else self._published.discard)(key)
        line = self._lines.get(key)
        if wanted and line is not None and line.updated_at is not None:
            self._publish_later(key, now)

    def get(self, key: str) -> Line | None:
        return self._lines.get(key)

    def lines(self) -> dict[str, Line]:
        return self._lines

    def are_queued(self, keys: Collection[str]) -> bool:
        """Whether a line of these waits in our own queue, for want of room."""
        return self._desk.is_queued({f"quote:{key}" for key in keys})

    # ------------------------------------------------------------ the session

    def session_ready(self, now: float) -> None:
        self._is_open = True
        for line in self._lines.values():
            if line.req_id is None and line.holders:
                self._open(line, now)

    def session_lost(self) -> None:
        self._is_open = self._is_outage = False

    def reopen_all(self, now: float) -> None:
        """After 1101 the data are lost: ask for every held line again."""
        self._is_outage = False
        for line in self._lines.values():
            self._reopen(line, now)

    def outage_began(self) -> None:
        """The link or the farm is gone: silence means nothing until it is back."""
        self._is_outage = True

    def outage_ended(self, now: float) -> None:
        """It is said to be back: every line has `verify_s` to show it, and is asked for again otherwise."""
        self._is_outage = False
        for line in self._lines.values():
            if line.req_id is not None:
                line.silent_from, line.prove_by = now, now + self._settings.verify_s

    def _reopen(self, line: Line, now: float) -> None:
        if line.req_id is not None:
            self._desk.close(line.req_id, now)
            line.req_id = None
        if line.holders:
            self._open(line, now)

    def _open(self, line: Line, now: float) -> None:
        contract = line.contract
        generic = _GENERIC_TICKS.get(contract.sec_type, "")
        line.forget()
        try:
            line.req_id = self._desk.ask(
                lambda req_id: fx.RequestQuote(req_id, contract, generic), RequestClass.QUOTE, lane=Lane.STREAM,
                owner="proxy", keys=Keys(), timeout_s=self._settings.timeout_s, queue_s=None,
                on_end=lambda outcome, at: self._ended(line, outcome, at),
                on_answer=lambda event, at: self._tick(line, event, at), now=now, name=f"quote:{contract.key}",
            )  # fmt: skip
        except ProxyError as refusal:
            line.failure, line.retry_at = refusal, now + (refusal.retry_in_s or 1.0)
            self._wake(f"quote:{contract.key}")
            return
        line.opened_at, line.retry_at, line.prove_by, line.silent_from = now, None, None, now

    def _ended(self, line: Line, outcome: Outcome, now: float) -> None:
        line.req_id = None
        if outcome.verdict is Verdict.SESSION_LOST:
            return
        key = line.contract.key
        retry_s = 1.0 if outcome.verdict is Verdict.STREAM_DEAD else line.retry_s
        line.retry_at, line.retry_s = now + retry_s, min(2 * line.retry_s, _RETRY_MAX_S)
        line.failure = error(outcome.verdict, f"quote {key}: {outcome.text}", retry_in_s=retry_s)
        if key in self._published:
            evidence = {"topic": topics.quote(key), "code": outcome.code, "text": outcome.text}
            self._effects.append(fx.Publish(topics.quote(key), "verdict", Finding(outcome.verdict, evidence).body()))
        self._wake(f"quote:{key}")

    # ------------------------------------------------------------ ticks

    def _tick(self, line: Line, event: Any, now: float) -> None:
        line.updated_at = line.silent_from = now
        line.failure, line.retry_s, line.prove_by = None, _RETRY_FIRST_S, None
        if line.deaths and now - line.opened_at > self._settings.verify_s:
            # What comes at once after asking is a picture of the last values; only later ticks show a living line.
            line.deaths = 0
            self._recovery.fresh(KIND, line.contract.key)
        if isinstance(event, ev.TickReceived):
            self._price_or_size(line, event, now)
        elif isinstance(event, ev.OptionTickReceived):
            if event.tick_type in _MODEL:
                line.iv, line.delta, line.gamma = event.iv, event.delta, event.gamma
                line.theta, line.vega = event.theta, event.vega
        elif isinstance(event, ev.MarketDataTypeReceived):
            line.quote = replace(line.quote, delayed=event.data_type in (3, 4))
        self._publish_later(line.contract.key, now)
        self._wake(f"quote:{line.contract.key}")

    def _publish_later(self, key: str, now: float) -> None:
        self._changed[key] = None
        if self._publish_at is None:
            self._publish_at = now + self._settings.conflate_s

    def _price_or_size(self, line: Line, tick: ev.TickReceived, now: float) -> None:
        name = _FIELDS.get(tick.tick_type)
        if name is not None:
            fields: dict[str, Any] = {name: tick.value, "time_ns": self._time.wall_ns(now)}
            line.quote = replace(line.quote, **fields)
        elif tick.value is not None and _OPEN_INTEREST.get(tick.tick_type) == line.contract.right:
            line.open_interest = tick.value

    # ------------------------------------------------------------ time

    def next_timer(self) -> float | None:
        times = [line.release_at for line in self._lines.values() if line.release_at is not None]
        if self._is_open:
            times += [line.retry_at for line in self._lines.values() if line.retry_at is not None]
            if self._lines:
                times.append(self._look_at)
        if self._publish_at is not None:
            times.append(self._publish_at)
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        if self._publish_at is not None and self._publish_at <= now:
            self._flush()
        for key, line in list(self._lines.items()):
            if line.release_at is not None and line.release_at <= now:
                if line.req_id is not None:
                    self._desk.close(line.req_id, now)
                self._recovery.forget(KIND, key)
                del self._lines[key]
            elif line.retry_at is not None and line.retry_at <= now and self._is_open:
                line.retry_at = None
                if line.req_id is None and line.holders:
                    self._open(line, now)
        if self._look_at <= now:
            # Not a timer per line: this is asked after every tick, and there may be a hundred lines.
            self._look_at = now + self._settings.verify_s * _LOOK_SHARE
            for line in list(self._lines.values()):
                self._bury(line, now)

    def _dies_at(self, line: Line) -> float | None:
        """When silence means death. Options may be quiet for long, so only stocks are judged without an outage."""
        if line.req_id is None or line.updated_at is None:
            return None
        silent = line.silent_from + self._settings.stall_s * min(2 ** max(0, line.deaths - 1), 8)
        times = [at for at in (line.prove_by, silent if line.contract.sec_type == "STK" else None) if at is not None]
        return min(times, default=None)

    def _bury(self, line: Line, now: float) -> None:
        dies_at = self._dies_at(line)
        if dies_at is None or now < dies_at or not self._is_open:
            return
        key = line.contract.key
        if self._is_outage or not all(self._in_session(key, at) for at in (line.silent_from, now)):
            # Silence that began before the opening is no silence yet.
            line.silent_from, line.prove_by = now, None
            return
        live_s = self._settings.stall_s / 2
        others = any(one is not line and now - one.silent_from < live_s for one in self._lines.values() if one.req_id)
        line.deaths += 1
        tried = self._recovery.rung(KIND, key)
        rung = self._recovery.dead(KIND, key, others_live=others, now=now)
        evidence = {"topic": topics.quote(key), "silent_s": round(now - (line.updated_at or now), 1), "tried": rung}
        self._effects.append(fx.Log("warning" if line.deaths == 1 else "info", "quote line dead", evidence))
        if line.deaths == 1 or rung is not tried:
            self._found(Finding(Verdict.STREAM_DEAD, evidence), now)
        if rung is Rung.SESSION:
            line.silent_from = now
            return
        for one in list(self._lines.values()) if rung is Rung.CLASS else [line]:
            self._reopen(one, now)

    def health(self, now: float) -> list[dict[str, Any]]:
        """One row per open line, for `health/streams/`."""
        return [
            {
                "key": key,
                "holders": len(line.holders),
                "age_s": None if line.updated_at is None else round(now - line.updated_at, 3),
                "delayed": line.quote.delayed,
                "held_by": self._desk.held_by(line.req_id, now),
                "error": "" if line.failure is None else str(line.failure),
            }
            for key, line in self._lines.items()
        ]

    def _flush(self) -> None:
        self._publish_at = None
        changed, self._changed = self._changed, {}
        for key in changed:
            if key in self._published and (line := self._lines.get(key)) is not None:
                self._effects.append(fx.Publish(topics.quote(key), "quote", line.quote))

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done
