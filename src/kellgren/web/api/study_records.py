"""The shapes of the API's reading studies, with an example of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, field_validator

from kellgren.reading_schema import GradeNumber, ReadingRecord, SideLetter
from kellgren.web.api.schemas import ApiModel
from kellgren.web.storage.case_names import printable

GradeOrUngradable = Annotated[int | None, Field(ge=0, le=4)]


class NewStudy(ApiModel):
    """What a study is made of."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Pilot", "readers": ["Reader A", "Reader B"], "cases": []}]
        },
        extra="ignore",
    )

    name: str = Field(min_length=1, max_length=100)
    readers: list[str] = Field(min_length=1, max_length=12)
    """Names, all different."""
    cases: list[str] = Field(default=[], max_length=10_000)
    """Identifiers; none: every graded case."""

    @field_validator("readers")
    @classmethod
    def _distinct(cls, readers: list[str]) -> list[str]:
        names = [printable(reader) for reader in readers]
        if "" in names or "model" in names or len(set(names)) < len(names):
            raise ValueError("readers need names that differ, and none is called model")
        return names


class SubmittedRead(ApiModel):
    """A reader's grade of one knee."""

    model_config = ConfigDict(extra="ignore")

    grade: GradeOrUngradable
    """null: ungradable."""
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    """From the display of the picture to the grade."""
    comment: str = Field(default="", max_length=2000)


class Adjudication(ApiModel):
    """The grade agreed on where readers differ."""

    model_config = ConfigDict(extra="ignore")

    grade: GradeOrUngradable
    """null: open again."""


class StudyReaderSummary(ApiModel):
    """A reader, and how far they are."""

    id: str
    name: str
    done: NonNegativeInt
    """Knees read."""
    page: str
    """Path of the page on which they read."""


class StudySummary(ApiModel):
    """A study."""

    id: str
    name: str
    created: datetime
    knees: NonNegativeInt
    readers: list[StudyReaderSummary]


class Interval(ApiModel):
    """An estimate with its 95 % confidence interval over patients; null: undefined."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None
    """Why a value has no interval."""


class PairAgreement(ApiModel):
    """Agreement of two readers, or of a reader and the model, in first reads."""

    a: str
    """Name of a reader."""
    b: str
    """Name of another reader, or `model`."""
    knees: NonNegativeInt
    """Graded by both."""
    kappa: Interval | None
    """Quadratically weighted; null: no knee was graded by both."""
    agreement: Interval | None
    """Share of knees with the same grade; null likewise."""
    confusion: list[list[NonNegativeInt]] | None
    """Knees by the grades of `a` (rows) and `b` (columns); null likewise."""


class ReaderStatistics(ApiModel):
    """How one reader read."""

    id: str
    name: str
    read: NonNegativeInt
    """Knees."""
    median_seconds: NonNegativeFloat | None
    """A knee; null: none was read."""
    revised: NonNegativeInt
    """Knees whose final grade is not the first."""
    ungradable: NonNegativeInt
    """Knees that were ungradable in the end."""


class Disagreement(ApiModel):
    """A knee that readers grade differently, for adjudication."""

    item: int
    image: str
    side: SideLetter
    grades: dict[str, int]
    """Final grades by reader; -1: ungradable."""
    model: GradeNumber
    """The model's grade."""
    settled: GradeNumber | None
    """The grade agreed on; null: open."""


class StudyResults(ApiModel):
    """Agreement of every pair, reading times, and where readers differ."""

    knees: NonNegativeInt
    pairs: list[PairAgreement]
    readers: list[ReaderStatistics]
    differing: list[Disagreement]


class StudyWithResults(StudySummary):
    """A study with its results so far."""

    results: StudyResults


class MetricChange(ApiModel):
    """A metric before and after a local calibration."""

    name: str
    before: float | None
    """As delivered; null: undefined."""
    after: float | None
    """By calibrations without the knee's patient; null likewise."""
    difference: Interval
    """After minus before."""


class StudyCalibration(ApiModel):
    """What a calibration to a study's readers would bring."""

    knees: NonNegativeInt
    """With a grade that can be used: the first, blind one where all readers gave the same, or the
    one that was settled."""
    patients: NonNegativeInt
    left_out: NonNegativeInt
    """Knees without such a grade, or read by another model than the server's."""
    problem: str | None
    """Why nothing can be fitted; null: it was."""
    calibrated: bool
    """Whether there is a bundle to download."""
    words: str
    """What follows from the grades, and what more of them would bring."""
    metrics: list[MetricChange]
    warnings: list[str]


class ReadRecord(ApiModel):
    """A stored read."""

    first: GradeOrUngradable
    """The blind grade, which never changes; null: ungradable."""
    final: GradeOrUngradable
    """The grade after revision; null: ungradable."""
    seconds: float
    """From the display of the picture to the first grade."""
    comment: str


class StudyKnee(ApiModel):
    """A knee of a study as one reader may see it."""

    item: int
    side: SideLetter
    picture: str
    """Path of the crop, a PNG."""
    read: ReadRecord | None
    """null: not yet read."""
    model: ReadingRecord | None
    """The model's reading; null: not before the reader's own."""


class ReaderWorklist(ApiModel):
    """A reader's knees, in the reader's own random order."""

    study: str
    reader: str
    items: list[StudyKnee]
