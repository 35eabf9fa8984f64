"""Longer bars out of shorter ones: 1 minute into any multiple, anchored at the session's open. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from engine.sessions import NS_PER_S, OPEN_MINUTE, market_clock
from gateway_proxy import Bar


def resample(bars: Iterable[Bar], bar_s: int, into_s: int) -> list[Bar]:
    """Bars of `into_s` seconds out of bars of `bar_s`, oldest first.

    Long bars begin at the open and at every `into_s` after it; none spans two sessions. The last one is complete only
    when its last part is there or a later bar proves that it is over. A gap mark or a missing part marks the whole.
    Raises ValueError unless into_s is a multiple of bar_s.
    """
    if into_s % bar_s or into_s < bar_s:
        raise ValueError(f"{into_s} s is no multiple of {bar_s} s")
    made: list[Bar] = []
    parts = 0
    for bar in bars:
        start_ns = _start_of(bar.start_ns, into_s)
        if made and made[-1].start_ns == start_ns:
            parts += 1
            made[-1] = _join(made[-1], bar)
        else:
            if made:
                made[-1] = replace(made[-1], complete=True, gap=made[-1].gap or parts * bar_s != into_s)
            parts = 1
            made.append(replace(bar, start_ns=start_ns))
        ends = bar.start_ns + bar_s * NS_PER_S == start_ns + into_s * NS_PER_S
        made[-1] = replace(made[-1], complete=ends and bar.complete)
    if made and made[-1].complete and parts * bar_s != into_s:
        made[-1] = replace(made[-1], gap=True)
    return made


def _start_of(start_ns: int, into_s: int) -> int:
    clock = market_clock(start_ns, 0)
    since_open_s = round((clock.minutes_since_open + OPEN_MINUTE) * 60) - OPEN_MINUTE * 60
    return start_ns - (since_open_s % into_s) * NS_PER_S


def _join(longer: Bar, part: Bar) -> Bar:
    volume = longer.volume + part.volume
    wap = None
    if longer.wap is not None and part.wap is not None and volume > 0:
        wap = (longer.wap * longer.volume + part.wap * part.volume) / volume
    counted = longer.count is not None and part.count is not None
    return replace(
        longer,
        high=max(longer.high, part.high),
        low=min(longer.low, part.low),
        close=part.close,
        volume=volume,
        wap=wap,
        count=(longer.count or 0) + (part.count or 0) if counted else None,
        gap=longer.gap or part.gap,
        source=part.source,
    )
