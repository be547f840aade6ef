"""Assembles the server: store, graders, API, page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from kellgren.grades import NOTICE
from kellgren.grading.bundle import default_bundle, open_bundle
from kellgren.web.api.cases import CaseRoutes
from kellgren.web.api.joint_spaces import JointSpaceRoutes
from kellgren.web.api.reading_counts import ReadingCounts
from kellgren.web.api.schemas import add_examples
from kellgren.web.api.server_routes import HealthRoutes, ServerRoutes
from kellgren.web.api.similar import SimilarRoutes
from kellgren.web.api.studies import StudyRoutes
from kellgren.web.api.study_calibration import CalibrationRoutes
from kellgren.web.erasing import Eraser
from kellgren.web.guard import Doorkeeper, RequestGuard
from kellgren.web.housekeeping import Housekeeper
from kellgren.web.notifier import Notifier
from kellgren.web.problems import answer_problems
from kellgren.web.settings import Settings
from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.opening import QUARANTINE
from kellgren.web.workers.pool import GraderPool

STATIC = Path(str(resources.files("kellgren"))) / "web" / "static"
AUDIT_LOG = "audit.log"
_SERVER = "server"
_DESCRIPTION = (
    f"Kellgren-Lawrence grades of knee X-rays. {NOTICE}\n\n"
    "Upload films to `POST /api/v1/cases`, follow them at the `url` of each. A reading is "
    "the record that `kellgren grade` writes. Where the server has a token, send it as "
    "`Authorization: Bearer TOKEN`."
)
_log = logging.getLogger("kellgren.web")


class Application:
    """One server: its state, its graders and its routes.

    Args:
        settings: see `Settings`.

    Raises:
        BundleError: the model is missing or damaged.
        StoreInUse: another server has the store.
        DamagedBase: the store's database is damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        bundle = open_bundle(settings.model or default_bundle())
        self.store = CaseStore(settings.store, keep_names=settings.keep_names)
        self.audit = AuditLog(settings.store / AUDIT_LOG)
        self._report_quarantine()
        self.notifier = Notifier()
        counts = ReadingCounts()
        self.pool = GraderPool(self.store, settings, self.notifier.notify, counts.add)
        eraser = Eraser(self.store, self.audit)
        self.housekeeper = Housekeeper(self.store, eraser, self.audit, settings)
        self.doorkeeper = Doorkeeper(settings.token, self.audit)
        self.cases = CaseRoutes(
            self.store, self.pool, self.notifier, eraser, self.housekeeper, settings
        )
        self._routers = [
            self.cases.router,
            SimilarRoutes(self.store, bundle, settings.root_path).router,
            JointSpaceRoutes(self.store, self.notifier, self.audit).router,
            CalibrationRoutes(self.store, bundle, self.audit).router,
            StudyRoutes(self.store, eraser, self.audit, settings.root_path).router,
            HealthRoutes(self.store, self.pool, self.housekeeper, settings).router,
            ServerRoutes(
                *(settings, bundle.card, self.cases, self.pool, counts, self.doorkeeper, self.audit)
            ).router,
        ]

    def _report_quarantine(self) -> None:
        if self.store.set_aside:
            _log.error(
                "%d stored files belong to no case: they were moved to %s, none was deleted. Where "
                "the database was lost, restore a backup of it: they are then fetched from there",
                *(self.store.set_aside, self.settings.store / QUARANTINE),
            )
            self.audit.write("files put into quarantine", _SERVER, files=self.store.set_aside)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the graders while the server answers requests."""
        self.notifier.bind(asyncio.get_running_loop())
        self.audit.write("started", _SERVER, software=f"kellgren {version('kellgren')}")
        self.housekeeper.start()
        self.pool.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.pool.stop)
            await asyncio.to_thread(self.housekeeper.stop)
            self.audit.write("stopped", _SERVER)
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
            servers=[{"url": self.settings.root_path or "/"}],
        )
        answer_problems(app)
        for router in self._routers:
            app.include_router(router)
        app.mount("/static", StaticFiles(directory=STATIC))
        app.include_router(_pages(self.settings.root_path))
        return RequestGuard(app, self.settings, self.doorkeeper)


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description, with whole answers as examples."""
        if self.openapi_schema is None:
            add_examples(super().openapi())
        return super().openapi()


def _pages(root: str) -> APIRouter:
    """The page: one file, whichever of its views is asked for, with the addresses it lies at."""
    router = APIRouter(include_in_schema=False)
    text = (STATIC / "index.html").read_text("utf-8")
    for attribute in ("href", "src"):
        text = text.replace(f'{attribute}="/', f'{attribute}="{root}/')

    async def page() -> HTMLResponse:
        return HTMLResponse(text, headers={"Cache-Control": "no-cache"})

    for path in ("/", "/cases/{case}", "/studies", "/studies/{study}", "/studies/{study}/{reader}"):
        router.get(path)(page)

    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg")

    router.get("/favicon.ico")(icon)
    return router
