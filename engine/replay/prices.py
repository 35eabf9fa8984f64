"""What an option costs at a moment of a replay, and on which ground. Pure.

recorded  a quote of this very option was recorded at most QUOTE_AGE_MAX_S before
anchored  its last recorded quote, moved by what the model says has changed since
model     it was never quoted: Black and Scholes alone
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from engine.replay.options import OptionModel
from engine.replay.tape import TapeChain, TapeQuote
from engine.sessions import NS_PER_S
from gateway_proxy import Contract

Ground = Literal["recorded", "anchored", "model"]
#: Market seconds. IB tells changes only, and a chain is published every few seconds: a quiet option is no dead one.
QUOTE_AGE_MAX_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Priced:
    """Bid and ask per share."""

    bid: float
    ask: float
    ground: Ground


@dataclass(frozen=True, slots=True)
class _Quoted:
    """`above_model` is how much dearer the market was than the model, at the middle; None: no spot was known yet."""

    bid: float
    ask: float
    time_ns: int
    above_model: float | None


class Prices:
    """Learns what was recorded, in market time; answers from it, and from the model where nothing was recorded."""

    def __init__(self, model: OptionModel) -> None:
        self._model = model
        self._quoted: dict[str, _Quoted] = {}
        self._chains: dict[str, TapeChain] = {}

    def learn_chain(self, chain: TapeChain) -> list[str]:
        """Keys of the options that it quotes."""
        self._chains[chain.symbol] = chain
        learned = []
        for row in chain.body["rows"]:
            bid, ask = row["bid"], row["ask"]
            if bid is None or ask is None or not 0 <= bid <= ask or ask <= 0:
                continue
            key = _key(chain.symbol, chain.body["expiry"], row)
            self._learn(key, bid, ask, chain.time_ns, chain.body["underlying_price"])
            learned.append(key)
        return learned

    def learn_quote(self, quote: TapeQuote, spot: float | None) -> None:
        self._learn(quote.key, quote.bid, quote.ask, quote.time_ns, spot)

    def is_recorded(self, key: str, time_ns: int) -> bool:
        quoted = self._quoted.get(key)
        return quoted is not None and time_ns - quoted.time_ns <= QUOTE_AGE_MAX_S * NS_PER_S

    def quote(self, contract: Contract, spot: float, time_ns: int) -> Priced:
        """`spot`: the underlying at that moment."""
        quoted = self._quoted.get(contract.key)
        if quoted is not None and self.is_recorded(contract.key, time_ns):
            return Priced(quoted.bid, quoted.ask, "recorded")
        bid, ask = self._model.quote(spot, contract.strike, contract.right, time_ns, contract.last_trade_date)
        if quoted is None or quoted.above_model is None:
            return Priced(bid, ask, "model")
        shift = math.floor(quoted.above_model * 100 + 0.5) / 100
        return Priced(max(0.0, round(bid + shift, 2)), max(0.01, round(ask + shift, 2)), "anchored")

    def chain(self, symbol: str, spot: float, width: int, time_ns: int) -> dict[str, Any]:
        """The answer to a `chain` request: the newest recorded one while it is fresh, else the model's.

        Its rows have the newest quotes, as the proxy's answer would: an option may have been quoted since.
        """
        recorded = self._chains.get(symbol)
        if recorded is None or time_ns - recorded.time_ns > QUOTE_AGE_MAX_S * NS_PER_S:
            return self._model.chain(symbol, spot, width, time_ns)
        rows = []
        for row in recorded.body["rows"]:
            quoted = self._quoted.get(_key(symbol, recorded.body["expiry"], row))
            if quoted is not None and quoted.time_ns > recorded.time_ns:
                row = {**row, "bid": quoted.bid, "ask": quoted.ask}
            rows.append(row)
        return {**recorded.body, "rows": rows}

    def _learn(self, key: str, bid: float, ask: float, time_ns: int, spot: float | None) -> None:
        above = None
        if spot:
            _, expiry, right, strike = key.split(".", 3)
            model_bid, model_ask = self._model.quote(spot, float(strike), right, time_ns, expiry)
            above = (bid + ask - model_bid - model_ask) / 2
        self._quoted[key] = _Quoted(bid, ask, time_ns, above)


def _key(symbol: str, expiry: str, row: dict[str, Any]) -> str:
    return f"{symbol}.{expiry}.{row['right']}.{row['strike']:.10g}"
