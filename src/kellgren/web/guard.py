"""Checks that every request passes first: its Host header, its origin, its token, its body."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import math
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kellgren.web.bodies import SMALL_BYTES, BodyRoom, RefusedBody, most_bytes, whole_body
from kellgren.web.sessions import Guesses, Sessions
from kellgren.web.settings import Settings
from kellgren.web.storage.audit_log import AuditLog

COOKIE = "kellgren_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# What a browser needs to show the sign-in form, and what monitoring asks.
PUBLIC_PATHS = frozenset({"/health", "/api/v1/session"})
UPLOADS = ("POST", "/api/v1/cases")
"""The one request whose body may be large; its route limits it."""
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
_WRONG_TOKEN_S = 0.5


class Doorkeeper:
    """Knows the token, who is signed in, and who has shown wrong tokens.

    Args:
        token: that every request must show; ``None``: none is asked for.
        audit: is told of wrong tokens.
    """

    def __init__(self, token: str | None, audit: AuditLog) -> None:
        self.token, self._audit = token, audit
        self.sessions, self._guesses = Sessions(), Guesses()

    def who(self, scope: MutableMapping[str, Any]) -> str | None:
        """What the audit log calls whoever asks; ``None``: they have shown nothing.

        Raises:
            WrongToken: they have shown another token.
        """
        if self.token is None:
            return _named("anyone", scope)
        headers = Headers(scope=scope)
        name = self.sessions.name(session_cookie(headers))
        if name is not None:
            return _named(name, scope)
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not value:
            return None
        self.compare(value.strip(), scope)
        return _named("token", scope)

    def compare(self, given: str, scope: MutableMapping[str, Any]) -> None:
        """Compare a token.

        Raises:
            WrongToken: it is another, or there were too many wrong ones from this address.
        """
        address = client_address(scope)
        wait = self._guesses.wait(address)
        if wait > 0:
            raise WrongToken(math.ceil(wait))
        if self.token is None or not tokens_match(given, self.token):
            self._guesses.count(address)
            self._audit.write_refusal("wrong token", _named("unknown", scope))
            raise WrongToken


class WrongToken(Exception):
    """Another token than the server's.

    Args:
        wait: seconds until one from this address is compared again; 0: at once.
    """

    def __init__(self, wait: int = 0) -> None:
        super().__init__(wait)
        self.wait = wait

    @property
    def status(self) -> int:
        """Of the answer."""
        return 429 if self.wait else 401

    @property
    def detail(self) -> str:
        """Text of the answer."""
        if self.wait:
            return f"Too many wrong tokens from this address; try again in {self.wait} s"
        return "That is not this server's token"

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {"Retry-After": str(self.wait)} if self.wait else {"WWW-Authenticate": "Bearer"}


class RequestGuard:
    """Refuses requests that must not reach the application; adds security headers to answers.

    Args:
        app: that answers the others.
        settings: hosts, path below which the server lies, limits.
        doorkeeper: knows the token.
    """

    def __init__(self, app: ASGIApp, settings: Settings, doorkeeper: Doorkeeper) -> None:
        self._app, self._settings, self._doorkeeper = app, settings, doorkeeper
        self._room = BodyRoom()

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

        scope = _below_root(scope, self._settings.root_path)
        answer = await self._refusal(scope)
        try:
            if answer is not None or (scope["method"], scope["path"]) == UPLOADS:
                await (answer or self._app)(scope, receive, send_with_headers)
            else:
                await self._with_small_body(scope, receive, send_with_headers)
        except RefusedBody as refused:
            answer = _error(refused.status, refused.detail, refused.headers)
            await answer(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the server ends, and has waited long enough for this one
            answer = _error(503, "The server stops; try again later", {"Connection": "close"})
            await answer(scope, receive, send_with_headers)

    async def _with_small_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = most_bytes(Headers(scope=scope))
        with self._room.holding(min(size, SMALL_BYTES)):
            if size:
                receive = await whole_body(receive, size, self._settings.limits)
            await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._settings.hosts:
            return _error(421, "This server does not answer to that host name (see --allow-host)")
        if scope["method"] not in SAFE_METHODS and not _is_same_origin(headers, hosts[0]):
            return _error(403, "Requests from pages of other origins are refused")
        if _is_public(scope["path"]):
            return None
        try:
            who = self._doorkeeper.who(scope)
        except WrongToken as wrong:
            await asyncio.sleep(_WRONG_TOKEN_S)
            return _error(wrong.status, wrong.detail, wrong.headers)
        if who is None:
            return _error(401, "Send the server's token", {"WWW-Authenticate": "Bearer"})
        scope.setdefault("state", {})["who"] = who
        return None


def who_asks(request: Request) -> str:
    """What the audit log calls whoever sent a request that was let through."""
    return str(request.scope.get("state", {}).get("who", "unknown"))


def session_cookie(headers: Headers) -> str:
    """The session that a browser sends; empty: none."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def tokens_match(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on how much is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def client_address(scope: MutableMapping[str, Any]) -> str:
    """Who asks: the other end, or for a proxy on this machine whom it names last."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    forwarded = Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        if forwarded and ipaddress.ip_address(address).is_loopback:
            return str(ipaddress.ip_address(forwarded))
    except ValueError:  # no address, but a name or nonsense
        return address
    return address


def _named(name: str, scope: MutableMapping[str, Any]) -> str:
    address = client_address(scope)
    return f"{name} at {address}" if address else name


def _below_root(scope: Scope, root: str) -> Scope:
    """The request as the application sees it, whether a proxy has cut the root path off or not."""
    path = scope["path"]
    if root and (path == root or path.startswith(f"{root}/")):
        return {**scope, "path": path[len(root) :] or "/"}
    return scope


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
