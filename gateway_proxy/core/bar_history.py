"""The history feed of bars: one request a series, which backfills it and then keeps it up to date. Pure."""

from __future__ import annotations

from typing import Any, Final

from gateway_proxy.bus.messages import Bar
from gateway_proxy.bus.topics import BAR_SECONDS, BAR_SIZES
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.bar_stream import BarSettings, BarStream, Keeper, StreamState
from gateway_proxy.core.desk import Desk
from gateway_proxy.core.jobs import Lane, history_class, history_keys
from gateway_proxy.core.market_time import MarketTime

#: IB sends an update every 5 s; after a longer silence that a bar's end fell into, that bar lacks trades.
_UPDATE_GAP_S: Final = 6.5


class HistoryFeed:
    """keepUpToDate: a slot and a line for each series."""

    def __init__(self, desk: Desk, time: MarketTime, settings: BarSettings, keeper: Keeper) -> None:
        self._desk = desk
        self._time = time
        self._settings = settings
        self._keeper = keeper

    def open(self, stream: BarStream, details: ev.ContractDetails, now: float) -> None:
        contract = details.contract
        duration = stream.missing(self._settings.backfill, self._time, now)
        stream.req_id = self._desk.ask(
            lambda req_id: fx.RequestHistory(
                req_id, contract, duration, BAR_SIZES[stream.size], "TRADES", True, keep_up_to_date=True
            ),
            history_class(stream.size), lane=Lane.STREAM, owner="proxy",
            keys=history_keys(contract, stream.size, "TRADES", True, duration, "live"),
            timeout_s=self._settings.timeout_s, queue_s=None,
            on_end=lambda outcome, at: self._keeper.ended(stream, outcome, at),
            on_answer=lambda event, at: self._receive(stream, event, at), now=now,
        )  # fmt: skip
        stream.state, stream.retry_at = StreamState.BACKFILLING, None
        stream.opened += 1

    def close(self, stream: BarStream, now: float) -> None:
        if stream.req_id is not None:
            self._desk.close(stream.req_id, now)
            stream.req_id = None

    def companions(self, stream: BarStream) -> list[BarStream]:
        """Series that live and die together: here each has a stream of its own."""
        return [stream]

    def held_by(self, stream: BarStream, now: float) -> str:
        return self._desk.held_by(stream.req_id, now)

    def settle(self, stream: BarStream, now: float) -> None:
        """Finish a bar after which nothing came; not in doubt: a bar that grew into an outage may lack trades."""
        if self._time.is_known and BAR_SECONDS[stream.size] < 86_400 and not stream.in_doubt:
            finished = stream.series.settle(self._time.wall_ns(now), self._settings.settle_s)
            self._keeper.publish(stream, finished)

    def _receive(self, stream: BarStream, event: Any, now: float) -> None:
        silent_s = 0.0 if stream.last_update is None else now - stream.last_update
        stream.heard(now)
        if isinstance(event, ev.HistoryReceived):
            stream.state = StreamState.LIVE
            # A bar that ended while the answer was under way may lack its last trades; the updates bring them.
            made_after = self._time.surely_ns(self._desk.sent_at(stream.req_id, now))
            fresh = stream.take_answer(event.bars, self._settings.backfill, made_after, now)
            self._keeper.publish(stream, fresh)
        elif isinstance(event, ev.HistoryUpdated):
            if stream.in_doubt and not self._proves_life(stream, event.bar, silent_s, now):
                return
            self._keeper.lives(stream)
            self._keeper.publish(stream, stream.series.update(event.bar))

    def _proves_life(self, stream: BarStream, bar: Bar, silent_s: float, now: float) -> bool:
        """An update after an outage. False when a bar ended inside it: that bar lacks trades, so it is asked for."""
        growing = stream.series.growing
        if silent_s > _UPDATE_GAP_S and (growing is None or growing.start_ns != bar.start_ns):
            stream.missed = True
            stream.series.interrupt()
        if self._keeper.is_outage:
            return not stream.missed
        if stream.missed:
            self._keeper.reopen([stream], now)
            return False
        stream.in_doubt, stream.prove_by = False, None
        return True
