"""The caretaker: notices outages and their end, tries history, knows the windows, and tells a lasting outage once.

Wiring between health, streams and the recovery ladder. Pure; the rules are in recovery.py, windows.py and canary.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.canary import Canary
from gateway_proxy.core.farms import CONNECTIVITY
from gateway_proxy.core.health import GatewayState
from gateway_proxy.core.parts import Parts
from gateway_proxy.core.recovery import Recovery, RecoverySettings
from gateway_proxy.core.scheduler import Lane, RequestClass
from gateway_proxy.core.verdict import Finding, Verdict
from gateway_proxy.core.windows import Window, Windows, WindowSettings
from gateway_proxy.errors import QueueFull

if TYPE_CHECKING:
    from gateway_proxy.core.bars import BarService
    from gateway_proxy.core.quotes import QuoteBook

#: How often lasting causes, windows and the age of account values are looked at, as a share of the shortest of them.
_LOOKS: Final = 20
_SESSION: Final = (GatewayState.READY, GatewayState.DEGRADED)


class Caretaker:
    """Feed it connectivity notices and time; it mends through the services of the core."""

    def __init__(
        self, core: Parts, settings: RecoverySettings, windows: WindowSettings, recovery: Recovery, *,
        timeout_s: float, now: float,
    ) -> None:  # fmt: skip
        self._core = core
        self._settings = settings
        self._windows = Windows(windows)
        self._bars_entries = windows.bar_entries
        self._recovery = recovery
        self.canary = Canary(
            core.desk, core.directory, core.time, settings.canary_symbol, every_s=settings.canary_every_s,
            timeout_s=timeout_s, tell=core.health.history_silent, now=now,
        )  # fmt: skip
        self._look_s = min(settings.escalate_after_s, settings.ibc_after_s, settings.account_stale_s) / _LOOKS
        self._look_at = now + self._look_s
        self._looked_at = now
        self._bad_s = 0.0
        self._told = False
        self._account_at = now
        self._account_told = False
        self._window: Window | None = None
        self._effects: list[fx.Effect] = []

    # ------------------------------------------------------------ outages

    def connectivity(self, event: ev.ErrorReceived, now: float) -> bool:
        """One notice without a request id. 1101 lost the data; after 1102 and after a farm's return streams must prove
        that they live. True when it changed what we believe."""
        core = self._core
        before = self._outages()
        changed = core.health.connectivity(event.code, event.text, now)
        if (changed and not core.health.is_flapping(now)) or event.code not in CONNECTIVITY:
            self._effects.append(fx.Log("info", "gateway notice", {"code": event.code, "text": event.text}))
        if not changed:
            return False
        services: tuple[BarService | QuoteBook, ...] = core.bars, core.quotes
        for service, was, is_now in zip(services, before, self._outages(), strict=True):
            if event.code == 1101:
                service.reopen_all(now)
            elif is_now and not was:
                service.outage_began()
            elif not is_now and (was or event.code == 1102):
                service.outage_ended(now)
        self.cause_cleared(now)
        return True

    def cause_cleared(self, now: float) -> None:
        """Something came back: resting breakers may try at once instead of waiting out their pause, and so does the
        canary when history is in doubt."""
        farms = self._core.health.farms
        if farms.link_lost_at is None and not farms.down():
            for breaker in self._core.breakers.all():
                breaker.cause_cleared(now)
            self.canary.cause_cleared(now)

    def _outages(self) -> tuple[bool, bool]:
        """Whether bars and quotes cannot be expected now."""
        farms = self._core.health.farms
        link = farms.link_lost_at is not None
        market = link or bool(farms.down("market"))
        return market or bool(farms.down("history")), market

    def session_ready(self, now: float) -> None:
        self._account_at, self._account_told = now, False
        self.canary.session_ready(now)

    def session_lost(self) -> None:
        self.canary.session_lost()

    # ------------------------------------------------------------ windows

    def may_open_orders(self) -> tuple[bool, str]:
        """The session's own word, and no entries inside a window in which IB restarts."""
        ready, reason = self._core.health.may_open_orders
        if ready and self._bars_entries and self._window is not None:
            return False, f"IB's {self._window.name} window is open; no opening orders until it is over"
        return ready, reason

    # ------------------------------------------------------------ time

    def next_timer(self) -> float:
        canary = self.canary.next_timer()
        return self._look_at if canary is None else min(canary, self._look_at)

    def handle_timer(self, now: float) -> None:
        self.canary.handle_timer(now)
        if self._look_at > now:
            return
        self._look_at = now + self._look_s
        self._see_window(now)
        self._count_outage(now)
        self._ask_for_account(now)

    def _see_window(self, now: float) -> None:
        window = self._windows.current(self._core.time.wall_ns(now))
        if (window and window.name) != (self._window and self._window.name):
            name = (window or self._window or Window("", 0)).name
            self._effects.append(fx.Log("info", "window", {"window": name, "open": window is not None}))
            self._core.health.changed()
        self._window = window

    def _count_outage(self, now: float) -> None:
        """Bad time inside a window is expected and does not count; what outlives it is told once, and IBC is asked."""
        elapsed_s, self._looked_at = now - self._looked_at, now
        health = self._core.health
        if health.state is GatewayState.READY:
            self._bad_s, self._told = 0.0, False
            return
        if self._window is not None or health.state is GatewayState.HALTED:
            return
        self._bad_s += elapsed_s
        if self._bad_s >= self._settings.ibc_after_s:
            self._recovery.command(health.verdict, now)
        if self._bad_s >= self._settings.escalate_after_s and not self._told:
            self._told = True
            facts = {"state": health.state.value, "text": health.reason, "lasted_s": round(now - health.since, 1)}
            self._effects.append(fx.Log("error", "outage lasts", facts | {"verdict": health.verdict.value}))
            verdict = health.verdict if health.verdict is not Verdict.OK else Verdict.SESSION_LOST
            self._core.findings.add(Finding(verdict, facts | {"escalated": True}), now)
            health.changed()

    def _ask_for_account(self, now: float) -> None:
        """IB pushes account values every three minutes; silence means that the subscription is dead. Told once."""
        core = self._core
        if core.account.heard_at is not None and core.account.heard_at > self._account_at:
            self._account_at, self._account_told = core.account.heard_at, False
        if core.health.state not in _SESSION or now - self._account_at < self._settings.account_stale_s:
            return
        age_s = now - self._account_at
        try:
            core.desk.tell(fx.RequestAccountUpdates(core.trading_account), RequestClass.SESSION, Lane.PROBE, now)
        except QueueFull:
            return  # the next look tries again
        level = "info" if self._account_told else "warning"
        self._effects.append(fx.Log(level, "account values asked for again", {"age_s": round(age_s, 1)}))
        self._account_at, self._account_told = now, True

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done

    def body(self, now: float) -> dict[str, Any]:
        """What `health/gateway/` says beside the state: the window, the layers, and what is being mended."""
        canary, heard_at = self.canary, self._core.account.heard_at
        return {
            "expected": "" if self._window is None else self._window.name,
            "expected_until_ns": None if self._window is None else self._window.ends_ns,
            "escalated": self._told,
            "history": {"proved_age_s": _age_s(canary.proved_at, now), "failures": canary.failures},
            "account_age_s": _age_s(heard_at, now),
            "mending": self._recovery.rungs(),
            "reconnects": self._recovery.reconnects,
            "ibc_commands": self._recovery.commands,
        }


def _age_s(at: float | None, now: float) -> float | None:
    return None if at is None else round(now - at, 1)
