"""What each verb of the clients asks, and how its answer is read. No I/O: both clients share it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from typing import Any, Generic, TypeVar

from gateway_proxy.bus.codec import convert
from gateway_proxy.bus.messages import (
    AccountValues,
    Bar,
    Chain,
    Contract,
    Fill,
    OrderReply,
    OrderUpdate,
    Position,
    Quote,
)
from gateway_proxy.bus.results import Bars, ChainTable
from gateway_proxy.bus.topics import BAR_SIZES
from gateway_proxy.errors import BadMessage, NoData, ProxyError, UnknownOutcome

_T = TypeVar("_T")
_OUR_SIZES = {theirs: ours for ours, theirs in BAR_SIZES.items()}


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """One question. `read` turns the body of the answer into the result; `ref` is set when asking may move money."""

    op: str
    args: dict[str, Any]
    read: Callable[[Any], _T]
    ref: str = ""

    @property
    def is_trade(self) -> bool:
        return self.op.startswith("order") or self.op in ("kill", "resume")


def plain(op: str, /, **args: Any) -> Call[dict[str, Any]]:
    """A question whose answer stays a dict, as PROTOCOL.md describes it."""
    return Call(op, args, lambda body: _object(body, op))


def explain(op: str, args: dict[str, Any]) -> Call[dict[str, Any]]:
    """Would `op` with these args go now?"""
    asked = args | ({"contract": contract_arg(args["contract"])} if "contract" in args else {})
    return Call("explain", {"op": op, "args": asked}, lambda body: _object(body, "explain"))


def bars(
    contract: Any, size: str, count: int, what: str, rth: bool, fresh: bool, max_age_s: float | None
) -> Call[Bars]:
    ours = bar_size(size)
    key = contract_arg(contract)
    args: dict[str, Any] = {"contract": key, "size": ours, "count": count, "what": what, "rth": rth, "fresh": fresh}
    if max_age_s is not None:
        args["max_age_s"] = max_age_s

    def read(body: Any) -> Bars:
        rows = _rows_of(body, "bars", Bar)
        return Bars(rows, contract=_title(key), size=ours, age_s=_object(body, "bars").get("age_s"))

    return Call("bars", args, read)


def chain(contract: Any, expiry: str, around: float | None, width: int) -> Call[ChainTable]:
    key = contract_arg(contract)
    args = {"contract": key, "expiry": expiry, "around": around, "width": width}

    def read(body: Any) -> ChainTable:
        return ChainTable(convert({"symbol": _title(key), **_object(body, "chain")}, Chain, "chain"))

    return Call("chain", args, read)


def quote(contract: Any) -> Call[Quote]:
    return Call("quote", {"contract": contract_arg(contract)}, lambda body: convert(body, Quote, "quote"))


def contract(asked: Any) -> Call[Contract]:
    def read(body: Any) -> Contract:
        return convert(_object(body, "contract").get("contract"), Contract, "contract")

    return Call("contract", {"contract": contract_arg(asked)}, read)


def positions() -> Call[list[Position]]:
    return Call("positions", {}, lambda body: _rows_of(body, "positions", Position))


def executions() -> Call[list[Fill]]:
    return Call("executions", {}, lambda body: _rows_of(body, "executions", Fill))


def open_orders(engine: str | None) -> Call[list[OrderUpdate]]:
    return Call("orders.open", {"engine": engine}, lambda body: _rows_of(body, "orders", OrderUpdate))


def accounts() -> Call[list[AccountValues]]:
    return Call("account", {}, lambda body: _rows_of(body, "accounts", AccountValues))


def pick_account(values: list[AccountValues], account: str | None) -> AccountValues:
    for one in values:
        if account in (None, one.account):
            return one
    raise NoData(f"no values of account {account!r}" if account else "no account values have arrived yet")


def order(op: str, ref: str, **args: Any) -> Call[OrderReply]:
    """An order op about the order known as `ref`."""
    told = {"client_order_id": ref, **args}
    if "contract" in told:
        told["contract"] = contract_arg(told["contract"])
    return Call(op, told, lambda body: convert(body, OrderReply, op), ref)


def place(
    engine: str,
    contract: Any,
    action: str,
    quantity: int,
    *,
    order_type: str = "LMT",
    limit_price: float | None = None,
    stop_price: float | None = None,
    tif: str = "DAY",
    ref: str | None = None,
    cites: Iterable[Any] = (),
) -> Call[OrderReply]:
    terms = {"order_type": order_type, "limit_price": limit_price, "stop_price": stop_price, "tif": tif}
    told = {"engine": engine, "contract": contract, "action": action, "quantity": quantity, **_citing(cites)}
    return order("order.place", ref or new_ref(), **told, **terms)


def bracket(
    engine: str,
    contract: Any,
    action: str,
    quantity: int,
    *,
    limit_price: float,
    take_profit: float,
    stop_loss: float,
    tif: str = "DAY",
    ref: str | None = None,
    cites: Iterable[Any] = (),
) -> Call[OrderReply]:
    terms = {"limit_price": limit_price, "take_profit": take_profit, "stop_loss": stop_loss, "tif": tif}
    told = {"engine": engine, "contract": contract, "action": action, "quantity": quantity, **_citing(cites)}
    return order("order.bracket", ref or new_ref(), **told, **terms)


def _citing(cites: Iterable[Any]) -> dict[str, Any]:
    """Messages as they were received, or dicts with the same three names; nothing is sent when there are none."""
    names = ("topic", "seq", "epoch")
    told = [one if isinstance(one, dict) else {name: getattr(one, name) for name in names} for one in cites]
    return {"cites": told} if told else {}


def unknown_outcome(error: ProxyError, args: dict[str, Any]) -> UnknownOutcome:
    """What a lost answer means on the trade socket: it may have happened."""
    ref = str(args.get("client_order_id", ""))
    advice = f"; ask order.status for {ref!r}, do not send another order" if ref else ""
    return UnknownOutcome(f"{error}{advice}", ref=ref)


def new_ref() -> str:
    """A client_order_id that nobody else has."""
    return uuid.uuid4().hex


def bar_size(size: str) -> str:
    """ "1min" as it is, and IB's "1 min" for people who come from there."""
    return size if size in BAR_SIZES else _OUR_SIZES.get(size, size)


# ---------------------------------------------------------------- contracts of three makes


def contract_arg(contract: Any) -> str | dict[str, Any]:
    """A symbol, one of our contracts, a dict, or anything shaped like an ib_async contract, as the bus writes it."""
    if isinstance(contract, str):
        return contract
    if isinstance(contract, dict):
        return contract
    if isinstance(contract, Contract):
        return _told(contract)
    if hasattr(contract, "secType") and hasattr(contract, "symbol"):
        return _told(_from_ib(contract))
    raise BadMessage(f"contract: want a symbol, a Contract or an ib_async contract, got {type(contract).__name__}")


def _told(contract: Contract) -> dict[str, Any]:
    """Only what differs from the defaults, and always the symbol."""
    values = {field.name: getattr(contract, field.name) for field in fields(Contract)}
    defaults = {field.name: field.default for field in fields(Contract) if field.default is not MISSING}
    return {name: value for name, value in values.items() if value != defaults.get(name, MISSING)}


def _from_ib(contract: Any) -> Contract:
    """IB's camel case; its "CALL" and "PUT" spellings of right, and empty strings, are legal there."""
    asked = {
        "symbol": contract.symbol,
        "sec_type": contract.secType or "STK",
        "exchange": getattr(contract, "exchange", "") or "SMART",
        "currency": getattr(contract, "currency", "") or "USD",
        "last_trade_date": getattr(contract, "lastTradeDateOrContractMonth", "") or "",
        "strike": float(getattr(contract, "strike", 0.0) or 0.0),
        "right": (getattr(contract, "right", "") or "")[:1].upper().replace("0", "").replace("?", ""),
        "multiplier": str(getattr(contract, "multiplier", "") or ""),
        "trading_class": getattr(contract, "tradingClass", "") or "",
        "con_id": int(getattr(contract, "conId", 0) or 0),
    }
    return convert(asked, Contract, "contract")


def _title(key: str | dict[str, Any]) -> str:
    return key if isinstance(key, str) else str(key.get("symbol", ""))


def _object(body: Any, where: str) -> dict[str, Any]:
    return convert(body, dict[str, Any], where)


def _rows_of(body: Any, name: str, kind: type[_T]) -> list[_T]:
    """The list `name` of a body, typed. Its absence is an error: an empty list must mean that there is nothing."""
    rows = _object(body, name).get(name)
    return [convert(row, kind, f"{name}[{at}]") for at, row in enumerate(convert(rows, list[Any], name))]
