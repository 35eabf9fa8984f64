"""The price grid of a contract: asked once per rule, and never a reason to wait for ever."""

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.breaker import Breakers, BreakerSettings
from gateway_proxy.core.desk import Desk
from gateway_proxy.core.market_rules import MarketRules
from gateway_proxy.core.scheduler import PacingSettings, Scheduler
from gateway_proxy.core.tickets import off_grid
from gateway_proxy.core.verdict import Verdict

PENNY = ((0.0, 0.01), (3.0, 0.05))
OPTION = ev.ContractDetails(
    Contract("AAPL", "OPT", last_trade_date="20260619", strike=200, right="C"), 0.01,
    market_rules=(("SMART", 32), ("CBOE", 7)),
)  # fmt: skip


class World:
    def __init__(self) -> None:
        self.scheduler = Scheduler(PacingSettings())
        breakers = Breakers(BreakerSettings())
        self.desk = Desk(self.scheduler, breakers, why_silent=lambda *_: Verdict.GATEWAY_SILENT, record=lambda *_: None)
        self.woken: list[str] = []
        self.rules = MarketRules(self.desk, self.woken.append, timeout_s=5.0)

    def sent(self, now: float) -> list[fx.Call]:
        for grant in self.scheduler.due(now):
            self.desk.granted(grant, now)
        return [effect.call for effect in self.desk.effects() if isinstance(effect, fx.Send)]


def test_one_question_serves_every_contract_of_the_class():
    """Two options ask for the rule of their own exchange; it goes out once and wakes both."""
    world = World()

    assert world.rules.bands_of(OPTION, "contract:a", 0.0) is None
    assert world.rules.bands_of(OPTION, "contract:b", 0.1) is None
    assert world.sent(0.2) == [fx.RequestMarketRule(32)]

    world.rules.receive(ev.MarketRuleReceived(32, PENNY))
    assert world.woken == ["contract:a", "contract:b"]
    assert world.rules.bands_of(OPTION, "contract:c", 1.0) == PENNY
    assert world.rules.next_timer() is None


def test_a_rule_that_does_not_come_leaves_the_smallest_step():
    """After the time-out the contract is served with min_tick everywhere, and the rule is not asked again."""
    world = World()
    world.rules.bands_of(OPTION, "contract:a", 0.0)
    world.sent(0.0)

    due = world.rules.next_timer()
    assert due == 5.0
    world.rules.handle_timer(due)

    assert world.woken == ["contract:a"]
    assert world.rules.bands_of(OPTION, "contract:a", 6.0) == ((0.0, 0.01),)
    assert world.sent(6.0) == []


def test_a_lost_session_asks_again():
    """The question died with the socket; whoever needs the rule asks on the next one."""
    world = World()
    world.rules.bands_of(OPTION, "contract:a", 0.0)
    world.sent(0.0)

    world.rules.session_lost()

    assert world.rules.bands_of(OPTION, "contract:a", 10.0) is None
    assert world.sent(10.0) == [fx.RequestMarketRule(32)]


def test_a_contract_without_a_rule_uses_its_smallest_step():
    """Stocks and indices often name no rule."""
    world = World()
    stock = ev.ContractDetails(Contract("SPY"), 0.01)

    assert world.rules.bands_of(stock, "contract:SPY", 0.0) == ((0.0, 0.01),)
    assert world.sent(0.0) == []


def test_prices_are_checked_in_their_own_band():
    """2.99 is a penny price; from 3.00 on only nickels are, and the nearest one is named."""
    assert off_grid("limit_price", 2.99, PENNY) is None
    assert off_grid("limit_price", 3.05, PENNY) is None
    assert "nearest valid price 3.15" in (off_grid("limit_price", 3.14, PENNY) or "")
