"""The asyncio client against a real server over ipc."""

from __future__ import annotations

import asyncio

import pytest

from gateway_proxy.bus.async_client import AsyncClient
from gateway_proxy.bus.client import Client
from gateway_proxy.bus.messages import Message
from gateway_proxy.bus.sequence import Restarted
from gateway_proxy.errors import BreakerOpen, ProxyUnreachable, UnknownOutcome
from tests.gateway_proxy.bus.conftest import RunningBus
from tests.gateway_proxy.bus.test_client import BAR, PLACED


def ready(bus: RunningBus) -> None:
    bus.answers["status"] = lambda request: {"state": "ready"}


async def test_questions_overtake_each_other(bus, runtime_dir):
    """A question that is never answered does not delay the next one."""
    ready(bus)
    async with await AsyncClient.connect(runtime_dir) as client:
        slow = asyncio.create_task(client.bars("SPY", timeout_s=30.0))
        await asyncio.sleep(0)

        assert await client.status() == {"state": "ready"}

        slow.cancel()


async def test_silence_and_refusal_are_errors(bus, runtime_dir):
    """The same exceptions as in the blocking client."""

    def refuse(request):
        raise BreakerOpen("open", retry_in_s=3.0)

    ready(bus)
    bus.answers["chain"] = refuse
    async with await AsyncClient.connect(runtime_dir) as client:
        with pytest.raises(ProxyUnreachable, match="no answer within"):
            await client.bars("SPY", timeout_s=0.1)
        with pytest.raises(BreakerOpen):
            await client.chain("SPY")
        with pytest.raises(UnknownOutcome) as caught:
            await client.place("SPY", "BUY", 1, limit_price=1.0, ref="a-1", timeout_s=0.1)

    assert caught.value.ref == "a-1"


async def test_orders_and_bars_are_typed(bus, runtime_dir):
    """Same results as the blocking client."""
    ready(bus)
    bus.answers["bars"] = lambda request: {"bars": [BAR]}
    bus.answers["order.bracket"] = lambda request: PLACED
    async with await AsyncClient.connect(runtime_dir, name="tester") as client:
        bars = await client.bars("SPY")
        reply = await client.bracket("SPY", "BUY", 1, limit_price=1.0, take_profit=2.0, stop_loss=0.5)

    assert (bars[0].close, reply.state, bus.seen[-1].args.engine) == (1.5, "accepted", "tester")


async def test_stream_starts_with_a_welcome_and_tells_of_a_restart(runtime_dir):
    """Message, Restarted, Message: nothing is hidden."""
    first = RunningBus(runtime_dir, "epoch-1")
    ready(first)
    async with await AsyncClient.connect(runtime_dir) as client:
        stream = client.stream("bars/SPY/1min/")
        welcome = await anext(stream)
        await asyncio.to_thread(first.stop)
        second = await asyncio.to_thread(RunningBus, runtime_dir, "epoch-2")

        restarted = await anext(stream)
        await stream.aclose()
        await asyncio.to_thread(second.stop)

    assert isinstance(welcome, Message) and welcome.kind == "welcome"
    assert restarted == Restarted("epoch-1", "epoch-2")


async def test_no_proxy_is_said_in_time(tmp_path):
    """The same words as the blocking client's."""
    with pytest.raises(ProxyUnreachable, match="connection.json does not exist"):
        await AsyncClient.connect(tmp_path, timeout_s=0.1)


def test_both_clients_have_the_same_verbs():
    """Whoever knows one knows the other; only the engine-loop verbs need a blocking socket."""
    only_blocking = {"subscribe", "unsubscribe", "receive", "silent_s"}
    verbs = {name for name in vars(Client) if not name.startswith("_")}

    assert verbs - only_blocking == {name for name in vars(AsyncClient) if not name.startswith("_")}
