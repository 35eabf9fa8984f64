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
    from gateway_proxy.bus.messages import Bar as Bar
    from gateway_proxy.bus.messages import Contract as Contract
    from gateway_proxy.bus.messages import Message as Message

_HOME: dict[str, str] = {
    name: module
    for module, names in {
        "gateway_proxy.bus.messages": "Bar Contract Message",
    }.items()
    for name in names.split()
}

__all__ = sorted(_HOME)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gateway_proxy' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
