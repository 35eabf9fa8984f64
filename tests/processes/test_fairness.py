"""Who waits for whom, on real processes: orders for nobody's data, clients for nobody's flood."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway_proxy import Client, ContractUnknown
from tests.support.pair import Pair

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(150),
    pytest.mark.skipif(sys.platform != "linux", reason="ipc credentials"),
]

FLOODER = Path(__file__).with_name("flooder.py")


@pytest.fixture
def pair(short_dir: Path) -> Iterator[Pair]:
    made = Pair(short_dir).start()
    with made.client() as client:
        made.wait_until(lambda: client.status()["state"] == "ready", "ready")
    yield made
    made.close()


def queued(client: Client) -> int:
    """Data requests that wait in the proxy."""
    depth: dict[str, Any] = client.health()["pacing"]["lanes"]["interactive"]
    return int(depth["depth"])


def test_order_behind_500_contract_requests_leaves_while_they_wait(pair: Pair):
    """By the simulator's ledger: most of the contract requests come after the order."""
    with pair.client() as client:
        bid = client.quote("SPY").bid
        assert bid is not None
        flooder = pair.spawn(str(FLOODER), str(pair.runtime), "500")
        pair.wait_until(lambda: queued(client) > 350, "the queue")
        client.place("SPY", "BUY", 1, limit_price=round(bid * 0.99, 2), ref="overtakes", engine="test")
        still_queued = queued(client)
    pair.wait_until(lambda: pair.ledger("order"), "the order")
    entries = [json.loads(line) for line in pair.ledger_file.read_text().splitlines() if line.endswith("}")]
    order = next(number for number, entry in enumerate(entries) if entry["event"] == "order")
    before = sum(entry.get("kind") == "reqContractDetails" for entry in entries[:order] if entry["event"] == "request")

    flooder.kill()
    assert still_queued > 200
    assert before < 300
    assert pair.ledger("violation") == []


def test_flood_is_refused_by_name_and_costs_the_others_little(pair: Pair):
    """A client that sends 5,000 requests is told so, typed; the others' answers take at most twice as long.

    The better of two rounds, because a shared machine may keep any process waiting.
    """
    strikes = iter(range(300, 900))

    def latencies_s(client: Client) -> list[float]:
        taken = []
        for _ in range(15):
            began = time.monotonic()
            with suppress(ContractUnknown):
                client.request("contract", {"contract": f"QQQ.20260619.P.{next(strikes)}"})
            taken.append(time.monotonic() - began)
        return taken

    with pair.client() as client:
        ratios = []
        quiet_s = statistics.median(latencies_s(client))
        flooder = pair.spawn(str(FLOODER), str(pair.runtime), "5000")
        pair.wait_until(lambda: queued(client) > 400, "the queue")
        for _ in range(2):
            ratios.append(statistics.median(latencies_s(client)) / quiet_s)
        held = queued(client)
    assert flooder.stdout is not None
    refused = json.loads(flooder.stdout.readline())
    flooder.kill()

    print({"quiet_ms": round(quiet_s * 1e3), "ratios": [round(each, 2) for each in ratios], "refused": refused})
    assert held > 300, "the flood was still there"
    assert refused["queue_full"] >= 3_000
    assert min(ratios) <= 2.0
    assert pair.ledger("violation") == []
