"""Subscribed quotes: `quote/<key>/` holds a line of the quote book while somebody listens. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway_proxy.bus import topics
from gateway_proxy.core.contracts import FAILURE_REMEMBERED_S, ContractDirectory, parse, wake_key
from gateway_proxy.core.quotes import QuoteBook
from gateway_proxy.core.scheduler import Lane
from gateway_proxy.errors import ProxyError

HOLDER: Final = "topic"
_RETRY_S: Final = 5.0


class QuoteTopics:
    """Keys that are wanted but whose contract is not known yet wait here, and are asked for again after a failure."""

    def __init__(
        self, directory: ContractDirectory, quotes: QuoteBook, on_failure: Callable[[str, ProxyError], None]
    ) -> None:
        self._directory = directory
        self._quotes = quotes
        self._on_failure = on_failure
        #: key -> when to ask again; None while the directory is asking.
        self._unresolved: dict[str, float | None] = {}
        self._is_open = False

    def subscribe(self, key: str, now: float) -> None:
        self._quotes.publish(key, now, wanted=True)
        self._resolve(key, now)

    def unsubscribe(self, key: str, now: float) -> None:
        self._quotes.publish(key, now, wanted=False)
        self._unresolved.pop(key, None)
        self._quotes.release(key, HOLDER, now)

    def wake(self, key: str, now: float) -> None:
        for waiting in [k for k in self._unresolved if wake_key(parse(k)) == key]:
            self._resolve(waiting, now)

    def session_ready(self, now: float) -> None:
        self._is_open = True
        for key in sorted(self._unresolved):
            self._resolve(key, now)

    def session_lost(self) -> None:
        self._is_open = False

    def next_timer(self) -> float | None:
        return min((at for at in self._unresolved.values() if at is not None), default=None) if self._is_open else None

    def handle_timer(self, now: float) -> None:
        for key in [key for key, at in self._unresolved.items() if at is not None and at <= now]:
            self._resolve(key, now)

    def _resolve(self, key: str, now: float) -> None:
        """Hold the line if the contract is known; without a session nothing is asked yet."""
        self._unresolved[key] = None
        if not self._is_open:
            return
        try:
            details = self._directory.find(parse(key), "proxy", now, lane=Lane.STREAM)
        except ProxyError as failure:
            # IB denies valid contracts during its nightly reset, so even "unknown" is asked again.
            self._unresolved[key] = now + (FAILURE_REMEMBERED_S if failure.code == "contract_unknown" else _RETRY_S)
            self._on_failure(topics.quote(key), failure)
            return
        if details is not None:
            del self._unresolved[key]
            self._quotes.hold(details.contract, HOLDER, now)
