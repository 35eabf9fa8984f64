"""The parts of the proxy: every service, made once and joined; and the few facts that belong to none of them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway_proxy.bus import topics
from gateway_proxy.bus.messages import Mode
from gateway_proxy.core.account import AccountBook
from gateway_proxy.core.bar_feeds import Room
from gateway_proxy.core.bars import BarService, BarSettings
from gateway_proxy.core.breaker import Breakers, BreakerSettings
from gateway_proxy.core.chain_topics import ChainTopics
from gateway_proxy.core.chains import ChainDesk, ChainSettings
from gateway_proxy.core.citations import Told
from gateway_proxy.core.contracts import ContractDirectory, OptionParameters, parse
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.errands import Errands
from gateway_proxy.core.findings import Findings
from gateway_proxy.core.health import GatewayHealth, HealthSettings
from gateway_proxy.core.history import History
from gateway_proxy.core.latency import LatencyBook
from gateway_proxy.core.market_rules import MarketRules
from gateway_proxy.core.market_time import MarketTime
from gateway_proxy.core.order_path import OrderPath, OrderPathSettings
from gateway_proxy.core.questions import Desks
from gateway_proxy.core.quote_topics import QuoteTopics
from gateway_proxy.core.quotes import QuoteBook, QuoteSettings
from gateway_proxy.core.recovery import Recovery, RecoverySettings
from gateway_proxy.core.scheduler import Lane, PacingSettings, RequestClass, Scheduler
from gateway_proxy.core.sessions import is_open
from gateway_proxy.core.windows import WindowSettings
from gateway_proxy.errors import ProxyError


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Everything the core needs to know. Process durations are already in seconds of the proxy's clock."""

    mode: Mode
    simulated: bool
    client_id: int
    health: HealthSettings
    breaker: BreakerSettings
    pacing: PacingSettings
    bars: BarSettings
    quotes: QuoteSettings
    chain: ChainSettings
    order_path: OrderPathSettings
    recovery: RecoverySettings
    windows: WindowSettings
    retry_s: float
    retry_max_s: float
    publish_s: float  # how often the health topics are repeated
    request_timeout_s: float  # the deadline of a request that names none
    slow_s: float  # an answer that took longer is slow
    answer_timeout_s: float  # the Gateway's time for a contract or option-parameter request


class Parts:
    """`record` hears how every request ended."""

    def __init__(
        self,
        settings: ProxySettings,
        now: float,
        wall_ns: int,
        *,
        record: Callable[[RequestClass, Outcome, float], None],
    ) -> None:
        self._settings = settings
        self.client_id = settings.client_id
        self._started = now, wall_ns
        self.time = MarketTime(simulated=settings.simulated)
        self.scheduler = Scheduler(settings.pacing)
        self.health = GatewayHealth(settings.health, settings.retry_s, settings.retry_max_s, now)
        self.latency = LatencyBook()
        self.findings = Findings(self.latency)
        self.breakers = Breakers(settings.breaker)
        self.desk = Desk(self.scheduler, self.breakers, why_silent=self.health.why_silent, record=record)
        self.errands = Errands(self.desk.is_queued, self.desk.spans.of)
        self._woken: list[str] = []
        # A grid that does not come must not cost the contract: a fifth of its time, then min_tick serves.
        self.market_rules = MarketRules(self.desk, self._wake, settings.answer_timeout_s / 5)
        self.directory = ContractDirectory(self.desk, self.market_rules, self._wake, settings.answer_timeout_s)
        self.options = OptionParameters(self.desk, self._wake, settings.answer_timeout_s)
        self.recovery = Recovery(settings.recovery, lambda: self.orders.is_busy)
        self.quotes = QuoteBook(
            self.desk, self.time, self._wake, settings.quotes, in_session=self.in_session, found=self.findings.add,
            recovery=self.recovery,
        )  # fmt: skip
        self.bars = BarService(
            self.desk, self.directory, self.time, settings.bars, wake=self._wake, in_session=self.in_session,
            found=self.findings.add, recovery=self.recovery, room=self._room_for_bars,
        )  # fmt: skip
        self.history = History(self.desk, self._wake, settings.bars.timeout_s)
        chains = ChainDesk(
            self.directory, self.options, self.quotes, self.time, settings.chain, last_close=self.bars.last_close
        )
        self.told = Told(self.stream_fault)
        self.account = AccountBook(settings.publish_s)
        self.chain_topics = ChainTopics(chains, settings.chain, self._topic_failed)
        self.quote_topics = QuoteTopics(self.directory, self.quotes, self._topic_failed)
        self.orders = OrderPath(
            settings.order_path, settings.mode, self.scheduler, self.desk, self.directory, self.quotes, self.told
        )
        self.desks = Desks(self.directory, self.history, self.bars, self.quotes, chains, settings.chain, self.time)
        self._now = now

    # ------------------------------------------------------------ facts

    def wall_ns(self, now: float) -> int:
        """The Gateway's clock; until it is known, our own as of the start."""
        if self.time.is_known:
            return self.time.wall_ns(now)
        started, wall_ns = self._started
        return wall_ns + int((now - started) * 1e9)

    def in_session(self, key: str, now: float) -> bool:
        try:
            details = self.directory.find(parse(key), "proxy", now, lane=Lane.BACKFILL)
        except ProxyError:
            return False
        if details is None:
            return False
        return is_open(details.liquid_hours, details.time_zone, self.time.wall_ns(now)) is not False

    def stream_fault(self, topic: str) -> str:
        """Why a topic of bars does not show the market now; other topics are judged by the age of what they told."""
        opened = topics.stream_of(topic)
        if opened is None or opened[0] != "bars":
            return ""
        stream = self.bars.get(opened[1], opened[2])
        return "is not subscribed any more" if stream is None else stream.fault

    def _room_for_bars(self) -> Room:
        """Quotes and chains come first: bars may hold the lines that these neither have nor wait for."""
        pacing = self._settings.pacing
        lines = pacing.market_data_lines - len(self.quotes.lines())
        return Room(pacing.history_streams_max, max(0, min(self._settings.bars.lines_max, lines)))

    @property
    def trading_account(self) -> str:
        """Whose values and orders are ours; known as soon as a session is open."""
        return self._settings.order_path.orders.account or self.health.accounts[0]

    def _wake(self, key: str) -> None:
        self._woken.append(key)

    def _topic_failed(self, topic: str, failure: ProxyError) -> None:
        self.findings.topic_failed(topic, failure, self._now)
