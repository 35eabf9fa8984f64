"""A random life of the order path: engines, IB, link, process and time take turns, and the promises hold each time."""

from __future__ import annotations

from random import Random

from gateway_proxy.bus.messages import CancelArgs, Contract, KillArgs, ModifyArgs, NoArgs, OrderRefArgs
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.orders import TERMINAL
from gateway_proxy.core.register import Register
from gateway_proxy.core.risk import RiskSettings
from tests.gateway_proxy.core.model_gateway import LIVE
from tests.gateway_proxy.core.order_world import Crash, OrderWorld, bracket, single

WIDE = RiskSettings(
    max_orders_per_minute=None,
    max_cancels_per_minute=None,
    max_position=None,
    max_open_orders=None,
    daily_loss=None,
    max_efficiency_ratio=None,
)

SYMBOLS = ("SPY", "QQQ", "IWM", "DIA", "XLE", "XLF", "GLD")


def details_of(name: str) -> ContractDetails:
    """Each order has its instrument: one of unknown fate bars only its own."""
    return ContractDetails(Contract(SYMBOLS[int(name[5:]) % len(SYMBOLS)]), 0.01)


class OrderLife:
    """One journal, one Gateway, any number of proxy lives. `step(rng)` is one turn of somebody."""

    def __init__(self, good_for_s: float = 30.0) -> None:
        settings = OrderSettings(entry_good_for_s=good_for_s, absence_wait_s=20.0)
        self.world = OrderWorld(settings=settings, risk=WIDE).start()
        self.quotes(10.0)
        #: Requests of the present process; those of a dead one are owed nothing.
        self.owed: list[int] = []
        self.count = 0
        self.trace: list[str] = []
        self._turns = (
            [self.ask_bracket, self.fill] * 4
            + [self.ask_order, self.ask_cancel, self.wait, self.fill] * 2
            + [self.ask_modify, self.ask_status, self.kill_and_resume, self.end, self.refuse_next, self.drop_next]
            + [self.forget_to_tell, self.go_mute, self.lose_the_link, self.crash, self.crash_inside, self.be_paced]
            + [self.quote]
        )

    def step(self, rng: Random) -> None:
        turn = rng.choice(self._turns)
        self.trace.append(turn.__name__)
        turn(rng)
        self.check()

    def name(self, rng: Random, *, new: float = 0.7) -> str:
        """Mostly a new order, sometimes one of the last ones again."""
        if not self.count or rng.random() < new:
            self.count += 1
            return f"order{self.count}"
        return f"order{max(1, self.count - rng.randrange(4))}"

    def quotes(self, price: float) -> None:
        for symbol in SYMBOLS:
            self.world.quote(price, key=symbol)

    # ------------------------------------------------------------ engines

    def ask_bracket(self, rng: Random) -> None:
        args = bracket(self.name(rng), quantity=rng.choice([2, 2, 3]))
        expires_in_s = rng.choice([None] * 8 + [0.0, 2.0])
        self.owed.append(self.world.ask("order.bracket", args, details_of(args.client_order_id), expires_in_s))

    def ask_order(self, rng: Random) -> None:
        args = single(self.name(rng), limit_price=rng.choice([10.0, 10.0, 10.0, 9.9, 10.005, 50.0]))
        self.owed.append(self.world.ask("order.place", args, details_of(args.client_order_id)))

    def ask_cancel(self, rng: Random) -> None:
        self.owed.append(self.world.ask("order.cancel", CancelArgs(self.name(rng, new=0.05), exits=rng.random() < 0.3)))

    def ask_modify(self, rng: Random) -> None:
        leg, price = rng.choice(["entry", "take_profit", "stop_loss"]), rng.choice([9.5, 9.6, 11.5])
        args = ModifyArgs(self.name(rng, new=0.0), "entry", limit_price=price)
        if leg != "entry":
            args = ModifyArgs(args.client_order_id, "stop_loss", stop_price=price)
        self.owed.append(self.world.ask("order.modify", args))

    def ask_status(self, rng: Random) -> None:
        self.owed.append(self.world.ask("order.status", OrderRefArgs(self.name(rng, new=0.0))))

    def kill_and_resume(self, rng: Random) -> None:
        self.owed.append(self.world.ask("kill", KillArgs(cancel_open=rng.random() < 0.5)))
        if rng.random() < 0.3:
            self.ask_bracket(rng)
        self.owed.append(self.world.ask("resume", NoArgs()))

    def be_paced(self, rng: Random) -> None:
        """An order waits in the queue, perhaps too long, perhaps cancelled meanwhile."""
        self.world.pacing_open = False
        name = self.name(rng)
        self.owed.append(self.world.ask("order.place", single(name), details_of(name)))
        if rng.random() < 0.4:
            self.owed.append(self.world.ask("order.cancel", CancelArgs(name)))
        self.world.advance(rng.choice([0.0, 1.0, 7.0]))
        self.world.pacing_open = True
        self.world.grant_held()

    # ------------------------------------------------------------ IB

    def fill(self, rng: Random) -> None:
        """An entry, or an exit whose entry has filled: IB holds the others."""
        orders = self.world.gateway.orders
        live = [one for one, held in orders.items() if held.status in LIVE and self._is_released(held.ticket.parent_id)]
        if live:
            self.world.gateway.fill(rng.choice(live), rng.choice([1, None]), status=rng.random() < 0.7)
            self.world.run()

    def _is_released(self, parent_id: int) -> bool:
        return not parent_id or self.world.gateway.orders[parent_id].status == "Filled"

    def end(self, rng: Random) -> None:
        live = [order_id for order_id, held in self.world.gateway.orders.items() if held.status in LIVE]
        if live:
            self.world.gateway.end(rng.choice(live))
            self.world.run()

    def refuse_next(self, rng: Random) -> None:
        self.world.gateway.refuse_next = (rng.choice([201, 110, 103, 399]), "because")

    def drop_next(self, rng: Random) -> None:
        self.world.gateway.drop_orders = 1

    def forget_to_tell(self, rng: Random) -> None:
        """Orders are taken and filled, and nothing is said unasked, for a while."""
        self.world.gateway.silent = True
        for _ in range(rng.randrange(1, 4)):
            rng.choice([self.ask_bracket, self.fill, self.ask_cancel])(rng)
        self.world.advance(rng.choice([0.0, 5.0]))
        self.world.gateway.silent = False
        if rng.random() < 0.5:
            self.world.disconnect()
            self.world.connect()

    def go_mute(self, rng: Random) -> None:
        """Nothing is read and nothing answered."""
        self.world.gateway.mute = True
        rng.choice([self.ask_bracket, self.ask_cancel, self.ask_modify])(rng)
        self.world.advance(rng.choice([0.5, 6.0]))
        self.world.gateway.mute = False

    # ------------------------------------------------------------ link, process, time

    def lose_the_link(self, rng: Random) -> None:
        """Perhaps with an order written just before, which stays in the Gateway and executes after the reconnect."""
        world = self.world
        world.gateway.hold_orders = rng.random() < 0.5
        if world.gateway.hold_orders:
            self.ask_bracket(rng)
        world.disconnect()
        world.gateway.hold_orders = False
        world.advance(rng.choice([0.0, 1.0, 8.0]))
        if rng.random() < 0.5:
            self.fill(rng)
        world.connect()
        world.gateway.execute_late_bytes()
        world.run()

    def crash(self, rng: Random) -> None:
        self.world.crash()
        self.owed.clear()
        self.world.advance(rng.choice([0.0, 5.0]))
        self.world.connect()
        self.quotes(10.0)

    def crash_inside(self, rng: Random) -> None:
        """The process dies between two effects of whatever happens next."""
        left = [rng.randrange(1, 12)]

        def die(_: object) -> None:
            left[0] -= 1
            if left[0] <= 0:
                raise Crash

        self.world.before_effect = die
        try:
            rng.choice([self.ask_bracket, self.ask_cancel, self.fill, self.ask_modify])(rng)
        except Crash:
            self.crash(rng)
        self.world.before_effect = lambda effect: None

    def wait(self, rng: Random) -> None:
        self.world.advance(rng.choice([0.1, 1.0, 5.0, 15.0]))
        self.quotes(10.0)

    def quote(self, rng: Random) -> None:
        self.quotes(rng.choice([9.8, 10.0, 10.1]))

    # ------------------------------------------------------------ promises

    def check(self) -> None:
        world = self.world
        assert all(count <= 1 for count in world.gateway.live_or_filled().values()), "an order lives twice"
        uses: dict[int, set[str]] = {}
        for ticket in world.gateway.placed:
            uses.setdefault(ticket.order_id, set()).add(ticket.order_ref)
        assert all(len(references) == 1 for references in uses.values()), "an order id was used for two orders"
        ids = [reply.request_id for reply in world.replies]
        assert len(ids) == len(set(ids)), "a request was answered twice"
        fills = [fill.exec_id for fill in world.fills()]
        assert len(fills) == len(set(fills)), "a fill was told twice"

    def check_replay(self) -> None:
        """The journal alone rebuilds what memory holds."""
        lived, replayed = self.world.blotter.register, Register()
        for record in self.world.journal:
            replayed.apply(record["kind"], record["client_order_id"], record["body"])
        assert replayed.orders == lived.orders
        assert (replayed.traded, replayed.halted, replayed.baseline) == (lived.traded, lived.halted, lived.baseline)

    def settle(self) -> None:
        """Faults stop: everything comes to rest, everybody has an answer, and our book equals IB's."""
        world, gateway = self.world, self.world.gateway
        gateway.drop_orders, gateway.refuse_next = 0, None
        world.disconnect()
        world.connect()
        world.advance(100.0)
        self.check()
        self.check_replay()
        assert [one for one in self.owed if not world.answered(one)] == [], "a request was never answered"
        for order_id, held in gateway.orders.items():
            found = world.blotter.register.leg_by_order_id(order_id)
            assert found is not None, f"IB holds order {order_id}, which the journal does not know"
            order, leg = found
            where = f"{order.client_order_id} {leg.name} is {leg.state} here and {held.status} at IB"
            assert leg.filled == held.filled, where
            assert (held.status in LIVE) == (leg.state not in TERMINAL), where
        for order in world.blotter.register.open_orders():
            assert all(leg.terminal or leg.ticket.order_id in gateway.orders for leg in order.legs), "never settles"
        halted = world.blotter.halted
        assert halted == "" or "repairs" in halted, halted
