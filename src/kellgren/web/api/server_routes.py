"""The server itself: is it well, what can it do, who is signed in."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from kellgren.grades import NOTICE, Grade
from kellgren.grading.bundle import Card
from kellgren.web.api.cases import CaseRoutes
from kellgren.web.api.reading_counts import ReadingCounts
from kellgren.web.api.schemas import (
    About,
    AboutLimits,
    AboutModel,
    GradeName,
    Health,
    HealthStatus,
    Problem,
    Session,
)
from kellgren.web.guard import COOKIE, Doorkeeper, WrongToken, session_cookie
from kellgren.web.housekeeping import Housekeeper
from kellgren.web.sessions import SESSION_SECONDS
from kellgren.web.settings import Settings
from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.opening import trouble_text
from kellgren.web.workers.pool import GraderPool

_STALL_MARGIN_S = 30.0
_NOT_READY = {503: {"model": Health, "description": "Not ready; `detail` says why."}}
_REFUSED = {
    401: {"model": Problem, "description": "Another token, or none."},
    429: {"model": Problem, "description": "Too many wrong tokens; Retry-After says when."},
}


class SignIn(BaseModel):
    """The token that the server was started with."""

    token: str = Field(max_length=512)


class HealthRoutes:
    """Whether the server is ready.

    Args:
        store: of the cases.
        pool: that grades them.
        housekeeper: that watches the store.
        settings: of the server.
    """

    def __init__(
        self, store: CaseStore, pool: GraderPool, housekeeper: Housekeeper, settings: Settings
    ) -> None:
        self._store, self._pool, self._housekeeper = store, pool, housekeeper
        self._workers = settings.workers
        self._stall_seconds = settings.limits.case_seconds + _STALL_MARGIN_S
        self.router = router = APIRouter(tags=["server"])
        router.get("/health", responses=_NOT_READY)(self.health)  # type: ignore[arg-type]

    async def health(self, response: Response) -> Health:
        """Whether graders live and cases are answered; 503 where not."""
        # Not in the pool of threads that answers requests: all of those may wait for the database.
        found = await asyncio.to_thread(self._found)
        response.status_code = 200 if found.status == "ok" else 503
        return found

    def _found(self) -> Health:
        try:
            waiting, oldest = self._store.count_open(), self._store.oldest_waiting()
        except sqlite3.Error as error:
            detail = trouble_text(error)
            return Health(
                status="failing", graders=0, waiting=0, oldest_waiting_seconds=0, detail=detail
            )
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        status, detail = self._status(age)
        return Health(
            status=status,
            graders=self._pool.ready,
            waiting=waiting,
            oldest_waiting_seconds=round(age, 1),
            detail=detail,
        )

    def _status(self, age: float) -> tuple[HealthStatus, str]:
        if trouble := self._housekeeper.trouble or self._pool.trouble:
            return "failing", trouble
        if self._workers and not self._pool.ready:
            return "starting", "no grader has loaded its model yet"
        if min(age, self._pool.answered_seconds_ago) > self._stall_seconds:
            return "failing", "cases wait, and none is answered"
        return "ok", ""


class ServerRoutes:
    """Counts, description and sessions of one server.

    Args:
        settings: of the server.
        card: of its model.
        cases: its routes for cases.
        pool: that grades them.
        counts: of the readings since the start.
        doorkeeper: knows the token.
        audit: is told who signs in and out.
    """

    def __init__(
        self,
        settings: Settings,
        card: Card,
        cases: CaseRoutes,
        pool: GraderPool,
        counts: ReadingCounts,
        doorkeeper: Doorkeeper,
        audit: AuditLog,
    ) -> None:
        self._settings, self._card, self._cases, self._pool = settings, card, cases, pool
        self._counts = counts
        self._doorkeeper, self._audit, self._started = doorkeeper, audit, time.time()
        self.router = router = APIRouter(tags=["server"])
        router.get("/metrics", response_class=PlainTextResponse)(self.metrics)
        router.get("/api/v1/about")(self.about)
        router.get("/api/v1/session")(self.session)
        router.post("/api/v1/session", status_code=204, responses=_REFUSED)(self.sign_in)  # type: ignore[arg-type]
        router.delete("/api/v1/session", status_code=204)(self.sign_out)

    async def metrics(self) -> str:
        """Counts for Prometheus."""
        counts = self._cases.count_states()
        lines = [
            "# HELP kellgren_cases Cases in the store, by state.",
            "# TYPE kellgren_cases gauge",
            *(f'kellgren_cases{{state="{state}"}} {count}' for state, count in counts.items()),
            *_metric("queue_limit", "gauge", "Cases that may wait.", self._settings.limits.queue),
            *_metric("graders_ready", "gauge", "Graders with their model.", self._pool.ready),
            *_metric("grader_deaths_total", "counter", "Graders replaced.", self._pool.failures),
            *_metric("turned_away_total", "counter", "Answers 503.", self._cases.rejected_uploads),
            *_metric("start_seconds", "gauge", "Start, Unix time.", round(self._started)),
            *self._counts.lines(),
        ]
        return "\n".join(lines) + "\n"

    async def about(self) -> About:
        """Software, model, scale and limits, for whoever shows readings."""
        limits = self._settings.limits
        return About(
            software=f"kellgren {version('kellgren')}",
            notice=NOTICE,
            scale=self._card.scale,
            grades=[
                GradeName(grade=int(grade), name=grade.label, finding=grade.finding)
                for grade in Grade
            ],
            model=AboutModel(
                name=self._card.name,
                data=self._card.data,
                elsewhere=list(self._card.elsewhere),
            ),
            limits=AboutLimits(
                file_bytes=limits.file_bytes,
                request_bytes=limits.request_bytes,
                files=limits.files,
            ),
        )

    async def session(self, request: Request) -> Session:
        """Whether a token is needed, and whether this client has shown it."""
        needed = self._doorkeeper.token is not None
        try:
            is_known = self._doorkeeper.who(request.scope) is not None
        except WrongToken:
            is_known = False
        return Session(token_needed=needed, signed_in=is_known)

    async def sign_in(self, given: SignIn, request: Request, response: Response) -> None:
        """Begin a session, whose random name is set as a cookie, so that pictures load too."""
        if self._doorkeeper.token is None:
            return
        try:
            self._doorkeeper.compare(given.token, request.scope)
        except WrongToken as wrong:
            await asyncio.sleep(0.5)
            raise HTTPException(wrong.status, wrong.detail, wrong.headers) from None
        secret = self._doorkeeper.sessions.begin()
        await asyncio.to_thread(self._audit.write, "signed in", self._who(secret))
        response.set_cookie(COOKIE, secret, max_age=int(SESSION_SECONDS), **self._cookie(request))

    async def sign_out(self, request: Request, response: Response) -> None:
        """End this client's session."""
        secret = session_cookie(request.headers)
        if self._doorkeeper.sessions.name(secret) is not None:
            await asyncio.to_thread(self._audit.write, "signed out", self._who(secret))
            self._doorkeeper.sessions.end(secret)
        response.delete_cookie(COOKIE, **self._cookie(request))

    def _who(self, secret: str) -> str:
        return self._doorkeeper.sessions.name(secret) or "unknown"

    def _cookie(self, request: Request) -> dict[str, Any]:
        return {
            "path": self._settings.root_path or "/",
            "httponly": True,
            "samesite": "strict",
            "secure": request.headers.get("x-forwarded-proto") == "https",
        }


def _metric(name: str, kind: str, text: str, value: float) -> tuple[str, str, str]:
    full = f"kellgren_{name}"
    return f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value}"
