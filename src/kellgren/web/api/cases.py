"""The cases of API v1: upload films, follow them, fetch readings, delete them."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from kellgren.reading_schema import CertaintyLevel, GradedRow, GradeNumber
from kellgren.reading_tables import csv_text, json_text
from kellgren.web.api.schemas import Case, CaseList, Problem, Submitted, case_record
from kellgren.web.api.stored_files import stored_file
from kellgren.web.api.uploads import (
    UploadReceiver,
    discard_body,
    remove_temporary,
    service_unavailable,
)
from kellgren.web.erasing import LEFT_OVER, Eraser
from kellgren.web.guard import who_asks
from kellgren.web.housekeeping import Housekeeper
from kellgren.web.notifier import Notifier
from kellgren.web.settings import Settings
from kellgren.web.storage.case_rows import StoredCase
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.messages import (
    OPEN_STATES,
    UNGRADED_STATES,
    CaseState,
    Filter,
    PictureKind,
    QueueFull,
    Upload,
)
from kellgren.web.workers.pool import GraderPool

MAX_WAIT_S = 60
Identifier = Annotated[str, Path(pattern=r"^[\w-]{16}$", examples=["nYp1qfT0Zq6yW2cB"])]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such case, knee or picture."}
}
DELETED: dict[int | str, dict[str, Any]] = {
    202: {"model": Problem, "description": "Deleted, but for old pages of the database."}
}
_UPLOAD_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Submitted, "description": "Answered within `wait`."},
    202: {"model": Submitted, "description": "Accepted: follow each case at its url."},
    400: {"model": Problem, "description": "No multipart body, or no file in it."},
    408: {"model": Problem, "description": "Too slow."},
    413: {"model": Problem, "description": "Too large, or too many files."},
    415: {"model": Problem, "description": "Not multipart/form-data."},
    503: {"model": Problem, "description": "Full; Retry-After says when to try again."},
    507: {"model": Problem, "description": "The server's disk is nearly full."},
}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "PNG, JPEG, TIFF or DICOM.",
                        },
                        "side": {
                            "type": "string",
                            "enum": ["L", "R", ""],
                            "description": "Of every knee sent here, if the client knows it.",
                        },
                    },
                }
            }
        },
    }
}


class CaseRoutes:
    """Routes over a store.

    Args:
        store: of the cases.
        pool: that grades them.
        notifier: of every change.
        eraser: deletes cases.
        housekeeper: knows whether films can be kept.
        settings: of the server.
    """

    def __init__(
        self,
        store: CaseStore,
        pool: GraderPool,
        notifier: Notifier,
        eraser: Eraser,
        housekeeper: Housekeeper,
        settings: Settings,
    ) -> None:
        self._store, self._pool, self._limits = store, pool, settings.limits
        self._notifier, self._eraser, self._housekeeper = notifier, eraser, housekeeper
        self._root = settings.root_path
        self.count_states = store.count_states
        self._uploads = UploadReceiver(store.blobs, settings.limits)
        self.rejected_uploads = 0
        self.router = router = APIRouter(prefix="/api/v1/cases", tags=["cases"])
        router.post(
            "",
            status_code=202,
            responses=_UPLOAD_ANSWERS,
            openapi_extra=_UPLOAD_BODY,
        )(self.submit)
        router.get("")(self.index)
        router.get("/{case}", responses=PROBLEMS)(self.show)
        router.delete("/{case}", status_code=204, responses=PROBLEMS | DELETED)(self.delete)
        router.get("/{case}/readings.json", responses=PROBLEMS | _content("application/json"))(
            self.readings_json
        )
        router.get("/{case}/readings.csv", responses=PROBLEMS | _content("text/csv"))(
            self.readings_csv
        )
        router.get(
            "/{case}/report.dcm",
            responses=PROBLEMS | _content("application/dicom"),
            response_class=Response,
        )(self.report)
        router.get(
            "/{case}/knees/{knee}/{kind}.png",
            responses=PROBLEMS | _content("image/png"),
            response_class=Response,
        )(self.picture)
        router.get(
            "/{case}/refused/{joint}/picture.png",
            responses=PROBLEMS | _content("image/png"),
            response_class=Response,
        )(self.refused_picture)

    async def submit(
        self,
        request: Request,
        response: Response,
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds.")] = 0,
    ) -> Submitted:
        """Upload one or several films; each becomes a case."""
        if trouble := self._housekeeper.refusal:
            await self._turn_away(request, f"No film can be kept now: {trouble}")
        if self._store.count_open() >= self._limits.queue:
            await self._turn_away(request, "Too many cases wait")
        uploads = await self._uploads.files(request)
        try:
            identifiers = await run_in_threadpool(self._accept, uploads, who_asks(request))
        except QueueFull:
            self.rejected_uploads += 1
            raise service_unavailable("Too many cases wait") from None
        finally:
            await run_in_threadpool(remove_temporary, uploads)
        self._pool.wake()
        cases = await self._wait_for(identifiers, wait)
        response.status_code = 202 if any(case.state in OPEN_STATES for case in cases) else 200
        if len(cases) == 1:
            response.headers["Location"] = f"{self._root}/api/v1/cases/{identifiers[0]}"
        return Submitted(cases=[self._record(case) for case in cases])

    async def _turn_away(self, request: Request, reason: str) -> NoReturn:
        await discard_body(request, self._limits)
        self.rejected_uploads += 1
        raise service_unavailable(reason)

    def _accept(self, uploads: list[Upload], who: str) -> list[str]:
        if not self._housekeeper.make_room(sum(upload.size for upload in uploads)):
            raise HTTPException(507, "The store is full (--max-gb); delete cases first")
        identifiers = self._store.accept(uploads, most_open=self._limits.queue)
        self._housekeeper.audit.write("cases accepted", who, cases=identifiers)
        return identifiers

    def index(
        self,
        grade: Annotated[list[GradeNumber], Query()] = [],  # noqa: B006
        certainty: Annotated[list[CertaintyLevel], Query()] = [],  # noqa: B006
        state: Annotated[list[CaseState], Query()] = [],  # noqa: B006
        refused: Annotated[bool | None, Query(description="No grade was given.")] = None,
        after: Annotated[int, Query(ge=0, lt=2**53, description="A revision.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    ) -> CaseList:
        """List cases, newest first; filters are combined, values of one filter are alternatives."""
        states: tuple[str, ...] = tuple(state)
        if refused is not None:
            among: set[str] = set(UNGRADED_STATES) if refused else {*OPEN_STATES, "graded"}
            states = tuple(sorted(among & set(states or among))) or ("none",)
        wanted = Filter(tuple(grade), tuple(certainty), states, after)
        revision = self._store.revision()  # before the rows: what changes between comes again
        rows, total = self._store.find(wanted, limit=limit, offset=offset)
        return CaseList(
            cases=[case_record(row, [], self._root) for row in rows],
            total=total,
            revision=revision,
            counts=self._store.count_states(),
        )

    def show(self, case: Identifier) -> Case:
        """One case."""
        return self._record(self._case(case))

    def delete(self, case: Identifier, request: Request) -> Response:
        """Delete a case: its rows, its pictures and the uploaded file."""
        if not self._eraser.delete_case(case, who_asks(request)):
            raise _missing("case")
        self._notifier.notify()
        return deletion_answer(self._eraser)

    def readings_json(self, case: Identifier) -> Response:
        """The readings, byte for byte what `kellgren grade --json -` writes for this file."""
        answered = self._answered_case(case)
        text = json_text(answered.rows, answered.model)
        return Response(text, media_type="application/json")

    def readings_csv(self, case: Identifier) -> Response:
        """The readings, byte for byte what `kellgren grade --csv -` writes for this file."""
        return Response(csv_text(self._answered_case(case).rows), media_type="text/csv")

    def report(self, case: Identifier, request: Request) -> Response:
        """The structured report on a DICOM film; it names the patient as the film does."""
        stored = self._case(case)
        if not stored.report:
            raise _missing("report")
        self._housekeeper.audit.write("report fetched", who_asks(request), case=case)
        knees = [row for row in stored.rows if isinstance(row, GradedRow)]
        if not any(row.joint_space and row.joint_space.corrected for row in knees):
            return stored_file(self._store.blobs, stored.report, "application/dicom")
        # highdicom takes long to load: only where a margin was corrected.
        from kellgren.output.dicom.corrected_report import corrected_report

        content = corrected_report(self._store.blobs.read(stored.report), knees)
        headers = {"Cache-Control": "private, no-cache"}
        return Response(content, media_type="application/dicom", headers=headers)

    def picture(
        self,
        case: Identifier,
        knee: Annotated[int, Path(ge=1, le=99)],
        kind: PictureKind,
    ) -> Response:
        """The crop, the map to lay over it, or both with the grade on one sheet."""
        digest = self._store.picture(case, knee - 1, kind)
        if digest is None:
            raise _missing("picture")
        return stored_file(self._store.blobs, digest, "image/png")

    def refused_picture(
        self, case: Identifier, joint: Annotated[int, Path(ge=1, le=99)]
    ) -> Response:
        """A joint that was found and is not graded."""
        digest = self._store.picture_of_refused(case, joint - 1)
        if digest is None:
            raise _missing("picture")
        return stored_file(self._store.blobs, digest, "image/png")

    async def _wait_for(self, identifiers: list[str], wait: float) -> list[StoredCase]:
        """The cases, as soon as all are answered, the time is over or the server ends."""
        deadline = time.monotonic() + wait
        while True:
            change = self._notifier.subscribe()
            stored = [self._store.case(identifier) for identifier in identifiers]
            cases = [case for case in stored if case is not None]
            left = deadline - time.monotonic()
            is_open = any(case.state in OPEN_STATES for case in cases)
            if left <= 0 or not is_open or self._notifier.has_ended:
                return cases
            try:
                await asyncio.wait_for(change.wait(), left)
            except TimeoutError:
                continue

    def _record(self, case: StoredCase) -> Case:
        return case_record(case, self._store.companions(case), self._root)

    def _case(self, identifier: str) -> StoredCase:
        case = self._store.case(identifier)
        if case is None:
            raise _missing("case")
        return case

    def _answered_case(self, identifier: str) -> StoredCase:
        case = self._case(identifier)
        if case.state in OPEN_STATES:
            raise HTTPException(404, "Not read yet")
        return case


def _missing(what: str) -> HTTPException:
    return HTTPException(404, f"There is no such {what}")


def _content(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {}}, "description": "The file."}}


def deletion_answer(eraser: Eraser) -> Response:
    """204; 202 where something of what was deleted is left for now."""
    if eraser.is_incomplete:
        return JSONResponse({"detail": LEFT_OVER}, 202)
    return Response(status_code=204)
