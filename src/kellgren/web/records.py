"""The shapes of API answers, with examples for its description."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["waiting", "working", "graded", "refused", "failed"]
CertaintyWord = Literal["high", "moderate", "low"]

_CASE_EXAMPLE: dict[str, Any] = {
    "id": "nYp1qfT0Zq6yW2cB",
    "url": "/api/v1/cases/nYp1qfT0Zq6yW2cB",
    "page": "/cases/nYp1qfT0Zq6yW2cB",
    "state": "graded",
    "revision": 12,
    "created": "2026-01-31T09:30:00+00:00",
    "seconds": 0.21,
    "image": "048392017445L.png",
    "note": "",
    "knees": [
        {
            "reading": {
                "image": "048392017445L.png",
                "side": "L",
                "grade": 3,
                "name": "moderate",
                "probabilities": [0.01, 0.04, 0.2, 0.7, 0.05],
                "certainty": "moderate",
                "likely": [2, 3],
                "warnings": [],
                "mm_per_pixel": None,
            },
            "picture": "/api/v1/cases/nYp1qfT0Zq6yW2cB/knees/1/picture.png",
            "map": "/api/v1/cases/nYp1qfT0Zq6yW2cB/knees/1/map.png",
            "overlay": "/api/v1/cases/nYp1qfT0Zq6yW2cB/knees/1/overlay.png",
            "similar": "/api/v1/cases/nYp1qfT0Zq6yW2cB/knees/1/similar",
        }
    ],
    "report": None,
    "checks": [],
    "companions": [],
}


class Knee(BaseModel):
    """One graded knee: its reading, as every interface shows it, and where its pictures are."""

    reading: dict[str, Any]
    picture: str
    map: str
    overlay: str
    similar: str = Field(description="Graded knees that look like it.")


class Case(BaseModel):
    """One uploaded film and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CASE_EXAMPLE]})

    id: str = Field(description="Drawn by chance; carries nothing of the patient.")
    url: str
    page: str = Field(description="Where a reader looks at it.")
    state: State = Field(description="graded, refused and failed are final.")
    revision: int = Field(description="Grows with every change of any case.")
    created: datetime
    seconds: float | None = Field(description="Of the grader's work.")
    image: str = Field(description="A number instead of the file's name, unless names are kept.")
    note: str = Field(description="Why there is no grade.")
    knees: list[Knee]
    report: str | None = Field(description="Of a DICOM film: the structured report on it.")
    checks: list[dict[str, Any]] = Field(description="What was checked on a refused film.")
    companions: list[str] = Field(description="Cases of the same patient, by their files' names.")


class CaseList(BaseModel):
    """Cases, newest first."""

    cases: list[Case]
    total: int = Field(description="That fit the filters, on all pages.")
    revision: int = Field(description="Ask for what changed `after` it next time.")
    counts: dict[str, int] = Field(description="All cases of the server by state.")


class Submitted(BaseModel):
    """What became of an upload: one case a file, in their order."""

    cases: list[Case]


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "No such case"}]})

    detail: str


class Health(BaseModel):
    """Whether the server can grade."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "graders": 2, "waiting": 0}]}
    )

    status: Literal["ok", "starting"]
    graders: int = Field(description="Ready for a case.")
    waiting: int = Field(description="Cases not answered yet.")


def case_record(row: sqlite3.Row, companions: list[str]) -> Case:
    """A case of the store as the API shows it."""
    url = f"/api/v1/cases/{row['id']}"
    rows = json.loads(row["rows"])
    knees = [
        Knee(
            reading={key: value for key, value in reading.items() if key != "note"},
            **{kind: f"{url}/knees/{place}/{kind}.png" for kind in ("picture", "map", "overlay")},
            similar=f"{url}/knees/{place}/similar",
        )
        for place, reading in enumerate(rows, start=1)
        if row["state"] == "graded"
    ]
    return Case(
        id=row["id"],
        url=url,
        page=f"/cases/{row['id']}",
        state=row["state"],
        revision=row["changed"],
        created=datetime.fromtimestamp(row["created"], UTC),
        seconds=row["seconds"],
        image=row["image"],
        note=row["note"],
        knees=knees,
        report=f"{url}/report.dcm" if row["report"] else None,
        checks=[] if knees or not rows else rows[0].get("checks", []),
        companions=companions,
    )
