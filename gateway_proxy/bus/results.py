"""What a question about a table gives back: a list of rows that can also be arrays or a data frame.

numpy, pandas and polars load only when somebody asks for them.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from gateway_proxy.bus.messages import Bar, Chain, ChainRow

if TYPE_CHECKING:
    import numpy as np

_Row = TypeVar("_Row")


class Table(Sequence[_Row], Generic[_Row]):
    """An immutable list of rows, oldest or lowest first."""

    _columns: ClassVar[dict[str, str]]

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[_Row]:
        return iter(self._rows)

    @overload
    def __getitem__(self, at: int) -> _Row: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[_Row, ...]: ...

    def __getitem__(self, at: int | slice) -> _Row | tuple[_Row, ...]:
        return self._rows[at]

    def column(self, name: str) -> list[Any]:
        return [getattr(row, name) for row in self._rows]

    def np(self) -> np.ndarray[Any, np.dtype[Any]]:
        """A structured array (n,): `bars.np()["close"]` is float64 (n,). What IB did not give is NaN (count: -1)."""
        numpy = import_module("numpy")
        table = numpy.empty(len(self), dtype=list(self._columns.items()))
        for name, kind in self._columns.items():
            table[name] = [_filled(value, kind) for value in self.column(name)]
        return table  # type: ignore[no-any-return]

    def df(self) -> Any:
        """A pandas DataFrame; bars are indexed by their start time in UTC. Needs pandas (extra `df`)."""
        pandas = _extra("pandas", "df")
        frame = pandas.DataFrame({name: self.column(name) for name in self._columns})
        if "start_ns" in frame:
            frame.index = pandas.to_datetime(frame["start_ns"], utc=True).rename("start")
        return frame

    def pl(self) -> Any:
        """A polars DataFrame; start times stay nanoseconds in `start_ns`. Needs polars (extra `polars`)."""
        return _extra("polars", "polars").DataFrame({name: self.column(name) for name in self._columns})

    def _repr_html_(self) -> str:
        """Shown by notebooks: first and last rows, everything escaped."""
        shown = self._rows if len(self) <= 20 else (*self._rows[:10], *self._rows[-10:])
        head = "".join(f"<th>{name}</th>" for name in self._columns)
        body = "".join(f"<tr>{_cells(row, self._columns)}</tr>" for row in shown)
        return f"<p>{html.escape(repr(self))}</p><table><tr>{head}</tr>{body}</table>"


class Bars(Table[Bar]):
    """Bars, oldest first; the last one may be unfinished (`complete` False).

    age_s: set when the Gateway could not be asked: seconds since IB last confirmed them.
    """

    _columns = {
        "start_ns": "i8", "open": "f8", "high": "f8", "low": "f8", "close": "f8", "volume": "f8", "wap": "f8",
        "count": "i8", "complete": "?", "source": "U8", "gap": "?",
    }  # fmt: skip

    def __init__(self, rows: Sequence[Bar], *, contract: str = "", size: str = "", age_s: float | None = None) -> None:
        super().__init__(rows)
        self.contract = contract
        self.size = size
        self.age_s = age_s

    def __repr__(self) -> str:
        old = "" if self.age_s is None else f", {self.age_s:g} s old"
        return f"<Bars {self.contract} {self.size}, {len(self)} rows{old}>"


class ChainTable(Table[ChainRow]):
    """Options of one expiry around the money, by strike and then right. `message` is the whole Chain as it came."""

    _columns = {
        "strike": "f8", "right": "U1", "con_id": "i8", "bid": "f8", "ask": "f8", "last": "f8", "volume": "f8",
        "open_interest": "f8", "iv": "f8", "delta": "f8", "gamma": "f8", "theta": "f8", "vega": "f8",
    }  # fmt: skip

    def __init__(self, message: Chain) -> None:
        super().__init__(message.rows)
        self.message = message
        self.symbol = message.symbol
        self.expiry = message.expiry
        self.underlying_price = message.underlying_price

    @property
    def strikes(self) -> list[float]:
        return sorted({row.strike for row in self})

    def __repr__(self) -> str:
        return f"<ChainTable {self.symbol} {self.expiry} at {self.underlying_price:g}, {len(self)} rows>"


def _filled(value: Any, kind: str) -> Any:
    if value is not None:
        return value
    return -1 if kind == "i8" else float("nan")


def _cells(row: Any, names: dict[str, str]) -> str:
    return "".join(f"<td>{html.escape(str(getattr(row, name)))}</td>" for name in names)


def _extra(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {module}: pip install 'gateway-proxy[{extra}]'") from error
