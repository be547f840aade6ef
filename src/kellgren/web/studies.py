"""The reading studies of API v1: blinded first reads, the reveal, revisions, results."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from kellgren.web.names import printable
from kellgren.web.records import Problem
from kellgren.web.store import Store
from kellgren.web.study_results import results, study_csv
from kellgren.web.study_store import UNGRADABLE, Read, StudyStore, reading_of

Identifier = Annotated[str, Path(pattern=r"^[\w-]{16}$", examples=["nYp1qfT0Zq6yW2cB"])]
Item = Annotated[int, Path(ge=1, lt=2**53)]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such study, reader or knee."}
}
_EXAMPLE: dict[str, Any] = {"name": "Pilot", "readers": ["Reader A", "Reader B"], "cases": []}


class NewStudy(BaseModel):
    """What a study is made of."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str = Field(min_length=1, max_length=100)
    readers: list[str] = Field(min_length=1, max_length=12, description="Names of their choosing.")
    cases: list[str] = Field(
        default=[], max_length=10_000, description="Identifiers; none: every graded case."
    )

    @field_validator("readers")
    @classmethod
    def _distinct(cls, readers: list[str]) -> list[str]:
        names = [printable(reader) for reader in readers]
        if "" in names or "model" in names or len(set(names)) < len(names):
            raise ValueError("readers need names that differ, and none is called model")
        return names


class Said(BaseModel):
    """One read of one knee."""

    grade: int | None = Field(ge=0, le=4, description="null: ungradable.")
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    comment: str = Field(default="", max_length=2000)


class Settled(BaseModel):
    """What was agreed on."""

    grade: int | None = Field(ge=0, le=4, description="null: open again.")


class StudyRoutes:
    """Routes over a store's studies.

    Args:
        store: of the cases they read.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._studies = store, StudyStore(store)
        self.router = router = APIRouter(
            prefix="/api/v1/studies", tags=["studies"], responses=_PROBLEMS
        )
        router.post("", status_code=201)(self.create)
        router.get("")(self.index)
        router.get("/{study}")(self.show)
        router.delete("/{study}", status_code=204)(self.delete)
        router.get("/{study}/readers/{reader}")(self.worklist)
        router.put("/{study}/readers/{reader}/reads/{item}")(self.read)
        router.get("/{study}/items/{item}/picture.png", response_class=FileResponse)(self.picture)
        router.put("/{study}/items/{item}/settled", status_code=204)(self.settle)
        router.get("/{study}/study.csv")(self.table)

    def create(self, new: NewStudy) -> dict[str, Any]:
        """Make a study; each reader gets an address."""
        identifier = self._studies.create(
            printable(new.name) or "Study", new.cases, list(new.readers)
        )
        if identifier is None:
            raise HTTPException(404, "There is no graded knee among these cases")
        return self._summary(self._study(identifier))

    def index(self) -> list[dict[str, Any]]:
        """All studies, newest first."""
        return [self._summary(study) for study in self._studies.all()]

    def show(self, study: Identifier) -> dict[str, Any]:
        """A study with its results so far."""
        found = self._study(study)
        facts = self._facts(found)
        return {**self._summary(found), "results": results(*facts)}

    def delete(self, study: Identifier) -> None:
        """Delete a study and its reads; the cases stay."""
        self._studies.delete(self._study(study))

    def worklist(self, study: Identifier, reader: Identifier) -> dict[str, Any]:
        """A reader's knees in an order of their own; the model's grade only after the reader's."""
        found = self._study(study)
        own = self._reader(found, reader)
        reads = self._studies.reads(found)
        knees = self._studies.order(own, self._studies.items(found))
        return {
            "study": found["name"],
            "reader": own["name"],
            "items": [
                self._knee(study, item, reads.get((own["number"], item["item"]))) for item in knees
            ],
        }

    def read(self, study: Identifier, reader: Identifier, item: Item, said: Said) -> dict[str, Any]:
        """Keep a read and reveal the model's; the first read of a knee stays as it was."""
        found = self._study(study)
        own, knee = self._reader(found, reader), self._item(found, item)
        grade = UNGRADABLE if said.grade is None else said.grade
        self._studies.read(own, item, Read(grade, said.seconds, said.comment))
        return self._knee(study, knee, self._studies.reads(found)[own["number"], item])

    def picture(self, study: Identifier, item: Item) -> FileResponse:
        """A knee of a study, under an address that does not lead to the model's grade."""
        knee = self._item(self._study(study), item)
        path = self._store.contents.path(knee["picture"])
        return FileResponse(
            path, media_type="image/png", headers={"Cache-Control": "private, no-cache"}
        )

    def settle(self, study: Identifier, item: Item, agreed: Settled) -> None:
        """Keep the grade agreed on where readers differ."""
        self._item(self._study(study), item)
        self._studies.settle(item, agreed.grade)

    def table(self, study: Identifier) -> Response:
        """All reads, as a manifest for `kellgren data index`."""
        found = self._study(study)
        text = study_csv(*self._facts(found), source=found["name"])
        return Response(text, media_type="text/csv")

    def _facts(
        self, study: sqlite3.Row
    ) -> tuple[list[sqlite3.Row], list[sqlite3.Row], dict[tuple[int, int], sqlite3.Row]]:
        return (
            self._studies.items(study),
            self._studies.readers(study),
            self._studies.reads(study),
        )

    def _summary(self, study: sqlite3.Row) -> dict[str, Any]:
        return {
            "id": study["id"],
            "name": study["name"],
            "created": datetime.fromtimestamp(study["created"], UTC).isoformat(),
            "knees": len(self._studies.items(study)),
            "readers": [
                {
                    "id": reader["id"],
                    "name": reader["name"],
                    "done": reader["done"],
                    "page": f"/studies/{study['id']}/{reader['id']}",
                }
                for reader in self._studies.readers(study)
            ],
        }

    def _knee(self, study: str, item: sqlite3.Row, read: sqlite3.Row | None) -> dict[str, Any]:
        reading = reading_of(item)
        shown = {
            "item": item["item"],
            "side": reading["side"],
            "picture": f"/api/v1/studies/{study}/items/{item['item']}/picture.png",
            "read": None,
            "model": None,
        }
        if read is not None:
            grades = {
                name: None if read[name] == UNGRADABLE else read[name]
                for name in ("first", "final")
            }
            shown["read"] = {**grades, "seconds": read["seconds"], "comment": read["comment"]}
            shown["model"] = reading
        return shown

    def _study(self, identifier: str) -> sqlite3.Row:
        found = self._studies.study(identifier)
        if found is None:
            raise HTTPException(404, "There is no such study")
        return found

    def _reader(self, study: sqlite3.Row, identifier: str) -> sqlite3.Row:
        for reader in self._studies.readers(study):
            if reader["id"] == identifier:
                return reader
        raise HTTPException(404, "There is no such reader in this study")

    def _item(self, study: sqlite3.Row, item: int) -> sqlite3.Row:
        for knee in self._studies.items(study):
            if knee["item"] == item:
                return knee
        raise HTTPException(404, "There is no such knee in this study")
