"""Requests that wait for the quote their price is judged by; nothing of them is durable yet. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core.deadlines import Deadlines

_T = TypeVar("_T")


class QuoteWaits(Generic[_T]):
    """One request per name. Names are unique among all that share `deadlines`.

    decide(request, may_wait): does what is to be done about it; False, and nothing done, while it may wait and only the
    quote is missing. It is asked at each quote of the contract, and for the last time, without waiting, at the end.
    """

    def __init__(self, deadlines: Deadlines, decide: Callable[[_T, bool], bool]) -> None:
        self._deadlines = deadlines
        self._decide = decide
        self._waiting: dict[str, tuple[_T, Contract]] = {}

    def hold(self, name: str, request: _T, contract: Contract, until: float) -> None:
        self._waiting[name] = (request, contract)
        self._deadlines.set(f"quote {name}", until, lambda: self._give_up(name))

    def get(self, name: str) -> _T | None:
        held = self._waiting.get(name)
        return None if held is None else held[0]

    def drop(self, name: str) -> _T | None:
        """Let go of a request without deciding about it; returns it if there was one."""
        held = self._waiting.pop(name, None)
        self._deadlines.clear(f"quote {name}")
        return None if held is None else held[0]

    def quote_arrived(self, key: str) -> None:
        for name, (request, contract) in tuple(self._waiting.items()):
            if contract.key == key and self._decide(request, True):
                self.drop(name)

    def _give_up(self, name: str) -> None:
        self._decide(self._waiting.pop(name)[0], False)

    @property
    def contracts(self) -> dict[str, Contract]:
        """Whose quotes are wanted, by key."""
        return {contract.key: contract for _, contract in self._waiting.values()}

    def __len__(self) -> int:
        return len(self._waiting)
