"""Tickets: what a request becomes on the wire, and why it may not. Pure.

Checks the shape of one request against its contract (prices per order type, sides of the exits, the price grid) and
turns it into one ticket per leg. Limits that depend on anything else are core/risk.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from gateway_proxy.bus.messages import Action, BracketArgs, Contract, PlaceArgs
from gateway_proxy.core.effects import OrderTicket
from gateway_proxy.core.events import ContractDetails
from gateway_proxy.core.identifiers import order_reference, reference_stem
from gateway_proxy.core.market_rules import Bands
from gateway_proxy.core.orders import LegName

OPPOSITE: dict[Action, Action] = {"BUY": "SELL", "SELL": "BUY"}
#: What a US equity or index option is worth per point when IB's answer did not say.
OPTION_MULTIPLIER = 100.0


def multiplier_of(contract: Contract) -> float:
    """Currency per point and unit; 1 for stocks."""
    if contract.multiplier:
        return float(contract.multiplier)
    return OPTION_MULTIPLIER if contract.sec_type == "OPT" else 1.0


def nearest_on_grid(price: float, tick: float, edge: float = 0.0) -> float:
    """The valid price closest to `price`; exact decimal arithmetic, because 0.1 + 0.2 is not on the grid of 0.1."""
    step, start = Decimal(str(tick)), Decimal(str(edge))
    return float(start + ((Decimal(str(price)) - start) / step).to_integral_value(ROUND_HALF_EVEN) * step)


def off_grid(name: str, price: float | None, bands: Bands) -> str | None:
    """Why this price is not allowed, with the nearest one that is; None if it is (or there is no price)."""
    if price is None or bands[0][1] <= 0:
        return None
    edge, tick = next(band for band in reversed(bands) if price >= band[0])
    valid = nearest_on_grid(price, tick, edge)
    if valid == price and valid > 0:
        return None
    nearest = max(valid, tick)
    return f"{name} {price:.10g} is not on the price grid of {tick:.10g}; nearest valid price {nearest:.10g}"


def bands_of(details: ContractDetails) -> Bands:
    """The price grid of a contract; where no market rule is known, its smallest step everywhere."""
    return details.price_bands or ((0.0, details.min_tick),)


def place_fault(args: PlaceArgs, bands: Bands) -> str | None:
    """Why this single order cannot be, or None."""
    wants_limit = args.order_type in ("LMT", "STP LMT")
    wants_stop = args.order_type in ("STP", "STP LMT")
    for name, price, wanted in (
        ("limit_price", args.limit_price, wants_limit),
        ("stop_price", args.stop_price, wants_stop),
    ):
        if wanted and price is None:
            return f"order_type {args.order_type} needs {name}"
        if not wanted and price is not None:
            return f"order_type {args.order_type} takes no {name}"
    return off_grid("limit_price", args.limit_price, bands) or off_grid("stop_price", args.stop_price, bands)


def bracket_fault(args: BracketArgs, bands: Bands) -> str | None:
    """Why this bracket cannot be, or None."""
    prices = (("limit_price", args.limit_price), ("take_profit", args.take_profit), ("stop_loss", args.stop_loss))
    return _side_fault(args.action, args.limit_price, args.take_profit, args.stop_loss) or next(
        (fault for name, price in prices if (fault := off_grid(name, price, bands))), None
    )


def exits_fault(tickets: dict[LegName, OrderTicket]) -> str | None:
    """Why these prices cannot stand together after a move, or None; also for orders without exits."""
    profit, stop = tickets.get("take_profit"), tickets.get("stop_loss")
    if profit is None or stop is None or profit.limit_price is None or stop.stop_price is None:
        return None
    # A trailing stop may pass the entry price, so after the start only the two exits bound each other.
    if (profit.limit_price > stop.stop_price) is not (profit.action == "SELL"):
        return f"take_profit {profit.limit_price:.10g} and stop_loss {stop.stop_price:.10g} have changed sides"
    return None


def _side_fault(action: Action, limit: float, take_profit: float, stop_loss: float) -> str | None:
    """Exits stand on the profitable and on the losing side of the limit price."""
    above, below = ("above", "below") if action == "BUY" else ("below", "above")
    direction = 1 if action == "BUY" else -1
    if (take_profit - limit) * direction <= 0:
        return f"take_profit {take_profit:.10g} must be {above} limit_price {limit:.10g} of a {action}"
    if (stop_loss - limit) * direction >= 0:
        return f"stop_loss {stop_loss:.10g} must be {below} limit_price {limit:.10g} of a {action}"
    return None


def fault_of(args: PlaceArgs | BracketArgs, details: ContractDetails) -> str | None:
    """Why this request cannot become tickets, or None."""
    if isinstance(args, BracketArgs):
        return bracket_fault(args, bands_of(details))
    return place_fault(args, bands_of(details))


def risk_of(args: PlaceArgs | BracketArgs, contract: Contract) -> float:
    """What the order can lose by plan, in currency: to its stop, all of it for a bought option, else 0 (unknown)."""
    if isinstance(args, BracketArgs):
        return abs(args.limit_price - args.stop_loss) * args.quantity * multiplier_of(contract)
    if contract.sec_type == "OPT" and args.action == "BUY" and args.limit_price is not None:
        return args.limit_price * args.quantity * multiplier_of(contract)
    return 0.0


@dataclass(frozen=True, slots=True)
class Expiry:
    """Server-side end of an entry: nothing of it can execute later. `at_ns` is Gateway wall time."""

    at_ns: int

    @property
    def good_till(self) -> str:
        """IB's UTC form, "YYYYMMDD-HH:MM:SS"."""
        return datetime.fromtimestamp(self.at_ns // 1_000_000_000, UTC).strftime("%Y%m%d-%H:%M:%S")


def tickets_of(
    args: PlaceArgs | BracketArgs,
    contract: Contract,
    account: str,
    order_ids: tuple[int, ...],
    expiry: Expiry | None,
) -> tuple[tuple[LegName, OrderTicket], ...]:
    """The legs in wire order. Only the last one transmits: a bracket goes whole or not at all.

    `order_ids`: as many as `leg_count(args)`, ascending. A DAY entry with an `expiry` becomes good till that moment.
    """
    return tuple(_legs(args, contract, account, order_ids, expiry if args.tif == "DAY" else None))


def leg_count(args: PlaceArgs | BracketArgs) -> int:
    return 3 if isinstance(args, BracketArgs) else 1


def _legs(
    args: PlaceArgs | BracketArgs, contract: Contract, account: str, order_ids: tuple[int, ...], expiry: Expiry | None
) -> Iterator[tuple[LegName, OrderTicket]]:
    bracket = isinstance(args, BracketArgs)
    entry = OrderTicket(
        order_id=order_ids[0],
        contract=contract,
        account=account,
        action=args.action,
        quantity=args.quantity,
        order_type="LMT" if isinstance(args, BracketArgs) else args.order_type,
        limit_price=args.limit_price,
        stop_price=None if isinstance(args, BracketArgs) else args.stop_price,
        tif=args.tif if expiry is None else "GTD",
        order_ref=order_reference(args.client_order_id, account, "entry"),
        transmit=not bracket,
        good_till="" if expiry is None else expiry.good_till,
    )
    yield "entry", entry
    if not isinstance(args, BracketArgs):
        return
    # Exits are good till cancelled: a day order would leave a position that outlives the day naked (rule book 5.4).
    exit_base = replace(
        entry,
        action=OPPOSITE[args.action],
        tif="GTC",
        good_till="",
        parent_id=order_ids[0],
        oca_group=reference_stem(args.client_order_id, account),
    )
    yield (
        "take_profit",
        replace(
            exit_base,
            order_id=order_ids[1],
            limit_price=args.take_profit,
            order_ref=order_reference(args.client_order_id, account, "take_profit"),
        ),
    )
    yield (
        "stop_loss",
        replace(
            exit_base,
            order_id=order_ids[2],
            order_type="STP",
            limit_price=None,
            stop_price=args.stop_loss,
            order_ref=order_reference(args.client_order_id, account, "stop_loss"),
            transmit=True,
        ),
    )
