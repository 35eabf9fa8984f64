"""Subscribed quotes: `quote/<key>/` holds a line of the quote book while somebody listens. Pure."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proxy.bus import topics
from gateway_proxy.core.contracts import ContractDirectory, parse, wake_key
from gateway_proxy.core.quotes import QuoteBook
from gateway_proxy.core.scheduler import Lane
from gateway_proxy.errors import ProxyError

HOLDER = "topic"


class QuoteTopics:
    """Keys that are wanted but whose contract is not known yet wait here."""

    def __init__(
        self, directory: ContractDirectory, quotes: QuoteBook, on_failure: Callable[[str, ProxyError], None]
    ) -> None:
        self._directory = directory
        self._quotes = quotes
        self._on_failure = on_failure
        self._unresolved: set[str] = set()

    def subscribe(self, key: str, now: float) -> None:
        self._quotes.publish(key, wanted=True)
        self._unresolved.add(key)
        self._resolve(key, now)

    def unsubscribe(self, key: str, now: float) -> None:
        self._quotes.publish(key, wanted=False)
        self._unresolved.discard(key)
        self._quotes.release(key, HOLDER, now)

    def wake(self, key: str, now: float) -> None:
        for waiting in [k for k in self._unresolved if wake_key(parse(k)) == key]:
            self._resolve(waiting, now)

    def session_ready(self, now: float) -> None:
        for key in sorted(self._unresolved):
            self._resolve(key, now)

    def _resolve(self, key: str, now: float) -> None:
        try:
            details = self._directory.find(parse(key), "proxy", now, lane=Lane.STREAM)
        except ProxyError as failure:
            if failure.code == "contract_unknown":
                self._unresolved.discard(key)
            self._on_failure(topics.quote(key), failure)
            return
        if details is not None:
            self._unresolved.discard(key)
            self._quotes.hold(details.contract, HOLDER, now)
