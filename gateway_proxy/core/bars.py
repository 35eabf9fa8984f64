"""The bar service: one upstream stream per series, however many subscribe; backfilled, live, repaired. Pure.

`bars/<symbol>/<size>/` and the `bars` request read the same store. A stream is opened by the first subscription and
closed a grace after the last one left. Which of IB's two live feeds serves it is decided in bar_feeds.py and changed
when slots or lines run short or are free again; a change is an interruption like any other, so no bar is lost by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway_proxy.bus.messages import Bar
from gateway_proxy.bus.topics import BAR_SECONDS
from gateway_proxy.core import effects as fx
from gateway_proxy.core.bar_feeds import Feed, Identity, Room, places
from gateway_proxy.core.bar_history import HistoryFeed
from gateway_proxy.core.bar_real_time import RealTimeFeed
from gateway_proxy.core.bar_stream import RETRY_FIRST_S, BarFeed, BarSettings, BarStream, StreamState
from gateway_proxy.core.contracts import ContractDirectory, parse
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.jobs import Lane, RequestClass, history_class
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.recovery import Recovery, Rung
from gateway_proxy.core.series import Series
from gateway_proxy.core.verdict import Finding, Verdict, error
from gateway_proxy.errors import ProxyError

__all__ = ["KIND", "BarService", "BarSettings", "BarStream", "StreamState"]

_RETRY_MAX_S: Final = 60.0
KIND: Final = "bars"
_PATIENCE_MAX: Final = 8
#: How often a series that waits for its 5-second bars is looked at.
_LOOK_S: Final = 2.0


class BarService:
    """`in_session(key, now)` says whether the contract's market is open, so that silence at night is not a stall.

    After an outage a stream is believed only when live data came; what its outage swallowed is asked for again.
    `found` is told what the desk cannot know: a stream that is silent, or that could not even be asked for.
    `room()` is what all series together may take upstream now.
    """

    def __init__(
        self,
        desk: Desk,
        directory: ContractDirectory,
        time: MarketTime,
        settings: BarSettings,
        *,
        wake: Callable[[str], None],
        in_session: Callable[[str, float], bool],
        recovery: Recovery,
        found: Callable[[Finding, float], None],
        room: Callable[[], Room],
    ) -> None:
        self._recovery = recovery
        self.is_outage = False
        self._desk = desk
        self._directory = directory
        self._time = time
        self._settings = settings
        self._wake = wake
        self._in_session = in_session
        self._found = found
        self._room = room
        self._history = HistoryFeed(desk, time, settings, self)
        self._real_time = RealTimeFeed(desk, directory, time, settings, self)
        self._feeds: dict[Feed, BarFeed] = {Feed.HISTORY: self._history, Feed.REAL_TIME: self._real_time}
        self._streams: dict[Identity, BarStream] = {}
        self._placed_in: Room | None = None
        self._improve_at: float | None = None
        self._look_at = 0.0
        self._effects: list[fx.Effect] = []
        self._is_open = False

    # ------------------------------------------------------------ subscriptions

    def subscribe(self, key: str, size: str, now: float) -> None:
        stream = self._streams.get((key, size))
        if stream is None:
            stream = BarStream(key, size, Series(BAR_SECONDS[size], self._settings.keep))
            self._streams[key, size] = stream
            self._placed_in = None
        stream.wanted, stream.release_at = True, None
        self.balance(now)
        self.advance(stream, now)

    def unsubscribe(self, key: str, size: str, now: float) -> None:
        stream = self._streams.get((key, size))
        if stream is not None:
            stream.wanted, stream.release_at = False, now + self._settings.grace_s

    def get(self, key: str, size: str) -> BarStream | None:
        return self._streams.get((key, size))

    def streams(self) -> list[BarStream]:
        return list(self._streams.values())

    def last_close(self, key: str) -> float | None:
        """The newest price any series of this contract knows."""
        held = [stream.series.newest(1) for stream in self._streams.values() if stream.key == key]
        newest = max((bars[-1] for bars in held if bars), key=lambda bar: bar.start_ns, default=None)
        return None if newest is None else newest.close

    def contract_known(self, contract_key: str, now: float) -> None:
        """The directory has an answer that streams may have waited for."""
        for stream in self._streams.values():
            if stream.key == contract_key and stream.state is StreamState.WAITING:
                self.advance(stream, now)

    # ------------------------------------------------------------ feeds

    def balance(self, now: float) -> None:
        """Give every series its place if the room or what is wanted has changed: shortage is met at once."""
        if self._room() != self._placed_in:
            self._place(now, improve=False)

    def _place(self, now: float, *, improve: bool) -> None:
        """`improve`: also take series back to history, and in again, for which there has been room for a while."""
        room = self._room()
        self._placed_in, self._improve_at = room, None
        left = self._desk.budget_left(now)
        moves: list[tuple[BarStream, Feed | None]] = []
        joining: set[str] = set()
        for identity, place in places(list(self._streams), room).items():
            stream = self._streams[identity]
            if place.feed is None:
                stream.waits_for = place.held_by
            if place.feed is stream.feed:
                continue
            if place.feed is not None and (stream.feed is not None or stream.waits_for):
                # Who lives moves only if the other side can be asked for now; what is only better waits for calm.
                cost = 0 if stream.feed is None else self._cost(stream, place.feed, joining)
                is_better = stream.feed is None or place.feed is Feed.HISTORY
                if cost > left or (is_better and not improve):
                    self._improve_at = now + self._settings.switch_after_s
                    continue
                left -= cost
            if place.feed is Feed.REAL_TIME:
                joining.add(stream.key)
            moves.append((stream, place.feed))
        self._move(moves, now)

    def _cost(self, stream: BarStream, to: Feed, joining: set[str]) -> int:
        """Units of the historical budget: for small bars' history, and for a new line of 5-second bars."""
        small = int(history_class(stream.size) is RequestClass.HISTORY_SMALL)
        opens = to is Feed.REAL_TIME and not self._real_time.serves(stream.key) and stream.key not in joining
        return small + int(opens)

    def _move(self, moves: list[tuple[BarStream, Feed | None]], now: float) -> None:
        for stream, feed in moves:
            if stream.feed is not None:
                facts = {"topic": stream.topic, "from": stream.feed.value, "to": "" if feed is None else feed.value}
                self._effects.append(fx.Log("info", "bar feed", facts))
                self._close(stream, now)
        for stream, feed in moves:
            stream.feed = feed
            if feed is not None:
                stream.waits_for = ""
            self.advance(stream, now)

    def advance(self, stream: BarStream, now: float) -> None:
        """Do the next step towards a live stream; nothing if it is under way or must wait."""
        under_way = stream.state in (StreamState.BACKFILLING, StreamState.LIVE)
        if not self._is_open or not stream.wanted or stream.feed is None or under_way:
            return
        if stream.retry_at is not None and stream.retry_at > now:
            return
        try:
            details = self._directory.find(parse(stream.key), "proxy", now, lane=Lane.STREAM)
            if details is not None:
                self._feeds[stream.feed].open(stream, details, now)
        except ProxyError as failure:
            self._fail(stream, failure, now)
            finding = Finding(
                Verdict(failure.verdict or Verdict.REJECTED), {"topic": stream.topic, "text": str(failure)}
            )
            self._found(finding, now)
            self._tell(stream, finding)

    def _close(self, stream: BarStream, now: float) -> None:
        if stream.feed is not None:
            self._feeds[stream.feed].close(stream, now)
        stream.interrupt()

    def reopen(self, streams: list[BarStream], now: float) -> None:
        """All are closed before one is opened: what they give back must be there for those that follow."""
        for stream in streams:
            self._close(stream, now)
        for stream in streams:
            self.advance(stream, now)

    # ------------------------------------------------------------ what the feeds tell

    def publish(self, stream: BarStream, bars: list[Bar]) -> None:
        self._effects += [fx.Publish(stream.topic, "bar", bar) for bar in bars]
        if bars:
            self._wake(f"bars:{stream.key}/{stream.size}")

    def lives(self, stream: BarStream) -> None:
        """Live data came."""
        stream.deaths, stream.told = 0, ""
        self._recovery.fresh(KIND, stream.topic)
        stream.retry_s = RETRY_FIRST_S

    def ended(self, stream: BarStream, outcome: Outcome, now: float) -> None:
        """Its request is over: refused, timed out, ended by IB or lost with the session."""
        stream.req_id = None
        stream.series.interrupt()
        if outcome.verdict is Verdict.SESSION_LOST:
            stream.state = StreamState.WAITING
            return
        text = f"bars {stream.key} {stream.size}: {outcome.text}"
        self._fail(stream, error(outcome.verdict, text), now)
        evidence = {"topic": stream.topic, "code": outcome.code, "text": outcome.text, "timeline": outcome.timeline}
        self._tell(stream, Finding(outcome.verdict, evidence))

    def _tell(self, stream: BarStream, finding: Finding) -> None:
        """On the stream's own topic, for those who wait for its bars."""
        self._effects.append(fx.Publish(stream.topic, "verdict", finding.body()))

    def _fail(self, stream: BarStream, failure: ProxyError, now: float) -> None:
        is_known, stream.told = stream.told == str(failure), str(failure)
        stream.state, stream.failure = StreamState.FAILED, failure
        stream.retry_at, stream.retry_s = now + stream.retry_s, min(2 * stream.retry_s, _RETRY_MAX_S)
        facts = {"topic": stream.topic, "error": str(failure), "code": failure.code}
        self._effects.append(fx.Log("info" if is_known else "warning", "bar stream failed", facts))

    # ------------------------------------------------------------ the session

    def session_ready(self, now: float) -> None:
        self._is_open = True
        for stream in self._streams.values():
            stream.retry_at, stream.retry_s = None, RETRY_FIRST_S
            self.advance(stream, now)

    def session_lost(self) -> None:
        self._is_open = self.is_outage = False

    def reopen_all(self, now: float) -> None:
        """After 1101 the data are lost: ask for every stream again."""
        self.is_outage = False
        self.reopen(self.streams(), now)

    def outage_began(self) -> None:
        """The link or a farm is gone: nothing more is expected, and what comes is doubted."""
        self.is_outage = True
        for stream in self._streams.values():
            stream.in_doubt, stream.prove_by = stream.state is StreamState.LIVE, None

    def outage_ended(self, now: float) -> None:
        """It is said to be back: every stream has `verify_s` to show it, and is asked for again otherwise."""
        self.is_outage = False
        for stream in self._streams.values():
            if stream.state is StreamState.LIVE:
                stream.in_doubt, stream.prove_by = True, now + self._settings.verify_s

    # ------------------------------------------------------------ time

    def next_timer(self) -> float | None:
        times: list[float] = []
        for stream in self._streams.values():
            if stream.release_at is not None:
                times.append(stream.release_at)
            if stream.retry_at is not None and self._is_open:
                times.append(stream.retry_at)
            if stream.state is StreamState.LIVE and stream.judged_at is not None:
                times.append(self._dies_at(stream))
                settles_at = self._settles_at(stream, stream.judged_at)
                if settles_at is not None and not stream.in_doubt:
                    times.append(settles_at)
            elif stream.state is StreamState.BACKFILLING and stream.req_id is None:
                times.append(self._look_at)
        if self._improve_at is not None:
            times.append(self._improve_at)
        return min(times, default=None)

    def _settles_at(self, stream: BarStream, now: float) -> float | None:
        if not self._time.is_known or BAR_SECONDS[stream.size] >= 86_400:
            return None
        wait_s = stream.series.settles_in_s(self._time.wall_ns(now), self._settings.settle_s)
        # A millisecond later, or rounding could set the timer just before the moment it waits for, again and again.
        return None if wait_s is None else now + wait_s + 0.001

    def handle_timer(self, now: float) -> None:
        for identity, stream in list(self._streams.items()):
            if stream.release_at is not None and stream.release_at <= now:
                self._close(stream, now)
                self._recovery.forget(KIND, stream.topic)
                del self._streams[identity]
                self._placed_in = None
                continue
            if stream.retry_at is not None and stream.retry_at <= now:
                stream.state, stream.retry_at = StreamState.WAITING, None
                self.advance(stream, now)
            if stream.state is StreamState.LIVE and stream.feed is not None:
                self._feeds[stream.feed].settle(stream, now)
                self._bury(stream, now)
        if self._look_at <= now:
            self._look_at = now + _LOOK_S
            for stream in self._streams.values():
                self._real_time.look(stream, now)
        if self._improve_at is not None and self._improve_at <= now:
            self._improve(now)

    def _improve(self, now: float) -> None:
        """Nobody is moved while nothing can be trusted."""
        if self._is_open and not self.is_outage:
            self._place(now, improve=True)
        else:
            self._improve_at = now + self._settings.switch_after_s

    def _dies_at(self, stream: BarStream) -> float:
        """When silence means death. A stream that was asked for in vain gets longer every time."""
        patience = min(2.0 ** max(0, stream.deaths - 1), _PATIENCE_MAX)
        assert stream.judged_at is not None
        dies_at = stream.judged_at + self._settings.stall_s * patience
        return dies_at if stream.prove_by is None else min(dies_at, stream.prove_by)

    def _bury(self, stream: BarStream, now: float) -> None:
        if now < self._dies_at(stream):
            return
        assert stream.judged_at is not None, "it lives"
        if self.is_outage or not all(self._in_session(stream.key, at) for at in (stream.judged_at, now)):
            # Silence that began before the opening is no silence yet.
            stream.judged_at, stream.prove_by, stream.in_doubt = now, None, self.is_outage
            return
        stream.deaths += 1
        tried = self._recovery.rung(KIND, stream.topic)
        rung = self._recovery.dead(KIND, stream.topic, others_live=self._others_live(stream, now), now=now)
        evidence = {"topic": stream.topic, "silent_s": round(now - (stream.last_update or now), 1), "tried": rung.value}
        self._tell(stream, Finding(Verdict.STREAM_DEAD, evidence))
        self._effects.append(fx.Log("warning" if stream.deaths == 1 else "info", "bar stream dead", evidence))
        if stream.deaths == 1 or rung is not tried:
            self._found(Finding(Verdict.STREAM_DEAD, evidence), now)
        if rung is Rung.SESSION:
            stream.judged_at = now
            return
        assert stream.feed is not None, "it lived"
        self.reopen(self.streams() if rung is Rung.CLASS else self._feeds[stream.feed].companions(stream), now)

    def _others_live(self, dead: BarStream, now: float) -> bool:
        """Whether another stream, of a market that is open, still brings live data."""
        return any(
            one is not dead and one.state is StreamState.LIVE and one.deaths == 0 and not one.in_doubt
            and one.judged_at is not None and now - one.judged_at < self._settings.stall_s / 2
            for one in self._streams.values()
        )  # fmt: skip

    def _held_by(self, stream: BarStream, now: float) -> str:
        return stream.waits_for if stream.feed is None else self._feeds[stream.feed].held_by(stream, now)

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    def health(self, now: float) -> list[dict[str, Any]]:
        """Rows of `health/streams/`."""
        return [
            {
                "topic": stream.topic,
                "feed": "" if stream.feed is None else stream.feed.value,
                "state": stream.state.value,
                "age_s": None if stream.last_update is None else round(now - stream.last_update, 3),
                "last_ns": bar.start_ns if (bar := stream.series.growing or stream.series.last_finished) else None,
                "bars": len(stream.series),
                "opened": stream.opened,
                "held_by": self._held_by(stream, now),
                "error": "" if stream.failure is None else str(stream.failure),
            }
            for stream in self._streams.values()
        ]
