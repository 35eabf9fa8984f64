"""Who may look: the right host name, no foreign page, and the token. Wraps the whole application.

The dashboard shows positions and profit, and any web page a user visits can send requests to loopback: the Host check
stops DNS rebinding, the Origin check and a strict cookie stop other pages, the token stops other users of the machine.
"""

from __future__ import annotations

import hmac
import os
import secrets
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_BYTES = 24
COOKIE_AGE_S = 30 * 86_400
#: Everything from ourselves, nothing inline, nobody may frame us.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def load_token(path: Path) -> str:
    """The token of this user's dashboards, made at the first start and kept, so that bookmarks survive restarts."""
    try:
        token = path.read_text(encoding="ascii").strip()
        if len(token) >= TOKEN_BYTES:
            return token
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    token = secrets.token_urlsafe(TOKEN_BYTES)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(token + "\n")
    fresh.replace(path)
    return token


def host_names(host: str, port: int, more: tuple[str, ...]) -> frozenset[str]:
    """Every Host header that means us."""
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host]
    return frozenset([f"{name}:{port}".lower() for name in names] + [name.lower() for name in more])


class Guard:
    """ASGI middleware. Refusals are plain text and say what would be right, but never the token."""

    def __init__(self, app: ASGIApp, *, token: str, hosts: frozenset[str], port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts
        self._cookie = f"gateway_monitor_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        query_token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        refusal = self._refusal(scope, headers, query_token)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out[name] = value
                if refusal is None and self._is_token(query_token):
                    out.append(
                        "Set-Cookie",
                        f"{self._cookie}={self._token}; Path=/; Max-Age={COOKIE_AGE_S}; HttpOnly; SameSite=Strict",
                    )
            await send(message)

        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            status, text = refusal
            await PlainTextResponse(text + "\n", status)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers, query_token: str) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return 421, "unknown host name; add it to [monitor.web] hosts if it is yours"
        if scope["method"] not in ("GET", "HEAD"):
            return 405, "the dashboard only shows; it takes nothing"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return 403, "another page may not look in here"
        if not self._is_token(query_token) and not self._is_token(self._cookie_token(headers)):
            return (
                401,
                "open the address that the monitor printed, with its token; `gateway-monitor dash` prints it again",
            )
        return None

    def _cookie_token(self, headers: Headers) -> str:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return cookie.value if cookie else ""

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())
