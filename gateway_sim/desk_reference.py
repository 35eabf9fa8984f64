"""The reference desk: contract details, option parameters, market rules, symbol search and small change. Pure."""

from __future__ import annotations

from gateway_sim import messages
from gateway_sim.calendar import NEW_YORK, TradingDay, local
from gateway_sim.chains import trading_class
from gateway_sim.contracts import MARKET_RULES, OPTION_EXCHANGES, Contract
from gateway_sim.floor import NO_DEFINITION, Floor, Handler
from gateway_sim.requests import (
    ById,
    ContractDetailsRequest,
    MatchingSymbolsRequest,
    OptionParametersRequest,
    Plain,
)
from gateway_sim.session import Session

DETAILS_DELAY_S = (0.05, 0.3)
DETAILS_ROWS_PER_S = 40.0
"""Vague option requests are paced inside the Gateway: about a minute for the chain of one underlying (rule book 4)."""
FREE_ROWS = 60
OPTION_PARAMETERS_DELAY_S = 0.3
SCHEDULE_DAYS = 6


class ReferenceDesk:
    """Answers about what exists."""

    def __init__(self, floor: Floor, accounts: tuple[str, ...]) -> None:
        self._floor = floor
        self._accounts = accounts
        self.handlers: dict[str, Handler] = {
            "reqContractDetails": self._contract_details,
            "reqSecDefOptParams": self._option_parameters,
            "reqMatchingSymbols": self._matching_symbols,
            "reqMarketRule": self._market_rule,
            "reqCurrentTime": self._current_time,
            "reqManagedAccts": self._managed_accounts,
            "reqSoftDollarTiers": self._soft_dollar_tiers,
            "reqFamilyCodes": self._family_codes,
            "reqMktDepthExchanges": self._depth_exchanges,
            "reqSmartComponents": self._smart_components,
            "reqNewsProviders": self._news_providers,
            "reqHistoricalNews": self._historical_news,
            "reqUserInfo": self._user_info,
            "setServerLogLevel": self._nothing,
            "reqNewsBulletins": self._nothing,
            "cancelNewsBulletins": self._nothing,
        }

    def _nothing(self, session: Session, request: Plain) -> None:
        """Accepted, never answered."""

    def _contract_details(self, session: Session, request: ContractDetailsRequest) -> None:
        floor = self._floor
        found = [] if floor.faults.false_unknown(floor.now) else floor.book.find(request.contract, floor.market_s)
        delay = floor.dice(*DETAILS_DELAY_S) + max(0, len(found) - FREE_ROWS) / DETAILS_ROWS_PER_S
        delay *= (
            floor.faults.number("secdef_slow", "factor", 20.0) if floor.faults.is_on("secdef_slow", floor.now) else 1
        )
        if floor.faults.is_on("chain_hang", floor.now) and len(found) > FREE_ROWS:
            return
        if floor.faults.is_on("secdef_down", floor.now):
            return
        floor.agenda.after(delay, lambda now: self._send_details(session, request, found))

    def _send_details(self, session: Session, request: ContractDetailsRequest, found: list[Contract]) -> None:
        floor, req_id = self._floor, request.req_id
        if not found:
            floor.error(session, req_id, 200, NO_DEFINITION, "reqContractDetails")
            return
        trading, liquid = self._hours(found[0])
        under = floor.book.underlying(found[0].symbol)
        under_id = under.con_id if under and found[0].is_option else 0
        exchange = request.contract.exchange
        for contract in found:
            row = messages.contract_details(session.version, req_id, contract, exchange, trading, liquid, under_id)
            floor.tell(session, row)
        floor.tell(session, messages.contract_details_end(req_id))
        floor.answered(session, "reqContractDetails", req_id, len(found))

    def _hours(self, contract: Contract) -> tuple[str, str]:
        """tradingHours and liquidHours: `20260615:0400-20260615:2000;…;20260620:CLOSED`."""
        floor = self._floor
        today = local(floor.market_s).date()
        trading, liquid = [], []
        for ahead in range(SCHEDULE_DAYS):
            day = today.fromordinal(today.toordinal() + ahead)
            session = floor.calendar.on(day)
            if session is None:
                trading.append(f"{day:%Y%m%d}:CLOSED")
                liquid.append(f"{day:%Y%m%d}:CLOSED")
                continue
            regular = _span(session, session.open, session.close)
            extended = _span(session, session.pre_open, session.post_close)
            trading.append(extended if contract.sec_type == "STK" else regular)
            liquid.append(regular)
        return ";".join(trading), ";".join(liquid)

    def _option_parameters(self, session: Session, request: OptionParametersRequest) -> None:
        floor = self._floor
        listing = floor.book.listings.get(request.symbol.upper())
        if listing is None or request.con_id not in (listing.con_id,):
            text = f"Error validating request.-'bF' : cause - Invalid contract id {request.con_id} for {request.symbol}"
            floor.error(session, request.req_id, 321, text, "reqSecDefOptParams")
            return
        # Passing an exchange answers with no rows at all for stock options (rule book 4).
        classes: dict[str, tuple[list[str], set[float]]] = {}
        if request.exchange == "":
            for expiry in floor.book.expiries(listing.symbol, floor.market_s):
                texts, strikes = classes.setdefault(trading_class(listing, expiry), ([], set()))
                texts.append(expiry.text)
                strikes.update(floor.book.strikes(listing.symbol, expiry))

        def send(now: float) -> None:
            rows = 0
            for name, (texts, strikes) in classes.items():
                for exchange in OPTION_EXCHANGES:
                    row = messages.option_parameters(
                        request.req_id, exchange, listing.con_id, name, texts, sorted(strikes)
                    )
                    floor.tell(session, row)
                    rows += 1
            floor.tell(session, messages.option_parameters_end(request.req_id))
            floor.answered(session, "reqSecDefOptParams", request.req_id, rows)

        floor.agenda.after(OPTION_PARAMETERS_DELAY_S, send)

    def _matching_symbols(self, session: Session, request: MatchingSymbolsRequest) -> None:
        floor = self._floor
        breach = floor.judge.matching_symbols(floor.now)
        if breach is not None:
            floor.violation(session, breach, kind="reqMatchingSymbols")
        found = floor.book.matching(request.pattern)
        delay = 1.0 if breach is not None else floor.dice(0.05, 0.2)

        def send(now: float) -> None:
            floor.tell(session, messages.symbol_samples(session.version, request.req_id, found))
            floor.answered(session, "reqMatchingSymbols", request.req_id, len(found))

        floor.agenda.after(delay, send)

    def _market_rule(self, session: Session, request: ById) -> None:
        rule_id = request.req_id
        if rule_id not in MARKET_RULES:
            self._floor.error(session, -1, 124, f"Market rule {rule_id} is not found.", "reqMarketRule")
            return
        self._floor.tell(session, messages.market_rule_rows(rule_id))
        self._floor.answered(session, "reqMarketRule", rule_id)

    def _current_time(self, session: Session, request: Plain) -> None:
        skew = self._floor.faults.number("clock_skew", "seconds", 300.0)
        offset = skew if self._floor.faults.is_on("clock_skew", self._floor.now) else 0.0
        self._floor.tell(session, messages.current_time(int(self._floor.market_s + offset)))
        self._floor.answered(session, "reqCurrentTime")

    def _managed_accounts(self, session: Session, request: Plain) -> None:
        self._floor.tell(session, messages.managed_accounts(self._accounts))

    def _soft_dollar_tiers(self, session: Session, request: ById) -> None:
        self._floor.tell(session, messages.soft_dollar_tiers(request.req_id))

    def _family_codes(self, session: Session, request: Plain) -> None:
        self._floor.tell(session, messages.family_codes(self._accounts))

    def _depth_exchanges(self, session: Session, request: Plain) -> None:
        self._floor.tell(session, messages.depth_exchanges())

    def _smart_components(self, session: Session, request: ById) -> None:
        self._floor.tell(session, messages.smart_components(request.req_id))

    def _news_providers(self, session: Session, request: Plain) -> None:
        self._floor.tell(session, messages.news_providers())

    def _historical_news(self, session: Session, request: ById) -> None:
        self._floor.tell(session, messages.historical_news_end(request.req_id))

    def _user_info(self, session: Session, request: ById) -> None:
        self._floor.tell(session, messages.user_info(request.req_id))


def _span(day: TradingDay, start_s: int, end_s: int) -> str:
    start, end = local(start_s).astimezone(NEW_YORK), local(end_s).astimezone(NEW_YORK)
    return f"{start:%Y%m%d:%H%M}-{end:%Y%m%d:%H%M}"
