"""What happened to orders and must be told: the blotter makes these, the order desk turns them into messages. Words
only."""

from __future__ import annotations

from dataclasses import dataclass

from gateway_sim.orders import Execution, Order


@dataclass(frozen=True, slots=True)
class Notice:
    """An error or warning about an order id of a client."""

    client_id: int
    order_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class OrderNews:
    """The order's state is to be told. opened: with the openOrder message in front."""

    order: Order
    status: str
    opened: bool = True


@dataclass(frozen=True, slots=True)
class FillNews:
    execution: Execution


@dataclass(frozen=True, slots=True)
class WhatIfNews:
    order: Order


Event = Notice | OrderNews | FillNews | WhatIfNews
