"""The reconciler: what IB says about orders becomes events of the table, and silence becomes a judgement. Pure.

Every message about orders passes here, live or as part of a sweep: order events are never gated (A4). After each
complete sweep it judges what nobody named; the rules of absence are core/fence.py. It decides states only; replies,
cancels and repairs follow in the blotter.
"""

from __future__ import annotations

from datetime import UTC, datetime

from gateway_proxy.bus.messages import Quote
from gateway_proxy.core import evidence, simulated_fills
from gateway_proxy.core.admission import OrderSettings
from gateway_proxy.core.deadlines import Deadlines
from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.events import (
    CommissionReceived,
    CompletedOrderReceived,
    ErrorReceived,
    ExecutionReceived,
    OpenOrderReceived,
    OrderStatusReceived,
)
from gateway_proxy.core.evidence import ErrorMeaning, Finding
from gateway_proxy.core.fence import Fence, Sweep
from gateway_proxy.core.identifiers import execution_stem, is_ours
from gateway_proxy.core.orders import ALIVE, Change, ChangeEvent, Event, Leg, Order, State
from gateway_proxy.core.positions import Positions, has_expired
from gateway_proxy.core.scribe import Scribe


class Reconciler:
    """Knows what was seen when; everything durable goes through the scribe."""

    def __init__(
        self,
        settings: OrderSettings,
        scribe: Scribe,
        fence: Fence,
        positions: Positions,
        deadlines: Deadlines,
        foreign: dict[int, OpenOrderReceived],
    ) -> None:
        self._settings = settings
        self._scribe = scribe
        self._register = scribe.register
        self._fence = fence
        self._positions = positions
        self._deadlines = deadlines
        #: By order id, in turns: when it was last written or named by IB, and when a reject code came.
        self._seen: dict[int, int] = {}
        self._refused: dict[int, int] = {}
        #: Our client id, learned from our own orders: statuses of other clients may carry the same order ids.
        self._client_id: int | None = None
        #: Orders whose session was lost after they were written: their bytes may still be executed.
        self._adrift: set[str] = set()
        #: Live orders at IB that are not ours, by permId: shown and counted, never touched.
        self.foreign = foreign

    # ---------------------------------------------------------------- the life of the link

    def restored(self, *, dry_run: bool) -> None:
        """After the replay: everything unknown was written in a session that is gone, and so was every change."""
        for order in self._register.open_orders():
            for leg in order.legs:
                self._lose_changes(order, leg)
            if not order.simulated:
                self._adrift.add(order.client_order_id)
            elif not dry_run:
                self._end_simulation(order)

    def _end_simulation(self, order: Order) -> None:
        for leg in order.legs:
            if not leg.terminal:
                self._scribe.happened(order, [leg], Event.CANCEL, reason="dry-run ended")

    def written(self, order: Order) -> None:
        for leg in order.legs:
            self._seen[leg.ticket.order_id] = self._scribe.turn

    def look(self) -> None:
        """Something is in doubt: sweep as soon as possible."""
        self._fence.want(self._scribe.now)

    def lose_link(self) -> None:
        """What was written and not acknowledged is unknown from here on, and may be executed from dead buffers."""
        for order in self._register.open_orders():
            if order.simulated:
                continue
            self._scribe.happened(order, [leg for leg in order.legs if leg.state is State.SENDING], Event.LOSE)
            if any(leg.state is State.UNKNOWN for leg in order.legs):
                self._adrift.add(order.client_order_id)
            for leg in order.legs:
                self._lose_changes(order, leg)
        self.foreign.clear()

    def _lose_changes(self, order: Order, leg: Leg) -> None:
        for what, change in (("cancel", leg.cancel), ("modify", leg.modify)):
            if change is Change.SENT:
                self._scribe.changing(order, leg, what, ChangeEvent.LOSE)
            elif change is Change.INTENT:
                self._scribe.changing(order, leg, what, ChangeEvent.SETTLE, reason=f"{what} not sent: session lost")

    # ---------------------------------------------------------------- messages

    def receive_open_order(self, event: OpenOrderReceived) -> None:
        found = self._match(event)
        if found is None:
            self._note_foreign(event)
            return
        order, leg = found
        if event.order_id == leg.ticket.order_id:
            self._client_id = event.client_id
        self._compare_prices(order, leg, event)
        self._apply(evidence.of_open_order(order, leg, event), seen=True)
        if event.warning:
            self._scribe.log("warning", "order warning", client_order_id=order.client_order_id, text=event.warning)

    def _compare_prices(self, order: Order, leg: Leg, event: OpenOrderReceived) -> None:
        """At the wanted price it confirms the move; at another one, in a sweep, it refutes an unanswered move."""
        if leg.wanted is None or leg.modify not in (Change.SENT, Change.UNKNOWN):
            return
        if _stands_at(leg.wanted, event):
            self._scribe.changing(order, leg, "modify", ChangeEvent.SETTLE, done=True)
        elif leg.modify is Change.UNKNOWN and self._fence.sweeping:
            self._scribe.changing(order, leg, "modify", ChangeEvent.SETTLE, reason="the modification did not happen")

    def receive_status(self, event: OrderStatusReceived) -> None:
        found = self._match(event)
        if found is not None:
            self._apply(evidence.of_status(*found, event), seen=True)
        elif event.perm_id in self.foreign and event.status in ("Filled", "Cancelled", "ApiCancelled", "Inactive"):
            del self.foreign[event.perm_id]

    def receive_completed(self, event: CompletedOrderReceived) -> None:
        found = self._match(event)
        if found is not None:
            self._apply(evidence.of_completed(*found, event), seen=True)

    def receive_execution(self, event: ExecutionReceived) -> None:
        """An execution alone moves the order (A13). A repetition is nothing; a correction replaces."""
        found = self._match(event)
        if found is None:
            return
        order, leg = found
        known = leg.executions.get(execution_stem(event.exec_id))
        if known is not None and _revision(event.exec_id) <= _revision(known.exec_id):
            return
        if leg.state is State.INTENT:
            self._surprise(order, leg, f"an execution {event.exec_id} of an order that was not sent")
            return
        if not leg.perm_id and event.perm_id > 0 and not order.simulated:
            self._scribe.happened(order, [leg], Event.NOTICE, perm_id=event.perm_id)
        self._scribe.record(
            "fill",
            order.client_order_id,
            leg=leg.name,
            exec_id=event.exec_id,
            quantity=event.quantity,
            price=event.price,
            time_ns=event.time_ns,
        )
        self._seen[leg.ticket.order_id] = self._scribe.turn
        self._scribe.publish_fill(order, leg, leg.executions[execution_stem(event.exec_id)])
        if leg.executed > leg.ticket.quantity + 1e-9:
            self._scribe.halt(
                f"order {order.client_order_id} {leg.name} filled {leg.executed:g} of {leg.ticket.quantity}"
            )

    def receive_commission(self, event: CommissionReceived) -> None:
        """The fill again, now with its cost; a repetition is nothing."""
        found = self._register.leg_by_execution(event.exec_id)
        if found is None:
            return
        order, leg = found
        known = leg.executions[execution_stem(event.exec_id)]
        if known.exec_id != event.exec_id or known.commission == event.commission:
            return
        self._scribe.record(
            "commission",
            order.client_order_id,
            exec_id=event.exec_id,
            commission=event.commission,
            realized_pnl=event.realized_pnl,
        )
        self._scribe.publish_fill(order, leg, leg.executions[execution_stem(event.exec_id)])

    def receive_error(self, event: ErrorReceived) -> bool:
        """An error about an order of ours; False if it is about something else. It never ends an order by itself."""
        found = self._register.leg_by_order_id(event.req_id) if event.req_id > 0 else None
        if found is None:
            return False
        order, leg = found
        reason = f"{event.code} {event.text}"
        meaning = evidence.meaning_of(leg, event)
        fields = {"client_order_id": order.client_order_id, "leg": leg.name, "code": event.code, "text": event.text}
        expected = meaning in (ErrorMeaning.NOTICE, ErrorMeaning.CANCEL_ECHO)
        self._scribe.log("info" if expected else "warning", "order message", **fields)
        if meaning is ErrorMeaning.MODIFY_REFUSED:
            self._scribe.changing(order, leg, "modify", ChangeEvent.SETTLE, reason=reason)
        elif meaning is ErrorMeaning.REJECT and leg.state not in (State.INTENT, State.EXPIRED_UNSENT):
            self._scribe.happened(order, [leg], Event.NOTICE, reject_reason=reason, reason=reason)
            self._refused[event.req_id] = self._scribe.turn
        if meaning is ErrorMeaning.CANCEL_ECHO:
            # The status that confirms a cancel follows its echo at once; after that, go and look.
            at = self._scribe.now + self._settings.news_grace_s
            self._deadlines.set(f"echo {event.req_id}", at, lambda: None if leg.terminal else self.look())
        elif meaning is not ErrorMeaning.NOTICE:
            self.look()
        return True

    # ---------------------------------------------------------------- dry-run

    def simulate(self, order: Order, quote: Quote | None) -> None:
        """Let one quote trade a simulated order, through the same door as real executions."""
        if quote is None:
            return
        for _ in order.legs:
            execution = simulated_fills.next_execution(order, quote, self._scribe.wall_ns)
            if execution is None:
                break
            self.receive_execution(execution)
        for leg in simulated_fills.orphans(order):
            self.receive_completed(simulated_fills.cancelled(leg, "the other exit filled or the entry ended"))

    # ---------------------------------------------------------------- judgement

    def judge(self, sweep: Sweep) -> None:
        """What this sweep did not name. Another sweep is wanted while something is open to doubt."""
        doubt = False
        for order in self._register.open_orders():
            if order.simulated:
                continue
            for leg in order.legs:
                if not leg.terminal:
                    doubt |= self._judge_leg(order, leg, sweep)
        doubt |= self._judge_positions(sweep)
        if doubt:
            self._fence.want(sweep.ended_at + self._settings.sweep_spacing_s)

    def _judge_leg(self, order: Order, leg: Leg, sweep: Sweep) -> bool:
        """True while in doubt."""
        order_id = leg.ticket.order_id
        last_turn = self._seen.get(order_id, 0)
        if last_turn > sweep.started_turn:
            return leg.state is State.UNKNOWN
        if leg.state in ALIVE:
            self._scribe.happened(order, [leg], Event.LOSE, reason="a complete sweep did not show it")
            return True
        if leg.state not in (State.SENDING, State.UNKNOWN):
            return False
        if leg.reject_reason and self._refused.get(order_id, 0) <= sweep.started_turn:
            self._scribe.happened(order, [leg], Event.REJECT, reason=leg.reject_reason)
            return False
        entry = order.entry
        if leg is not entry and entry.terminal and not entry.filled:
            event = Event.ABSENCE if entry.state is State.NOT_PLACED else Event.REJECT
            self._scribe.happened(order, [leg], event, reason=f"its entry is {entry.state.value}")
            return False
        if leg.state is State.SENDING:
            return False
        if not self._fence.proves_absence(last_turn=last_turn, expired=self._cannot_execute(order)):
            return True
        if leg.perm_id:
            self._scribe.happened(order, [leg], Event.CANCEL, reason="IB no longer knows it: two complete sweeps")
        else:
            self._scribe.happened(order, [leg], Event.ABSENCE, reason="not placed: absent from two complete sweeps")
        return False

    def _cannot_execute(self, order: Order) -> bool:
        """No byte written in a session that is gone can still become an order."""
        if order.client_order_id not in self._adrift:
            return True
        wait_ns = int(self._settings.absence_wait_s * 1e9)
        return self._scribe.wall_ns > (order.good_till_ns or order.sent_ns + wait_ns)

    def _judge_positions(self, sweep: Sweep) -> bool:
        self._positions.swept(sweep.positions)
        if self._register.baseline is None:
            self.adopt_positions()
            return False
        today = datetime.fromtimestamp(self._scribe.wall_ns // 1_000_000_000, UTC).strftime("%Y%m%d")
        confirmed = self._positions.mismatch()
        serious = {where: gap for where, gap in confirmed.items() if not has_expired(where[1], today)}
        if confirmed and (not serious or self._settings.position_mismatch == "adopt"):
            self._scribe.log("warning", "positions adopted", contracts=[key for _, key in sorted(confirmed)])
            self.adopt_positions()
        elif serious:
            gaps = ", ".join(f"{key} {gap:+g}" for (_, key), gap in sorted(serious.items()))
            self._scribe.halt(f"the broker holds what our fills do not explain: {gaps}; resume accepts it")
            return False
        return bool(self._positions.unexplained())

    def adopt_positions(self) -> None:
        """From now on the last sweep's positions count as explained."""
        self._scribe.record("baseline", "", positions=self._positions.baseline())
        self._positions.explained()

    # ---------------------------------------------------------------- inside

    def _apply(self, finding: Finding, *, seen: bool) -> None:
        order, leg, event = finding.order, finding.leg, finding.event
        if seen:
            self._seen[leg.ticket.order_id] = self._scribe.turn
        if leg.state is State.INTENT:
            self._surprise(order, leg, "IB knows an order that was not sent")
            return
        if event is Event.NOTICE:
            # Inside a sweep the same answer would ask for the next sweep, for ever.
            if leg.state is not State.FILLED and not self._fence.sweeping:
                self._fence.want(self._scribe.now)
            return
        if not finding.is_news:
            return
        if event is Event.ACKNOWLEDGE and leg.state in (State.CANCELLED, State.REJECTED) and not self._fence.sweeping:
            # A status that was overtaken looks like a resurrection; a sweep tells them apart.
            self._fence.want(self._scribe.now)
            return
        self._scribe.happened(order, [leg], event, **finding.facts)

    def _match(
        self, event: OpenOrderReceived | OrderStatusReceived | ExecutionReceived | CompletedOrderReceived
    ) -> tuple[Order, Leg] | None:
        return evidence.match(self._register, event, self._client_id)

    def _note_foreign(self, event: OpenOrderReceived) -> None:
        if is_ours(event.order_ref) or event.client_id == self._client_id:
            self._register.ids.saw(event.order_id)
        if not evidence.is_live(event):
            self.foreign.pop(event.perm_id, None)
            return
        if event.perm_id not in self.foreign and is_ours(event.order_ref):
            self._scribe.halt(f"IB holds order {event.order_ref} of ours that this journal does not know")
        self.foreign[event.perm_id] = event

    def _surprise(self, order: Order, leg: Leg, text: str) -> None:
        self._scribe.log(
            "error", "order evidence without order", client_order_id=order.client_order_id, leg=leg.name, text=text
        )
        self._fence.want(self._scribe.now)


def _stands_at(wanted: OrderTicket, event: OpenOrderReceived) -> bool:
    """Whether IB shows the wanted prices. A price that the order's type does not have comes as 0 or anything else."""
    prices = ((wanted.limit_price, event.limit_price), (wanted.stop_price, event.stop_price))
    return all(price is None or price == shown for price, shown in prices)


def _revision(exec_id: str) -> tuple[int, str]:
    """Digits after the last dot count the corrections of one execution."""
    tail = exec_id.rpartition(".")[2]
    return (int(tail), "") if tail.isdigit() else (0, tail)
