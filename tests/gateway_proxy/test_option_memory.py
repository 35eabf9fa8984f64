"""The option memory: what was learned is there again; what is broken is left alone, what is unchanged not written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from gateway_proxy.option_memory import OptionMemory

ROW: dict[str, Any] = {
    "req_id": 1, "exchange": "SMART", "trading_class": "SPY", "multiplier": "100", "expirations": ["20260615"],
    "strikes": [600.0, 601.0],
}  # fmt: skip
LEARNED: list[dict[str, Any]] = [{"symbol": "SPY", "date": "20260615", "rows": [ROW]}]


def test_next_life_reads_what_this_one_wrote(tmp_path: Path):
    """Byte by byte the same facts."""
    path = tmp_path / "options.json"
    OptionMemory(path).write(1, lambda: LEARNED)

    assert OptionMemory(path).read() == LEARNED


def test_unchanged_version_is_not_written_again(tmp_path: Path):
    """Asked every second, it costs nothing."""
    path = tmp_path / "options.json"
    memory = OptionMemory(path)
    memory.write(1, lambda: LEARNED)
    path.unlink()

    memory.write(1, lambda: LEARNED)

    assert not path.exists()


def test_broken_file_is_worth_nothing_and_stops_nobody(tmp_path: Path, caplog):
    """A warning, an empty memory."""
    path = tmp_path / "options.json"
    for broken in (b"", b"{", b'[{"symbol": 1}]', b'[{"symbol": "SPY", "date": "20260615", "rows": [{}]}]'):
        path.write_bytes(broken)
        with caplog.at_level(logging.WARNING):
            assert OptionMemory(path).read() == []

    assert len(caplog.records) == 4


def test_unwritable_directory_is_a_warning(tmp_path: Path, caplog):
    """The proxy goes on."""
    with caplog.at_level(logging.WARNING):
        OptionMemory(tmp_path / "missing" / "options.json").write(1, lambda: LEARNED)

    assert [record.message for record in caplog.records] == ["option memory not written"]


def test_without_a_path_nothing_is_kept():
    """The simulator's next seed is another market."""
    memory = OptionMemory(None)
    memory.write(1, lambda: LEARNED)

    assert memory.read() == []
