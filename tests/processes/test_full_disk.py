"""A disk that runs full under the order journal: a small file system, a real proxy, and the ledger as judge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_proxy import ProxyError, Refused, UnknownOutcome, journal
from tests.support.pair import Pair

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs"),
]

SETTINGS = """
[journal]
path = "{path}"
[risk]
max_open_orders = 1000
max_orders_per_minute = 100000
max_cancels_per_minute = 100000
max_efficiency_ratio = 1e9
"""
#: Far more orders than the journal's reserved log can take.
ORDERS_MAX = 1500


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes; skips where nobody may mount."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(where)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount a file system here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left; returns the file to delete."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def test_a_full_disk_stops_new_orders_and_nothing_else(short_dir: Path, small_disk: Path):
    """Refused by name once not one record more fits; cancels go on, health says so, the next life knows everything."""
    path = small_disk / "journal.sqlite3"
    pair = Pair(short_dir, more=SETTINGS.format(path=path)).start()
    try:
        with pair.client() as client:
            pair.wait_until(lambda: client.status()["state"] == "ready", "ready")
            price = round((client.quote("SPY").bid or 0.0) * 0.97, 2)
            client.place("SPY", "BUY", 1, limit_price=price, ref="before")
            filler = fill(small_disk)
            refusal, accepted, unknown, refused = "", [], [], []
            for number in range(ORDERS_MAX):
                ref = f"order-{number}"
                try:
                    client.place("SPY", "BUY", 1, limit_price=price, ref=ref)
                    accepted.append(ref)
                    client.cancel(ref)
                except UnknownOutcome:
                    # The journal failed between the write and its acknowledgement: it may be working.
                    unknown.append(ref)
                except Refused as error:
                    refused.append(str(error))
                except ProxyError as error:
                    refusal = error.code
                    break
            with pytest.raises(ProxyError, match="journal cannot be written"):
                client.place("SPY", "BUY", 1, limit_price=price, ref="another")
            client.cancel("before")
            pair.wait_until(lambda: any(one["order_id"] for one in pair.ledger("cancel")), "the cancel is sent")
            status = client.status()
        report = pair.doctor()
        filler.unlink()
        assert pair.proxy is not None
        pair.proxy.kill()
        pair.proxy.wait()
        pair.start_proxy()
        with pair.client() as client:
            pair.wait_until(lambda: not client.status()["orders"]["not_ready"], "reconciled")
            left = {update.client_order_id for update in client.orders()}
            for ref in left:
                client.cancel(ref, exits=True)
            again = client.place("SPY", "BUY", 1, limit_price=price, ref="after").state
            known = {ref: client.order(ref).state for ref in accepted}
    finally:
        pair.close()
    orders = pair.ledger("order")
    by_reference: dict[str, set[int]] = {}
    for one in orders:
        by_reference.setdefault(one["order_ref"], set()).add(one["perm_id"])

    assert refusal == "journal_unavailable"
    assert not any("reqCurrentTime" in text for text in refused), "a flow of orders is no silence of the Gateway"
    assert status["orders"]["journal_down"] is True
    assert any("journal" in check["text"] for check in report["checks"] if not check["good"]), report["checks"]
    assert (left <= {*unknown, *accepted[-1:]}, again) == (True, "accepted")
    assert all(len(perm_ids) == 1 for perm_ids in by_reference.values()), "one reference, one order"
    assert set(known.values()) <= {"cancelled", "filled"}, "a yes from before is known after"
    assert journal.verify(path) == []
