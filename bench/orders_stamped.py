"""The proxy with a clock at the stages of an order: `python -m bench.orders_stamped --config FILE`, as gateway_proxy.

For each order that is placed one line of CLOCK_MONOTONIC times in ns: its request was read and parsed, it was decided,
its records were synced. The clock costs a few microseconds of an order; the line is written when its bytes have left.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

from ib_async.connection import Connection

from gateway_proxy.cli import main
from gateway_proxy.journal import Journal
from gateway_proxy.service import Service

_stamps: list[int] = []


def stamp() -> None:
    """From the request of an order on, the clock runs until its bytes have left."""
    service_class, journal_class, connection_class = cast(Any, (Service, Journal, Connection))
    receive, append, write = service_class._receive_trade, journal_class.append, connection_class.sendMsg

    def stamped_receive(service: Service, client: Any, request: Any) -> None:
        _stamps[:] = [time.monotonic_ns()] if request.op == "order.place" else []
        receive(service, client, request)

    def stamped_append(journal: Journal, records: Any, wall_ns: int) -> None:
        clocked = len(_stamps) == 1
        _stamps.extend([time.monotonic_ns()] * clocked)
        append(journal, records, wall_ns)
        _stamps.extend([time.monotonic_ns()] * clocked)

    def stamped_write(connection: Connection, message: bytes) -> None:
        write(connection, message)
        if len(_stamps) == 3:
            print(*_stamps, flush=True)
            _stamps.clear()

    service_class._receive_trade = stamped_receive
    journal_class.append = stamped_append
    connection_class.sendMsg = stamped_write


if __name__ == "__main__":
    stamp()
    sys.exit(main())
