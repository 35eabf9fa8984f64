"""An indicator in its three forms, which agree because they are one kernel: series, matrix, and bar by bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.indicators.compile import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Bars:
    """Price arrays of one shape: (bars,) for one symbol or (bars, symbols) for many, oldest first, float64.

    session: int64 (bars,), a new value starts a new session; None is one session. What is left out is taken to be
    `close` (prices) or 0 (volume); give what the indicator needs.
    """

    close: FloatArray
    high: FloatArray | None = None
    low: FloatArray | None = None
    volume: FloatArray | None = None
    session: IntArray | None = None


@dataclass(frozen=True, slots=True)
class Indicator:
    """`warm_up`: values are defined from this bar on, counted from 0; `needs` names the inputs it reads.

    `state_rows`: rows of its state per symbol. The state is a plain array: copy it to take a snapshot.
    """

    name: str
    kernel: Callable[..., Any]
    outputs: tuple[str, ...]
    parameters: tuple[float, ...]
    state_rows: int
    warm_up: int
    needs: tuple[str, ...] = ("close",)

    def batch(self, bars: Bars) -> dict[str, FloatArray]:
        """The outputs by name, shaped like `bars.close`. Entries before `warm_up` are NaN."""
        close = np.ascontiguousarray(bars.close, np.float64)
        if close.ndim not in (1, 2):
            raise ValueError(f"want (bars,) or (bars, symbols), got {close.ndim} dimensions")
        self._check(bars)
        high, low, close, volume = _columns(bars)
        session = (
            np.zeros(len(close), np.int64) if bars.session is None else np.ascontiguousarray(bars.session, np.int64)
        )
        if session.shape != (len(close),):
            raise ValueError(f"session has shape {session.shape}, want ({len(close)},)")
        out = np.empty((len(self.outputs), *close.shape))
        active = np.ones(close.shape[1], np.bool_)
        self.kernel(high, low, close, volume, session, active, self.start(close.shape[1]), self._p, out)
        shape = np.shape(bars.close)
        return {name: out[at].reshape(shape) for at, name in enumerate(self.outputs)}

    def start(self, symbols: int) -> FloatArray:
        """A fresh state for so many symbols, for `update`."""
        return np.zeros((self.state_rows, symbols))

    def update(
        self, state: FloatArray, bars: Bars, *, active: BoolArray | None = None, out: FloatArray | None = None
    ) -> FloatArray:
        """One new bar of every symbol, in one call, O(1) each. Returns float64 (outputs, symbols).

        bars: arrays (symbols,) with the session of the bar as (1,). active: symbols that have this bar; the others
        keep their state and get NaN. out: float64 (outputs, 1, symbols) to write into instead of a new array.
        """
        self._check(bars)
        row = Bars(np.atleast_2d(bars.close), _row(bars.high), _row(bars.low), _row(bars.volume))
        high, low, close, volume = _columns(row)
        session = np.zeros(1, np.int64) if bars.session is None else np.ascontiguousarray(bars.session, np.int64)
        symbols = close.shape[1]
        if state.shape != (self.state_rows, symbols) or session.shape != (1,):
            raise ValueError(f"state {state.shape} and session {session.shape} do not fit {symbols} symbols")
        out = np.empty((len(self.outputs), 1, symbols)) if out is None else out
        active = np.ones(symbols, np.bool_) if active is None else active
        self.kernel(high, low, close, volume, session, active, state, self._p, out)
        return out[:, 0, :]

    @property
    def _p(self) -> FloatArray:
        return np.array(self.parameters, np.float64)

    def _check(self, bars: Bars) -> None:
        missing = [name for name in self.needs if getattr(bars, name) is None]
        if missing:
            raise ValueError(f"{self.name} needs {', '.join(missing)}")


def _columns(bars: Bars) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """high, low, close, volume as C-contiguous (bars, symbols)."""
    close = _two_dimensional(bars.close)
    high = close if bars.high is None else _two_dimensional(bars.high)
    low = close if bars.low is None else _two_dimensional(bars.low)
    volume = np.zeros_like(close) if bars.volume is None else _two_dimensional(bars.volume)
    if len({close.shape, high.shape, low.shape, volume.shape}) != 1:
        raise ValueError("high, low, close and volume must have one shape")
    return high, low, close, volume


def _two_dimensional(values: FloatArray) -> FloatArray:
    array = np.ascontiguousarray(values, np.float64)
    return array.reshape(-1, 1) if array.ndim == 1 else array


def _row(values: FloatArray | None) -> FloatArray | None:
    return None if values is None else np.atleast_2d(values)
