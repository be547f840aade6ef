"""The cases of API v1: hand in films, follow them, fetch what was read, delete them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from kellgren.output.tables import csv_text, json_text
from kellgren.web.bell import Bell
from kellgren.web.entries import NOT_GRADED, OPEN_STATES, Filter, QueueFull, Upload
from kellgren.web.pool import Pool
from kellgren.web.records import (
    Case,
    CaseList,
    CertaintyWord,
    Problem,
    State,
    Submitted,
    case_record,
)
from kellgren.web.settings import Limits
from kellgren.web.store import Store
from kellgren.web.uploads import Intake, come_back, drain

LONGEST_WAIT_S = 60
Identifier = Annotated[str, Path(pattern=r"^[\w-]{16}$", examples=["nYp1qfT0Zq6yW2cB"])]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such case, knee or picture."}
}
_UPLOAD_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Submitted, "description": "Answered within `wait`."},
    202: {"model": Submitted, "description": "Accepted: follow each case at its url."},
    400: {"model": Problem, "description": "No multipart body, or no file in it."},
    408: {"model": Problem, "description": "Too slow."},
    413: {"model": Problem, "description": "Too large, or too many files."},
    415: {"model": Problem, "description": "Not multipart/form-data."},
    503: {"model": Problem, "description": "Full; Retry-After says when to come again."},
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
        pool: that reads them.
        bell: rung at every answer.
        limits: see `Limits`.
    """

    def __init__(self, store: Store, pool: Pool, bell: Bell, limits: Limits) -> None:
        self._store, self._pool, self._bell, self._limits = store, pool, bell, limits
        self._intake = Intake(store.contents, limits)
        self.turned_away = 0
        self.router = router = APIRouter(prefix="/api/v1/cases", tags=["cases"])
        router.post(
            "",
            status_code=202,
            responses=_UPLOAD_ANSWERS,
            openapi_extra=_UPLOAD_BODY,
        )(self.submit)
        router.get("")(self.index)
        router.get("/{case}", responses=PROBLEMS)(self.show)
        router.delete("/{case}", status_code=204, responses=PROBLEMS)(self.delete)
        router.get("/{case}/readings.json", responses=PROBLEMS | _content("application/json"))(
            self.readings_json
        )
        router.get("/{case}/readings.csv", responses=PROBLEMS | _content("text/csv"))(
            self.readings_csv
        )
        router.get(
            "/{case}/report.dcm",
            responses=PROBLEMS | _content("application/dicom"),
            response_class=FileResponse,
        )(self.report)
        router.get(
            "/{case}/knees/{knee}/{kind}.png",
            responses=PROBLEMS | _content("image/png"),
            response_class=FileResponse,
        )(self.picture)

    async def submit(
        self,
        request: Request,
        response: Response,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="Seconds.")] = 0,
    ) -> Submitted:
        """Hand in one or several films; each becomes a case."""
        if self._store.count_open() >= self._limits.queue:
            await drain(request, self._limits)
            self.turned_away += 1
            raise come_back("Too many cases wait")
        uploads = await self._intake.files(request)
        try:
            identifiers = await run_in_threadpool(
                self._store.accept, uploads, most_open=self._limits.queue
            )
        except QueueFull:
            self.turned_away += 1
            raise come_back("Too many cases wait") from None
        finally:
            await run_in_threadpool(_forget, uploads)
        self._pool.wake()
        cases = await self._answered(identifiers, wait)
        response.status_code = 202 if any(c["state"] in OPEN_STATES for c in cases) else 200
        if len(cases) == 1:
            response.headers["Location"] = f"/api/v1/cases/{identifiers[0]}"
        return Submitted(cases=[self._record(case) for case in cases])

    def index(
        self,
        grade: Annotated[list[Annotated[int, Query(ge=0, le=4)]], Query()] = [],  # noqa: B006
        certainty: Annotated[list[CertaintyWord], Query()] = [],  # noqa: B006
        state: Annotated[list[State], Query()] = [],  # noqa: B006
        refused: Annotated[bool | None, Query(description="No grade was given.")] = None,
        after: Annotated[int, Query(ge=0, lt=2**53, description="A revision.")] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
    ) -> CaseList:
        """List cases, newest first; filters are combined, values of one filter are alternatives."""
        states: tuple[str, ...] = tuple(state)
        if refused is not None:
            among: set[str] = set(NOT_GRADED) if refused else {*OPEN_STATES, "graded"}
            states = tuple(sorted(among & set(states or among))) or ("none",)
        wanted = Filter(tuple(grade), tuple(certainty), states, after)
        revision = self._store.revision()  # before the rows: what changes between comes again
        rows, total = self._store.find(wanted, limit=limit, offset=offset)
        return CaseList(
            cases=[case_record(row, []) for row in rows],
            total=total,
            revision=revision,
            counts=self._store.count_states(),
        )

    def show(self, case: Identifier) -> Case:
        """One case."""
        return self._record(self._found(case))

    def delete(self, case: Identifier) -> None:
        """Delete a case: its rows, its pictures and the uploaded file."""
        if not self._store.delete(case):
            raise _missing("case")
        self._bell.ring()

    def readings_json(self, case: Identifier) -> Response:
        """The readings, byte for byte what `kellgren grade --json -` writes for this file."""
        row = self._final(case)
        text = json_text(json.loads(row["rows"]), json.loads(row["model"]))
        return Response(text, media_type="application/json")

    def readings_csv(self, case: Identifier) -> Response:
        """The readings, byte for byte what `kellgren grade --csv -` writes for this file."""
        return Response(csv_text(json.loads(self._final(case)["rows"])), media_type="text/csv")

    def report(self, case: Identifier) -> FileResponse:
        """The structured report on a DICOM film; it names the patient as the film does."""
        digest = self._found(case)["report"]
        if not digest:
            raise _missing("report")
        return FileResponse(self._store.contents.path(digest), media_type="application/dicom")

    def picture(
        self,
        case: Identifier,
        knee: Annotated[int, Path(ge=1, le=99)],
        kind: Literal["picture", "map", "overlay"],
    ) -> FileResponse:
        """A knee, the map to lay over it, or the sheet with both and the grade."""
        path: FilePath | None = self._store.picture(case, knee - 1, kind)
        if path is None or not path.is_file():
            raise _missing("picture")
        return FileResponse(
            path, media_type="image/png", headers={"Cache-Control": "private, no-cache"}
        )

    async def _answered(self, identifiers: list[str], wait: float) -> list[sqlite3.Row]:
        """The cases, as soon as all are answered or the time is over."""
        deadline = time.monotonic() + wait
        while True:
            ring = self._bell.next_ring
            found = [self._store.case(identifier) for identifier in identifiers]
            cases = [case for case in found if case is not None]
            left = deadline - time.monotonic()
            if left <= 0 or not any(case["state"] in OPEN_STATES for case in cases):
                return cases
            try:
                await asyncio.wait_for(ring.wait(), left)
            except TimeoutError:
                continue

    def _record(self, case: sqlite3.Row) -> Case:
        return case_record(case, self._store.companions(case))

    def _found(self, identifier: str) -> sqlite3.Row:
        case = self._store.case(identifier)
        if case is None:
            raise _missing("case")
        return case

    def _final(self, identifier: str) -> sqlite3.Row:
        case = self._found(identifier)
        if case["state"] in OPEN_STATES:
            raise HTTPException(404, "Not read yet")
        return case


def _missing(what: str) -> HTTPException:
    return HTTPException(404, f"There is no such {what}")


def _content(kind: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {}}, "description": "The file."}}


def _forget(uploads: list[Upload]) -> None:
    for upload in uploads:
        upload.arrived.unlink(missing_ok=True)
