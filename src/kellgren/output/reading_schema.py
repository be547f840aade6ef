"""The schema of a reading: what `KneeReading.to_dict()` gives, what is stored and what is sent.

Models are frozen and refuse fields that they do not know; dumped as JSON, they give the fields in
the order and with the digits of the reading that they were made of.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, TypeAdapter

from kellgren.localisation.check import CheckName, Verdict

SideLetter = Literal["L", "R", ""]
"""The patient's left or right knee; empty: unknown."""
CertaintyLevel = Literal["high", "moderate", "low"]
GradeNumber = Annotated[int, Field(ge=0, le=4)]
"""A Kellgren-Lawrence grade, 0 to 4."""
Probability = Annotated[float, Field(ge=0, le=1)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RegionRecord(_Record):
    """The square of a radiograph that one knee was cut from."""

    centre: tuple[FiniteFloat, FiniteFloat]
    """x and y in pixels of the radiograph, from its upper left corner; one decimal place."""
    width: PositiveFloat
    """Side of the square in the same pixels; one decimal place."""
    angle: FiniteFloat
    """Degrees by which the square is turned clockwise against the radiograph."""


class CheckRecord(_Record):
    """One check of a radiograph before it was graded."""

    name: CheckName
    """What was checked."""
    verdict: Verdict
    """`unknown`: neither picture nor header tells."""
    evidence: str
    """One sentence for the reader, without names or identifiers of the file's header."""


class ModelRecord(_Record):
    """What graded: the model and how it was run."""

    name: str
    """Of the bundle."""
    software: str
    """`kellgren` and its version."""
    checksum: str
    """SHA-256 of the bundle, hexadecimal."""
    engine: Literal["onnxruntime", "openvino"]
    """That ran the networks."""
    precision: Literal["fp32", "bf16"]
    """Of the networks' arithmetic."""
    mirror: Literal["averaged", "off"]
    """Whether outputs for the crop and for its mirror image were averaged."""
    other_knee: Literal["used", "off"]
    """Whether the grade of the contralateral knee may be taken into account."""


class ReadingRecord(_Record):
    """The reading of one knee, without pictures."""

    image: str
    """Path of the file as it was given, or the name that stands for it."""
    side: SideLetter
    """Of the patient; empty: unknown."""
    grade: GradeNumber
    """The most probable Kellgren-Lawrence grade."""
    name: Literal["none", "doubtful", "minimal", "moderate", "severe"]
    """Of the grade."""
    probabilities: tuple[Probability, Probability, Probability, Probability, Probability]
    """Of the grades 0 to 4, six decimal places; they sum to 1 but for rounding."""
    certainty: CertaintyLevel
    """By the largest probability."""
    likely: tuple[GradeNumber, GradeNumber]
    """Lowest and highest of the neighbouring grades that hold 90 % of the probability."""
    warnings: tuple[str, ...]
    """What a reader should know of the file or the side."""
    mm_per_pixel: PositiveFloat | None
    """Pixel spacing of the crop in millimetres; null: the file states none."""
    region: RegionRecord | None
    """Where the knee was cut from; null: the picture is one knee, whole."""
    read_with: str | None
    """Path of the file of the contralateral knee, if that was taken into account."""
    checks: tuple[CheckRecord, ...]
    """All checks of the radiograph, in their order."""
    model: ModelRecord
    """What graded."""


class GradedRow(ReadingRecord):
    """A reading as a row of a table: in the journal of a batch, and in the server's database."""

    note: Literal[""]
    """Always empty: the reason of a row without a grade stands here."""

    @property
    def reading(self) -> ReadingRecord:
        """The row without what only tables need."""
        fields = {name: getattr(self, name) for name in ReadingRecord.model_fields}
        return ReadingRecord.model_construct(**fields)


class UngradedRow(_Record):
    """The row of a file that got no grade."""

    image: str
    """Path of the file as it was given, or the name that stands for it."""
    side: Literal[""]
    """Always empty."""
    grade: None
    """Always null."""
    note: str
    """Why there is no grade: what was found, and the remedy."""


ReadingRow = GradedRow | UngradedRow
ROW_LIST: TypeAdapter[tuple[ReadingRow, ...]] = TypeAdapter(tuple[ReadingRow, ...])
"""Validates and dumps the rows of a file."""
