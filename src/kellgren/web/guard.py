"""What every request passes first: the Host header, the page it comes from, the token."""

from __future__ import annotations

import hmac
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kellgren.web.settings import Settings

COOKIE = "kellgren_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# What a browser needs to show the sign-in form, and what a watchdog asks.
OPEN_PATHS = frozenset({"/health", "/api/v1/session"})
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Turns away what must not reach the application, and seals every answer.

    Args:
        app: behind it.
        settings: hosts and token.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, sealed)

    def _refusal(self, scope: MutableMapping[str, Any]) -> ASGIApp | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._settings.hosts:
            return _said(421, "This server does not answer to that host name (see --allow-host)")
        if scope["method"] not in SAFE_METHODS and not _from_our_page(headers, hosts[0]):
            return _said(403, "Requests from pages of other origins are refused")
        if self._settings.token is not None and not _is_open(scope["path"]):
            shown = shown_token(headers)
            if shown is None or not same_token(shown, self._settings.token):
                return _said(401, "Show the server's token", {"WWW-Authenticate": "Bearer"})
        return None


def shown_token(headers: Headers) -> str | None:
    """The token of a request, from its Authorization header or its cookie."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def same_token(shown: str, expected: str) -> bool:
    """Compare without telling by the time it takes how much was right."""
    return hmac.compare_digest(shown.encode("utf-8", "replace"), expected.encode())


def _from_our_page(headers: Headers, host: str) -> bool:
    """Whether a browser's request comes from this server's own page; programs send neither."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower().partition("://")[2] == host.lower()


def _is_open(path: str) -> bool:
    # The page itself and its assets hold nothing of a patient.
    return path in OPEN_PATHS or not path.startswith(("/api/", "/metrics", "/docs", "/openapi"))


def _said(status: int, detail: str, headers: dict[str, str] | None = None) -> ASGIApp:
    return JSONResponse({"detail": detail}, status, headers)
