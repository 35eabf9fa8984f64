"""What the engine needs from the world: the four verbs that the proxy's Client has, and so has a stub or a replay."""

from __future__ import annotations

from typing import Any, Protocol

from engine.effects import Answer, Ask, Failure, Reply
from gateway_proxy import (
    BadMessage,
    BreakerOpen,
    Conflict,
    ContractUnknown,
    Gap,
    GatewayUnavailable,
    Message,
    PacingDelayed,
    ProxyError,
    QueueFull,
    Refused,
    Rejected,
    Restarted,
)

#: Answers after which nothing happened and nothing will.
_CERTAIN = (
    Refused, Rejected, BadMessage, QueueFull, GatewayUnavailable, BreakerOpen, PacingDelayed, ContractUnknown,
)  # fmt: skip


class Broker(Protocol):
    """`gateway_proxy.Client` fits as it is. Errors are those of `gateway_proxy.errors`."""

    def subscribe(self, topic: str) -> None: ...

    def receive(self, timeout_s: float) -> Message | Gap | Restarted | None: ...

    def request(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any: ...

    def trade(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any: ...


def perform(broker: Broker, ask: Ask) -> Reply:
    """Ask one question and bring back its answer, or the failure with what is certain about it."""
    verb = broker.trade if ask.socket == "trade" else broker.request
    try:
        return Answer(ask.question, verb(ask.op, ask.args, ask.timeout_s))
    except ProxyError as error:
        # A conflict says that this id lives already with another payload: ask what became of it.
        certain = isinstance(error, _CERTAIN) and not isinstance(error, Conflict)
        return Failure(ask.question, error.code, str(error), certain, error.retry_in_s)
