"""The dashboard's HTTP side: one page, a stream of views, a few JSON resources. Starlette on uvicorn, in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway_proxy import ConfigError, ProxyError
from monitor.config import WebSettings
from monitor.history import History, day_of
from monitor.rounds import Rounds
from monitor.view import Event
from monitor.watcher import Watcher
from monitor.web import payload
from monitor.web.guard import Guard, host_names

ASSETS = Path(__file__).parent / "assets"
#: Only these files are ever served, by exactly these names.
SERVED = {
    path.relative_to(ASSETS).as_posix(): path
    for path in sorted(ASSETS.rglob("*"))
    if path.suffix in (".js", ".css", ".svg")
}
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
EVENTS_AT_START = 300
DIAGNOSE_TIMEOUT_S = 8.0


class Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=str)


class Dashboard:
    """The application; `watcher` and `rounds` are read only."""

    def __init__(self, settings: WebSettings, watcher: Watcher, rounds: Rounds, history: History | None) -> None:
        self._settings = settings
        self._watcher = watcher
        self._rounds = rounds
        self._history = history
        self._visitors = 0
        self._earlier: list[Event] | None = None  # of today, before this monitor started; they change no more
        self._diagnosis: Future[dict[str, Any]] | None = None
        self.stopping = False
        self.app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/favicon.ico", self._favicon),
                Route("/assets/{name:path}", self._asset),
                Route("/stream", self._stream),
                Route("/api/series", self._series),
                Route("/api/day", self._day),
                Route("/api/market", self._market),
                Route("/api/chains", self._chains),
                Route("/api/diagnose", self._diagnose),
            ]
        )

    async def _page(self, request: Request) -> Response:
        return FileResponse(ASSETS / "index.html", media_type="text/html; charset=utf-8")

    async def _favicon(self, request: Request) -> Response:
        return FileResponse(ASSETS / "favicon.svg", media_type="image/svg+xml")

    async def _asset(self, request: Request) -> Response:
        path = SERVED.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("no such file\n", 404)
        return FileResponse(path, media_type=TYPES[path.suffix])

    async def _stream(self, request: Request) -> Response:
        if self._visitors >= self._settings.visitors_max:
            return PlainTextResponse("too many dashboards are open\n", 503, {"Retry-After": "10"})
        return StreamingResponse(self._views(), media_type="text/event-stream")

    async def _views(self) -> AsyncIterator[bytes]:
        """Views until the visitor leaves or we stop; each with the events since the one before."""
        self._visitors += 1
        try:
            events = self._watcher.events_since(0)[-EVENTS_AT_START:]
            while not self.stopping:
                view = self._watcher.view()
                recent = self._rounds.recent()
                body = {
                    "view": payload.of_view(view),
                    "events": events,
                    "sample": payload.of_sample(recent[-1]) if recent else None,
                }
                yield b"data: " + orjson.dumps(body, default=str) + b"\n\n"
                told = view.event_number
                await asyncio.sleep(self._settings.refresh_s)
                events = self._watcher.events_since(told)
        finally:
            self._visitors -= 1

    async def _series(self, request: Request) -> Response:
        return Json([payload.of_sample(sample) for sample in self._rounds.recent()])

    async def _day(self, request: Request) -> Response:
        return Json(payload.of_day(self._rounds.day(), await asyncio.to_thread(self._events_of_day)))

    def _events_of_day(self) -> list[Event]:
        """From disk what happened before this monitor started, from memory the rest."""
        events = self._watcher.events_since(0)
        if self._history is None:
            return events
        if self._earlier is None:
            first_ns = events[0].wall_ns if events else self._watcher.view().wall_ns
            before = [event for event in self._history.events(day_of(first_ns)) if event.wall_ns < first_ns]
            self._earlier = before[-payload.EVENTS_OF_DAY_MAX :]
        return self._earlier + events

    async def _market(self, request: Request) -> Response:
        topics = self._watcher.read_market(lambda market: market.topics())
        topic = request.query_params.get("topic", "")
        if topic not in topics:
            topic = topics[0] if topics else ""
        fills = self._watcher.view().fills
        return Json(self._watcher.read_market(lambda market: payload.of_market(market, topic, fills)))

    async def _chains(self, request: Request) -> Response:
        return Json(self._watcher.read_market(lambda market: market.chains()))

    async def _diagnose(self, request: Request) -> Response:
        """Ask the proxy why something is missing. All visitors share one question at a time."""
        if self._diagnosis is None or self._diagnosis.done():
            self._diagnosis = self._watcher.diagnose()
        try:
            return Json(await asyncio.wait_for(asyncio.wrap_future(self._diagnosis), DIAGNOSE_TIMEOUT_S))
        except ProxyError as error:
            return Json({"verdict": error.code, "evidence": {}, "advice": str(error)})
        except TimeoutError:
            return Json({"verdict": "no answer", "evidence": {}, "advice": "the proxy did not answer in time"})


def serve(dashboard: Dashboard, settings: WebSettings, token: str) -> Callable[[], None]:
    """Serve in a thread; the returned function stops it. Raises ConfigError when the address cannot be had."""
    listener = _listen(settings)
    guarded = Guard(
        dashboard.app,
        token=token,
        hosts=host_names(settings.host, settings.port, settings.hosts),
        port=settings.port,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            guarded,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            limit_concurrency=settings.visitors_max * 4,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="dashboard", daemon=True)
    thread.start()

    def stop() -> None:
        # Open streams would hold up a graceful end: they look at this flag.
        dashboard.stopping = True
        server.should_exit = True
        thread.join(settings.refresh_s + 4.0)
        listener.close()

    return stop


def address(settings: WebSettings, token: str) -> str:
    """What to open in a browser."""
    host = settings.host if settings.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}/?token={token}"


def _listen(settings: WebSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"[monitor.web] cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "is another monitor running? `gateway-monitor dash` prints its address"
        ) from error
    return listener
