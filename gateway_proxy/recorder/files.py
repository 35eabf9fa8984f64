"""Parquet files of one recording: DIR/<day>/<table>-<first received_ns>.parquet, each complete or not there at all.

A file is made under a temporary name, synced, and renamed; what a crash left half-written is removed at the next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from gateway_proxy import ConfigError
from gateway_proxy.recorder.core import Write
from gateway_proxy.recorder.tables import COLUMNS, HEAD

UNFINISHED: Final = ".part"


class RecordingFailed(Exception):
    """The disk did not take a file: full, read-only, gone. Says which rows are lost."""


class Files:
    """One directory, one writer: a second recorder in it is refused."""

    def __init__(self, directory: Path) -> None:
        self._pyarrow, self._parquet = _pyarrow()
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{directory}: cannot record here: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise ConfigError(f"{directory}: another recorder writes here; choose another --dir") from error
        for left in directory.glob(f"*/*{UNFINISHED}"):
            left.unlink()

    def close(self) -> None:
        os.close(self._lock)

    def write(self, batch: Write) -> Path:
        """The file that now holds these rows, on disk. Raises RecordingFailed."""
        day = self.directory / batch.day
        first_ns = batch.rows[0]["received_ns"]
        final = day / f"{batch.table}-{first_ns}.parquet"
        unfinished = final.with_suffix(UNFINISHED)
        try:
            day.mkdir(exist_ok=True)
            self._write_through(unfinished, self._encoded(batch))
            # The name is free: received_ns only goes up. A clock set back by hours could meet it; then nothing is lost.
            os.link(unfinished, final)
            unfinished.unlink()
            _sync_directory(day)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            lost = f"{len(batch.rows)} rows of {batch.table} heard since {first_ns} are lost"
            raise RecordingFailed(f"{final}: {error.strerror or error}; {lost}") from error
        return final

    def _encoded(self, batch: Write) -> memoryview:
        """In memory first, which rotation bounds: then the disk gives plain errors."""
        columns = {**HEAD, **COLUMNS[batch.table]}
        table = self._pyarrow.table(
            {name: [row[name] for row in batch.rows] for name in columns},
            schema=self._pyarrow.schema([(name, self._type(kind)) for name, kind in columns.items()]),
        )
        target = io.BytesIO()
        self._parquet.write_table(table, target, compression="zstd")
        return target.getbuffer()

    def _type(self, kind: str) -> Any:
        arrow = self._pyarrow
        return {
            "int": arrow.int64(), "float": arrow.float64(), "bool": arrow.bool_(), "text": arrow.string(),
            "json": arrow.string(), "word": arrow.dictionary(arrow.int32(), arrow.string()),
        }[kind]  # fmt: skip

    @staticmethod
    def _write_through(path: Path, content: memoryview) -> None:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        raise ConfigError("recording needs pyarrow: pip install 'gateway-proxy[record]'") from error
