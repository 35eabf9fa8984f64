"""Files of a recording: whole or not there, readable by anyone, and plain words when the disk refuses."""

from __future__ import annotations

import io
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy import ConfigError
from gateway_proxy.recorder import files
from gateway_proxy.recorder.core import Write
from gateway_proxy.recorder.files import Files, RecordingFailed
from gateway_proxy.recorder.tables import COLUMNS, HEAD, mark_row
from tests.support.stack import ROOT

FILL = {
    "received_ns": 7, "topic": "fills/", "kind": "fill", "seq": 3, "epoch": "e", "sent_ns": 5, "exec_id": "x",
    "engine": "one", "client_order_id": "id", "leg": "entry", "order_id": 4, "symbol": "SPY", "contract": "{}",
    "action": "BUY", "quantity": 2.0, "price": 1.25, "time_ns": 6, "commission": None, "realized_pnl": None,
    "simulated": False,
}  # fmt: skip


def marks(count: int, first_ns: int = 1) -> Write:
    return Write("2026-06-18", "marks", [mark_row(first_ns + at, "gap", "bars/SPY/1min/") for at in range(count)])


@pytest.fixture
def parquet() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: recordings are not tested")


def test_row_comes_back_as_it_was_written(tmp_path: Path, parquet: Any):
    """Nothing is rounded, and what IB did not give stays null."""
    path = Files(tmp_path).write(Write("2026-06-18", "fills", [FILL]))

    assert path == tmp_path / "2026-06-18" / "fills-7.parquet"
    assert parquet.read_table(io.BytesIO(path.read_bytes())).to_pylist() == [FILL]


@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_every_table_can_be_written_empty_handed(tmp_path: Path, parquet: Any, table: str):
    """A column may be null throughout; its type is the same in every file."""
    row = {**dict.fromkeys({**HEAD, **COLUMNS[table]}), "received_ns": 1}

    path = Files(tmp_path).write(Write("2026-06-18", table, [row]))

    assert parquet.read_schema(io.BytesIO(path.read_bytes())).names == [*HEAD, *COLUMNS[table]]


def test_crash_in_the_middle_of_a_file_leaves_nothing_unreadable(tmp_path: Path, parquet: Any):
    """A half-written file never has a name that anybody reads, and the next start clears it away."""
    recording = Files(tmp_path)
    whole = recording.write(marks(3))
    half = whole.with_name("marks-99.part")
    half.write_bytes(whole.read_bytes()[:100])
    recording.close()

    Files(tmp_path)

    assert sorted(path.name for path in whole.parent.iterdir()) == ["marks-1.parquet"]


def test_file_is_never_written_over(tmp_path: Path, parquet: Any):
    """Should a clock give the same name twice, the second one fails loudly."""
    recording = Files(tmp_path)
    first = recording.write(marks(3))
    before = first.read_bytes()

    with pytest.raises(RecordingFailed, match=r"marks-1\.parquet: File exists; 5 rows of marks"):
        recording.write(marks(5))

    assert first.read_bytes() == before
    assert [path.name for path in first.parent.iterdir()] == ["marks-1.parquet"]


def test_second_recorder_in_one_directory_is_refused(tmp_path: Path, parquet: Any):
    """Everything would be there twice."""
    first = Files(tmp_path)
    with pytest.raises(ConfigError, match="another recorder writes here; choose another --dir"):
        Files(tmp_path)
    first.close()
    Files(tmp_path).close()


def test_directory_that_cannot_be_made_is_named(tmp_path: Path, parquet: Any):
    """A file in the way."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="taken/recording: cannot record here"):
        Files(tmp_path / "taken" / "recording")


def test_disk_that_takes_no_more_is_told_with_what_is_lost(tmp_path: Path, parquet: Any):
    """A real refusal of the system: no file of this process may grow beyond some bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    recording = Files(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(RecordingFailed, match="File too large; 2000 rows of marks heard since 1 are lost"):
            recording.write(marks(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert list((tmp_path / "2026-06-18").iterdir()) == []


def test_missing_pyarrow_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before the proxy is even looked for."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(files, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'gateway-proxy\[record\]'"):
        Files(tmp_path)


def test_command_without_a_configuration_file_ends_with_two(tmp_path: Path):
    """The exit code of wrong usage, and one line of text."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway_proxy", "record", "--config", str(tmp_path / "none.toml")],
        capture_output=True, text=True, cwd=ROOT, timeout=50,
    )  # fmt: skip

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "none.toml: no such file" in done.stderr
