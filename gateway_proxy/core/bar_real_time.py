"""The real-time feed of bars: one subscription to 5-second bars a contract, folded into every size wanted. Pure.

A series is backfilled by an ordinary request while the newest 5-second bars are remembered, so that the fold takes up
where the answer ends. What the fold has not seen from its start, and what falls into a hole, is asked for again after
it ended: never guessed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from gateway_proxy.bus.messages import Bar, Contract
from gateway_proxy.bus.topics import BAR_SECONDS, BAR_SIZES
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.bar_fold import Span, Step, span_of
from gateway_proxy.core.bar_stream import BarSettings, BarStream, Keeper, StreamState
from gateway_proxy.core.contracts import ContractDirectory, parse
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.jobs import NO_KEYS, Lane, RequestClass, history_class, history_keys
from gateway_proxy.core.market_time import MarketTime

#: 5-second bars remembered per contract, 20 minutes: they bridge the wait for an answer of history.
_REMEMBERED: Final = 240
#: After its end a bar is asked of history when this time has passed, and later each time that does not mend it.
_REFILL_S: Final = 2.0
_REFILL_MAX_S: Final = 60.0


@dataclass(slots=True)
class _Line:
    """One subscription, the series that share it, and its newest parts, oldest first."""

    contract: Contract
    asked_as: Contract
    req_id: int | None = None
    streams: list[BarStream] = field(default_factory=list)
    parts: deque[Bar] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class RealTimeFeed:
    """reqRealTimeBars: one line for all sizes of a contract."""

    def __init__(
        self, desk: Desk, directory: ContractDirectory, time: MarketTime, settings: BarSettings, keeper: Keeper
    ) -> None:
        self._desk = desk
        self._directory = directory
        self._time = time
        self._settings = settings
        self._keeper = keeper
        self._lines: dict[str, _Line] = {}

    def serves(self, key: str) -> bool:
        """Whether the contract's 5-second bars are subscribed to, so that one more size costs nothing."""
        return key in self._lines

    # ------------------------------------------------------------ opening

    def open(self, stream: BarStream, details: ev.ContractDetails, now: float) -> None:
        """Join the contract's line, and ask for what the series lacks. Also when only the latter is left to do."""
        line = self._lines.get(stream.key)
        if line is None:
            line = _Line(details.contract, parse(stream.key))
            self._subscribe(line, now)
            self._lines[stream.key] = line
        if stream not in line.streams:
            line.streams.append(stream)
            stream.opened += 1
        self._fill(stream, line.contract, now)

    def _subscribe(self, line: _Line, now: float) -> None:
        line.req_id = self._desk.ask(
            lambda req_id: fx.RequestRealTimeBars(req_id, line.contract, "TRADES", True), RequestClass.REALTIME_BARS,
            lane=Lane.STREAM, owner="proxy", keys=NO_KEYS, timeout_s=None, queue_s=None,
            on_end=lambda outcome, at: self._line_ended(line, outcome, at),
            on_answer=lambda event, at: self._receive(line, event, at), now=now,
        )  # fmt: skip

    def _fill(self, stream: BarStream, contract: Contract, now: float) -> None:
        duration = stream.missing(self._settings.backfill, self._time, now)
        stream.req_id = self._desk.ask(
            lambda req_id: fx.RequestHistory(req_id, contract, duration, BAR_SIZES[stream.size], "TRADES", True),
            # Not the lane of streams: what these may keep of the open requests is taken when series come here.
            history_class(stream.size), lane=Lane.INTERACTIVE, owner="proxy",
            keys=history_keys(contract, stream.size, "TRADES", True, duration),
            timeout_s=self._settings.timeout_s, queue_s=None,
            on_end=lambda outcome, at: self._filled(stream, outcome, at), now=now,
        )  # fmt: skip
        stream.state, stream.retry_at = StreamState.BACKFILLING, None

    def close(self, stream: BarStream, now: float) -> None:
        self._give_up_filling(stream, now)
        line = self._lines.get(stream.key)
        if line is None or stream not in line.streams:
            return
        line.streams.remove(stream)
        if not line.streams:
            assert line.req_id is not None, "a line without a request is not kept"
            self._desk.close(line.req_id, now)
            del self._lines[stream.key]

    def _give_up_filling(self, stream: BarStream, now: float) -> None:
        if stream.req_id is not None:
            self._desk.close(stream.req_id, now)
            stream.req_id = None

    def companions(self, stream: BarStream) -> list[BarStream]:
        """Series that live and die together: those of one line."""
        line = self._lines.get(stream.key)
        return [stream] if line is None else list(line.streams)

    def held_by(self, stream: BarStream, now: float) -> str:
        line = self._lines.get(stream.key)
        held_by = self._desk.held_by(None if line is None else line.req_id, now)
        return held_by or self._desk.held_by(stream.req_id, now)

    def _line_ended(self, line: _Line, outcome: Outcome, now: float) -> None:
        for key in [key for key, kept in self._lines.items() if kept is line]:
            del self._lines[key]
        for stream in line.streams:
            self._give_up_filling(stream, now)
            self._keeper.ended(stream, outcome, now)

    # ------------------------------------------------------------ history

    def _filled(self, stream: BarStream, outcome: Outcome, now: float) -> None:
        stream.req_id = None
        if not outcome.ok:
            self._keeper.ended(stream, outcome, now)
            return
        answer = next(a for a in outcome.answers if isinstance(a, ev.HistoryReceived))
        fresh = stream.take_answer(answer.bars, self._settings.backfill, self._time.surely_ns(now), now)
        self._keeper.publish(stream, fresh)
        self._resume(stream, self._lines[stream.key], now)

    def _resume(self, stream: BarStream, line: _Line, now: float) -> None:
        """Fold on where the answer ends: from remembered parts if they reach back to the start of the bar under way,
        otherwise on top of the answer's view of it."""
        wall_ns, growing, last = self._time.wall_ns(now), stream.series.growing, stream.series.last_finished
        known_ns = max(
            self._span(line, stream, self._time.surely_ns(now)).start_ns,
            growing.start_ns if growing is not None else 0,
            self._span(line, stream, last.start_ns).end_ns if last is not None else 0,
        )
        parts = [part for part in line.parts if part.start_ns >= known_ns]
        reaches = bool(parts) and parts[0].start_ns in (known_ns, self._span(line, stream, parts[0].start_ns).opens_ns)
        stream.fold.begin(known_ns, None if reaches else growing)
        if not reaches:
            parts = [part for part in parts if part.start_ns >= wall_ns]
        self.look(stream, now)
        for part in parts:
            if stream.state is StreamState.LIVE:
                self._add(line, stream, part, now)

    def look(self, stream: BarStream, now: float) -> None:
        """A series is live when history has answered and its line is open, though no part may come for a night."""
        line = self._lines.get(stream.key)
        waits = stream.state is StreamState.BACKFILLING and stream.req_id is None and stream.retry_at is None
        if waits and line is not None and self._desk.is_sent(line.req_id):
            stream.state, stream.judged_at = StreamState.LIVE, now

    # ------------------------------------------------------------ parts

    def _receive(self, line: _Line, event: Any, now: float) -> None:
        part: Bar = event.bar
        if line.parts and part.start_ns <= line.parts[-1].start_ns:
            return
        line.parts.append(part)
        for stream in list(line.streams):
            stream.heard(now)
            if not self._keeper.is_outage:
                stream.in_doubt, stream.prove_by = False, None
            self.look(stream, now)
            if stream.state is StreamState.LIVE:
                self._keeper.lives(stream)
                self._add(line, stream, part, now)

    def _add(self, line: _Line, stream: BarStream, part: Bar, now: float) -> None:
        step = stream.fold.add(part, self._span(line, stream, part.start_ns))
        if step is Step.LACKS:
            self._ask_later(stream, now)
            return
        assert stream.fold.bar is not None, "it has just grown"
        fresh = stream.series.update(stream.fold.bar)
        if step is Step.ENDS:
            fresh = fresh[:-1] + stream.series.finish()
            stream.fold.end()
            stream.lacks = 0
        self._keeper.publish(stream, fresh)

    def _ask_later(self, stream: BarStream, now: float) -> None:
        """History must tell the bar; a little later, when it is sure to know it."""
        stream.series.interrupt()
        stream.state = StreamState.BACKFILLING
        stream.retry_at = now + min(_REFILL_S * 2.0 ** min(stream.lacks, 10), _REFILL_MAX_S)
        stream.lacks += 1

    def settle(self, stream: BarStream, now: float) -> None:
        """A bar whose last parts did not come lacks trades."""
        if not self._time.is_known or stream.in_doubt:
            return
        if stream.series.settles_in_s(self._time.wall_ns(now), self._settings.settle_s) == 0.0:
            self._ask_later(stream, now)

    def _span(self, line: _Line, stream: BarStream, at_ns: int) -> Span:
        details = self._directory.known(line.asked_as)
        assert details is not None, "its line was opened with them"
        return span_of(at_ns, BAR_SECONDS[stream.size], details.liquid_hours, details.time_zone)
