"""The shapes of API answers, with an example of each for the API's description."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from kellgren.grading.bundle import TrainingData
from kellgren.grading.elsewhere import Elsewhere
from kellgren.reading_schema import (
    CheckRecord,
    GradedRow,
    GradeNumber,
    ReadingRecord,
    RegionRecord,
    SideLetter,
)
from kellgren.web.storage.case_rows import StoredCase
from kellgren.web.storage.messages import CaseState, refused_joints

HealthStatus = Literal["ok", "starting", "failing"]
_EXAMPLES: dict[str, Any] = json.loads(
    resources.files("kellgren.web").joinpath("examples.json").read_text("utf-8")
)


class ApiModel(BaseModel):
    """What every answer of the API has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def add_examples(description: dict[str, Any]) -> None:
    """Put answers of a real server into the API's description, as examples of its models.

    FastAPI would leave out what is null in them.
    """
    for name, answer in _EXAMPLES.items():
        description["components"]["schemas"][name]["examples"] = [answer]


class Knee(ApiModel):
    """One graded knee: its reading, as every interface shows it, and where its pictures are."""

    reading: ReadingRecord
    picture: str
    """Path of the crop, a PNG."""
    map: str
    """Path of the class-activation map, a PNG to lay over the crop."""
    overlay: str
    """Path of crop, map, grade and probabilities on one sheet, a PNG."""
    similar: str
    """Path of the list of graded knees that resemble it."""


class RefusedKnee(ApiModel):
    """One joint that was found and is not graded."""

    note: str
    """Why: what was found, and the remedy."""
    side: SideLetter
    """As far as it is known; empty: unknown."""
    region: RegionRecord | None
    """Where the joint lies; null: it fills the picture."""
    checks: tuple[CheckRecord, ...]
    """All checks of the joint, in their order."""
    picture: str
    """Path of the joint, a PNG."""


class Case(ApiModel):
    """One uploaded file and its result."""

    id: str
    """Random; carries nothing of the patient."""
    url: str
    """Path of this record."""
    page: str
    """Path of the page that shows it."""
    state: CaseState
    """graded, refused and failed are final."""
    revision: NonNegativeInt
    """Grows with every change of any case."""
    created: datetime
    seconds: float | None
    """That grading took; null before it ended."""
    image: str
    """A number instead of the file's name, unless names are kept."""
    note: str
    """Why there is no grade."""
    knees: list[Knee]
    refused: list[RefusedKnee]
    """Joints that were found beside them, or in their place."""
    report: str | None
    """Path of the structured report on a DICOM picture."""
    companions: list[str]
    """Identifiers of cases of the same patient, by the names of their files."""


class CaseList(ApiModel):
    """Cases, newest first."""

    cases: list[Case]
    total: NonNegativeInt
    """That match the filters, on all pages."""
    revision: NonNegativeInt
    """To be sent as `after` next time, for the cases that changed since."""
    counts: dict[CaseState, NonNegativeInt]
    """All cases of the server by state."""


class Submitted(ApiModel):
    """The cases of an upload, one a file, in their order."""

    cases: list[Case]


class Problem(ApiModel):
    """Why a request was not answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "There is no such case"}]})

    detail: str


class Health(ApiModel):
    """Whether the server can grade."""

    status: HealthStatus
    """`ok` is answered with 200, all else with 503."""
    graders: NonNegativeInt
    """That live and are ready for a case."""
    waiting: NonNegativeInt
    """Cases not answered yet."""
    oldest_waiting_seconds: float
    """Since the case was accepted that has waited longest; 0: none waits."""
    detail: str
    """Why it is not ready; empty: it is."""


class GradeName(ApiModel):
    """One grade of the scale."""

    grade: GradeNumber
    name: str
    finding: str
    """What a reader sees on a knee of this grade."""


class AboutModel(ApiModel):
    """The model that grades."""

    name: str
    data: TrainingData
    """What it was trained on."""
    elsewhere: list[Elsewhere]
    """Its scores on knees of other hospitals; none of a model with a local calibration."""


class AboutLimits(ApiModel):
    """Limits of uploads."""

    file_bytes: NonNegativeInt
    """Of one file."""
    request_bytes: NonNegativeInt
    """Of one request."""
    files: NonNegativeInt
    """Of one request."""


class About(ApiModel):
    """Software, model, scale and limits, for whoever shows readings."""

    software: str
    """`kellgren` and its version."""
    notice: str
    """To be shown with every reading."""
    scale: str
    """Which version of the Kellgren-Lawrence scale."""
    grades: list[GradeName]
    model: AboutModel
    limits: AboutLimits


class Session(ApiModel):
    """Whether this server asks for a token, and whether the client has shown it."""

    token_needed: bool
    signed_in: bool


class SimilarKnee(ApiModel):
    """One graded knee of the index."""

    file: str
    """As published, without a suffix."""
    side: SideLetter
    grade: GradeNumber
    """As published."""
    distance: float
    """Between the model's features of the two knees; 0: the same picture."""
    picture: str
    """Path of the knee, a WebP."""


class SimilarList(ApiModel):
    """The graded knees most similar to one, nearest first; none of the same patient."""

    knees: list[SimilarKnee]
    note: str
    """Why there are none."""
    credit: str
    """Source and licence of the index's knees."""
    selection: str
    """Which knees the index holds."""


def case_record(case: StoredCase, companions: list[str], root: str) -> Case:
    """A case of the store as the API shows it, its addresses below a root path."""
    url = f"{root}/api/v1/cases/{case.id}"
    knees = [
        Knee(
            reading=row.reading,
            **{kind: f"{url}/knees/{place}/{kind}.png" for kind in ("picture", "map", "overlay")},
            similar=f"{url}/knees/{place}/similar",
        )
        for place, row in enumerate(case.rows, start=1)
        if isinstance(row, GradedRow)
    ]
    refused = [
        RefusedKnee(
            note=row.note,
            side=row.side,
            region=row.region,
            checks=row.checks,
            picture=f"{url}/refused/{place}/picture.png",
        )
        for place, row in enumerate(refused_joints(case.rows), start=1)
    ]
    return Case(
        id=case.id,
        url=url,
        page=f"{root}/cases/{case.id}",
        state=case.state,
        revision=case.revision,
        created=datetime.fromtimestamp(case.created, UTC),
        seconds=case.seconds,
        image=case.image,
        note=case.note,
        knees=knees,
        refused=refused,
        report=f"{url}/report.dcm" if case.report else None,
        companions=companions,
    )
