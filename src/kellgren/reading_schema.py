"""The schema of a reading: what every interface gives, what is stored and what is sent.

Models are frozen and refuse unknown fields; as JSON they keep the order and digits of the reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    FiniteFloat,
    JsonValue,
    NonNegativeInt,
    PositiveFloat,
    TypeAdapter,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from kellgren.exchange.field_texts import without_default
from kellgren.exchange.record import Record
from kellgren.file_names import shown_name
from kellgren.grades import NOTICE, Notice
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.localisation.check import CheckName, Verdict

SideLetter = Literal["L", "R", ""]
"""The patient's left or right knee; empty: unknown."""
CertaintyLevel = Literal["high", "moderate", "low"]
GradeNumber = Annotated[int, Field(ge=0, le=4)]
Probability = Annotated[float, Field(ge=0, le=1)]


def _shown(path: object) -> object:
    return shown_name(path) if isinstance(path, str) else path


ImageName = Annotated[str, BeforeValidator(_shown)]
"""A path as text: bytes that are no UTF-8 are written out."""


_LEFT_OUT = Field(exclude_if=lambda it: it in (None, ()), json_schema_extra=without_default)


class RegionRecord(Record):
    """The square of a radiograph that one knee was cut from."""

    centre: tuple[FiniteFloat, FiniteFloat]
    """x and y in pixels of the radiograph, from its upper left corner; one decimal place."""
    width: PositiveFloat
    """Side of the square in the same pixels; one decimal place."""
    angle: FiniteFloat
    """Degrees by which the square is turned clockwise against the radiograph."""


class CheckRecord(Record):
    """One check of a radiograph before it was graded."""

    name: CheckName
    """What was checked."""
    verdict: Verdict
    """`unknown`: neither the picture nor the header shows it."""
    evidence: str
    """One sentence for the reader, without names or identifiers of the file's header."""
    value: Annotated[FiniteFloat | SkipJsonSchema[None], _LEFT_OUT] = None
    """Gate distance of `picture`, mean grey value of `exposure`; left out of other checks."""


class SideStatementRecord(Record):
    """What one source says of a knee's side."""

    source: str
    """An element of the header, the file's name, the caller, the place on the film, the anatomy."""
    value: str
    """What it says, in a term of the standard or in words of the software."""
    side: SideLetter
    """The side that follows from it; empty: none."""


SideEvidence = Annotated[tuple[SideStatementRecord, ...], _LEFT_OUT]


class ModelRecord(Record):
    """The model that graded, and how it was run."""

    name: str
    """Name of the bundle."""
    software: str
    """`kellgren` and its version."""
    checksum: str
    """SHA-256 of the bundle, hexadecimal."""
    engine: Literal["onnxruntime", "openvino"]
    """Library that ran the networks."""
    precision: Literal["fp32", "bf16"]
    """Number format of the networks' arithmetic."""
    device: Annotated[Literal["cuda"] | SkipJsonSchema[None], _LEFT_OUT] = None
    """What computed, where it was not the processor; left out where it was."""
    mirror: Literal["averaged", "off"]
    """Whether outputs for the crop and for its mirror image were averaged."""
    other_knee: Literal["used", "off"]
    """Whether the grade of the contralateral knee may be taken into account."""
    local_calibration: Annotated[str | SkipJsonSchema[None], _LEFT_OUT] = None
    """The local knees to whose readers the bundle was calibrated; left out where to none."""
    level: Annotated[str | SkipJsonSchema[None], _LEFT_OUT] = None
    """Level of the grade sets as text, such as 0.9; left out in readings of version 0.1."""
    naming: Annotated[Literal["when sure", "always"] | SkipJsonSchema[None], _LEFT_OUT] = None
    """Whether a grade is named whatever the doubts; left out in readings of version 0.1."""
    scale: Annotated[Literal["OAI", "not stated"] | SkipJsonSchema[None], _LEFT_OUT] = None
    """Reading protocol that the labels followed; left out in readings of version 0.1."""


class GradeSetRecord(Record):
    """Neighbouring grades that hold the label at a stated rate."""

    lowest: GradeNumber
    """Lowest grade of the set."""
    highest: GradeNumber
    """Highest grade of the set."""
    level: Annotated[float, Field(gt=0, lt=1)]
    """Share of labels that such sets are to hold, of every true grade."""
    coverage: Probability | None
    """Share held out of fold; null: not fitted, the set holds `level` of the probability."""


class KneeRecord(Record):
    """The reading of one knee, without pictures and without the model that graded it."""

    image: ImageName
    """Path of the file as it was given, or the name that stands for it."""
    side: SideLetter
    """Whether it is the patient's left or right knee; empty: unknown."""
    grade: GradeNumber
    """The most probable Kellgren-Lawrence grade; only a candidate where `named` is false."""
    named: bool
    """False: not sure enough to name a grade, for the reasons in `doubts`."""
    doubts: tuple[str, ...]
    """Why the grade should not be named; empty where nothing speaks against it."""
    name: Literal["none", "doubtful", "minimal", "moderate", "severe"]
    """The word for the grade."""
    probabilities: tuple[Probability, Probability, Probability, Probability, Probability]
    """Probabilities of the grades 0 to 4, six decimal places; they sum to 1 but for rounding."""
    certainty: CertaintyLevel
    """From the largest probability: high from 0.75, moderate from 0.5, else low; the next lower
    one where a warning says that the picture's fine detail is unusual."""
    right_share: Probability | None
    """Share of right grades among the out-of-fold knees of that certainty; null: not measured."""
    grade_set: GradeSetRecord
    """Neighbouring grades that hold the label at the level that was asked for."""
    disagreement: Annotated[float, Field(ge=0)] | None
    """Of the members, in nats: mutual information of grade and member; null: one member."""
    warnings: tuple[str, ...]
    """What a reader should know of the file or the side."""
    mm_per_pixel: PositiveFloat | None
    """Pixel spacing of the crop in millimetres; null: the file states none."""
    region: RegionRecord | None
    """Where the knee was cut from; null: the picture is one knee, whole."""
    read_with: ImageName | None
    """Path of the file of the contralateral knee, if that was taken into account."""
    checks: tuple[CheckRecord, ...]
    """All checks of the radiograph, in their order."""
    side_evidence: SideEvidence = ()
    """All that tells, or might tell, the side; left out in readings of version 0.1."""
    joint_space: Annotated[JointSpaceRecord | SkipJsonSchema[None], _LEFT_OUT] = None
    """Margins and widths of the joint space; left out with `--joint-space off`, and in 0.1."""

    @model_validator(mode="before")
    @classmethod
    def _of_version_0_1(cls, content: Any) -> Any:
        """Its `likely` grades held 90 % of the probability: a set whose coverage none measured."""
        if not isinstance(content, dict) or "likely" not in content:
            return content
        lowest, highest = content["likely"]
        held = {"lowest": lowest, "highest": highest, "level": 0.9, "coverage": None}
        unknown = {"named": True, "doubts": (), "right_share": None, "disagreement": None}
        kept = {key: value for key, value in content.items() if key != "likely"}
        return unknown | kept | {"grade_set": held}


class ReadingRecord(KneeRecord):
    """The reading of one knee, without pictures: what `KneeReading.to_dict()` gives."""

    model: ModelRecord
    """The bundle that graded the knee, with its engine and precision."""


_PATIENT = Field(
    description="Of the file's patient, as the manifest names it; with `--pseudonym` its "
    "pseudonym, empty where the file states none."
)
PatientName = Annotated[str | SkipJsonSchema[None], _LEFT_OUT, _PATIENT]
PictureName = Annotated[ImageName | SkipJsonSchema[None], _LEFT_OUT]


class _OfGraded(Record):
    note: Literal[""]
    """Always empty: for a file without a grade, the reason stands here."""
    patient: PatientName = None
    overlay: PictureName = None
    """Path of the knee's picture; only with `--overlay`."""


class GradedRow(_OfGraded, ReadingRecord):
    """A reading as a row of a table: in the journal of a batch, and in the server's database."""

    @classmethod
    def of(cls, reading: ReadingRecord) -> Self:
        """The row of a reading."""
        return cls.model_construct(**dict(reading), note="")

    @property
    def reading(self) -> ReadingRecord:
        """The row without what only tables need."""
        return ReadingRecord.model_construct(**_part(self, ReadingRecord))


class UngradedRow(Record):
    """The row of a joint that was found and not graded, or of a file that got no grade at all."""

    image: ImageName
    """Path of the file as it was given, or the name that stands for it."""
    side: SideLetter
    """Of a joint, as far as it is known; empty: unknown, or the row of a file."""
    grade: None
    """Always null."""
    note: str
    """Why there is no grade: what was found, and the remedy."""
    region: Annotated[RegionRecord | SkipJsonSchema[None], _LEFT_OUT] = None
    """Where the joint lies; left out where it fills the picture, and in the row of a file."""
    checks: Annotated[tuple[CheckRecord, ...], _LEFT_OUT] = ()
    """All checks of the joint, in their order; left out in the row of a file."""
    patient: PatientName = None
    overlay: PictureName = None
    """Path of the joint's picture; only with `--overlay`."""


ReadingRow = GradedRow | UngradedRow
READING_ROW: TypeAdapter[ReadingRow] = TypeAdapter(ReadingRow)
ROW_LIST: TypeAdapter[tuple[ReadingRow, ...]] = TypeAdapter(tuple[ReadingRow, ...])
"""They validate and dump a row of a file, and all of them."""


class ListedReading(_OfGraded, KneeRecord):
    """A reading in a document that names the model once for all of them."""


class NoModel(Record):
    """An empty object: reading the file ended before a model was used."""


class RowCounts(Record):
    """How many entries a document has, and of how many files."""

    files: NonNegativeInt
    """Files that were given."""
    graded: NonNegativeInt
    """Knees with a grade."""
    not_graded: NonNegativeInt
    """Joints that were refused, and files without any knee."""


class ReadingsDocument(Record):
    """All readings of a batch: what `kellgren grade --json` writes."""

    notice: Notice
    """To be shown with every reading."""
    model: ModelRecord | NoModel
    """The model that graded all of them, and how it was run."""
    counts: RowCounts
    """Of the entries below."""
    readings: tuple[ListedReading | UngradedRow, ...]
    """One entry a joint, and one for each file without any, in the order of the files: first the
    graded knees of a file, then its refused joints, each from the film's left to its right."""

    @classmethod
    def of(cls, rows: Iterable[ReadingRow], model: ModelRecord | None) -> Self:
        """The document of a batch.

        Args:
            rows: all graded by the same model.
            model: that one; `None` where none was used.
        """
        rows = list(rows)
        graded = sum(row.grade is not None for row in rows)
        files = len({row.image for row in rows})
        return cls(
            notice=NOTICE,
            model=model or NoModel(),
            counts=RowCounts(files=files, graded=graded, not_graded=len(rows) - graded),
            readings=tuple(cls.entry(row) for row in rows),
        )

    @staticmethod
    def entry(row: ReadingRow) -> ListedReading | UngradedRow:
        """What stands in the document for a row."""
        if isinstance(row, GradedRow):
            return ListedReading.model_construct(**_part(row, ListedReading))
        return row


def readings_schema() -> dict[str, JsonValue]:
    """JSON Schema (draft 2020-12) of the documents of `kellgren grade --json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:kellgren:readings:2",
        **ReadingsDocument.model_json_schema(),
    }


def _part(row: Record, model: type[Record]) -> dict[str, Any]:
    """The fields of a row that another model has too."""
    return {name: getattr(row, name) for name in model.model_fields}
