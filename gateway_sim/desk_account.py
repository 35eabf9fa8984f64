"""The account desk: account values, positions, summaries and profit. Pure.

Values are pushed after each fill and every 180 s, profit about once a second, summaries every 3 minutes (rule book 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim import order_messages
from gateway_sim.accounts import Position
from gateway_sim.agenda import Action
from gateway_sim.calendar import local
from gateway_sim.floor import Floor, Handler, Repeater
from gateway_sim.limits import Breach
from gateway_sim.requests import AccountRequest, AccountSummaryRequest, ById, Plain, Switch
from gateway_sim.session import Session

PUSH_PERIOD_S = 180.0
PNL_PERIOD_S = 1.0
SUMMARY_LIMIT_TEXT = (
    "Error processing request.-'bS' : cause - Maximum number of account summary requests exceeded; desubscribe to "
    "previous request first"
)
SUMMARY_TAGS = (
    "AccountType", "NetLiquidation", "TotalCashValue", "SettledCash", "AccruedCash", "BuyingPower",
    "EquityWithLoanValue", "GrossPositionValue", "InitMarginReq", "MaintMarginReq", "AvailableFunds",
    "ExcessLiquidity", "Cushion",
    "FullInitMarginReq", "FullMaintMarginReq", "FullAvailableFunds", "FullExcessLiquidity", "LookAheadInitMarginReq",
    "LookAheadMaintMarginReq", "LookAheadAvailableFunds", "LookAheadExcessLiquidity", "DayTradesRemaining",
    "Leverage-S",
)  # fmt: skip


@dataclass
class Summary:
    tags: tuple[str, ...]
    stream: Repeater


class AccountDesk:
    """Answers everything about money and holdings."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._account = floor.blotter.account
        self._watchers: dict[int, Session] = {}
        self._position_watchers: dict[int, Session] = {}
        self._summaries: dict[tuple[int, int], Summary] = {}
        self._multi: dict[tuple[int, int], tuple[Session, AccountRequest]] = {}
        self._position_multi: dict[tuple[int, int], tuple[Session, AccountRequest]] = {}
        self._profits: dict[tuple[int, int], Repeater] = {}
        self._pushes = floor.every(PUSH_PERIOD_S, lambda now: self._push_all())
        self.handlers: dict[str, Handler] = {
            "reqAccountUpdates": self._account_updates,
            "reqAccountUpdatesMulti": self._account_updates_multi,
            "cancelAccountUpdatesMulti": self._cancel_multi,
            "reqAccountSummary": self._summary,
            "cancelAccountSummary": self._cancel_summary,
            "reqPositions": self._positions,
            "cancelPositions": self._cancel_positions,
            "reqPositionsMulti": self._positions_multi,
            "cancelPositionsMulti": self._cancel_positions_multi,
            "reqPnL": self._pnl,
            "cancelPnL": self._cancel_pnl,
            "reqPnLSingle": self._pnl_single,
            "cancelPnLSingle": self._cancel_pnl,
        }

    def drop(self, session: Session) -> None:
        connection = session.connection
        self._watchers.pop(connection, None)
        self._position_watchers.pop(connection, None)
        for table in (self._multi, self._position_multi):
            for key in [key for key in table if key[0] == connection]:
                del table[key]
        for key in [key for key in self._summaries if key[0] == connection]:
            self._summaries.pop(key).stream.stop()
        for key in [key for key in self._profits if key[0] == connection]:
            self._profits.pop(key).stop()

    def after_fill(self) -> None:
        """Push what a fill changed."""
        for session in list(self._position_watchers.values()):
            for position in self._account.positions.values():
                self._send_position(session, position)
        for session, request in list(self._position_multi.values()):
            for position in self._account.positions.values():
                self._send_position_multi(session, request, position)
        self._push_all()

    def _mark(self, position: Position) -> float:
        return self._floor.blotter.mark(position.contract, self._floor.market_s)

    def _values(self) -> list[tuple[str, str, str]]:
        if self._floor.faults.is_on("account_not_ready", self._floor.now):
            return [
                ("AccountCode", self._account.name, ""),
                ("AccountReady", "false", ""),
                ("NetLiquidation", "0.00", "USD"),
            ]
        return self._account.values(self._floor.blotter.mark_of(self._floor.market_s))

    # --- account values ---

    def _account_updates(self, session: Session, request: Switch) -> None:
        if not request.on:
            self._watchers.pop(session.connection, None)
            return
        if request.account not in ("", self._account.name):
            text = "Error validating request.-'bG' : cause - Invalid account code"
            self._floor.error(session, -1, 321, text, "reqAccountUpdates")
            return
        self._watchers[session.connection] = session
        self._send_account(session)
        self._floor.tell(session, order_messages.account_download_end(self._account.name))
        self._floor.answered(session, "reqAccountUpdates")

    def _send_account(self, session: Session) -> None:
        tell, name = self._floor.tell, self._account.name
        for key, value, currency in self._values():
            tell(session, order_messages.account_value(key, value, currency, name))
        for position in self._account.positions.values():
            mark = self._mark(position)
            tell(session, order_messages.portfolio_value(
                position.contract, position.quantity, mark, position.average_cost, position.unrealized(mark),
                position.realized, name,
            ))  # fmt: skip
        tell(session, order_messages.account_update_time(f"{local(self._floor.market_s):%H:%M}"))

    def _push_all(self) -> None:
        for session in list(self._watchers.values()):
            self._send_account(session)
        for session, request in list(self._multi.values()):
            self._send_multi(session, request)

    def _account_updates_multi(self, session: Session, request: AccountRequest) -> None:
        self._multi[(session.connection, request.req_id)] = (session, request)
        self._send_multi(session, request)
        self._floor.tell(session, order_messages.account_update_multi_end(request.req_id))
        self._floor.answered(session, "reqAccountUpdatesMulti", request.req_id)

    def _send_multi(self, session: Session, request: AccountRequest) -> None:
        for key, value, currency in self._values():
            self._floor.tell(session, order_messages.account_update_multi(
                request.req_id, self._account.name, request.model, key, value, currency
            ))  # fmt: skip

    def _cancel_multi(self, session: Session, request: ById) -> None:
        self._multi.pop((session.connection, request.req_id), None)

    # --- summary ---

    def _summary(self, session: Session, request: AccountSummaryRequest) -> None:
        floor, key = self._floor, (session.connection, request.req_id)
        limit = floor.judge.settings.account_summaries
        held = sum(1 for other in self._summaries if other[0] == session.connection)
        if key not in self._summaries and held >= limit:
            floor.violation(session, Breach("account_summaries", limit, held + 1), req_id=request.req_id)
            floor.error(session, request.req_id, 322, SUMMARY_LIMIT_TEXT, "reqAccountSummary")
            return
        if key in self._summaries:
            self._summaries.pop(key).stream.stop()
        stream = floor.every(PUSH_PERIOD_S, lambda now: self._send_summary(session, request))
        self._summaries[key] = Summary(request.tags, stream)
        self._send_summary(session, request)
        floor.tell(session, order_messages.account_summary_end(request.req_id))
        floor.answered(session, "reqAccountSummary", request.req_id)

    def _send_summary(self, session: Session, request: AccountSummaryRequest) -> None:
        ledger = any(tag.startswith("$LEDGER") for tag in request.tags)
        wanted = SUMMARY_TAGS if "All" in request.tags else request.tags
        for key, value, currency in self._values():
            if key in wanted or (ledger and key in ("CashBalance", "RealizedPnL", "UnrealizedPnL", "TotalCashBalance")):
                self._floor.tell(session, order_messages.account_summary(
                    request.req_id, self._account.name, key, value, currency
                ))  # fmt: skip

    def _cancel_summary(self, session: Session, request: ById) -> None:
        summary = self._summaries.pop((session.connection, request.req_id), None)
        if summary is not None:
            summary.stream.stop()

    # --- positions ---

    def _positions(self, session: Session, request: Plain) -> None:
        self._position_watchers[session.connection] = session
        held = self._account.open_positions()
        for position in held:
            self._send_position(session, position)
        self._floor.tell(session, order_messages.position_end())
        self._floor.answered(session, "reqPositions", rows=len(held))

    def _send_position(self, session: Session, position: Position) -> None:
        self._floor.tell(session, order_messages.position_row(
            self._account.name, position.contract, position.quantity, position.average_cost
        ))  # fmt: skip

    def _cancel_positions(self, session: Session, request: Plain) -> None:
        self._position_watchers.pop(session.connection, None)

    def _positions_multi(self, session: Session, request: AccountRequest) -> None:
        self._position_multi[(session.connection, request.req_id)] = (session, request)
        for position in self._account.open_positions():
            self._send_position_multi(session, request, position)
        self._floor.tell(session, order_messages.position_multi_end(request.req_id))
        self._floor.answered(session, "reqPositionsMulti", request.req_id)

    def _send_position_multi(self, session: Session, request: AccountRequest, position: Position) -> None:
        self._floor.tell(session, order_messages.position_multi(
            request.req_id, self._account.name, position.contract, position.quantity, position.average_cost,
            request.model,
        ))  # fmt: skip

    def _cancel_positions_multi(self, session: Session, request: ById) -> None:
        self._position_multi.pop((session.connection, request.req_id), None)

    # --- profit ---

    def _pnl(self, session: Session, request: AccountRequest) -> None:
        def send(now: float) -> None:
            mark_of = self._floor.blotter.mark_of(self._floor.market_s)
            self._floor.tell(session, order_messages.pnl(
                request.req_id, self._account.daily(mark_of), self._account.unrealized(mark_of), self._account.realized
            ))  # fmt: skip

        self._start_profit(session, request, "reqPnL", send)

    def _pnl_single(self, session: Session, request: AccountRequest) -> None:
        contract = self._floor.book.by_id(request.con_id)
        if contract is None:
            return  # an unknown contract id gets no answer at all (rule book 4)

        def send(now: float) -> None:
            position = self._account.positions.get(request.con_id) or Position(contract)
            mark = self._mark(position)
            self._floor.tell(session, order_messages.pnl_single(
                request.req_id, position.quantity, position.daily(mark), position.unrealized(mark), position.realized,
                position.value(mark),
            ))  # fmt: skip

        self._start_profit(session, request, "reqPnLSingle", send)

    def _start_profit(self, session: Session, request: AccountRequest, kind: str, send: Action) -> None:
        key = (session.connection, request.req_id)
        if key in self._profits:
            self._profits.pop(key).stop()
        self._profits[key] = self._floor.every(PNL_PERIOD_S, send)
        send(self._floor.now)
        self._floor.answered(session, kind, request.req_id)

    def _cancel_pnl(self, session: Session, request: ById) -> None:
        repeater = self._profits.pop((session.connection, request.req_id), None)
        if repeater is not None:
            repeater.stop()
