"""The gateway core: connections in, effects out. Pure: the caller brings bytes and time and performs the effects.

It joins sessions, desks and limits, and decides for each message whether it is served, refused or made to wait. The
step of the shell is always: feed, perform `effects()`, re-arm for `next_timer()`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gateway_sim import messages
from gateway_sim.agenda import Appointment
from gateway_sim.calendar import local
from gateway_sim.desk_absent import AbsentDesk
from gateway_sim.desk_account import AccountDesk
from gateway_sim.desk_history import HistoryDesk
from gateway_sim.desk_orders import OrderDesk
from gateway_sim.desk_quotes import QuoteDesk
from gateway_sim.desk_reference import ReferenceDesk
from gateway_sim.desk_scanner import ScannerDesk
from gateway_sim.desk_streams import StreamsDesk
from gateway_sim.effects import Close, Effect, PauseReading, Record, ResumeReading, Send
from gateway_sim.fault_desk import FaultDesk
from gateway_sim.floor import Handler, open_floor
from gateway_sim.ledger import asked_for
from gateway_sim.limits import Breach
from gateway_sim.line_gate import LineGate
from gateway_sim.lines import Lines
from gateway_sim.order_faults import OrderFaults
from gateway_sim.order_request import PlaceOrder
from gateway_sim.request_decoders import decode_request, request_name
from gateway_sim.requests import Request, StartApi
from gateway_sim.session import UNNAMED, Session, Stage, VersionOffer, negotiated
from gateway_sim.settings import GatewaySettings
from gateway_sim.wire import WireError

DUPLICATE_CLIENT_TEXT = "Unable to connect as the client id is already in use. Retry with a unique client id."
BATCH_BYTES = 65_536
WAITING_MAX = 10_000
"""Messages kept per connection while its rate is paced; beyond it reading has long been paused."""


@dataclass
class Waiting:
    """Messages of a connection held back by pacing."""

    messages: deque[list[str]] = field(default_factory=deque)
    next: Appointment | None = None


class Gateway:
    """One simulated IB Gateway. `now` is elapsed simulated seconds and never goes back."""

    def __init__(self, settings: GatewaySettings | None = None) -> None:
        settings = settings or GatewaySettings()
        self.settings = settings
        self._effects: list[Effect] = []
        self._outgoing: dict[int, bytearray] = {}
        self._sessions: dict[int, Session] = {}
        self._waiting: dict[int, Waiting] = {}
        self.floor = open_floor(settings, self._tell, self.ready_sessions, self._record)
        lines = Lines(settings.limits.lines)
        self.lines = lines
        self.account_desk = AccountDesk(self.floor)
        self.history_desk = HistoryDesk(self.floor)
        self.quote_desk = QuoteDesk(self.floor, lines)
        self.streams_desk = StreamsDesk(self.floor, lines)
        self.scanner_desk = ScannerDesk(self.floor)
        self.order_desk = OrderDesk(self.floor, settings.master_client, self.account_desk.after_fill)
        self._gate = LineGate()
        self._order_faults = OrderFaults(self.floor, self.order_desk)
        self.faults = FaultDesk(
            self.floor,
            self._gate,
            lines,
            (self.history_desk, self.quote_desk, self.streams_desk),
            self._order_faults,
            cut=lambda session, reason: self.close(session, reason, abort=True),
            release=self._release_held,
        )
        self._zombies: dict[int, float] = {}
        reference, absent = ReferenceDesk(self.floor, (settings.account,)), AbsentDesk(self.floor)
        self._handlers: dict[str, Handler] = {}
        trading = (self.account_desk, self.history_desk, self.quote_desk, self.streams_desk, self.order_desk)
        for desk in (reference, absent, self.scanner_desk, *trading):  # fmt: skip
            self._handlers.update(desk.handlers)

    # --- the contract of a pure core ---

    def receive_connection(self, connection: int, peer: str, now: float) -> None:
        """Somebody connected; `connection` is the caller's number for it."""
        self.floor.agenda.run_due(now)
        self._sessions[connection] = session = Session(connection, peer)
        if self.floor.faults.is_on("restart", now) or self.floor.faults.is_on("restart_lost_orders", now):
            self.close(session, "restarting", abort=True)

    def receive_bytes(self, connection: int, received: bytes, now: float) -> None:
        """Bytes arrived. Garbage drops that connection and no other."""
        self.floor.agenda.run_due(now)
        passed = self._gate.incoming(connection, received)
        if passed is not None:
            self._process(connection, passed)

    def _process(self, connection: int, received: bytes) -> None:
        session = self._sessions.get(connection)
        if session is None:
            return
        received, cut = self._gate.cut(self._gate.cut_after_received, connection, received)
        try:
            for item in session.receive(received):
                if isinstance(item, VersionOffer):
                    self._shake_hands(session, item)
                else:
                    self._receive_message(session, item)
        except WireError as error:
            self._drop(session, error.reason)
        if cut:
            self.close(session, "socket_cut", abort=True)

    def receive_disconnect(self, connection: int, now: float, reason: str = "client closed") -> None:
        """The connection is gone."""
        self.floor.agenda.run_due(now)
        session = self._sessions.get(connection)
        if session is not None:
            self._forget(session, reason)

    def effects(self) -> list[Effect]:
        """What to do now, in order; empties the list."""
        self._flush()
        effects, self._effects = self._effects, []
        return effects

    def next_timer(self) -> float | None:
        """When to call handle_timer if nothing happens before."""
        return self.floor.agenda.next_due()

    def handle_timer(self, now: float) -> None:
        self.floor.agenda.run_due(now)

    # --- connections ---

    def ready_sessions(self) -> list[Session]:
        return [session for session in self._sessions.values() if session.is_ready]

    def status(self) -> dict[str, object]:
        """Facts for people: time, clients, faults, counters."""
        floor = self.floor
        return {
            "t": round(floor.now, 3),
            "market_time": f"{local(floor.market_s):%Y-%m-%d %H:%M:%S}",
            "clients": sorted(session.client_id for session in self.ready_sessions()),
            "faults": floor.faults.active(floor.now),
            "ledger": floor.ledger.counts,
        }

    def close(self, session: Session, reason: str, abort: bool = False) -> None:
        """End a connection from our side."""
        self._flush_one(session.connection)
        self._effects.append(Close(session.connection, abort))
        self._forget(session, reason)

    def _drop(self, session: Session, reason: str) -> None:
        self.floor.ledger.record(
            self.floor.now, session.client_id, "violation", rule="malformed_bytes", limit=0, seen=1, reason=reason
        )
        self.close(session, reason, abort=True)

    def _forget(self, session: Session, reason: str) -> None:
        session.close()
        self._sessions.pop(session.connection, None)
        self._gate.forget(session.connection)
        if session.client_id != UNNAMED and self.floor.faults.is_on("client_id_zombie", self.floor.now):
            self._zombies[session.client_id] = self.floor.now
        self._outgoing.pop(session.connection, None)
        waiting = self._waiting.pop(session.connection, None)
        if waiting is not None and waiting.next is not None:
            waiting.next.cancel()
        self.floor.judge.forget(session.connection)
        for desk in (self.account_desk, self.history_desk, self.quote_desk, self.streams_desk, self.scanner_desk):
            desk.drop(session)
        self.floor.ledger.record(self.floor.now, session.client_id, "disconnect", reason=reason)

    def _shake_hands(self, session: Session, offer: VersionOffer) -> None:
        if self.floor.faults.is_on("api_hang_handshake", self.floor.now):
            return
        version = negotiated(offer)
        if version is None:
            self.close(session, f"no common version with {offer.lowest}..{offer.highest}")
            return
        session.agree(version)
        self._tell(session, messages.server_hello(version, self.floor.market_s))

    def _start(self, session: Session, request: StartApi) -> None:
        floor = self.floor
        if len(self.ready_sessions()) >= floor.judge.settings.clients:
            floor.violation(
                session, Breach("api_clients", floor.judge.settings.clients, len(self.ready_sessions()) + 1)
            )
            self.close(session, "too many API clients")
            return
        if self._is_taken(request.client_id):
            floor.ledger.record(floor.now, request.client_id, "violation", rule="duplicate_client_id", limit=1, seen=2)
            self._tell(session, messages.error(session.version, -1, 326, DUPLICATE_CLIENT_TEXT))
            self.close(session, "client id in use")
            return
        session.start(request.client_id)
        self._order_faults.client_started(session)
        floor.ledger.record(
            floor.now, session.client_id, "connect", version=session.version, peer=session.peer,
            market_time=round(floor.market_s, 3),
        )  # fmt: skip
        self._tell(session, messages.managed_accounts((self.settings.account,)))
        self._tell(session, messages.next_valid_id(floor.blotter.next_order_id(session.client_id)))
        for code, text in (
            (2104, "Market data farm connection is OK:usfarm"),
            (2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds"),
            (2158, "Sec-def data farm connection is OK:secdefnj"),
        ):
            self._tell(session, messages.error(session.version, -1, code, text))

    def _is_taken(self, client_id: int) -> bool:
        """Whether a client has the id, or (fault client_id_zombie) had it until lately."""
        zombie = client_id in self._zombies and self.floor.faults.is_on("client_id_zombie", self.floor.now)
        return zombie or any(other.client_id == client_id for other in self.ready_sessions())

    # --- messages ---

    def _receive_message(self, session: Session, fields: list[str]) -> None:
        """Judge the message rate, then serve, refuse or hold the message."""
        if session.stage is Stage.START:
            self._serve_start(session, fields)
            return
        waiting = self._waiting.get(session.connection)
        if waiting is not None and waiting.messages:
            waiting.messages.append(fields)
            return
        breach = self.floor.judge.message(session.connection, self.floor.now)
        if breach is None:
            self._warn_of_rate(session)
            self._serve(session, fields)
            return
        mode = self.floor.judge.settings.messages
        self.floor.violation(session, breach, kind=request_name(_message_id(fields)))
        if mode == "reject":
            self._reject_for_rate(session, breach)
        elif mode == "pace":
            self._hold(session, fields)
        else:
            self._serve(session, fields)

    def _serve_start(self, session: Session, fields: list[str]) -> None:
        """Before startApi nothing else is answered."""
        if _message_id(fields) == 71:
            request = decode_request(fields, session.version)
            if isinstance(request, StartApi):
                self._start(session, request)

    def _warn_of_rate(self, session: Session) -> None:
        """The soft warning (code 0) near 90 % of the rate (rule book 2)."""
        limit = self.floor.judge.settings.messages_per_s
        if self.floor.judge.message_count(session.connection, self.floor.now) == limit * 9 // 10:
            text = f"Warning: Approaching max rate of {limit} messages per second ({limit * 9 // 10})"
            self._tell(session, messages.error(session.version, -1, 0, text))

    def _reject_for_rate(self, session: Session, breach: Breach) -> None:
        strikes = self.floor.judge.strike(session.connection)
        text = f"Max rate of messages per second has been exceeded:max={breach.limit} rec={breach.seen} ({strikes})"
        self.floor.error(session, -1, 100, text)
        if strikes >= self.floor.judge.settings.message_strikes:
            self.close(session, "message rate exceeded three times", abort=False)

    def _hold(self, session: Session, fields: list[str]) -> None:
        """Pace mode: stop reading until the window has room."""
        waiting = self._waiting.setdefault(session.connection, Waiting())
        waiting.messages.append(fields)
        if len(waiting.messages) == 1:
            self._effects.append(PauseReading(session.connection))
            self._release_later(session, waiting)

    def _release_later(self, session: Session, waiting: Waiting) -> None:
        room_at = self.floor.judge.message_room_at(session.connection, self.floor.now)
        waiting.next = self.floor.agenda.at(room_at, lambda now: self._release(session, waiting))

    def _release(self, session: Session, waiting: Waiting) -> None:
        judge = self.floor.judge
        while waiting.messages and session.stage is Stage.READY:
            if judge.message_room_at(session.connection, self.floor.now) > self.floor.now:
                self._release_later(session, waiting)
                return
            judge.message(session.connection, self.floor.now)
            self._serve(session, waiting.messages.popleft())
        self._effects.append(ResumeReading(session.connection))

    def _serve(self, session: Session, fields: list[str]) -> None:
        """Decode and dispatch one message. An unreadable one is answered with 320; the connection stays."""
        floor = self.floor
        kind = request_name(_message_id(fields))
        try:
            request = decode_request(fields, session.version)
        except WireError as error:
            floor.ledger.record(floor.now, session.client_id, "request", kind=kind)
            floor.ledger.record(
                floor.now,
                session.client_id,
                "violation",
                rule="malformed_message",
                limit=0,
                seen=1,
                reason=error.reason,
            )
            floor.error(session, -1, 320, f"Error reading request. {error.reason}", kind)
            return
        number = getattr(request, "req_id", getattr(request, "order_id", None))
        facts = asked_for(request)
        floor.ledger.record(floor.now, session.client_id, "request", kind=kind, req_id=number, **facts)
        self.faults.count(kind)
        if floor.faults.is_on("api_hang_requests", floor.now):
            return
        if not self._order_faults.intercept(session, request, self._dispatch):
            self._dispatch(session, request, kind)

    def _dispatch(self, session: Session, request: Request, kind: str | None = None) -> None:
        handler = self._handlers.get(kind or ("placeOrder" if isinstance(request, PlaceOrder) else "cancelOrder"))
        if handler is not None:
            handler(session, request)

    # --- outgoing ---

    def _record(self, line: str) -> None:
        self._effects.append(Record(line))

    def _tell(self, session: Session, message: bytes) -> None:
        if session.connection not in self._sessions:
            return
        outgoing = self._outgoing.get(session.connection)
        if outgoing is None:
            outgoing = self._outgoing[session.connection] = bytearray()
        outgoing += message
        if len(outgoing) >= BATCH_BYTES:
            self._flush_one(session.connection)

    def _flush(self) -> None:
        for connection in list(self._outgoing):
            self._flush_one(connection)

    def _flush_one(self, connection: int) -> None:
        outgoing = self._outgoing.pop(connection, None)
        passed = self._gate.outgoing(connection, bytes(outgoing)) if outgoing else None
        if passed:
            self._send(connection, passed)

    def _send(self, connection: int, data: bytes) -> None:
        data, cut = self._gate.cut(self._gate.cut_after_sent, connection, data)
        self._effects.append(Send(connection, data))
        session = self._sessions.get(connection)
        if cut and session is not None:
            self.close(session, "socket_cut")

    def _release_held(self, budget: int | None) -> None:
        """Hand on what a stall held back; budget: only so many bytes of output."""
        if budget is not None:
            self._flush()
            for connection, data in self._gate.output.take_some(budget):
                self._send(connection, data)
            return
        faults, now = self.floor.faults, self.floor.now
        stalled = faults.is_on("mute", now)
        self._gate.hold_input = stalled or faults.is_on("read_stall", now)
        self._gate.hold_output = stalled or faults.is_on("write_stall", now) or faults.is_on("slow_line", now)
        if not self._gate.hold_output:
            for connection, data in self._gate.output.take():
                self._send(connection, data)
        if not self._gate.hold_input:
            for connection, data in self._gate.input.take():
                self._process(connection, data)


def _message_id(fields: list[str]) -> int:
    return int(fields[0]) if fields[0].isascii() and fields[0].isdigit() and len(fields[0]) < 6 else -1
