"""The journal on a real file: durable, exclusive, provable, and honest about failure."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import stat

import pytest

from gateway_proxy import journal as journals
from gateway_proxy.core.effects import Append
from gateway_proxy.errors import AlreadyRunning, JournalUnavailable
from gateway_proxy.journal import Journal


def record(number: int, name: str = "a") -> Append:
    return Append("event", name, {"number": number, "event": "acknowledged"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "orders.sqlite"


def test_what_was_appended_is_read_back_by_the_next_life(path):
    """Records come back in order with their bodies, over any number of lives."""
    with Journal(path) as journal:
        journal.append([record(1), record(2)], wall_ns=10)
    with Journal(path) as journal:
        journal.append([record(3)], wall_ns=20)

        records = list(journal.records())

    assert [one["body"]["number"] for one in records] == [1, 2, 3]
    assert [one["wall_ns"] for one in records] == [10, 10, 20]
    assert [one["seq"] for one in records] == [1, 2, 3]
    assert journals.verify(path) == []


def test_a_second_proxy_cannot_open_the_same_journal(path):
    """One writer: the second opener is told that another proxy is running, until the first is gone."""
    with Journal(path), pytest.raises(AlreadyRunning):
        Journal(path)

    Journal(path).close()


def test_files_are_readable_by_their_owner_only(path):
    """Journal and lock are 0600, also when the file existed with wider permissions."""
    path.touch(0o644)

    Journal(path).close()

    modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.glob("orders.sqlite*")}
    assert modes == {0o600}


def test_durability_settings_are_what_the_write_ahead_rule_needs(path):
    """WAL with synchronous=FULL: a commit is on the disk before it returns."""
    with Journal(path) as journal:
        pragmas = [
            journal._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ]

    assert pragmas == ["wal", 2]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("UPDATE records SET body = '{\"number\":9}' WHERE seq = 2", "record 2 was changed"),
        ("UPDATE records SET wall_ns = 1 WHERE seq = 3", "record 3 was changed"),
        ("DELETE FROM records WHERE seq = 2", "record 2 is missing"),
        ("UPDATE records SET body = 'x' WHERE seq = 1", "record 1 is not JSON"),
    ],
)
def test_tampering_is_found_and_not_replayed(path, damage, fault):
    """A changed, removed or garbled row is named, and the replay refuses to go past it."""
    with Journal(path) as journal:
        journal.append([record(n) for n in range(1, 5)], wall_ns=10)
    connection = sqlite3.connect(path)
    connection.execute(damage)
    connection.commit()
    connection.close()

    faults = journals.verify(path)

    assert any(fault in one for one in faults)
    with Journal(path) as journal, pytest.raises(JournalUnavailable, match=fault):
        list(journal.records())


def test_a_full_disk_refuses_the_batch_whole_and_everything_after_it(path):
    """A failed commit leaves no half batch, and the journal takes nothing more in this life."""
    journal = Journal(path)
    journal.append([record(1)], wall_ns=10)
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(JournalUnavailable, match="full"):
        journal.append([Append("event", "a", {"text": "x" * 4000}) for _ in range(50)], wall_ns=20)
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(JournalUnavailable, match="earlier error"):
        journal.append([record(2)], wall_ns=30)
    journal.close()

    with Journal(path) as journal:
        assert [one["body"].get("number") for one in journal.records()] == [1]
        journal.append([record(2)], wall_ns=30)
    assert journals.verify(path) == []


def test_numbers_that_json_does_not_have_never_reach_the_file(path):
    """NaN would come back as an error at the next start; it is refused at the door."""
    with Journal(path) as journal, pytest.raises(ValueError, match="JSON"):
        journal.append([Append("event", "a", {"price": float("nan")})], wall_ns=10)


def test_a_journal_of_another_schema_is_refused(path):
    """A newer version's file is not touched by an older program."""
    Journal(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()

    with pytest.raises(JournalUnavailable, match="schema 7"):
        Journal(path)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look", b"\0" * 4096])
def test_a_file_that_is_no_journal_is_refused(path, content):
    """Garbage is named as such and left alone."""
    path.write_bytes(content)

    with pytest.raises(JournalUnavailable):
        Journal(path)

    assert path.read_bytes() == content


def test_a_missing_directory_is_one_clear_error(tmp_path):
    """The path is in the message."""
    with pytest.raises(JournalUnavailable, match="nowhere"):
        Journal(tmp_path / "nowhere" / "orders.sqlite")


def test_operators_can_read_while_the_proxy_writes(path):
    """list, show, verify and export work beside a running writer and change nothing."""
    with Journal(path) as journal:
        intent = Append("intent", "a", {"engine": "scalp"})
        journal.append([intent, record(1), Append("resume", "", {}), record(2, "b")], wall_ns=10)
        out = io.StringIO()

        rows = journals.list_orders(path)
        shown = journals.show_order(path, "a")
        count = journals.export(path, out)

        assert [(row["client_order_id"], row["engine"], row["records"], row["last"]) for row in rows] == [
            ("a", "scalp", 2, "acknowledged"),
            ("b", "", 1, "acknowledged"),
        ]
        assert [one["kind"] for one in shown] == ["intent", "event"]
        assert count == 4
        assert [json.loads(line)["seq"] for line in out.getvalue().splitlines()] == [1, 2, 3, 4]
        assert journals.verify(path) == []


def test_reading_a_journal_that_does_not_exist_creates_nothing(path):
    """A typing error in the path must not leave an empty journal behind."""
    with pytest.raises(JournalUnavailable, match="does not exist"):
        journals.list_orders(path)

    assert not path.exists()


def test_after_a_torn_tail_everything_committed_is_there(path):
    """Cutting the write-ahead log anywhere loses at most what was not synced; no earlier record changes."""
    with Journal(path) as journal:
        journal.append([record(1)], wall_ns=10)
        wal = path.with_name(path.name + "-wal")
        journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        journal.append([record(2)], wall_ns=20)
        whole, main = wal.read_bytes(), path.read_bytes()

    for length in range(0, len(whole), 97):
        path.write_bytes(main)
        wal.write_bytes(whole[:length])
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        with Journal(path) as journal:
            assert [one["body"]["number"] for one in journal.records()][:1] == [1]
        assert journals.verify(path) == []


def fallen(path, to):
    """The files as a power cut would leave them, opened by the next life: what it finds in there."""
    to.mkdir()
    for file in (path, path.with_name(path.name + "-wal")):
        shutil.copyfile(file, to / file.name)
    with Journal(to / path.name) as journal:
        return [one["body"]["number"] for one in journal.records()]


def test_a_log_reserved_ahead_never_changes_its_size_and_loses_nothing(path, tmp_path):
    """Commits overwrite zeros, so that the file system has nothing of its own to sync; every moment is recoverable."""
    log = path.with_name(path.name + "-wal")
    with Journal(path) as journal:
        sizes = [log.stat().st_size]
        found = [fallen(path, tmp_path / "unused")]
        for number in range(1, 4):
            journal.append([record(number)], wall_ns=number)
            sizes.append(log.stat().st_size)
            found.append(fallen(path, tmp_path / str(number)))

    assert set(sizes) == {journals.LOG_BYTES}
    assert found == [[], [1], [1, 2], [1, 2, 3]]


def test_the_log_is_emptied_in_quiet_moments_only_unless_there_are_none(path, tmp_path):
    """Ten times what the log holds is appended without its growing, and a power cut after that loses nothing."""
    log = path.with_name(path.name + "-wal")
    filler, numbers, emptied = "x" * 40_000, range(1_000), []
    with Journal(path) as journal:
        for number in numbers:
            journal.append([Append("event", "a", {"number": number, "filler": filler})], wall_ns=number)
            before = path.stat().st_size
            journal.tidy(quiet=number % 60 == 59)
            emptied += [number] if path.stat().st_size > before else []
        size = log.stat().st_size
        found = fallen(path, tmp_path / "fallen")

    assert emptied == list(range(59, 1_000, 60))
    assert size == journals.LOG_BYTES
    assert found == list(numbers)


def test_without_a_quiet_moment_the_log_is_emptied_all_the_same(path):
    """The log's size is bounded however busy the day is."""
    with Journal(path) as journal:
        empty = path.stat().st_size
        for number in range(journals.TIDY_AT_LEAST_AFTER):
            assert path.stat().st_size == empty
            journal.append([record(number)], wall_ns=number)
            journal.tidy(quiet=False)

        assert path.stat().st_size > empty
        assert path.with_name(path.name + "-wal").stat().st_size == journals.LOG_BYTES
