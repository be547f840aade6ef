"""Checks that every request passes first: its Host header, its origin, its token."""

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
# What a browser needs to show the sign-in form, and what monitoring asks.
PUBLIC_PATHS = frozenset({"/health", "/api/v1/session"})
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


class RequestGuard:
    """Refuses requests that must not reach the application; adds security headers to answers.

    Args:
        app: that answers the others.
        settings: hosts and token.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send_with_headers)

    def _refusal(self, scope: MutableMapping[str, Any]) -> ASGIApp | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._settings.hosts:
            return _error(421, "This server does not answer to that host name (see --allow-host)")
        if scope["method"] not in SAFE_METHODS and not _is_same_origin(headers, hosts[0]):
            return _error(403, "Requests from pages of other origins are refused")
        if self._settings.token is not None and not _is_public(scope["path"]):
            given = request_token(headers)
            if given is None or not tokens_match(given, self._settings.token):
                return _error(401, "Send the server's token", {"WWW-Authenticate": "Bearer"})
        return None


def request_token(headers: Headers) -> str | None:
    """The token of a request, from its Authorization header or its cookie."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def tokens_match(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _is_same_origin(headers: Headers, host: str) -> bool:
    """Whether a browser's request comes from this server's page; programs send neither header."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower().partition("://")[2] == host.lower()


def _is_public(path: str) -> bool:
    # The page itself and its assets hold nothing of a patient.
    return path in PUBLIC_PATHS or not path.startswith(("/api/", "/metrics", "/docs", "/openapi"))


def _error(status: int, detail: str, headers: dict[str, str] | None = None) -> ASGIApp:
    return JSONResponse({"detail": detail}, status, headers)
