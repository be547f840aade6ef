"""Assembles the server: store, graders, API, page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.types import ASGIApp

from kellgren.grades import Grade
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.reading_schema import NOTICE
from kellgren.web.api.cases import CaseRoutes
from kellgren.web.api.schemas import (
    About,
    AboutLimits,
    AboutModel,
    GradeName,
    Health,
    Problem,
    Session,
    add_examples,
)
from kellgren.web.api.similar import SimilarRoutes
from kellgren.web.api.studies import StudyRoutes
from kellgren.web.guard import COOKIE, RequestGuard, request_token, tokens_match
from kellgren.web.notifier import Notifier
from kellgren.web.settings import Settings
from kellgren.web.storage.cases import CaseStore
from kellgren.web.workers.pool import GraderPool

STATIC = Path(str(resources.files("kellgren"))) / "web" / "static"
_DESCRIPTION = (
    f"Kellgren-Lawrence grades of knee X-rays. {NOTICE}\n\n"
    "Upload films to `POST /api/v1/cases`, follow them at the `url` of each. A reading is "
    "the record that `kellgren grade` writes. Where the server has a token, send it as "
    "`Authorization: Bearer TOKEN`."
)


class Application:
    """One server: its state, its graders and its routes.

    Args:
        settings: see `Settings`.

    Raises:
        BundleError: the model is missing or damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        bundle = open_bundle(settings.model or default_bundle())
        self.card = bundle.card
        self.store = CaseStore(settings.store, keep_names=settings.keep_names)
        self.notifier = Notifier()
        self.pool = GraderPool(self.store, settings, self.notifier.notify)
        self.cases = CaseRoutes(self.store, self.pool, self.notifier, settings.limits)
        self.similar = SimilarRoutes(self.store, bundle)
        self.studies = StudyRoutes(self.store)
        self.started = time.time()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the graders while the server answers requests."""
        self.notifier.bind(asyncio.get_running_loop())
        self.pool.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.pool.stop)
            self.store.close()

    def asgi(self) -> ASGIApp:
        """All routes, behind the checks that every request passes first."""
        app = _Api(
            title="kellgren reading room",
            version=version("kellgren"),
            description=_DESCRIPTION,
            lifespan=self.lifespan,
            docs_url=None,
            redoc_url=None,
        )
        app.add_exception_handler(Exception, _internal_error)
        app.include_router(self.cases.router)
        app.include_router(self.similar.router)
        app.include_router(self.studies.router)
        app.include_router(self._server_routes())
        app.mount("/static", StaticFiles(directory=STATIC))
        app.include_router(_pages())
        return RequestGuard(app, self.settings)

    def _server_routes(self) -> APIRouter:
        router = APIRouter()
        router.get("/health", tags=["server"])(self.health)
        router.get("/metrics", tags=["server"], response_class=PlainTextResponse)(self.metrics)
        router.get("/api/v1/about", tags=["server"])(self.about)
        refused = {401: {"model": Problem, "description": "Another token, or none."}}
        router.get("/api/v1/session", tags=["server"])(self.session)
        router.post("/api/v1/session", tags=["server"], status_code=204, responses=refused)(  # type: ignore[arg-type]
            self.sign_in
        )
        return router

    async def health(self) -> Health:
        """Whether graders are ready."""
        ready = self.pool.ready
        return Health(
            status="ok" if ready else "starting", graders=ready, waiting=self.store.count_open()
        )

    async def metrics(self) -> str:
        """Counts for Prometheus."""
        counts = self.store.count_states()
        lines = [
            "# HELP kellgren_cases Cases in the store, by state.",
            "# TYPE kellgren_cases gauge",
            *(f'kellgren_cases{{state="{state}"}} {count}' for state, count in counts.items()),
            *_metric("queue_limit", "gauge", "Cases that may wait.", self.settings.limits.queue),
            *_metric("graders_ready", "gauge", "Graders with their model.", self.pool.ready),
            *_metric("grader_deaths_total", "counter", "Graders replaced.", self.pool.failures),
            *_metric("turned_away_total", "counter", "Answers 503.", self.cases.rejected_uploads),
            *_metric("start_seconds", "gauge", "Start, Unix time.", round(self.started)),
        ]
        return "\n".join(lines) + "\n"

    async def about(self) -> About:
        """Software, model, scale and limits, for whoever shows readings."""
        limits = self.settings.limits
        return About(
            software=f"kellgren {version('kellgren')}",
            notice=NOTICE,
            scale=self.card.scale,
            grades=[
                GradeName(grade=int(grade), name=grade.label, finding=grade.finding)
                for grade in Grade
            ],
            model=AboutModel(name=self.card.name, data=self.card.data),
            limits=AboutLimits(
                file_bytes=limits.file_bytes,
                request_bytes=limits.request_bytes,
                files=limits.files,
            ),
        )

    async def session(self, request: Request) -> Session:
        """Whether a token is needed, and whether this client has shown it."""
        token = self.settings.token
        given = request_token(request.headers)
        is_known = token is None or (given is not None and tokens_match(given, token))
        return Session(token_needed=token is not None, signed_in=is_known)

    async def sign_in(self, given: SignIn, request: Request, response: Response) -> None:
        """Set the token as a cookie, so that pictures load too."""
        token = self.settings.token
        if token is None:
            return
        if not tokens_match(given.token, token):
            await asyncio.sleep(0.5)
            raise HTTPException(401, "That is not this server's token")
        secure = request.headers.get("x-forwarded-proto") == "https"
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure)


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description, with whole answers as examples."""
        if self.openapi_schema is None:
            add_examples(super().openapi())
        return super().openapi()


class SignIn(BaseModel):
    """The token that the server was started with."""

    token: str = Field(max_length=512)


def _pages() -> APIRouter:
    """The page: one file, whichever of its views is asked for."""
    router = APIRouter(include_in_schema=False)

    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    for path in ("/", "/cases/{case}", "/studies", "/studies/{study}", "/studies/{study}/{reader}"):
        router.get(path)(page)

    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg")

    router.get("/favicon.ico")(icon)
    return router


def _metric(name: str, kind: str, text: str, value: float) -> tuple[str, str, str]:
    full = f"kellgren_{name}"
    return f"# HELP {full} {text}", f"# TYPE {full} {kind}", f"{full} {value}"


async def _internal_error(request: Request, error: Exception) -> JSONResponse:
    # The traceback is for the server's log, not for the client.
    return JSONResponse({"detail": "The server failed; its log says why"}, 500)
