"""Margins that a person corrected: what is sent of them, and the joint space that follows."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from kellgren.errors import InvalidOption
from kellgren.exchange.record import Record
from kellgren.joint_space.measurement import Bone, CompartmentName, Margin
from kellgren.joint_space.telling.placing import shares
from kellgren.joint_space.telling.space_record import MOST_POINTS, JointSpaceRecord, PointRecord
from kellgren.joint_space.widths import with_moved_margins

_OUTSIDE = 0.02  # of the knee's picture, how far beyond its border a margin may end


class MovedMargin(Record):
    """One margin as a person corrected it."""

    compartment: CompartmentName
    """As the record of the joint space calls it."""
    bone: Bone
    """Whose margin it is."""
    points: Annotated[tuple[PointRecord, ...], Field(min_length=2, max_length=MOST_POINTS)]
    """x and y in pixels of the radiograph, from the picture's left to its right."""
    told: Annotated[tuple[bool, ...], Field(min_length=2, max_length=MOST_POINTS)]
    """For each point, whether the edge is there; widths leave out the rest."""

    @model_validator(mode="after")
    def _is_a_margin(self) -> Self:
        if len(self.points) != len(self.told):
            raise ValueError("a margin needs as many values in `told` as it has points")
        if len({x for x, _ in self.points}) < 2:
            raise ValueError("a margin needs two points that do not lie above each other")
        return self

    @property
    def margin(self) -> Margin:
        """The margin, marked as corrected."""
        points = tuple((round(x, 2), round(y, 2)) for x, y in self.points)
        return Margin(points, self.told, corrected=True)


class Correction(Record):
    """The margins of one knee that a person corrected; those that are not named stay."""

    margins: Annotated[tuple[MovedMargin, ...], Field(min_length=1, max_length=4)]


def corrected(record: JointSpaceRecord, correction: Correction) -> JointSpaceRecord:
    """A joint space with corrected margins, measured anew from the margins alone.

    Args:
        record: as it was measured, or corrected before.
        correction: of some of its margins.

    Returns:
        All numbers; those that rest on a corrected margin have no uncertainty.

    Raises:
        InvalidOption: a compartment that the knee does not have, or points outside its picture.
    """
    space = record.space
    names = [compartment.name for compartment in space.compartments]
    for moved in correction.margins:
        if moved.compartment not in names:
            raise InvalidOption(
                "compartment", f"is {moved.compartment}", f"Choose one of {', '.join(names)}"
            )
        placed = shares(moved.points, record.frame)
        if not (placed.min() >= -_OUTSIDE and placed.max() <= 1 + _OUTSIDE):
            raise InvalidOption(
                f"{moved.compartment} {moved.bone}",
                "has points outside the knee's picture",
                "Give points in pixels of the radiograph, within `frame`",
            )
    moved_to = {(moved.compartment, moved.bone): moved.margin for moved in correction.margins}
    return record.remade(with_moved_margins(space, moved_to))
