"""The order flow: a plain client with deterministic ids that keeps to the rules of docs/orders.md and nothing more.

Signal n is the same after every restart, and so is its id. A question without an answer is asked again, word for word;
only a definite no allows the next attempt under a new id; `unknown` is asked after until somebody knows.
"""

from __future__ import annotations

import contextlib
import random
import signal as signals
import time
from pathlib import Path
from typing import Any, Final

from gateway_proxy import Client, OrderReply, Quote
from gateway_proxy.errors import ProxyError, Refused
from tests.chaos.notebook import DEFINITE_NO, PRICES, Notebook, Wish, read

ENGINE: Final = "chaos"
SYMBOLS: Final = (
    "SPY", "QQQ", "IWM", "AAPL", "MSFT", "NVDA", "AMZN", "META", "GOOGL", "TSLA", "AMD", "NFLX", "INTC", "JPM",
)  # fmt: skip
ATTEMPTS_MAX: Final = 3
#: Accepted orders that are left alone; the oldest is cancelled when there are more.
LIVE_MAX: Final = 8
#: How often the legs of one order are moved.
MOVES_MAX: Final = 4
PAUSE_S: Final = 0.01
#: A quote is good enough to price an order for this long.
QUOTE_S: Final = 20.0
SETTLE_S: Final = 90.0
_ENDED: Final = frozenset({"filled", "cancelled", "rejected", "not_placed", "expired_unsent", "refused", "expired"})


class Trader:
    """Signals in order; whatever is still open of earlier ones comes first."""

    def __init__(self, client: Client, notebook: Path, seed: int) -> None:
        self._client = client
        self._seed = seed
        self._dice = random.Random(f"moves {seed} {time.monotonic_ns()}")
        self._wishes = read(notebook)
        self._notebook = Notebook(notebook)
        self._next = 1 + max((wish.signal for wish in self._wishes), default=0)
        #: The newest attempt of each signal: one that was answered no just before a kill still has its next.
        self._last = {wish.signal: wish for wish in self._wishes}
        self._quotes: dict[str, tuple[Quote, float]] = {}

    def turn(self) -> None:
        """Clear up, then one new signal."""
        self.clear_up()
        live = [wish for wish in self._wishes if wish.was_accepted and not wish.ended]
        for wish in live[:-LIVE_MAX]:
            self.end(wish)
        if live[-LIVE_MAX:]:
            self.move(self._dice.choice(live[-LIVE_MAX:]))
        number, self._next = self._next, self._next + 1
        self._try(number, attempt=1)

    def clear_up(self) -> bool:
        """Ask again about everything that is open; True when nothing is."""
        for wish in tuple(self._wishes):
            if wish.is_open:
                self._ask(wish)
        for wish in tuple(self._last.values()):
            if wish.answer in DEFINITE_NO and not wish.was_accepted and wish.attempt < ATTEMPTS_MAX:
                self._try(wish.signal, wish.attempt + 1)
        return not any(wish.is_open for wish in self._wishes)

    def _try(self, number: int, attempt: int) -> None:
        """Decide signal `number` on the present quote and ask for its order."""
        dice = random.Random(f"{self._seed} {number}")
        symbol, shape, action = dice.choice(SYMBOLS), dice.randrange(4), dice.choice(("BUY", "SELL"))
        price = self._price(symbol, action)
        if not price:
            return
        toward = 1 if action == "BUY" else -1
        rests, bracket = bool(shape & 1), bool(shape & 2)
        limit = price * (1 - toward * 0.03) if rests else price * (1 + toward * 0.002)
        args: dict[str, Any] = {"contract": symbol, "action": action, "quantity": dice.randint(1, 3)}
        args["limit_price"] = round(limit, 2)
        if bracket:
            args["take_profit"] = round(limit * (1 + toward * dice.choice((0.001, 0.02))), 2)
            args["stop_loss"] = round(limit * (1 - toward * 0.02), 2)
        wish = Wish(f"s{self._seed}-{number}-{attempt}", number, attempt, "bracket" if bracket else "place", args)
        self._notebook.wish(wish)
        self._wishes.append(wish)
        self._last[number] = wish
        self._ask(wish)

    def _price(self, symbol: str, action: str) -> float | None:
        """The side of the quote that `action` would meet; None when there is no quote to be had."""
        quote, at = self._quotes.get(symbol, (None, 0.0))
        if quote is None or time.monotonic() - at > QUOTE_S:
            try:
                quote = self._client.quote(symbol, timeout_s=2.0)
            except ProxyError:
                return None
            self._quotes[symbol] = (quote, time.monotonic())
        return quote.ask if action == "BUY" else quote.bid

    def _ask(self, wish: Wish) -> None:
        """The identical request, as often as it takes."""
        send = self._client.bracket if wish.op == "bracket" else self._client.place
        try:
            reply = send(engine=ENGINE, ref=wish.ref, timeout_s=6.0, **wish.args)
        except Refused as error:
            self._notebook.answer(wish, error.code, str(error))
        except ProxyError as error:
            self._notebook.answer(wish, "lost", str(error))
        else:
            self._notebook.answer(wish, reply.state, reply.reason)

    def move(self, wish: Wish) -> None:
        """Move one leg a little further from the market; what came of it is asked for by nobody but the judge."""
        if len(wish.moves) >= MOVES_MAX:
            return
        leg = self._dice.choice(wish.legs)
        away = (-1 if wish.args["action"] == "BUY" else 1) * (-1 if leg == "take_profit" else 1)
        price = round(wish.args[PRICES[leg]] + away * 0.01 * (len(wish.moves) + 1), 2)
        self._notebook.move(wish, leg, price)
        wanted = {"stop_price" if leg == "stop_loss" else "limit_price": price}
        try:
            reply = self._client.modify(wish.ref, leg=leg, timeout_s=6.0, **wanted)
        except Refused as error:
            self._notebook.moved(wish, error.code, str(error))
        except ProxyError as error:
            self._notebook.moved(wish, "lost", str(error))
        else:
            self._notebook.moved(wish, reply.state, reply.reason)

    def end(self, wish: Wish) -> None:
        """Cancel it with its exits; it has ended when every leg has."""
        with contextlib.suppress(ProxyError):
            self._client.cancel(wish.ref, exits=True, timeout_s=3.0)
        try:
            known = self._client.order(wish.ref, timeout_s=3.0)
        except ProxyError:
            return
        if _has_ended(known):
            self._notebook.ended(wish, known.state)

    def settle(self) -> bool:
        """End everything. True when the proxy holds nothing open and every wish has its answer."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            settled = self.clear_up()
            for wish in self._wishes:
                if wish.was_accepted and not wish.ended:
                    self.end(wish)
            try:
                left = self._client.orders()
                for order in left:
                    self._client.cancel(order.client_order_id, exits=True, timeout_s=3.0)
            except ProxyError:
                settled = False
            else:
                settled = settled and not left
            if settled and all(wish.ended for wish in self._wishes if wish.was_accepted):
                return True
            time.sleep(0.2)
        return False


def _has_ended(known: OrderReply) -> bool:
    return all(leg.state in _ENDED for leg in known.legs) if known.legs else known.state in _ENDED


def run(runtime: Path, notebook: Path, seed: int, *, settling: bool) -> int:
    """Trade until killed, or end everything: exit code 0 when nothing is left open."""
    signals.signal(signals.SIGINT, signals.SIG_IGN)
    with Client.connect(runtime, name=ENGINE, timeout_s=SETTLE_S) as client:
        trader = Trader(client, notebook, seed)
        if settling:
            return 0 if trader.settle() else 1
        while True:
            trader.turn()
            time.sleep(PAUSE_S)
