"""The only file that touches ib_async's session: its Client and Decoder, with our own Wrapper and our own framing.

`IB`, `Trade` and `Ticker` are not used: they turn time-outs and rejections into empty lists, mark live orders
cancelled on mere notices, and reuse order ids after a reconnect (reliability 6.2). Every callback here becomes one
event for the core, in the order of the bytes. The loop that created the Upstream owns the socket; it always reads.
"""

# ib_async's Client is untyped; the types end at this file.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import fcntl
import logging
import struct
import termios
import time
from array import array
from collections.abc import Callable
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import ib_async as ib
from ib_async.client import Client

from gateway_proxy import translate
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.sockets import why_unreachable

#: ibapi refuses longer messages as well (wire reference, framing).
FRAME_BYTES_MAX = 0xFFFFFF

#: Read in one turn of the loop; asyncio's 256 KiB are thousands of ticks, and requests of the bus would wait for them.
READ_BYTES_MAX = 16 * 1024

Deliver = Callable[[ev.UpstreamEvent], None]


class _Session(Client):
    """ib_async's Client, reading frames by offset and refusing absurd lengths before they stall the session."""

    MaxRequests = 0

    def __init__(self, wrapper: _Wrapper) -> None:
        super().__init__(wrapper)
        self._wrapper = wrapper
        self._is_over = False
        self.next_order_id = 0
        self._logger = _Silent("gateway_proxy.upstream.client")
        self.decoder.logger = _DecodeFaults(wrapper.deliver)

    def send(self, *fields: Any, makeEmpty: bool = True) -> None:
        """ib_async makes its table of formats anew for each message, which is half of what an order's bytes cost."""
        assert makeEmpty and self.isConnected(), "asked for when ready only, and no verb in use sends unset numbers"
        self.sendMsg(translate.message_out(fields))

    def _onSocketHasData(self, data: bytes) -> None:
        if self.is_over():
            return
        buffer = self._data + data if self._data else data
        self._numBytesRecv += len(data)
        self._wrapper.bytes_arrived(len(data))
        position = 0
        while len(buffer) - position > 4:
            (length,) = struct.unpack_from(">I", buffer, position)
            if length > FRAME_BYTES_MAX:
                self._give_up(f"frame of {length} bytes; the limit is {FRAME_BYTES_MAX}")
                return
            end = position + 4 + length
            if len(buffer) < end:
                break
            frame = buffer[position + 4 : end]
            position = end
            self._numMsgRecv += 1
            try:
                self._receive_frame(frame)
            except Exception as fault:
                # Whatever it was, the next frame is still in step.
                self._wrapper.deliver(ev.DecodeFailed(f"{type(fault).__name__}: {fault}"[:200]))
            if self.is_over():
                return
        self._data = buffer[position:]

    def _receive_frame(self, frame: bytes) -> None:
        fields = frame.decode(errors="backslashreplace").split("\0")
        fields.pop()
        if not self._serverVersion and len(fields) == 2:
            self._handshake(fields[0])
            return
        if not self._apiReady:
            self._await_ready(fields)
        self.decoder.interpret(fields)

    def _handshake(self, version: str) -> None:
        if not version.isdigit() or int(version) < self.MinClientVersion:
            self._give_up(f"the peer speaks version {version[:20]!r}; {self.MinClientVersion} is the oldest we read")
            return
        self.decoder.serverVersion = self._serverVersion = int(version)
        self.connState = Client.CONNECTED
        self.startApi()

    def is_over(self) -> bool:
        """Given up: whatever still arrives is not read."""
        return self._is_over

    def _give_up(self, why: str) -> None:
        self._is_over = True
        self._data = b""
        self._wrapper.deliver(ev.DecodeFailed(why))
        self.conn.disconnect()

    def _await_ready(self, fields: list[str]) -> None:
        """A session is open when both nextValidId (9) and managedAccounts (15) have come."""
        if fields[0] == "9":
            self.next_order_id = int(fields[2])
            self._hasReqId = True
        elif fields[0] == "15":
            self._accounts = [account for account in fields[2].split(",") if account]
        if self._hasReqId and self._accounts:
            self._apiReady = True
            self.apiStart.emit()


class _Silent(logging.Logger):
    """In place of ib_async's own loggers: what they would say reaches the core as events, with its cause."""

    def isEnabledFor(self, level: int) -> bool:
        return False


class _DecodeFaults(_Silent):
    """The decoder swallows exceptions and logs them; we want to count them."""

    def __init__(self, deliver: Deliver) -> None:
        super().__init__("gateway_proxy.upstream.decoder")
        self._deliver = deliver

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        self._deliver(ev.DecodeFailed(str(msg)[:200]))


class _Wrapper:
    """Every callback of the decoder that matters to us, as one event. The names are ib_async's."""

    def __init__(self, deliver: Deliver, bytes_arrived: Callable[[int], None]) -> None:
        self.deliver = deliver
        self.bytes_arrived = bytes_arrived
        self._bars: dict[int, list[ib.BarData]] = {}
        self.ib = SimpleNamespace(TimezoneTWS="US/Eastern")
        self.defaultTimezone = UTC

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Callbacks nobody here asked for (news, scanners, depth, …) are read and dropped."""
        if name.startswith("_") or name in ("priceSizeTick_", "tcpDataArrived", "tcpDataProcessed"):
            raise AttributeError(name)
        return _ignore

    # -- session
    def error(self, reqId: int, code: int, text: str, _reject_json: str = "") -> None:
        self.deliver(ev.ErrorReceived(reqId, code, text))

    def nextValidId(self, orderId: int) -> None:
        self.deliver(ev.NextOrderId(orderId))

    def currentTime(self, epoch_s: int) -> None:
        self.deliver(ev.CurrentTime(epoch_s, time.time_ns()))

    # -- contracts
    def contractDetails(self, reqId: int, details: ib.ContractDetails) -> None:
        self.deliver(ev.ContractReceived(reqId, translate.details_in(details)))

    def marketRule(self, ruleId: int, increments: list[ib.PriceIncrement]) -> None:
        bands = tuple((one.lowEdge, one.increment) for one in increments if one.increment > 0)
        self.deliver(ev.MarketRuleReceived(ruleId, bands if bands and bands[0][0] == 0 else ()))

    def contractDetailsEnd(self, reqId: int) -> None:
        self.deliver(ev.ContractsEnded(reqId))

    def securityDefinitionOptionParameter(
        self,
        reqId: int,
        exchange: str,
        _con_id: int,
        tradingClass: str,
        multiplier: str,
        expirations: Any,
        strikes: Any,
    ) -> None:
        self.deliver(
            ev.OptionParametersReceived(
                reqId,
                exchange,
                tradingClass,
                multiplier,
                tuple(sorted(expirations)),
                tuple(sorted(map(float, strikes))),
            )
        )

    def securityDefinitionOptionParameterEnd(self, reqId: int) -> None:
        self.deliver(ev.OptionParametersEnded(reqId))

    # -- market data
    def historicalData(self, reqId: int, bar: ib.BarData) -> None:
        self._bars.setdefault(reqId, []).append(bar)

    def historicalDataEnd(self, reqId: int, _start: str, _end: str) -> None:
        bars = tuple(translate.bar_in(bar, complete=True, live=False) for bar in self._bars.pop(reqId, []))
        self.deliver(ev.HistoryReceived(reqId, bars))

    def historicalDataUpdate(self, reqId: int, bar: ib.BarData) -> None:
        self.deliver(ev.HistoryUpdated(reqId, translate.bar_in(bar, complete=False, live=True)))

    def realtimeBar(self, reqId: int, start: int, *numbers: Any) -> None:
        bar = ib.BarData(str(start), *numbers)  # type: ignore[arg-type]
        self.deliver(ev.RealTimeBarReceived(reqId, translate.bar_in(bar, complete=True, live=True)))

    #: Which size tick belongs to a price tick: bid 1 -> 0, ask 2 -> 3, last 4 -> 5, and the delayed ones.
    _SIZE_OF = {1: 0, 2: 3, 4: 5, 66: 69, 67: 70, 68: 71}

    def priceSizeTick(self, reqId: int, tickType: int, price: float, size: float) -> None:
        """IB sends price -1 or 0 with size 0 for "no quote" (rule book 9)."""
        empty = price == -1 or (price == 0 and size == 0)
        self.deliver(ev.TickReceived(reqId, tickType, None if empty else translate.number(price)))
        if tickType in self._SIZE_OF:
            self.deliver(ev.TickReceived(reqId, self._SIZE_OF[tickType], None if empty else translate.number(size)))

    def tickSize(self, reqId: int, tickType: int, size: float) -> None:
        self.deliver(ev.TickReceived(reqId, tickType, translate.number(size)))

    def tickGeneric(self, reqId: int, tickType: int, value: float) -> None:
        self.deliver(ev.TickReceived(reqId, tickType, translate.number(value)))

    def tickOptionComputation(self, reqId: int, tickType: int, _attrib: int, *numbers: float) -> None:
        iv, delta, price, _dividend, gamma, vega, theta, spot = numbers
        self.deliver(translate.option_tick_in(reqId, tickType, iv, delta, price, gamma, vega, theta, spot))

    def marketDataType(self, reqId: int, dataType: int) -> None:
        self.deliver(ev.MarketDataTypeReceived(reqId, dataType))

    def tickSnapshotEnd(self, reqId: int) -> None:
        self.deliver(ev.SnapshotEnded(reqId))

    # -- orders
    def openOrder(self, _orderId: int, contract: ib.Contract, order: ib.Order, state: ib.OrderState) -> None:
        self.deliver(translate.open_order_in(contract, order, state))

    def openOrderEnd(self) -> None:
        self.deliver(ev.OpenOrdersEnded())

    def orderStatus(
        self, orderId: int, status: str, filled: float, remaining: float, average: float, permId: int, parentId: int,
        _last: float, clientId: int, whyHeld: str, _cap: float = 0.0,
    ) -> None:  # fmt: skip
        self.deliver(
            ev.OrderStatusReceived(orderId, clientId, permId, parentId, status, filled, remaining, average, whyHeld)
        )

    def execDetails(self, reqId: int, contract: ib.Contract, execution: ib.Execution) -> None:
        self.deliver(translate.execution_in(reqId, contract, execution))

    def execDetailsEnd(self, reqId: int) -> None:
        self.deliver(ev.ExecutionsEnded(reqId))

    def commissionReport(self, report: ib.CommissionReport) -> None:
        self.deliver(
            ev.CommissionReceived(
                report.execId, report.commission, report.currency, translate.number(report.realizedPNL)
            )
        )

    def completedOrder(self, contract: ib.Contract, order: ib.Order, state: ib.OrderState) -> None:
        self.deliver(translate.completed_order_in(contract, order, state))

    def completedOrdersEnd(self) -> None:
        self.deliver(ev.CompletedOrdersEnded())

    # -- account
    def position(self, account: str, contract: ib.Contract, quantity: float, average_cost: float) -> None:
        self.deliver(ev.PositionReceived(account, translate.contract_in(contract), quantity, average_cost))

    def positionEnd(self) -> None:
        self.deliver(ev.PositionsEnded())

    def updateAccountValue(self, key: str, value: str, currency: str, account: str) -> None:
        self.deliver(ev.AccountValueReceived(account, key, value, currency))

    def accountDownloadEnd(self, account: str) -> None:
        self.deliver(ev.AccountEnded(account))


def _ignore(*_: object) -> None:
    return


class Upstream:
    """One Gateway session at a time. `deliver` gets every event on the loop that called `connect`; calls never wait."""

    def __init__(self, host: str, port: int, client_id: int, *, connect_timeout_s: float, deliver: Deliver) -> None:
        self._address = host, port
        self._client_id = client_id
        self._connect_timeout_s = connect_timeout_s
        self._deliver = deliver
        self._session: _Session | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.bytes_received = 0

    def _count(self, size: int) -> None:
        self.bytes_received += size

    def connect(self) -> None:
        """Start one attempt; it ends in exactly one SessionOpened or SessionFailed."""
        assert self._attempt is None or self._attempt.done(), "the core asks for one session at a time"
        self._loop = asyncio.get_running_loop()
        self._attempt = self._loop.create_task(self._open(), name="gateway-connect")

    async def _open(self) -> None:
        session = _Session(_Wrapper(self._deliver, self._count))
        host, port = self._address
        closed = asyncio.get_running_loop().create_future()
        session.conn.disconnected += lambda _text: None if closed.done() else closed.set_result(None)
        opening = asyncio.ensure_future(session.connectAsync(host, port, self._client_id, self._connect_timeout_s))
        try:
            await asyncio.wait({opening, closed}, return_when=asyncio.FIRST_COMPLETED)
            # When its time is up the library closes the socket itself, and says so one turn later.
            await asyncio.sleep(0)
            if closed.done() and not opening.done():
                self._fail(f"closed the connection during the handshake; is client id {self._client_id} in use?")
                return
            opening.result()
        except TimeoutError:
            self._fail("no API handshake in time")
            return
        except OSError as error:
            self._fail(why_unreachable(error), refused=not isinstance(error, ConnectionResetError))
            return
        except RuntimeError:
            # The library writes its greeting although the answer to nothing has made us hang up already.
            self._fail("sent nonsense before the API handshake")
            return
        finally:
            opening.cancel()
            # Its exception, if any, has been dealt with or is of no more interest.
            opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        if not session.isReady():
            self._fail("closed the connection right after the handshake")
            return
        if hasattr(transport := session.conn.transport, "max_size"):
            setattr(transport, "max_size", READ_BYTES_MAX)  # noqa: B010 - no public attribute
        self._session = session
        session.apiEnd += self._closed
        self._deliver(ev.SessionOpened(session.serverVersion(), tuple(session.getAccounts()), session.next_order_id))

    def _fail(self, reason: str, *, refused: bool = False) -> None:
        host, port = self._address
        self._deliver(ev.SessionFailed(f"{host}:{port}: {reason}", refused=refused))

    def _closed(self) -> None:
        self._session = None
        self._deliver(ev.SessionClosed("the Gateway closed the connection"))

    def disconnect(self, reason: str) -> None:
        """Drop the session or the attempt; reported once, as SessionClosed or SessionFailed."""
        if self._session is None and self._attempt is not None and not self._attempt.done():
            self._attempt.cancel()
            self._fail(reason)
        if self._session is not None:
            session, self._session = self._session, None
            session.apiEnd -= self._closed
            transport = session.conn.transport
            session.disconnect()
            if transport is not None:
                # A peer that does not read would keep a polite close waiting for ever.
                transport.abort()
            self._deliver(ev.SessionClosed(reason))

    def unread_bytes(self) -> int:
        """Bytes that wait in the kernel for us; near zero whenever this loop turns."""
        transport = self._session.conn.transport if self._session else None
        if transport is None:
            return 0
        return _readable(transport.get_extra_info("socket").fileno())

    def owner_reads(self) -> bool:
        """Whether the loop that runs now is the one that opened the socket; anything else is the old bot's fault."""
        return self._loop is None or self._loop is asyncio.get_running_loop()

    def unsent_bytes(self) -> int:
        """Bytes the kernel has not taken yet; above zero for long means the network or the Gateway does not read."""
        transport = self._session.conn.transport if self._session else None
        return int(transport.get_write_buffer_size()) if transport is not None else 0

    def send(self, call: fx.Call) -> bool:
        """Write one call. False, and nothing written, when there is no session."""
        session = self._session
        if session is None or not session.isReady():
            return False
        _WRITERS[type(call)](session, call)
        return True


def _readable(descriptor: int) -> int:
    """Bytes ready to be read from a socket (FIONREAD)."""
    answer = array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, answer)
    return answer[0]


def _place(session: _Session, call: fx.PlaceOrders) -> None:
    for ticket in call.tickets:
        session.placeOrder(ticket.order_id, translate.contract_out(ticket.contract), translate.order_out(ticket))


def _history(session: _Session, call: fx.RequestHistory) -> None:
    session.reqHistoricalData(
        call.req_id, translate.contract_out(call.contract), call.end, call.duration, call.bar_size, call.what,
        call.rth, 2, call.keep_up_to_date, [],
    )  # fmt: skip


#: One writer per call; formatDate 2 (epoch) because it decodes twice as fast as zone strings (performance 4).
_WRITERS: dict[type, Callable[[_Session, Any], None]] = {
    fx.RequestTime: lambda s, c: s.reqCurrentTime(),
    fx.RequestContract: lambda s, c: s.reqContractDetails(c.req_id, translate.contract_out(c.contract)),
    fx.RequestOptionParameters: lambda s, c: s.reqSecDefOptParams(c.req_id, c.symbol, "", c.sec_type, c.con_id),
    fx.RequestHistory: _history,
    fx.CancelHistory: lambda s, c: s.cancelHistoricalData(c.req_id),
    fx.RequestRealTimeBars: lambda s, c: s.reqRealTimeBars(
        c.req_id, translate.contract_out(c.contract), 5, c.what, c.rth, []
    ),
    fx.CancelRealTimeBars: lambda s, c: s.cancelRealTimeBars(c.req_id),
    fx.RequestQuote: lambda s, c: s.reqMktData(
        c.req_id, translate.contract_out(c.contract), c.generic_ticks, False, False, []
    ),
    fx.CancelQuote: lambda s, c: s.cancelMktData(c.req_id),
    fx.RequestAccountUpdates: lambda s, c: s.reqAccountUpdates(c.subscribe, c.account),
    fx.RequestPositions: lambda s, c: s.reqPositions(),
    fx.RequestOpenOrders: lambda s, c: s.reqAllOpenOrders() if c.all_clients else s.reqOpenOrders(),
    fx.RequestCompletedOrders: lambda s, c: s.reqCompletedOrders(True),
    fx.RequestExecutions: lambda s, c: s.reqExecutions(c.req_id, ib.ExecutionFilter()),
    fx.RequestNextOrderId: lambda s, c: s.reqIds(1),
    fx.RequestMarketRule: lambda s, c: s.reqMarketRule(c.rule_id),
    fx.RequestMarketDataType: lambda s, c: s.reqMarketDataType(c.data_type),
    fx.PlaceOrders: _place,
    fx.CancelOrder: lambda s, c: s.cancelOrder(c.order_id),
}
