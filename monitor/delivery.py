"""Brings notices to people: a webhook by itself, everything else through apprise. Never holds up its caller.

Addresses carry secrets: only the names of channels are ever logged or told.
"""

from __future__ import annotations

import http.client
import logging
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Protocol

import orjson

from gateway_proxy import ConfigError
from monitor.alerts import Notice
from monitor.config import AlertSettings

log = logging.getLogger(__name__)

RETRY_S = 2.0  # before the second attempt; doubles


class NotDelivered(Exception):
    """A channel did not take the notice; the text says why, without the address."""


class Channel(Protocol):
    def __call__(self, notice: Notice) -> None:
        """Returns when delivered; raises NotDelivered."""


def open_channel(name: str, address: str, timeout_s: float) -> Channel:
    """Raises ConfigError for an address that nothing here understands."""
    if address.startswith(("http://", "https://")):
        return _webhook(address, timeout_s)
    return _apprise(name, address)


def _webhook(address: str, timeout_s: float) -> Channel:
    def deliver(notice: Notice) -> None:
        """POST one JSON object; chat services show `text`, Slack and Mattermost style."""
        body = orjson.dumps({"text": f"[{notice.rule}] {notice.text}", "notice": notice})
        request = urllib.request.Request(
            address, data=body, headers={"Content-Type": "application/json", "User-Agent": "gateway-monitor"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                reply.read(1000)
        except urllib.error.HTTPError as error:
            error.close()
            raise NotDelivered(f"the webhook answered {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotDelivered(f"the webhook cannot be reached: {type(error).__name__}") from error

    return deliver


def _apprise(name: str, address: str) -> Channel:
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(
            f"[monitor.alerts.channels] {name}: only http:// and https:// work without apprise; pip install apprise"
        ) from error
    box = apprise.Apprise()
    if not box.add(address):
        raise ConfigError(f"[monitor.alerts.channels] {name}: apprise does not understand this address")

    def deliver(notice: Notice) -> None:
        if not box.notify(title=f"gateway-proxy: {notice.rule}", body=notice.text):
            raise NotDelivered("apprise could not deliver it")

    return deliver


class Delivery:
    """One thread that works off a bounded list of notices; when it is full the oldest is dropped, and that is told."""

    def __init__(self, settings: AlertSettings, tell: Callable[[str], None] | None = None) -> None:
        self.channels = {
            name: open_channel(name, address, settings.timeout_s) for name, address in settings.channels.items()
        }
        self._settings = settings
        self._tell = tell or (lambda text: None)
        self._waiting: queue.Queue[Notice] = queue.Queue(settings.waiting_max)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._settings.timeout_s + 1.0)

    def send(self, notice: Notice) -> None:
        """Returns at once."""
        while True:
            try:
                return self._waiting.put_nowait(notice)
            except queue.Full:
                try:
                    dropped = self._waiting.get_nowait()
                except queue.Empty:
                    continue
                self._tell(f"too many notices wait; dropped: {dropped.rule}")

    def deliver(self, notice: Notice) -> dict[str, str]:
        """Deliver now, with retries. Returns what went wrong by channel, empty if nothing did."""
        faults = {}
        for name in notice.channels or tuple(self.channels):
            fault = self._try(name, notice)
            if fault:
                faults[name] = fault
        return faults

    def _try(self, name: str, notice: Notice) -> str:
        fault = ""
        for attempt in range(self._settings.tries_max):
            if attempt and self._stopping.wait(RETRY_S * 2 ** (attempt - 1)):
                break
            try:
                self.channels[name](notice)
            except NotDelivered as error:
                fault = str(error)
                continue
            return ""
        return fault or "stopped before it was sent"

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                notice = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            for name, fault in self.deliver(notice).items():
                log.error("alert not delivered", extra={"channel": name, "rule": notice.rule, "reason": fault})
                self._tell(f"channel {name} did not take {notice.rule!r}: {fault}")
