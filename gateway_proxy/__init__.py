"""One process owns the Interactive Brokers Gateway connection; every other program talks to it over ZeroMQ.

The names below are the public surface. They load on first use, so that `import gateway_proxy` costs a few
milliseconds and never pulls in ib_async, numba or pandas.

    from gateway_proxy import Client

    with Client.connect() as client:
        print(client.bars("SPY", "1min", count=60).np()["close"])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway_proxy.bus import topics as topics
    from gateway_proxy.bus.async_client import AsyncClient as AsyncClient
    from gateway_proxy.bus.client import Client as Client
    from gateway_proxy.bus.codec import body_as as body_as
    from gateway_proxy.bus.messages import AccountValues as AccountValues
    from gateway_proxy.bus.messages import Bar as Bar
    from gateway_proxy.bus.messages import Chain as Chain
    from gateway_proxy.bus.messages import ChainRow as ChainRow
    from gateway_proxy.bus.messages import Contract as Contract
    from gateway_proxy.bus.messages import Fill as Fill
    from gateway_proxy.bus.messages import Message as Message
    from gateway_proxy.bus.messages import OrderLeg as OrderLeg
    from gateway_proxy.bus.messages import OrderReply as OrderReply
    from gateway_proxy.bus.messages import OrderUpdate as OrderUpdate
    from gateway_proxy.bus.messages import Position as Position
    from gateway_proxy.bus.messages import Quote as Quote
    from gateway_proxy.bus.results import Bars as Bars
    from gateway_proxy.bus.results import ChainTable as ChainTable
    from gateway_proxy.bus.sequence import Gap as Gap
    from gateway_proxy.bus.sequence import Restarted as Restarted
    from gateway_proxy.config import apply_environment as apply_environment
    from gateway_proxy.config import read_toml as read_toml
    from gateway_proxy.config import validate as validate
    from gateway_proxy.errors import BadMessage as BadMessage
    from gateway_proxy.errors import BreakerOpen as BreakerOpen
    from gateway_proxy.errors import ConfigError as ConfigError
    from gateway_proxy.errors import Conflict as Conflict
    from gateway_proxy.errors import ContractUnknown as ContractUnknown
    from gateway_proxy.errors import Expired as Expired
    from gateway_proxy.errors import GatewayTimeout as GatewayTimeout
    from gateway_proxy.errors import GatewayUnavailable as GatewayUnavailable
    from gateway_proxy.errors import NoData as NoData
    from gateway_proxy.errors import PacingDelayed as PacingDelayed
    from gateway_proxy.errors import ProxyError as ProxyError
    from gateway_proxy.errors import ProxyUnreachable as ProxyUnreachable
    from gateway_proxy.errors import QueueFull as QueueFull
    from gateway_proxy.errors import Refused as Refused
    from gateway_proxy.errors import Rejected as Rejected
    from gateway_proxy.errors import UnknownOutcome as UnknownOutcome
    from gateway_proxy.logs import LogSettings as LogSettings
    from gateway_proxy.logs import start_logs as start_logs
    from gateway_proxy.logs import stop_logs as stop_logs
    from gateway_proxy.stop import Stop as Stop

_HOME: dict[str, str] = {
    name: module
    for module, names in {
        "gateway_proxy.bus": "topics",
        "gateway_proxy.bus.async_client": "AsyncClient",
        "gateway_proxy.bus.client": "Client",
        "gateway_proxy.bus.codec": "body_as",
        "gateway_proxy.bus.messages": (
            "AccountValues Bar Chain ChainRow Contract Fill Message OrderLeg OrderReply OrderUpdate Position Quote"
        ),
        "gateway_proxy.bus.results": "Bars ChainTable",
        "gateway_proxy.bus.sequence": "Gap Restarted",
        "gateway_proxy.config": "apply_environment read_toml validate",
        "gateway_proxy.logs": "LogSettings start_logs stop_logs",
        "gateway_proxy.stop": "Stop",
        "gateway_proxy.errors": (
            "BadMessage BreakerOpen ConfigError Conflict ContractUnknown Expired GatewayTimeout GatewayUnavailable "
            "NoData PacingDelayed ProxyError ProxyUnreachable QueueFull Refused Rejected UnknownOutcome"
        ),
    }.items()
    for name in names.split()
}

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gateway_proxy' has no attribute {name!r}")
    home = import_module(_HOME[name])
    value = getattr(home, name) if hasattr(home, name) else import_module(f"{_HOME[name]}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
