"""The contract directory: what IB knows of each contract, asked once and remembered. Pure.

An unknown contract is remembered for a minute only, because IB denies valid ones during its nightly reset
(rule book 1.3, code 200). What is known is asked again after half a day, because its trading hours reach only some days
ahead, and used meanwhile. At the limit of entries the oldest are forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any, Final

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.desk import Desk, Outcome
from gateway_proxy.core.market_rules import MarketRules
from gateway_proxy.core.scheduler import Keys, Lane, RequestClass
from gateway_proxy.core.sessions import intervals
from gateway_proxy.core.verdict import Verdict, error
from gateway_proxy.errors import BadMessage, ProxyError

ContractDetails = ev.ContractDetails

REMEMBERED_MAX: Final = 20_000
FAILURE_REMEMBERED_S: Final = 60.0
REFRESH_S: Final = 43_200.0
_OPTION_KEY = re.compile(r"(?P<symbol>[A-Z0-9]{1,12})\.(?P<expiry>\d{8})\.(?P<right>[CP])\.(?P<strike>\d+(\.\d+)?)\Z")
_STOCK_KEY = re.compile(r"[A-Z0-9]{1,12}(?: [A-Z]{1,3})?\Z")


def parse(contract: str | Contract) -> Contract:
    """A contract from its key ("SPY", "SPY.20260618.C.600"); contracts pass through.

    Raises BadMessage for what is no contract, and for options so vague that a request could hang the Gateway
    (rule book 4).
    """
    if isinstance(contract, Contract):
        exact = len(contract.last_trade_date) == 8 and contract.strike > 0 and contract.right
        if contract.sec_type == "OPT" and not contract.con_id and not exact:
            raise BadMessage("contract: an option needs last_trade_date (YYYYMMDD), strike and right, or con_id")
        return contract
    if option := _OPTION_KEY.match(contract):
        return Contract(
            symbol=option["symbol"],
            sec_type="OPT",
            last_trade_date=option["expiry"],
            strike=float(option["strike"]),
            right=option["right"],  # type: ignore[arg-type]
            multiplier="100",
        )
    if _STOCK_KEY.match(contract):
        return Contract(symbol=contract)
    raise BadMessage(
        f'contract {contract!r}: want a symbol such as "SPY", a key such as "SPY.20260618.C.600", or an object'
    )


class ContractDirectory:
    """`find` answers from memory or asks once; `wake` is called with `contract:<key>` when an answer came."""

    def __init__(self, desk: Desk, rules: MarketRules, wake: Callable[[str], None], timeout_s: float) -> None:
        self._desk = desk
        self._rules = rules
        self._wake = wake
        self._timeout_s = timeout_s
        self._details: dict[Contract, ContractDetails] = {}
        self._refresh_at: dict[Contract, float] = {}
        self._failures: dict[Contract, tuple[ProxyError, float]] = {}
        self._asked: set[Contract] = set()

    def find(
        self, contract: Contract, owner: str, now: float, *, lane: Lane = Lane.INTERACTIVE
    ) -> ContractDetails | None:
        """What IB knows, or None while it is being asked. Raises the error of a recent refusal, or QueueFull."""
        known = self._details.get(contract)
        if known is not None:
            self._refresh(contract, owner, now)
            return self._with_bands(contract, known, now)
        if (failure := self._failures.get(contract)) is not None:
            if failure[1] > now:
                raise failure[0]
            del self._failures[contract]
        if contract not in self._asked:
            self._ask(contract, owner, lane, now)
        return None

    def _with_bands(self, contract: Contract, known: ContractDetails, now: float) -> ContractDetails | None:
        """Nobody gets a contract without the grid its prices must lie on."""
        if known.price_bands:
            return known
        bands = self._rules.bands_of(known, wake_key(contract), now)
        if bands is None:
            return None
        self._details[contract] = known = replace(known, price_bands=bands)
        return known

    def known(self, contract: Contract) -> ContractDetails | None:
        return self._details.get(contract)

    def _refresh(self, contract: Contract, owner: str, now: float) -> None:
        if self._refresh_at.get(contract, now) > now or contract in self._asked:
            return
        try:
            self._ask(contract, owner, Lane.BACKFILL, now)
        except ProxyError:
            # What is known serves on; the next one who looks tries again.
            return

    def _ask(self, contract: Contract, owner: str, lane: Lane, now: float) -> None:
        def ended(outcome: Outcome, now: float) -> None:
            self._asked.discard(contract)
            self._learn(contract, outcome, now)
            self._wake(wake_key(contract))

        self._desk.ask(
            lambda req_id: fx.RequestContract(req_id, contract), RequestClass.CONTRACT, lane=lane, owner=owner,
            keys=Keys(), timeout_s=self._timeout_s, queue_s=None, on_end=ended, now=now, name=wake_key(contract),
        )  # fmt: skip
        self._asked.add(contract)

    def _learn(self, contract: Contract, outcome: Outcome, now: float) -> None:
        rows = [answer.details for answer in outcome.answers if isinstance(answer, ev.ContractReceived)]
        if outcome.ok and rows:
            best = _best(contract, rows)
            if isinstance(best, ev.ContractDetails):
                # Read now what its first order would wait for: hours by the day, and the zone's file on the disk.
                intervals(best.liquid_hours, best.time_zone)
                _remember(self._details, contract, best)
                _remember(self._refresh_at, contract, now + REFRESH_S)
                return
            failure: ProxyError = best
        elif outcome.ok:
            failure = error(Verdict.CONTRACT_UNKNOWN, f"IB knows no contract {contract.key}")
        else:
            text = f"contract {contract.key}: {outcome.text}" + (f" (IB error {outcome.code})" if outcome.code else "")
            failure = error(outcome.verdict, text)
        lasting = failure.code in ("contract_unknown", "bad_message")
        if contract in self._details and not lasting:
            _remember(self._refresh_at, contract, now + FAILURE_REMEMBERED_S)
            return
        self._details.pop(contract, None)
        if outcome.verdict is Verdict.SESSION_LOST:
            return
        _remember(self._failures, contract, (failure, now + (FAILURE_REMEMBERED_S if lasting else 1.0)))


def wake_key(contract: Contract) -> str:
    return f"contract:{contract.key}"


def _best(asked: Contract, rows: list[ContractDetails]) -> ContractDetails | ProxyError:
    """One row per question: the one on the exchange asked for. Several different contracts mean a vague question."""
    on_exchange = [row for row in rows if row.contract.exchange == asked.exchange] or rows
    if len({row.contract.con_id for row in on_exchange}) > 1:
        names = ", ".join(sorted({row.contract.key for row in on_exchange})[:4])
        return BadMessage(f"contract {asked.key} is ambiguous: {len(on_exchange)} contracts match ({names}, …)")
    return on_exchange[0]


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    memory[key] = value
    if len(memory) > REMEMBERED_MAX:
        del memory[next(iter(memory))]


class OptionParameters:
    """Expirations and the union of strikes per underlying, asked once per exchange day, across restarts.

    `version` changes whenever there is something new to remember.
    """

    def __init__(self, desk: Desk, wake: Callable[[str], None], timeout_s: float) -> None:
        self._desk = desk
        self._wake = wake
        self._timeout_s = timeout_s
        self._rows: dict[tuple[str, str], tuple[ev.OptionParametersReceived, ...]] = {}
        self.version = 0
        self._failures: dict[tuple[str, str], tuple[ProxyError, float]] = {}
        self._asked: set[tuple[str, str]] = set()

    def find(
        self, underlying: ContractDetails, date: str, owner: str, now: float
    ) -> tuple[ev.OptionParametersReceived, ...] | None:
        """One row per exchange and trading class, or None while it is being asked. Raises a recent refusal."""
        contract = underlying.contract
        key = contract.symbol, date
        if key in self._rows:
            return self._rows[key]
        failure = self._failures.get(key)
        if failure is not None and failure[1] > now:
            raise failure[0]
        if key not in self._asked:
            self._desk.ask(
                lambda req_id: fx.RequestOptionParameters(req_id, contract.symbol, contract.sec_type, contract.con_id),
                RequestClass.SECDEF, lane=Lane.INTERACTIVE, owner=owner, keys=Keys(), timeout_s=self._timeout_s,
                queue_s=None, on_end=lambda outcome, at: self._learn(key, outcome, at), now=now,
                name=f"options:{contract.symbol}",
            )  # fmt: skip
            self._asked.add(key)
        return None

    def knows(self, symbol: str) -> bool:
        """Whether something is remembered of the underlying, of whatever day."""
        return any(known == symbol for known, _ in self._rows)

    def _learn(self, key: tuple[str, str], outcome: Outcome, now: float) -> None:
        self._asked.discard(key)
        rows = tuple(answer for answer in outcome.answers if isinstance(answer, ev.OptionParametersReceived))
        if outcome.ok and rows:
            self._forget_other_days(key[1])
            self._rows[key] = rows
            self.version += 1
        elif outcome.ok:
            failure = error(Verdict.NO_DATA, f"IB lists no options on {key[0]}")
            self._failures[key] = failure, now + FAILURE_REMEMBERED_S
        elif outcome.verdict is not Verdict.SESSION_LOST:
            self._failures[key] = error(outcome.verdict, f"options of {key[0]}: {outcome.text}"), now + 1.0
        self._wake(f"options:{key[0]}")

    def remembered(self) -> list[dict[str, Any]]:
        """What a next life may use, as plain JSON: one entry per underlying and day."""
        return [
            {"symbol": symbol, "date": date, "rows": [asdict(row) for row in rows]}
            for (symbol, date), rows in self._rows.items()
        ]

    def recall(self, remembered: list[dict[str, Any]]) -> None:
        """Start with what an earlier life remembered; a day that is over is asked for again when it is needed."""
        for entry in remembered:
            rows = (ev.OptionParametersReceived(**{**row, **_tuples(row)}) for row in entry["rows"])
            self._rows[entry["symbol"], entry["date"]] = tuple(rows)

    def _forget_other_days(self, date: str) -> None:
        for memory in (self._rows, self._failures):
            for key in [key for key in memory if key[1] != date]:
                del memory[key]


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    return {"expirations": tuple(row["expirations"]), "strikes": tuple(row["strikes"])}


def smart_rows(rows: Iterable[ev.OptionParametersReceived], symbol: str) -> list[ev.OptionParametersReceived]:
    """The rows on SMART whose class is the symbol's own; other classes are adjusted or weekly (rule book 9)."""
    smart = [row for row in rows if row.exchange == "SMART"] or list(rows)
    own = [row for row in smart if row.trading_class == symbol]
    return own or smart
