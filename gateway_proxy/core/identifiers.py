"""Identifiers of orders: references, payload hashes and the allocator of order ids. Pure.

A client_order_id is the engine's; an order reference is derived from it and travels to IB and back with the order and
its executions, so that our orders are recognised even by a proxy that lost its journal (reliability 6.3).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, Final

from msgspec import to_builtins

from gateway_proxy.errors import Refused

#: The first letters of every order reference of ours; the digit is the version of the scheme.
REFERENCE_PREFIX: Final = "g1"
LEG_LETTERS: Final[dict[str, str]] = {"entry": "E", "take_profit": "T", "stop_loss": "S"}
#: Below the ids of data requests, so that `error(id)` is unambiguous, and below int32, which IB parses (A21).
ORDER_ID_MAX: Final = 1_499_999_999
#: Emergency stops for one bracket; after that a human must look.
GUARDS_MAX: Final = 2
_GUARD: Final = re.compile(r"!guard\d+$")
#: Room for "!guard1" in the 64 characters of a client_order_id.
_GUARD_STEM_MAX: Final = 57
_text: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
#: base64 makes its table at the first call of a life; that shall not be the first order's.
base64.b32encode(b"")


def reference_stem(client_order_id: str, account: str) -> str:
    """18 characters shared by all legs of one client order: "g1" and 80 bits of hash in base32."""
    digest = hashlib.sha256(f"{account}\n{client_order_id}".encode()).digest()
    return REFERENCE_PREFIX + base64.b32encode(digest[:10]).decode().lower()


def order_reference(client_order_id: str, account: str, leg: str) -> str:
    """The 19 characters that IB keeps with an order for its lifetime. `leg`: entry, take_profit or stop_loss."""
    return reference_stem(client_order_id, account) + LEG_LETTERS[leg]


def is_ours(reference: str) -> bool:
    """True for what `order_reference` can have made, by this proxy or an earlier life of it."""
    return len(reference) == 19 and reference.startswith(REFERENCE_PREFIX) and reference[-1] in "ETS"


def guard_names(client_order_id: str) -> tuple[str, ...]:
    """Ids of the stops that the proxy places itself for one bracket; no two brackets share them."""
    stem = client_order_id
    if len(stem) > _GUARD_STEM_MAX:
        stem = f"{stem[:40]}~{hashlib.sha256(stem.encode()).hexdigest()[:16]}"
    return tuple(f"{stem}!guard{number}" for number in range(1, GUARDS_MAX + 1))


def is_guard_name(client_order_id: str) -> bool:
    """True for what `guard_names` makes: a client's order of that name would pass for the stop of a bracket."""
    return _GUARD.search(client_order_id) is not None


def payload_hash(op: str, args: Any) -> str:
    """The same for the same request, whatever the order of its fields; `args` is a dataclass of bus.messages.

    `cites` is left out: it says on what an order was decided, not what it is, and an engine that decides again after a
    restart cites other messages.
    """
    told = {name: value for name, value in to_builtins(args).items() if name != "cites"}
    return hashlib.sha256(_text([op, told]).encode()).hexdigest()[:32]


def execution_stem(exec_id: str) -> str:
    """What an execution and its corrections share: everything before the last dot (rule book 5.5)."""
    return exec_id.rpartition(".")[0] or exec_id


class OrderIds:
    """Order ids only go up: across requests, sessions, restarts, and even when IB's own counter falls back (A2)."""

    def __init__(self) -> None:
        self._highest = 0

    @property
    def highest(self) -> int:
        return self._highest

    def saw(self, order_id: int) -> None:
        """This id is taken, by whomever; lower ones are never given again."""
        if order_id <= ORDER_ID_MAX:
            self._highest = max(self._highest, order_id)

    def take(self, count: int) -> tuple[int, ...]:
        """A block of consecutive ids. Raises Refused when the range is exhausted."""
        if self._highest + count > ORDER_ID_MAX:
            raise Refused(f"order ids are exhausted at {self._highest}: reset the API order ids in the Gateway")
        first = self._highest + 1
        self._highest += count
        return tuple(range(first, first + count))
