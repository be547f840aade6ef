"""Who has shown the token, and who has guessed at it: sessions that end, guesses that are slow."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable

SESSION_SECONDS, IDLE_SECONDS = 12 * 3600.0, 2 * 3600.0
MOST_SESSIONS, MOST_ADDRESSES = 4096, 4096
GUESSES, GUESS_SECONDS = 10, 60.0
"""Wrong tokens from one address in some seconds; more are not compared."""


class Sessions:
    """Signed-in browsers, in memory: a restart signs all out. Of a session only a hash is kept.

    Args:
        now: seconds that only grow.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()  # begun, last seen

    def begin(self) -> str:
        """A new session's secret; the oldest session ends where there are too many."""
        secret = secrets.token_urlsafe(32)
        self._known[_hash(secret)] = (self._now(), self._now())
        while len(self._known) > MOST_SESSIONS:
            self._known.popitem(last=False)
        return secret

    def name(self, secret: str) -> str | None:
        """What the audit log calls a session; ``None``: it is unknown, or over."""
        key, now = _hash(secret), self._now()
        begun, seen = self._known.get(key, (-math.inf, -math.inf))
        if now - begun > SESSION_SECONDS or now - seen > IDLE_SECONDS:
            self._known.pop(key, None)
            return None
        self._known[key] = (begun, now)
        return f"session {key[:8]}"

    def end(self, secret: str) -> None:
        """Sign out."""
        self._known.pop(_hash(secret), None)


class Guesses:
    """Wrong tokens by address.

    Args:
        now: seconds that only grow.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until a token from an address is compared again; 0: now."""
        times = self._recent(address)
        return 0.0 if len(times) < GUESSES else GUESS_SECONDS - (self._now() - times[0])

    def count(self, address: str) -> None:
        """Note a wrong token."""
        times = self._recent(address)
        times.append(self._now())
        self._wrong[_network(address)] = times
        self._wrong.move_to_end(_network(address))
        while len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def _recent(self, address: str) -> deque[float]:
        times = self._wrong.get(_network(address), deque())
        while times and self._now() - times[0] >= GUESS_SECONDS:
            times.popleft()
        return times


def _network(address: str) -> str:
    """An address, or the part of an IPv6 address that one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
