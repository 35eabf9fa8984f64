"""The Gateway session over real sockets: a raw server that misbehaves in every way a peer can."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway_proxy.bus.messages import Contract
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.upstream import FRAME_BYTES_MAX, Upstream

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def frame(*fields: object) -> bytes:
    payload = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


HELLO = frame(178, "20260615 11:00:00 EST")
READY = frame(15, 1, "DU1") + frame(9, 1, 7)


class RawGateway:
    """One listening socket that plays a script to whoever connects."""

    def __init__(self) -> None:
        self.events: list[ev.UpstreamEvent] = []
        self.came = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []
        self.received = bytearray()
        self.script: Script = self.welcome
        self.server: asyncio.Server | None = None

    async def start(self) -> RawGateway:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.upstream = self.client(self.server.sockets[0].getsockname()[1])
        return self

    def client(self, port: int, connect_timeout_s: float = 2.0) -> Upstream:
        return Upstream("127.0.0.1", port, 1, connect_timeout_s=connect_timeout_s, deliver=self.deliver)

    def deliver(self, event: ev.UpstreamEvent) -> None:
        self.events.append(event)
        self.came.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await self.script(reader, writer)

    async def hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        await self.read_frame(reader)
        writer.write(HELLO)
        await self.read_frame(reader)

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.hello(reader, writer)
        writer.write(READY)
        while data := await reader.read(65_536):
            self.received += data

    @staticmethod
    async def read_frame(reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return await reader.readexactly(length)

    async def until(self, kind: type, count: int = 1) -> ev.UpstreamEvent:
        """The newest event of a kind, once so many have come."""
        async with asyncio.timeout(5):
            while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
                self.came.clear()
                await self.came.wait()
        return found[-1]

    async def open(self) -> asyncio.StreamWriter:
        self.upstream.connect()
        await self.until(ev.SessionOpened)
        return self.writers[-1]

    def ends(self) -> list[type]:
        return [type(e) for e in self.events if isinstance(e, ev.SessionFailed | ev.SessionOpened | ev.SessionClosed)]

    async def stop(self) -> None:
        self.upstream.disconnect("the test ends")
        for writer in self.writers:
            writer.transport.abort()
        assert self.server is not None
        self.server.close()
        await asyncio.sleep(0)


@pytest.fixture
async def gateway() -> AsyncIterator[RawGateway]:
    gateway = await RawGateway().start()
    yield gateway
    await gateway.stop()


async def test_session_opens_with_account_version_and_first_order_id(gateway: RawGateway):
    """Once both managed accounts and the first order id have come."""
    await gateway.open()

    assert await gateway.until(ev.SessionOpened) == ev.SessionOpened(178, ("DU1",), 7)


async def test_nothing_listens(gateway: RawGateway):
    """Refused, and said so: the Gateway is not running."""
    assert gateway.server is not None
    gateway.server.close()
    gateway.upstream.connect()

    failed = await gateway.until(ev.SessionFailed)

    assert isinstance(failed, ev.SessionFailed) and failed.refused
    assert failed.reason.endswith(": nothing listens there")


@pytest.mark.parametrize("at", ["before hello", "after hello", "after ready"])
async def test_cut_in_the_handshake_fails_at_once(gateway: RawGateway, at: str):
    """Not after the time-out, and never as a session that is none."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if at != "before hello":
            await gateway.hello(reader, writer)
        if at == "after ready":
            writer.write(READY)
        writer.close()

    gateway.script = script
    gateway.upstream.connect()

    async with asyncio.timeout(1):
        while not gateway.ends() or gateway.ends()[-1] is ev.SessionOpened:
            await asyncio.sleep(0.01)
    assert gateway.ends() in ([ev.SessionFailed], [ev.SessionOpened, ev.SessionClosed])
    assert gateway.upstream.send(fx.RequestTime()) is False


async def test_handshake_that_never_finishes_fails_after_the_time_out(gateway: RawGateway):
    """After hours the API hangs though TCP connects (rule book 7.1)."""

    async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    gateway.script = script
    assert gateway.server is not None
    gateway.upstream = gateway.client(gateway.server.sockets[0].getsockname()[1], connect_timeout_s=0.2)
    gateway.upstream.connect()

    failed = await gateway.until(ev.SessionFailed)

    assert isinstance(failed, ev.SessionFailed) and not failed.refused
    assert gateway.ends() == [ev.SessionFailed]


async def test_client_id_in_use_is_told_before_the_failure(gateway: RawGateway):
    """Error 326, then the Gateway closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gateway.hello(reader, writer)
        writer.write(frame(4, 2, -1, 326, "Unable to connect as the client id is already in use.", ""))
        await writer.drain()
        writer.close()

    gateway.script = script
    gateway.upstream.connect()
    await gateway.until(ev.SessionFailed)

    kinds = [type(event) for event in gateway.events]
    assert kinds == [ev.ErrorReceived, ev.SessionFailed]


@pytest.mark.parametrize("hello", [frame("abc", "20260615"), frame(100, "20260615"), frame("", "")])
async def test_nonsense_for_a_version_fails_the_attempt_and_nothing_else(gateway: RawGateway, hello: bytes):
    """A peer that is no Gateway, or one too old."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello)
        await reader.read()

    gateway.script = script
    gateway.upstream.connect()

    await gateway.until(ev.SessionFailed)
    assert gateway.ends() == [ev.SessionFailed]
    assert any(isinstance(event, ev.DecodeFailed) for event in gateway.events)


@pytest.mark.parametrize("bad", [frame(9, 1, "x"), frame(15), frame()])
async def test_unreadable_frame_before_ready_is_counted_and_the_handshake_goes_on(gateway: RawGateway, bad: bytes):
    """What follows a bad frame is still in step."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gateway.hello(reader, writer)
        writer.write(bad + READY)
        await reader.read()

    gateway.script = script
    gateway.upstream.connect()

    assert await gateway.until(ev.SessionOpened) == ev.SessionOpened(178, ("DU1",), 7)
    assert any(isinstance(event, ev.DecodeFailed) for event in gateway.events)


async def test_garbage_frame_is_counted_and_the_next_one_is_read(gateway: RawGateway):
    """Unknown number, too few fields, wrong types, bytes that are no UTF-8."""
    writer = await gateway.open()
    bad = [frame(9999, "?"), frame(49), frame(49, 1, "noon"), struct.pack(">I", 4) + b"\xff\xfe\xfd\0", frame()]

    writer.write(b"".join(bad) + frame(49, 1, 1781535620))

    time = await gateway.until(ev.CurrentTime)
    assert isinstance(time, ev.CurrentTime) and time.epoch_s == 1781535620
    assert len([event for event in gateway.events if isinstance(event, ev.DecodeFailed)]) == len(bad)


async def test_absurd_length_ends_the_session_at_once(gateway: RawGateway):
    """Waiting for 2 GB would stall for ever with an open socket."""
    writer = await gateway.open()

    writer.write(struct.pack(">I", FRAME_BYTES_MAX + 1) + b"xx")

    await gateway.until(ev.SessionClosed)
    assert gateway.ends() == [ev.SessionOpened, ev.SessionClosed]
    assert gateway.upstream.send(fx.RequestTime()) is False


async def test_bytes_one_by_one_are_the_same_messages(gateway: RawGateway):
    """Frames may be split anywhere."""
    writer = await gateway.open()

    for byte in frame(49, 1, 1781535620) + frame(49, 1, 1781535621):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)

    await gateway.until(ev.CurrentTime, count=2)
    told = [event.epoch_s for event in gateway.events if isinstance(event, ev.CurrentTime)]
    assert told == [1781535620, 1781535621]


async def test_cut_in_the_middle_of_a_frame_is_one_closed_session(gateway: RawGateway):
    """And nothing of the half frame is told."""
    writer = await gateway.open()
    before = len(gateway.events)

    writer.write(frame(49, 1, 1781535620)[:-3])
    await writer.drain()
    writer.close()

    await gateway.until(ev.SessionClosed)
    assert [type(event) for event in gateway.events[before:]] == [ev.SessionClosed]


async def test_half_frame_of_a_dead_session_does_not_leak_into_the_next(gateway: RawGateway):
    """A new session begins with nothing of the old."""
    writer = await gateway.open()
    writer.write(frame(49, 1, 1781535620)[:-3])
    await writer.drain()
    writer.close()
    await gateway.until(ev.SessionClosed)

    gateway.upstream.connect()
    await gateway.until(ev.SessionOpened, count=2)
    gateway.writers[-1].write(frame(49, 1, 1781535699))

    time = await gateway.until(ev.CurrentTime)
    assert isinstance(time, ev.CurrentTime) and time.epoch_s == 1781535699


async def test_history_rows_of_a_broken_answer_do_not_leak_into_the_next(gateway: RawGateway):
    """Rows are collected until their end; a session that dies between takes them with it."""
    writer = await gateway.open()
    bar = (1781535600, 1.0, 2.0, 0.5, 1.5, 100, 1.2, 9)
    writer.write(frame(17, 5, "", "", 1, *bar) + frame(17, 6, "", "", 2, *bar, "broken"))
    await writer.drain()
    await gateway.until(ev.HistoryReceived)
    writer.close()
    await gateway.until(ev.SessionClosed)

    gateway.upstream.connect()
    await gateway.until(ev.SessionOpened, count=2)
    gateway.writers[-1].write(frame(17, 7, "", "", 1, *bar))

    answer = await gateway.until(ev.HistoryReceived, count=2)
    assert isinstance(answer, ev.HistoryReceived) and (answer.req_id, len(answer.bars)) == (7, 1)


async def test_disconnect_is_told_once_and_sends_nothing_more(gateway: RawGateway):
    """Also when it is asked twice."""
    await gateway.open()

    gateway.upstream.disconnect("silent for 10 s")
    gateway.upstream.disconnect("silent for 10 s")
    await asyncio.sleep(0.05)

    assert gateway.ends() == [ev.SessionOpened, ev.SessionClosed]
    assert gateway.upstream.send(fx.RequestTime()) is False
    assert gateway.upstream.unsent_bytes() == 0


async def test_disconnect_during_an_attempt_ends_it_as_failed(gateway: RawGateway):
    """Every attempt ends in exactly one event, or the core would wait for ever."""

    async def script(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    gateway.script = script
    gateway.upstream.connect()
    await asyncio.sleep(0.05)

    gateway.upstream.disconnect("IB error 503")
    await asyncio.sleep(0.05)

    assert gateway.ends() == [ev.SessionFailed]


async def test_calls_reach_the_wire(gateway: RawGateway):
    """The message numbers of the calls, in the order of the calls."""
    await gateway.open()
    spy = Contract("SPY")
    calls: list[fx.Call] = [
        fx.RequestTime(), fx.RequestContract(1, spy), fx.RequestHistory(2, spy, "60 S", "5 secs", "TRADES", True),
        fx.CancelHistory(2), fx.RequestQuote(3, spy), fx.CancelQuote(3), fx.RequestMarketDataType(1),
        fx.RequestOptionParameters(4, "SPY", "STK", 1), fx.RequestPositions(), fx.CancelOrder(9),
    ]  # fmt: skip

    assert all(gateway.upstream.send(call) for call in calls)

    async with asyncio.timeout(2):
        while gateway.received.count(b"\0") < 50:
            await asyncio.sleep(0.01)
    numbers, rest = [], bytes(gateway.received)
    while rest:
        (length,) = struct.unpack(">I", rest[:4])
        numbers.append(int(rest[4 : 4 + length].split(b"\0")[0]))
        rest = rest[4 + length :]
    assert numbers == [49, 9, 20, 25, 1, 2, 59, 78, 61, 4]
