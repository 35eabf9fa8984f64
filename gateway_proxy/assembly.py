"""Puts one proxy together from its settings: where files lie, how fast the clock runs, which parts meet.

Durations of the *process* (time-outs, graces, heartbeats) are real seconds in the file and are scaled by the clock
here, once; IB's windows and market times are seconds of the clock already and stay as they are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gateway_proxy.bus.runtime import RuntimeDir, default_runtime_dir
from gateway_proxy.bus.server import BusServer
from gateway_proxy.core.events import UpstreamEvent
from gateway_proxy.core.order_path import OrderPathSettings
from gateway_proxy.core.parts import ProxySettings
from gateway_proxy.core.proxy import ProxyCore
from gateway_proxy.ibc import IbcLine
from gateway_proxy.journal import Journal
from gateway_proxy.option_memory import OptionMemory
from gateway_proxy.pacing_memory import PacingMemory
from gateway_proxy.service import Clock, Service
from gateway_proxy.settings import Settings
from gateway_proxy.upstream import Upstream

#: Real seconds: health topics are repeated this often, and a request without a deadline gets this long.
PUBLISH_S = 1.0
REQUEST_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 15.0
RESOLVE_TIMEOUT_S = 5.0
#: A fast clock makes short market times very short; a stream is never called dead sooner than this, real seconds.
STALL_LEAST_S = 4.0
VERIFY_LEAST_S = 2.0


def runtime_dir(settings: Settings) -> Path:
    return default_runtime_dir(settings.bus.runtime_dir)


def journal_path(settings: Settings) -> Path:
    """One journal per mode, unless the configuration names a path; never where a reboot would erase it.

    A directory that was chosen ($GATEWAY_PROXY_RUNTIME, [bus] runtime_dir) is used, else $XDG_STATE_HOME/gateway-proxy
    or ~/.local/state/gateway-proxy: the usual runtime directory lies in memory, and order ids must outlive it.
    """
    if settings.journal.path:
        return Path(settings.journal.path).expanduser()
    chosen = os.environ.get("GATEWAY_PROXY_RUNTIME") or settings.bus.runtime_dir
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    directory = Path(chosen).expanduser() if chosen else state_home / "gateway-proxy"
    return directory / f"journal-{settings.trading.mode}.sqlite3"


def simulated(settings: Settings) -> bool:
    """The market is our own simulator's: it has a time of its own, and another seed is another market."""
    return settings.simulator.enabled or settings.clock.speed != 1.0


def core_settings(settings: Settings, *, live_confirmed: str) -> ProxySettings:
    """The settings of the core, with process durations in seconds of its clock."""
    speed = settings.clock.speed
    health, breaker, bars, quotes, chain = (
        settings.health, settings.breaker, settings.bars, settings.quotes, settings.chain,
    )  # fmt: skip
    return ProxySettings(
        mode=settings.trading.mode,
        simulated=simulated(settings),
        client_id=settings.gateway.client_id,
        health=replace(
            health,
            probe_interval_s=health.probe_interval_s * speed,
            probe_timeout_s=health.probe_timeout_s * speed,
            drop_after_s=health.drop_after_s * speed,
            synchronize_timeout_s=health.synchronize_timeout_s * speed,
            id_in_use_retry_s=health.id_in_use_retry_s * speed,
            flap_window_s=health.flap_window_s * speed,
            calm_s=health.calm_s * speed,
        ),
        breaker=replace(
            breaker,
            reset_timeout_s=breaker.reset_timeout_s * speed,
            reset_timeout_max_s=breaker.reset_timeout_max_s * speed,
            probe_timeout_s=breaker.probe_timeout_s * speed,
            slow_s=breaker.slow_s * speed,
        ),
        pacing=settings.pacing.at_speed(speed),
        bars=replace(
            bars,
            grace_s=bars.grace_s * speed,
            timeout_s=bars.timeout_s * speed,
            switch_after_s=bars.switch_after_s * speed,
            stall_s=max(bars.stall_s, STALL_LEAST_S * speed),
            verify_s=max(bars.verify_s, VERIFY_LEAST_S * speed),
        ),
        quotes=replace(
            quotes,
            conflate_s=quotes.conflate_s * speed,
            grace_s=quotes.grace_s * speed,
            timeout_s=quotes.timeout_s * speed,
            stall_s=max(quotes.stall_s, STALL_LEAST_S * speed),
            verify_s=max(quotes.verify_s, VERIFY_LEAST_S * speed),
        ),
        chain=replace(
            chain,
            refresh_s=chain.refresh_s * speed,
            settle_s=chain.settle_s * speed,
        ),
        order_path=_order_path(settings, live_confirmed),
        recovery=settings.recovery.at_speed(speed),
        windows=settings.windows,
        retry_s=settings.gateway.retry_s * speed,
        retry_max_s=settings.gateway.retry_max_s * speed,
        publish_s=PUBLISH_S * speed,
        request_timeout_s=REQUEST_TIMEOUT_S * speed,
        slow_s=breaker.slow_s * speed,
        answer_timeout_s=ANSWER_TIMEOUT_S * speed,
    )


def _order_path(settings: Settings, live_confirmed: str) -> OrderPathSettings:
    """Its durations belong to the process."""
    speed, orders = settings.clock.speed, settings.orders
    return OrderPathSettings(
        orders=replace(
            orders,
            account=settings.trading.account,
            live_confirmed=live_confirmed,
            queue_deadline_s=orders.queue_deadline_s * speed,
            ack_timeout_s=orders.ack_timeout_s * speed,
            quote_wait_s=orders.quote_wait_s * speed,
            sweep_spacing_s=orders.sweep_spacing_s * speed,
            sweep_step_timeout_s=orders.sweep_step_timeout_s * speed,
            news_grace_s=orders.news_grace_s * speed,
            dead_man_s=orders.dead_man_s * speed,
        ),
        risk=replace(settings.risk, max_quote_age_s=settings.risk.max_quote_age_s * speed),
        resolve_timeout_s=RESOLVE_TIMEOUT_S * speed,
    )


def _require_free(directory: Path) -> None:
    """A second proxy on this directory is refused before it has touched anything, its own journal included."""
    runtime = RuntimeDir(directory)
    runtime.acquire()
    runtime.release()


def build(settings: Settings, *, live_confirmed: str = "") -> Service:
    """A service ready to run, its journal replayed. Raises JournalUnavailable or AlreadyRunning."""
    clock = Clock(settings.clock.speed)
    directory = runtime_dir(settings)
    _require_free(directory)
    path = journal_path(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    journal = Journal(path)
    try:
        core = ProxyCore(core_settings(settings, live_confirmed=live_confirmed), clock.now(), time.time_ns())
        core.restore(list(journal.records()), clock.now())
        memory = PacingMemory(path.with_name("pacing.json"))
        if (earlier := memory.read()) is not None:
            remembered, away_s = earlier
            core.recall_pacing(remembered, away_s * settings.clock.speed, clock.now())
        options = OptionMemory(None if simulated(settings) else path.with_name("options.json"))
        core.recall_options(options.read())
    except BaseException:
        journal.close()
        raise

    def make_bus(epoch: str) -> BusServer:
        return BusServer(directory, settings.bus, epoch, snapshot_of=core.snapshot_of)

    def make_upstream(deliver: Callable[[UpstreamEvent], None]) -> Upstream:
        gateway = settings.gateway
        return Upstream(
            gateway.host, gateway.port, gateway.client_id, connect_timeout_s=gateway.connect_timeout_s, deliver=deliver
        )

    ibc = IbcLine(settings.recovery.ibc_host, settings.recovery.ibc_port)
    return Service(core, clock, journal, memory, options, make_bus, make_upstream, ibc)
