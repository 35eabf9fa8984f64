"""What each verb of the clients asks, and how its answer is read. Pure: both clients share it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, Generic, TypeVar

from gateway_proxy.bus.codec import convert
from gateway_proxy.bus.columns import columns_of, frame_columns
from gateway_proxy.bus.messages import (
    AccountValues,
    Bar,
    Contract,
    Fill,
    OrderReply,
    OrderUpdate,
    Position,
    Quote,
)
from gateway_proxy.bus.messages import Chain as ChainMessage
from gateway_proxy.bus.results import Bars, Chain
from gateway_proxy.bus.topics import BAR_SIZES
from gateway_proxy.errors import BadMessage

_T = TypeVar("_T")
_OUR_SIZES = {theirs: ours for ours, theirs in BAR_SIZES.items()}


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """One question. `read` turns (body, columns) into the result; `ref` is set when asking may move money."""

    op: str
    args: dict[str, Any]
    read: Callable[[Any, bytes | None], _T]
    ref: str = ""

    @property
    def is_trade(self) -> bool:
        return self.op.startswith("order") or self.op in ("kill", "resume")


def plain(op: str, /, **args: Any) -> Call[dict[str, Any]]:
    """A question whose answer stays a dict, as PROTOCOL.md describes it."""
    return Call(op, args, lambda body, _: convert(body, dict[str, Any], op))


def bars(contract: Any, size: str, count: int, what: str, rth: bool, fresh: bool) -> Call[Bars]:
    ours = bar_size(size)
    key = contract_arg(contract)
    args = {"contract": key, "size": ours, "count": count, "what": what, "rth": rth, "fresh": fresh}

    def read(body: Any, columns: bytes | None) -> Bars:
        if columns is not None:
            body = {"bars": frame_columns(body, columns)}
        rows = body["bars"] if isinstance(body, dict) and "bars" in body else columns_of(body)
        return Bars(convert(rows, tuple[Bar, ...], "bars"), contract=_title(key), size=ours)

    return Call("bars", args, read)


def chain(contract: Any, expiry: str, around: float | None, width: int) -> Call[Chain]:
    key = contract_arg(contract)
    args = {"contract": key, "expiry": expiry, "around": around, "width": width}

    def read(body: Any, columns: bytes | None) -> Chain:
        return Chain(convert({"symbol": _title(key), **convert(body, dict[str, Any], "chain")}, ChainMessage, "chain"))

    return Call("chain", args, read)


def quote(contract: Any) -> Call[Quote]:
    return Call("quote", {"contract": contract_arg(contract)}, lambda body, _: convert(body, Quote, "quote"))


def contract(asked: Any) -> Call[Contract]:
    def read(body: Any, columns: bytes | None) -> Contract:
        return convert(body.get("contract") if isinstance(body, dict) else body, Contract, "contract")

    return Call("contract", {"contract": contract_arg(asked)}, read)


def positions() -> Call[list[Position]]:
    return _rows("positions", {}, "positions", Position)


def executions() -> Call[list[Fill]]:
    return _rows("executions", {}, "executions", Fill)


def open_orders(engine: str | None) -> Call[list[OrderUpdate]]:
    return _rows("orders.open", {"engine": engine}, "orders", OrderUpdate)


def account() -> Call[AccountValues]:
    return Call("account", {}, lambda body, _: convert(body, AccountValues, "account"))


def order(op: str, ref: str, **args: Any) -> Call[OrderReply]:
    """order.place, order.bracket, order.cancel or order.status about the order known as `ref`."""
    told = {"client_order_id": ref, **args}
    if "contract" in told:
        told["contract"] = contract_arg(told["contract"])
    return Call(op, told, lambda body, _: convert(body, OrderReply, op), ref)


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


def _rows(op: str, args: dict[str, Any], name: str, kind: type[_T]) -> Call[list[_T]]:
    def read(body: Any, columns: bytes | None) -> list[_T]:
        return [convert(row, kind, op) for row in convert(body, dict[str, list[Any]], op).get(name, ())]

    return Call(op, args, read)
