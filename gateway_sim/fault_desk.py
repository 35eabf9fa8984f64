"""The fault desk: makes faults happen and ends them. Pure.

A fault is switched on in the `FaultState`, which the desks ask, and may do something when it begins and when it ends.
What faults do to orders is in `order_faults`; what they do to bytes in `line_gate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf

from gateway_sim import messages
from gateway_sim.agenda import Appointment
from gateway_sim.desk_history import HistoryDesk
from gateway_sim.desk_quotes import COMPETING_TEXT, QuoteDesk
from gateway_sim.desk_streams import StreamsDesk
from gateway_sim.fault_state import FaultValue
from gateway_sim.faults import checked
from gateway_sim.floor import Floor
from gateway_sim.line_gate import LineGate
from gateway_sim.lines import Lines
from gateway_sim.order_faults import OrderFaults
from gateway_sim.prices import Halt, Jump
from gateway_sim.session import Session
from gateway_sim.wire import encode

Parameters = dict[str, FaultValue]

LOST_TEXT = "Connectivity between IB and Trader Workstation has been lost."
RESTORED_LOST_TEXT = (
    "Connectivity between IB and Trader Workstation has been restored - data lost. Market data subscriptions need to "
    "be resubmitted."
)
RESTORED_KEPT_TEXT = (
    "Connectivity between IB and Trader Workstation has been restored - data maintained. All data farms are connected: "
    "usfarm; ushmds; secdefnj."
)
FARMS_BROKEN = (
    (2103, "Market data farm connection is broken:usfarm"),
    (2105, "HMDS data farm connection is broken:ushmds"),
)
FARMS_OK = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
)
SECDEF_BROKEN = (2157, "Sec-def data farm connection is broken:secdefnj")
SECDEF_OK = (2158, "Sec-def data farm connection is OK:secdefnj")
REPEAT_1100_S = 30.0
THROTTLE_STEP_S = 0.1


class FaultDesk:
    """Begins, ends and triggers faults.

    cut: closes a connection with a reset. release: hands held bytes on once a stall is over.
    """

    def __init__(
        self,
        floor: Floor,
        gate: LineGate,
        lines: Lines,
        desks: tuple[HistoryDesk, QuoteDesk, StreamsDesk],
        orders: OrderFaults,
        cut: Callable[[Session, str], None],
        release: Callable[[int | None], None],
    ) -> None:
        self._floor = floor
        self._gate = gate
        self._lines = lines
        self._history, self._quotes, self._streams = desks
        self._orders = orders
        self._cut = cut
        self._release = release
        self._ends: dict[str, Appointment] = {}
        self._triggers: list[tuple[str, int, str, float | None, Parameters]] = []
        self._seen: Counter[str] = Counter()
        self._begins: dict[str, Callable[[Parameters, float], None]] = {
            "hmds_down": lambda p, s: self._notices(FARMS_BROKEN[1:]),
            "keepup_dead": self._end_live_bars,
            "bust": lambda p, s: self._history.kill_live(
                10225, "Bust event occurred, current subscription is deactivated."
            ),
            "upstream_lost": self._lose_upstream,
            "data_lost": self._lose_upstream,
            "nightly_reset": self._lose_upstream,
            "storm_1100": self._storm,
            "farm_flap": lambda p, s: self._notices(FARMS_BROKEN),
            "secdef_down": lambda p, s: self._notices((SECDEF_BROKEN,)),
            "competing_session": lambda p, s: self._quotes.announce(10197, COMPETING_TEXT),
            "lines_full": lambda p, s: self._reserve_lines(self._lines.limit),
            "mute": lambda p, s: self._stall(True, True),
            "read_stall": lambda p, s: self._stall(True, False),
            "write_stall": lambda p, s: self._stall(False, True),
            "half_open": self._make_half_open,
            "slow_line": self._throttle,
            "socket_cut": self._cut_sockets,
            "garbage": self._send_garbage,
            "restart": lambda p, s: self._disconnect_all("restart"),
            "restart_lost_orders": self._restart_lost_orders,
            "notice": lambda p, s: self._orders.notice(int(p["code"]), str(p["text"])),
            "execution_correction": lambda p, s: self._orders.correct_last(float(p["price_change"])),
            "executions_forgotten": lambda p, s: self._orders.forget_executions(),
            "foreign_order": lambda p, s: self._orders.foreign_order(str(p["symbol"]), int(p["quantity"])),
            "foreign_position": lambda p, s: self._orders.foreign_position(str(p["symbol"]), int(p["quantity"])),
            "jump": self._jump,
            "halt": self._halt,
        }
        self._finishes: dict[str, Callable[[], None]] = {
            "hmds_down": lambda: self._notices(FARMS_OK[1:]),
            "upstream_lost": lambda: self._restore(1102),
            "data_lost": lambda: self._restore(1101),
            "nightly_reset": lambda: self._restore(1102),
            "farm_flap": lambda: self._notices(FARMS_OK),
            "secdef_down": lambda: self._notices((SECDEF_OK,)),
            "lines_full": lambda: self._reserve_lines(0),
            "mute": lambda: self._release(None),
            "read_stall": lambda: self._release(None),
            "write_stall": lambda: self._release(None),
            "slow_line": lambda: self._release(None),
        }

    # --- switching ---

    def inject(self, name: str, lasts_s: float | None = None, given: Parameters | None = None) -> float:
        """Begin a fault; returns until when (elapsed seconds). Raises FaultRefused."""
        lasts_s, parameters = checked(name, lasts_s, given or {})
        floor = self._floor
        until = floor.now + lasts_s
        floor.ledger.record(
            floor.now,
            -1,
            "fault",
            name=name,
            until=None if until == inf else round(until, 6),
            parameters=parameters or None,
        )
        if name in self._ends:
            self._ends.pop(name).cancel()
        if lasts_s > 0.0:
            floor.faults.switch_on(name, until, parameters)
            if until < inf:
                self._ends[name] = floor.agenda.at(until, lambda now: self._run_out(name))
        begin = self._begins.get(name)
        if begin is not None:
            begin(parameters, lasts_s)
        return until

    def clear(self, name: str) -> bool:
        """End a fault now; False if it was not on."""
        appointment = self._ends.pop(name, None)
        if appointment is not None:
            appointment.cancel()
        if not self._floor.faults.is_set(name):
            return False
        self._floor.faults.switch_off(name)
        self._floor.ledger.record(self._floor.now, -1, "fault", name=name, ended=True)
        finish = self._finishes.get(name)
        if finish is not None:
            finish()
        return True

    def _run_out(self, name: str) -> None:
        self.clear(name)

    def at(self, due: float, name: str, lasts_s: float | None, given: Parameters) -> None:
        """Inject at an elapsed second."""
        self._floor.agenda.at(due, lambda now: self._begin_planned(name, lasts_s, given))

    def _begin_planned(self, name: str, lasts_s: float | None, given: Parameters) -> None:
        self.inject(name, lasts_s, given)

    def on_message(self, kind: str, nth: int, name: str, lasts_s: float | None, given: Parameters) -> None:
        """Inject before the nth request of that kind is served."""
        self._triggers.append((kind, nth, name, lasts_s, given))

    def count(self, kind: str) -> None:
        """A request arrived; fire what waits for it."""
        if not self._triggers:
            return
        self._seen[kind] += 1
        due = [trigger for trigger in self._triggers if trigger[0] == kind and trigger[1] == self._seen[kind]]
        for trigger in due:
            self._triggers.remove(trigger)
            self.inject(*trigger[2:])

    # --- what happens ---

    def _notices(self, notices: tuple[tuple[int, str], ...]) -> None:
        for session in self._floor.sessions():
            for code, text in notices:
                self._floor.tell(session, messages.error(session.version, -1, code, text))

    def _end_live_bars(self, parameters: Parameters, lasts_s: float) -> None:
        if parameters.get("silent"):
            self._history.freeze_live()
        else:
            self._history.kill_live(10182, "Failed to request live updates (disconnected).")

    def _lose_upstream(self, parameters: Parameters, lasts_s: float) -> None:
        """1100 now and every 30 s; the farms follow."""
        self._notices(((1100, LOST_TEXT), *FARMS_BROKEN, SECDEF_BROKEN))
        until = self._floor.now + lasts_s

        def repeat(now: float) -> None:
            if now < until and self._floor.faults.upstream_lost(now):
                self._notices(((1100, LOST_TEXT),))
                self._floor.agenda.after(REPEAT_1100_S, repeat)

        self._floor.agenda.after(REPEAT_1100_S, repeat)

    def _restore(self, code: int) -> None:
        self._history.kill_live(10182, "Failed to request live updates (disconnected).")
        if code == 1101:
            self._quotes.end_all()
            self._streams.end_all()
        text = RESTORED_LOST_TEXT if code == 1101 else RESTORED_KEPT_TEXT
        self._notices(((code, text), *FARMS_OK, SECDEF_OK))

    def _storm(self, parameters: Parameters, lasts_s: float) -> None:
        pair = ((1100, LOST_TEXT), (1102, RESTORED_KEPT_TEXT))
        self._notices(pair * min(int(parameters["count"]), 10_000))

    def _reserve_lines(self, count: int) -> None:
        self._lines.reserved = count

    def _stall(self, reading: bool, writing: bool) -> None:
        self._gate.hold_input = self._gate.hold_input or reading
        self._gate.hold_output = self._gate.hold_output or writing

    def _make_half_open(self, parameters: Parameters, lasts_s: float) -> None:
        self._gate.dead.update(session.connection for session in self._floor.sessions())

    def _throttle(self, parameters: Parameters, lasts_s: float) -> None:
        self._gate.hold_output = True
        budget = max(1, int(float(parameters["bytes_per_s"]) * THROTTLE_STEP_S))

        def drip(now: float) -> None:
            if self._floor.faults.is_on("slow_line", now):
                self._release(budget)
                self._floor.agenda.after(THROTTLE_STEP_S, drip)

        drip(self._floor.now)

    def _cut_sockets(self, parameters: Parameters, lasts_s: float) -> None:
        sent, received = int(parameters["after_sent"]), int(parameters["after_received"])
        if not sent and not received:
            self._disconnect_all("socket_cut")
            return
        for session in self._floor.sessions():
            if sent:
                self._gate.cut_after_sent[session.connection] = sent
            if received:
                self._gate.cut_after_received[session.connection] = received

    def _send_garbage(self, parameters: Parameters, lasts_s: float) -> None:
        data = b"\xff\xff\xff\xff\0garbage" if parameters["frame"] else encode(4, "x", "y")
        for session in self._floor.sessions():
            self._floor.tell(session, data)

    def _disconnect_all(self, reason: str) -> None:
        for session in self._floor.sessions():
            self._cut(session, reason)

    def _restart_lost_orders(self, parameters: Parameters, lasts_s: float) -> None:
        self._orders.lose(int(parameters["lose"]), bool(parameters["rollback"]))
        self._disconnect_all("restart")

    def _jump(self, parameters: Parameters, lasts_s: float) -> None:
        factor = 1.0 + float(parameters["percent"]) / 100.0
        if factor <= 0.0:
            return
        market = self._floor.market
        market.prices.add_jump(Jump(str(parameters["symbol"]), self._floor.market_s, factor))
        market.forget()
        self._floor.history.forget()

    def _halt(self, parameters: Parameters, lasts_s: float) -> None:
        start_s = self._floor.market_s
        end_s = self._floor.clock.market_time(self._floor.now + min(lasts_s, 1e7))
        self._floor.market.prices.add_halt(Halt(str(parameters["symbol"]), start_s, end_s))
        self._floor.market.forget()
        self._floor.history.forget()
