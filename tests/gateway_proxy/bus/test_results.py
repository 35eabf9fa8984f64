"""Tables as lists, arrays and frames; and what importing us costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gateway_proxy
from gateway_proxy.bus.messages import Bar, Chain, ChainRow
from gateway_proxy.bus.results import Bars, ChainTable

BARS = Bars(
    [
        Bar(1_700_000_040_000_000_000, 1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 3, True, "backfill"),
        Bar(1_700_000_100_000_000_000, 1.5, 2.5, 1.0, 2.0, 20.0, complete=False),
    ],
    contract="SPY",
    size="1min",
)
CHAIN = ChainTable(Chain("SPY", "20260618", 600.2, (ChainRow(600.0, "C", 7, 1.0, 1.1), ChainRow(600.0, "P", 8))))


def test_bars_are_a_list():
    """Length, index, slice, iteration."""
    assert (len(BARS), BARS[-1].close, [bar.close for bar in BARS[:1]]) == (2, 2.0, [1.5])


def test_bars_as_arrays():
    """Columns by name; what IB did not give is NaN, or -1 where only integers fit."""
    table = BARS.np()

    assert table["close"].dtype == np.float64
    assert table["close"].tolist() == [1.5, 2.0]
    assert table["start_ns"].tolist() == [1_700_000_040_000_000_000, 1_700_000_100_000_000_000]
    assert np.isnan(table["wap"][1]) and table["count"].tolist() == [3, -1]
    assert table["source"].tolist() == ["backfill", "live"]


def test_bars_as_pandas():
    """Indexed by the start in UTC."""
    pytest.importorskip("pandas")
    frame = BARS.df()

    assert str(frame.index[0]) == "2023-11-14 22:14:00+00:00"
    assert frame["close"].tolist() == [1.5, 2.0]


def test_tables_as_polars():
    """None stays null."""
    pytest.importorskip("polars")

    assert BARS.pl()["wap"].to_list() == [1.2, None]
    assert CHAIN.pl()["bid"].to_list() == [1.0, None]


def test_missing_extra_says_what_to_install(monkeypatch):
    """An ImportError with the command that cures it."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r"pip install 'gateway-proxy\[df\]'"):
        BARS.df()


def test_chain_knows_its_strikes():
    """Rows, strikes and the whole message."""
    assert (CHAIN.strikes, CHAIN.expiry, CHAIN.message.multiplier) == ([600.0], "20260618", "100")
    assert np.isnan(CHAIN.np()["bid"][1])


def test_notebook_picture_is_escaped():
    """Text from outside never becomes markup."""
    bars = Bars(BARS[:1], contract="<script>", size="1min")

    assert "<script>" not in bars._repr_html_()
    assert "<td>1.5</td>" in bars._repr_html_()


def test_empty_tables_work_too():
    """An empty table is possible (nothing traded) and breaks nothing."""
    empty = Bars([], contract="SPY", size="1min")

    assert (len(empty), empty.np().shape, empty.df().shape[0]) == (0, (0,), 0)


def test_public_names_are_there():
    """Every name of __all__ resolves, and a wrong one is an AttributeError."""
    assert all(getattr(gateway_proxy, name) is not None for name in gateway_proxy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        _ = gateway_proxy.Cleint


def test_importing_us_stays_cheap():
    """Neither `import gateway_proxy` nor a Client loads ib_async, numba, pandas, numpy, pydantic or typer."""
    program = (
        "import sys, gateway_proxy; gateway_proxy.Client; gateway_proxy.Bar; "
        "heavy = {'ib_async', 'numba', 'pandas', 'numpy', 'pydantic', 'typer', 'zmq.asyncio', 'asyncio'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "[]"
