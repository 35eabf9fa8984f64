"""Simulated fills: what dry-run answers instead of a broker. Pure.

A working order meets the quote and fills whole at it: a limit at the far side when that is as good or better, a stop
when the far side reaches it. Exits work once their entry has filled; one exit filling cancels the other. No queue,
no partial fills, no slippage: it shows that the chain works, not what a strategy earns.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway_proxy.bus.messages import Quote
from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.events import CompletedOrderReceived, ExecutionReceived
from gateway_proxy.core.orders import ALIVE, Leg, Order, State


def fill_price(ticket: OrderTicket, quote: Quote) -> float | None:
    """What this order gets from this quote, or None if it does not trade."""
    buy = ticket.action == "BUY"
    price = quote.ask if buy else quote.bid
    if price is None or price <= 0:
        return None
    if ticket.order_type in ("STP", "STP LMT") and ticket.stop_price is not None:
        reached = price >= ticket.stop_price if buy else price <= ticket.stop_price
        if not reached:
            return None
    if ticket.limit_price is not None:
        good = price <= ticket.limit_price if buy else price >= ticket.limit_price
        if not good:
            return None
    return price


def _working(order: Order) -> Iterator[Leg]:
    if order.entry.state in ALIVE:
        yield order.entry
    elif order.entry.state is State.FILLED:
        yield from (leg for leg in order.exits if leg.state in ALIVE)


def next_execution(order: Order, quote: Quote, wall_ns: int) -> ExecutionReceived | None:
    """The execution this quote gives the order, if any; ask again after applying it."""
    for leg in _working(order):
        ticket = leg.ticket
        price = fill_price(ticket, quote)
        if price is None:
            continue
        return ExecutionReceived(
            req_id=-1,
            exec_id=f"sim.{ticket.order_id}.01",
            order_id=ticket.order_id,
            client_id=0,
            perm_id=leg.perm_id,
            order_ref=ticket.order_ref,
            contract=ticket.contract,
            account=ticket.account,
            action=ticket.action,
            quantity=float(ticket.quantity),
            price=price,
            cumulative_quantity=float(ticket.quantity),
            average_price=price,
            time_ns=wall_ns,
        )
    return None


def cancelled(leg: Leg, reason: str) -> CompletedOrderReceived:
    """The broker's word that this simulated leg is gone."""
    ticket = leg.ticket
    return CompletedOrderReceived(
        perm_id=leg.perm_id,
        order_ref=ticket.order_ref,
        contract=ticket.contract,
        account=ticket.account,
        action=ticket.action,
        status="Cancelled",
        filled=leg.filled,
        completed_status=reason,
    )


def orphans(order: Order) -> Iterator[Leg]:
    """Legs that a broker would cancel now: the other exit of a filled one, and the exits of a dead entry."""
    exit_filled = any(leg.state is State.FILLED for leg in order.exits)
    entry_dead = order.entry.terminal and order.entry.state is not State.FILLED
    if exit_filled or entry_dead:
        yield from (leg for leg in order.exits if leg.state in ALIVE)
