"""The reading studies of API v1: blinded first reads, the reveal, revisions, results."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response

from kellgren.web.api.cases import DELETED, Identifier, deletion_answer
from kellgren.web.api.schemas import Problem
from kellgren.web.api.stored_files import stored_file
from kellgren.web.api.study_records import (
    Adjudication,
    NewStudy,
    ReaderWorklist,
    ReadRecord,
    StudyKnee,
    StudyReaderSummary,
    StudySummary,
    StudyWithResults,
    SubmittedRead,
)
from kellgren.web.api.study_results import study_csv, study_results
from kellgren.web.erasing import Eraser
from kellgren.web.guard import who_asks
from kellgren.web.storage.audit_log import AuditLog
from kellgren.web.storage.case_names import printable
from kellgren.web.storage.cases import CaseStore
from kellgren.web.storage.studies import (
    UNGRADABLE,
    Read,
    Reads,
    Study,
    StudyItem,
    StudyReader,
    StudyStore,
)

Item = Annotated[int, Path(ge=1, lt=2**53)]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such study, reader or knee."}
}


class StudyRoutes:
    """Routes over a store's studies.

    Args:
        store: of the cases they read.
        eraser: deletes studies.
        audit: is told who makes studies.
        root: path below which the server lies.
    """

    def __init__(self, store: CaseStore, eraser: Eraser, audit: AuditLog, root: str) -> None:
        self._store, self._studies = store, StudyStore(store)
        self._eraser, self._audit, self._root = eraser, audit, root
        self.router = router = APIRouter(
            prefix="/api/v1/studies", tags=["studies"], responses=_PROBLEMS
        )
        router.post("", status_code=201)(self.create)
        router.get("")(self.index)
        router.get("/{study}")(self.show)
        router.delete("/{study}", status_code=204, responses=DELETED)(self.delete)
        router.get("/{study}/readers/{reader}")(self.worklist)
        router.put("/{study}/readers/{reader}/reads/{item}")(self.read)
        router.get("/{study}/items/{item}/picture.png", response_class=Response)(self.picture)
        router.put("/{study}/items/{item}/settled", status_code=204)(self.adjudicate)
        router.get("/{study}/study.csv")(self.table)

    def create(self, new: NewStudy, request: Request) -> StudySummary:
        """Make a study; each reader gets an address."""
        identifier = self._studies.create(
            printable(new.name) or "Study", new.cases, list(new.readers)
        )
        if identifier is None:
            raise HTTPException(404, "There is no graded knee among these cases")
        self._audit.write("study made", who_asks(request), study=identifier)
        return self._summary(self._study(identifier))

    def index(self) -> list[StudySummary]:
        """All studies, newest first."""
        return [self._summary(study) for study in self._studies.all()]

    def show(self, study: Identifier) -> StudyWithResults:
        """A study with its results so far."""
        stored = self._study(study)
        return StudyWithResults(
            **dict(self._summary(stored)), results=study_results(*self._contents(stored))
        )

    def delete(self, study: Identifier, request: Request) -> Response:
        """Delete a study, its names, reads and comments; the cases stay."""
        self._eraser.delete_study(self._study(study), who_asks(request))
        return deletion_answer(self._eraser)

    def worklist(self, study: Identifier, reader: Identifier) -> ReaderWorklist:
        """A reader's knees in an order of their own; the model's grade only after the reader's."""
        stored = self._study(study)
        own = self._reader(stored, reader)
        reads = self._studies.reads(stored)
        items = self._studies.order(own, self._studies.items(stored))
        return ReaderWorklist(
            study=stored.name,
            reader=own.name,
            items=[self._knee(study, item, reads.get((own.number, item.item))) for item in items],
        )

    def read(
        self, study: Identifier, reader: Identifier, item: Item, submitted: SubmittedRead
    ) -> StudyKnee:
        """Store a read and reveal the model's; the first read of a knee stays as it was."""
        stored = self._study(study)
        own, knee = self._reader(stored, reader), self._item(stored, item)
        self._studies.save_read(
            own,
            item,
            grade=UNGRADABLE if submitted.grade is None else submitted.grade,
            seconds=submitted.seconds,
            comment=submitted.comment,
        )
        return self._knee(study, knee, self._studies.reads(stored)[own.number, item])

    def picture(self, study: Identifier, item: Item) -> Response:
        """A knee of a study, under an address that does not lead to the model's grade."""
        knee = self._item(self._study(study), item)
        return stored_file(self._store.blobs, knee.picture, "image/png")

    def adjudicate(self, study: Identifier, item: Item, adjudication: Adjudication) -> None:
        """Store the grade agreed on where readers differ."""
        self._item(self._study(study), item)
        self._studies.adjudicate(item, adjudication.grade)

    def table(self, study: Identifier) -> Response:
        """All reads, as a manifest for `kellgren data index`."""
        stored = self._study(study)
        text = study_csv(*self._contents(stored), source=stored.name)
        return Response(text, media_type="text/csv")

    def _contents(self, study: Study) -> tuple[list[StudyItem], list[StudyReader], Reads]:
        return (
            self._studies.items(study),
            self._studies.readers(study),
            self._studies.reads(study),
        )

    def _summary(self, study: Study) -> StudySummary:
        return StudySummary(
            id=study.id,
            name=study.name,
            created=datetime.fromtimestamp(study.created, UTC),
            knees=self._studies.count_items(study),
            readers=[
                StudyReaderSummary(
                    id=reader.id,
                    name=reader.name,
                    done=reader.done,
                    page=f"{self._root}/studies/{study.id}/{reader.id}",
                )
                for reader in self._studies.readers(study)
            ],
        )

    def _study(self, identifier: str) -> Study:
        study = self._studies.study(identifier)
        if study is None:
            raise HTTPException(404, "There is no such study")
        return study

    def _reader(self, study: Study, identifier: str) -> StudyReader:
        for reader in self._studies.readers(study):
            if reader.id == identifier:
                return reader
        raise HTTPException(404, "There is no such reader in this study")

    def _item(self, study: Study, item: int) -> StudyItem:
        for knee in self._studies.items(study):
            if knee.item == item:
                return knee
        raise HTTPException(404, "There is no such knee in this study")

    def _knee(self, study: str, item: StudyItem, read: Read | None) -> StudyKnee:
        """A knee as a reader may see it: the model's reading after the reader's own."""
        return StudyKnee(
            item=item.item,
            side=item.reading.side,
            picture=f"{self._root}/api/v1/studies/{study}/items/{item.item}/picture.png",
            read=None if read is None else _read_record(read),
            model=None if read is None else item.reading,
        )


def _read_record(read: Read) -> ReadRecord:
    first, final = (None if grade == UNGRADABLE else grade for grade in (read.first, read.final))
    return ReadRecord(first=first, final=final, seconds=read.seconds, comment=read.comment)
