"""The order journal on disk: SQLite in WAL mode, synchronous=FULL, one writer. It appends, reads and proves; no rules.

One row per record. Each row carries a hash over its content and the previous row's hash, so that `verify` can name the
first row that was changed, removed or put between. Decisions about orders live in core/; this file never interprets.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any, Final

import orjson

from gateway_proxy.core.effects import Append
from gateway_proxy.errors import AlreadyRunning, JournalUnavailable

SCHEMA_VERSION: Final = 1
_FIRST_HASH: Final = "0" * 32
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY,
    wall_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT
"""
#: Earlier versions kept an index that nothing reads; it doubled what one order writes.
_NO_INDEX: Final = "DROP INDEX IF EXISTS records_by_order"
_INSERT: Final = "INSERT INTO records (seq, wall_ns, kind, client_order_id, body, hash) VALUES (?, ?, ?, ?, ?, ?)"
_COLUMNS: Final = "seq, wall_ns, kind, client_order_id, body, hash"
_text: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode

#: SQLite's log is filled with zeros this far before anything is written to it. A commit then overwrites and leaves the
#: file's size alone, so its sync waits for these bytes only and not for the file system's own journal.
LOG_BYTES: Final = 4 << 20
#: Transactions after which the log is emptied into the database, in a quiet moment; about a tenth of LOG_BYTES.
TIDY_AFTER: Final = 50
#: With no quiet moment, after so many; about what LOG_BYTES hold.
TIDY_AT_LEAST_AFTER: Final = 500


def _chain(previous: str, seq: int, wall_ns: int, kind: str, client_order_id: str, body: str) -> str:
    text = "\n".join((previous, str(seq), str(wall_ns), kind, client_order_id, body))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal:
    """The one writer. Opening it takes an exclusive lock that dies with the process.

    Raises AlreadyRunning if another process holds it, JournalUnavailable if it cannot be opened, is of another schema,
    or its last row does not carry its own hash.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = _locked(self.path.with_name(self.path.name + ".lock"))
        try:
            self._connection = _opened(self.path)
            self._seq, self._hash = self._last()
            self._untidy = 0
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        self._lock.close()

    def append(self, records: Sequence[Append], wall_ns: int) -> None:
        """All of them durable on return, in one transaction, or none. Raises JournalUnavailable on any error.

        After an error the journal takes nothing more: a failed sync must not be repeated on the same file.
        """
        if not records:
            return
        seq, previous = self._seq, self._hash
        rows: list[tuple[int, int, str, str, str, str]] = []
        for record in records:
            seq += 1
            body = _text(record.body)
            previous = _chain(previous, seq, wall_ns, record.kind, record.client_order_id, body)
            rows.append((seq, wall_ns, record.kind, record.client_order_id, body, previous))
        if self._hash == "":
            raise JournalUnavailable(f"journal {self.path}: closed to writing by an earlier error; restart the proxy")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._hash = ""
            raise JournalUnavailable(f"journal {self.path}: {error}") from error
        self._seq, self._hash = seq, previous
        self._untidy += 1

    def tidy(self, *, quiet: bool) -> None:
        """Empty SQLite's log into the database, at leisure while it is `quiet`: no order shall wait for that.

        After an error the journal takes nothing more, and `append` says so.
        """
        if self._hash == "" or self._untidy < (TIDY_AFTER if quiet else TIDY_AT_LEAST_AFTER):
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            self._hash = ""
        self._untidy = 0

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record, oldest first, for the replay: seq, wall_ns, kind, client_order_id, body (parsed).

        Raises JournalUnavailable at the first row that breaks the hash chain: a journal that lies is not replayed.
        """
        for row, fault in _checked(self._connection):
            if fault:
                raise JournalUnavailable(f"journal {self.path}: {fault}")
            yield row

    def _last(self) -> tuple[int, str]:
        row = self._connection.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, _FIRST_HASH)


# ---------------------------------------------------------------- reading a journal that another process may own


def list_orders(path: Path | str) -> list[dict[str, Any]]:
    """One row per client order, oldest first: client_order_id, engine, first_ns, last_ns, records, last, reason."""
    orders: dict[str, dict[str, Any]] = {}
    for row in _read(path):
        name, body = row["client_order_id"], row["body"]
        if not name:
            continue
        first = {
            "client_order_id": name,
            "engine": "",
            "first_ns": row["wall_ns"],
            "records": 0,
            "last": "",
            "reason": "",
        }
        order = orders.setdefault(name, first)
        order["engine"] = body.get("engine", order["engine"])
        order["last_ns"] = row["wall_ns"]
        order["records"] += 1
        order["last"] = body.get("event", row["kind"])
        order["reason"] = body.get("reason") or order["reason"]
    return list(orders.values())


def show_order(path: Path | str, client_order_id: str) -> list[dict[str, Any]]:
    """Every record of one client order, oldest first."""
    return [row for row in _read(path) if row["client_order_id"] == client_order_id]


def verify(path: Path | str) -> list[str]:
    """Everything wrong with the journal, one sentence each; empty when the chain is whole."""
    connection = _opened_for_reading(Path(path))
    try:
        damaged = [str(row[0]) for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        return damaged or [fault for _, fault in _checked(connection) if fault]
    except sqlite3.DatabaseError as error:
        return [f"not readable as a journal: {error}"]
    finally:
        connection.close()


def export(path: Path | str, to: IO[str]) -> int:
    """Write every record as one JSON line; returns how many."""
    count = 0
    for row in _read(path):
        to.write(json.dumps(row, separators=(",", ":")) + "\n")
        count += 1
    return count


def _read(path: Path | str) -> Iterator[dict[str, Any]]:
    connection = _opened_for_reading(Path(path))
    try:
        for row, _ in _checked(connection):
            yield row
    except sqlite3.DatabaseError as error:
        raise JournalUnavailable(f"journal {path}: {error}") from error
    finally:
        connection.close()


def _checked(connection: sqlite3.Connection) -> Iterator[tuple[dict[str, Any], str]]:
    """Each record with what is wrong with it: its place in the sequence, its hash, or its text."""
    previous, expected = _FIRST_HASH, 1
    for seq, wall_ns, kind, name, text, digest in connection.execute(f"SELECT {_COLUMNS} FROM records ORDER BY seq"):
        fault = ""
        if seq != expected:
            fault = f"record {expected} is missing (next is {seq})"
        elif _chain(previous, seq, wall_ns, kind, name, text) != digest:
            fault = f"record {seq} was changed after it was written"
        try:
            body = orjson.loads(text)
        except ValueError:
            fault, body = f"record {seq} is not JSON", {}
        yield {"seq": seq, "wall_ns": wall_ns, "kind": kind, "client_order_id": name, "body": body}, fault
        previous, expected = digest, seq + 1


# ---------------------------------------------------------------- opening


def _locked(path: Path) -> IO[str]:
    """The lock file, held exclusively. It stays on disk: removing it would let two processes lock two files."""
    try:
        handle = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w")
    except OSError as error:
        raise JournalUnavailable(f"journal lock {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise AlreadyRunning(f"another proxy holds the journal lock {path}") from error
    return handle


def _opened(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise JournalUnavailable(f"journal {path}: {error.strerror}") from error
    with ExitStack() as unless_refused:
        try:
            connection = unless_refused.enter_context(closing(sqlite3.connect(path, isolation_level=None, timeout=2.0)))
            _prepare(connection, path)
        except sqlite3.Error as error:
            raise JournalUnavailable(f"journal {path}: {error}") from error
        unless_refused.pop_all()
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Durability, schema and log as we need them, or an error that says what is different."""
    _pragma(connection, path, "journal_mode", "WAL", "wal")
    _pragma(connection, path, "synchronous", "FULL", 2)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise JournalUnavailable(f"journal {path} has schema {version}; this version reads {SCHEMA_VERSION}")
    connection.execute(_SCHEMA)
    connection.execute(_NO_INDEX)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    _reserve_log(connection, path)


def _reserve_log(connection: sqlite3.Connection, path: Path) -> None:
    """Fill the empty log with zeros, which SQLite reads as no log at all (its header has no magic number).

    With a reader looking at an older state the log is not empty; then it grows as it is used.
    """
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    log = path.with_name(path.name + "-wal")
    try:
        with log.open("r+b", buffering=0) as file:
            if os.fstat(file.fileno()).st_size == 0:
                file.write(bytes(LOG_BYTES))
                os.fsync(file.fileno())
    except OSError as error:
        raise JournalUnavailable(f"journal log {log}: {error.strerror}") from error


def _pragma(connection: sqlite3.Connection, path: Path, name: str, value: str, wanted: str | int) -> None:
    """SQLite ignores what it cannot do, so ask it what it did."""
    connection.execute(f"PRAGMA {name} = {value}")
    got = connection.execute(f"PRAGMA {name}").fetchone()[0]
    if got != wanted:
        raise JournalUnavailable(
            f"journal {path}: {name} is {got!r}, needs {wanted!r}; is it on a network file system?"
        )


def _opened_for_reading(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise JournalUnavailable(f"journal {path} does not exist")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2.0)
