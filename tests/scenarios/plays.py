"""What the client does while a scenario happens to it. Every play uses the proxy as engines do, for about a minute."""

from __future__ import annotations

import asyncio

import ib_async

from gateway_sim.testing import World
from tests.scenarios.virtual_proxy import VirtualProxy

SYMBOLS = ("SPY", "QQQ", "AAPL")


async def watch(proxy: VirtualProxy, _world: World) -> None:
    """Live bars of two symbols, a quote, a fresh history request every five seconds and a contract now and then."""
    await proxy.until("ready")
    proxy.subscribe("bars/SPY/1min/", "bars/QQQ/1min/", "quote/SPY/")
    for turn in range(8):
        proxy.ask("bars", 10.0, contract=SYMBOLS[turn % 3], count=61 + turn, fresh=True)
        await asyncio.sleep(5.0)


async def listen(proxy: VirtualProxy, _world: World) -> None:
    """Live bars only: no quote, no question."""
    await proxy.until("ready")
    await asyncio.sleep(1.0)
    proxy.subscribe("bars/SPY/1min/")
    await asyncio.sleep(39.0)


async def wait(_proxy: VirtualProxy, _world: World) -> None:
    """Nothing but the proxy's own probes."""
    await asyncio.sleep(21.0)


async def at_once(proxy: VirtualProxy, _world: World) -> None:
    """A client that looks while it happens."""
    await proxy.until("ready")
    proxy.subscribe("bars/SPY/1min/", "quote/SPY/")
    await asyncio.sleep(20.5)


async def glance(proxy: VirtualProxy, _world: World) -> None:
    """A client that looks three seconds after the fault, before the proxy has cured it."""
    await proxy.until("ready")
    proxy.subscribe("bars/SPY/1min/", "quote/SPY/")
    await asyncio.sleep(23.0)


async def wait_long(proxy: VirtualProxy, world: World) -> None:
    """A client that looks after the proxy has seen the fault for a while."""
    await watch(proxy, world)
    await asyncio.sleep(60.0)


async def crowd(proxy: VirtualProxy, _world: World) -> None:
    """Forty different histories at once, as at a start after a long break."""
    await proxy.until("ready")
    await asyncio.sleep(2.0)
    for turn in range(40):
        proxy.ask("bars", 60.0, contract=SYMBOLS[turn % 3], count=60 + turn, fresh=True)
        proxy.ask("contract", 60.0, contract={"symbol": "SPY", "sec_type": "OPT", "last_trade_date": "20260618",
                                              "strike": 560.0 + turn, "right": "C"})  # fmt: skip
    await asyncio.sleep(3.0)


async def many_then_silence(proxy: VirtualProxy, world: World) -> None:
    """More than forty histories within ten minutes before IB goes silent."""
    await proxy.until("ready")
    for size in ("1min", "2min", "3min", "5min", "10min", "15min", "30min"):
        for what in ("TRADES", "MIDPOINT"):
            for symbol in SYMBOLS:
                proxy.ask("bars", 30.0, contract=symbol, size=size, what=what, fresh=True)
                await asyncio.sleep(0.4)
    await watch(proxy, world)


async def beside_a_neighbour(proxy: VirtualProxy, world: World) -> None:
    """Another program on the same login asks for small bars of SPY first; ours for QQQ are answered."""
    neighbour = ib_async.IB()
    await proxy.until("ready")
    await neighbour.connectAsync(world.host, world.port, clientId=77)
    [spy] = await neighbour.qualifyContractsAsync(ib_async.Stock("SPY", "SMART", "USD"))
    assert isinstance(spy, ib_async.Contract)
    await neighbour.reqHistoricalDataAsync(spy, "", "1800 S", "30 secs", "TRADES", True)
    proxy.ask("bars", 40.0, contract="SPY", size="30s", count=60, fresh=True)
    await asyncio.sleep(10.0)
    proxy.ask("bars", 40.0, contract="QQQ", size="1min", count=60, fresh=True)
    await asyncio.sleep(14.0)
    neighbour.disconnect()


async def six_streams(proxy: VirtualProxy, _world: World) -> None:
    """More live series than the login has open slots for."""
    await proxy.until("ready")
    proxy.subscribe(*(f"bars/{symbol}/{size}/" for symbol in SYMBOLS for size in ("1min", "5min")))
    await asyncio.sleep(8.0)


async def order(proxy: VirtualProxy, world: World) -> None:
    """An order after a while of watching."""
    await proxy.until("ready")
    proxy.subscribe("quote/SPY/")
    await asyncio.sleep(21.0)
    proxy.trade(
        "order.place", engine="test", client_order_id="one", contract="SPY", action="BUY", quantity=1,
        order_type="LMT", limit_price=500.0,
    )  # fmt: skip
    await asyncio.sleep(5.0)


async def look_up(proxy: VirtualProxy, world: World) -> None:
    """Contracts nobody asked for before, while history runs."""
    await proxy.until("ready")
    proxy.subscribe("bars/SPY/1min/")
    await asyncio.sleep(21.0)
    proxy.ask("contract", 20.0, contract="IWM")
    proxy.ask("bars", 20.0, contract="SPY", count=77, fresh=True)
    await asyncio.sleep(22.0)


async def ask_for_nonsense(proxy: VirtualProxy, _world: World) -> None:
    """Bars of a symbol that does not exist."""
    await proxy.until("ready")
    proxy.ask("bars", 10.0, contract="NOSUCHTHING")
    await asyncio.sleep(5.0)


async def ask_for_what_nobody_keeps(proxy: VirtualProxy, _world: World) -> None:
    """Day bars of an option, of which IB has none."""
    call = {"symbol": "SPY", "sec_type": "OPT", "last_trade_date": "20260618", "strike": 560.0, "right": "C"}
    await proxy.until("ready")
    proxy.ask("bars", 10.0, contract=call, size="1d", count=20)
    await asyncio.sleep(5.0)
