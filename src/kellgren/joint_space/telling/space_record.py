"""The measured joint space as a checked record, the form in which it is kept and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, FiniteFloat, NonNegativeFloat, PositiveFloat, model_validator

from kellgren.exchange.record import Record
from kellgren.joint_space.measurement import (
    Compartment,
    CompartmentName,
    FixedWidth,
    JointSpace,
    Margin,
    Measure,
)
from kellgren.joint_space.telling.placing import corners_of

if TYPE_CHECKING:
    from kellgren.knee import KneeCrop

MOST_POINTS = 400
"""Of one margin in a record; the method itself gives far fewer."""
PointRecord = tuple[FiniteFloat, FiniteFloat]


class MarginRecord(Record):
    """The edge of one bone in one compartment, from the picture's left to its right."""

    points: Annotated[tuple[PointRecord, ...], Field(min_length=2, max_length=MOST_POINTS)]
    """x and y in pixels of the radiograph, its corner being 0, 0; two decimal places."""
    told: Annotated[tuple[bool, ...], Field(min_length=2, max_length=MOST_POINTS)]
    """For each point, whether the picture shows the edge there; widths leave out the rest."""
    corrected: bool
    """A person moved it."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.points) != len(self.told):
            raise ValueError("a margin needs as many values in `told` as it has points")
        return self

    @property
    def margin(self) -> Margin:
        """What the record was made of."""
        return Margin(self.points, self.told, self.corrected)


class MeasureRecord(Record):
    """A length."""

    ratio: FiniteFloat
    """To the condylar width."""
    ratio_uncertainty: NonNegativeFloat | None
    """One standard deviation; null: not known, as after a correction by hand."""
    mm: FiniteFloat | None
    """In millimetres; null: the spacing of the pixels cannot be trusted."""
    mm_uncertainty: NonNegativeFloat | None
    """One standard deviation, the spacing taken as exact; null likewise."""

    @property
    def measure(self) -> Measure:
        """What the record was made of."""
        return Measure(**dict(self))


class FixedWidthRecord(Record):
    """The width at a fixed place."""

    x: Annotated[float, Field(ge=0, le=1)]
    """Of the condylar width, from the medial side; from the picture's left where side is empty."""
    width: MeasureRecord | None
    """null: a margin cannot be told there."""


class CompartmentRecord(Record):
    """The joint space of one compartment."""

    name: CompartmentName
    """left and right are those of the picture, of a knee whose side is not known."""
    minimum: MeasureRecord | None
    """The least width across the condylar width, among the places 0.13 to 0.20 of it from its
    nearer end; null: not measured."""
    mean: MeasureRecord | None
    """Over the places where both margins are told; null: not measured."""
    fixed: tuple[FixedWidthRecord, ...]
    """Widths at fixed places, along the perpendicular to the condylar width."""
    narrowest: tuple[PointRecord, PointRecord] | None
    """Ends of the minimum, on the femur and on the tibia."""
    femur: MarginRecord
    """Margin of the condyle."""
    tibia: MarginRecord
    """Margin of the plateau."""
    note: str
    """Why something was not measured, or what to doubt; empty: nothing."""

    @property
    def compartment(self) -> Compartment:
        """What the record was made of."""
        return Compartment(
            name=self.name,
            femur=self.femur.margin,
            tibia=self.tibia.margin,
            minimum=_measure(self.minimum),
            mean=_measure(self.mean),
            fixed=tuple(FixedWidth(one.x, _measure(one.width)) for one in self.fixed),
            narrowest=self.narrowest,
            note=self.note,
        )


class JointSpaceRecord(Record):
    """Margins and widths of one knee's joint space. Research use."""

    compartments: tuple[CompartmentRecord, CompartmentRecord]
    """Of the picture's left and of its right."""
    condyles: tuple[PointRecord, PointRecord]
    """Ends of the condylar width, from the picture's left to its right."""
    condylar_width: PositiveFloat
    """In pixels of the radiograph."""
    condylar_width_mm: PositiveFloat | None
    """null: no millimetres."""
    mm_per_pixel: PositiveFloat | None
    """Of the pixels that the points count in; null: no millimetres."""
    spacing: str
    """Where the millimetres come from, or why there are none."""
    difference: MeasureRecord | None
    """Minimum of the lateral less that of the medial compartment; of the right less the left of the
    picture where the side is not known; null: one is missing."""
    convergence_angle: FiniteFloat | None
    """Degrees between the lines of condyles and plateaus, positive where they meet medially, or on
    the picture's left; null: not measured."""
    convergence_uncertainty: NonNegativeFloat | None
    """One standard deviation, degrees."""
    condylar_uncertainty: NonNegativeFloat | None
    """One standard deviation of the condylar width, relative to it."""
    corrected: bool
    """A person moved a margin."""
    frame: tuple[PointRecord, PointRecord, PointRecord, PointRecord]
    """Corners of the knee's picture: top left, top right, bottom right, bottom left; two decimal
    places."""
    stretch: tuple[PositiveFloat, PositiveFloat]
    """How many pixels of the radiograph stand for one of its file, along x and y: 1 and 1, unless
    the file's pixels are not square."""

    @classmethod
    def of(cls, space: JointSpace, crop: KneeCrop) -> Self:
        """The record of a measurement.

        Args:
            space: what was measured.
            crop: of the knee on which it was measured.
        """
        corners = [(round(x, 2), round(y, 2)) for x, y in corners_of(crop)]
        return cls.model_validate(
            {**space.to_dict(), "frame": corners, "stretch": tuple(crop.stretch)}
        )

    def remade(self, space: JointSpace) -> Self:
        """The record of another measurement on the same picture."""
        return self.model_validate(
            {**space.to_dict(), "frame": self.frame, "stretch": self.stretch}
        )

    @property
    def space(self) -> JointSpace:
        """What the record was made of, to its rounding."""
        left, right = self.compartments
        return JointSpace(
            compartments=(left.compartment, right.compartment),
            condyles=self.condyles,
            mm_per_pixel=self.mm_per_pixel,
            spacing=self.spacing,
            difference=_measure(self.difference),
            convergence_angle=self.convergence_angle,
            convergence_uncertainty=self.convergence_uncertainty,
            condylar_uncertainty=self.condylar_uncertainty,
        )


def _measure(record: MeasureRecord | None) -> Measure | None:
    return None if record is None else record.measure
