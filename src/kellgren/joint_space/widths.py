"""Numbers of the joint space from its margins: the same for margins found and for those corrected.

Everything is counted in the frame of the condyles: along the line between the ends of the condylar
width, and downwards across it, both in condylar widths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.errors import InvalidOption
from kellgren.joint_space.measurement import (
    Bone,
    Compartment,
    CompartmentName,
    FixedWidth,
    JointSpace,
    Margin,
    Measure,
    Point,
)

FIXED_PLACES = (0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3)
"""Of the condylar width from its nearer end, in each compartment: 0.15 to 0.30, 0.70 to 0.85."""
WEIGHT_BEARING = (0.13, 0.20)
"""Of the condylar width from its nearer end: where the minimum is looked for. See decision 34."""
_SAMPLES = 121  # places along a compartment
_LEAST_TOLD = 0.5  # of the places, for widths to be given
NOT_TOLD = "the margins cannot be told over half of this compartment"


@dataclass(frozen=True)
class Frame:
    """The axis of the condyles.

    Attributes:
        condyles: ends of the condylar width, from the picture's left to its right.
    """

    condyles: tuple[Point, Point]

    @property
    def width(self) -> float:
        """Condylar width in pixels."""
        return math.dist(*self.condyles)

    def places(self, points: Float64Array) -> Float64Array:
        """``(N, 2)``: along the axis and below it, in condylar widths, of points of the picture."""
        origin, along, down = self._axes
        away = points - origin
        return np.stack((away @ along, away @ down), axis=1) / self.width

    def points(self, places: Float64Array) -> Float64Array:
        """``(N, 2)``: the points of the picture at these places."""
        origin, along, down = self._axes
        scaled = places * self.width
        return origin + scaled[:, :1] * along + scaled[:, 1:] * down

    @cached_property
    def _axes(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        left, right = np.array(self.condyles)
        along = (right - left) / self.width
        return left, along, np.array([-along[1], along[0]])


def remeasure(
    joint_space: JointSpace, moved: Mapping[tuple[CompartmentName, Bone], Sequence[Point]]
) -> JointSpace:
    """Measure again with margins that a person corrected.

    Args:
        joint_space: as it was measured, or corrected before.
        moved: the corrected margins, each as at least two points in pixels of the radiograph; all
            of their points count as told. The other margins stay.

    Returns:
        All numbers, computed from the margins alone. Those that rest on a corrected margin have no
        uncertainty. With nothing moved, the numbers are those that were given.

    Raises:
        InvalidOption: a compartment or bone that there is not, or points that make no margin.
    """
    names = {compartment.name for compartment in joint_space.compartments}
    for (name, bone), points in moved.items():
        if name not in names or bone not in ("femur", "tibia"):
            raise InvalidOption("margin", f"is {name} {bone}", f"Choose among {sorted(names)}")
        _check_points(f"{name} {bone}", points)
    return with_moved_margins(joint_space, {of: _moved(points) for of, points in moved.items()})


def with_moved_margins(
    joint_space: JointSpace, margins: Mapping[tuple[CompartmentName, Bone], Margin]
) -> JointSpace:
    """The same with some of its margins in the place of its own, and all numbers that follow."""
    left, right = (
        replace(
            own,
            femur=margins.get((own.name, "femur"), own.femur),
            tibia=margins.get((own.name, "tibia"), own.tibia),
        )
        for own in joint_space.compartments
    )
    return measured(replace(joint_space, compartments=(left, right)))


def measured(joint_space: JointSpace) -> JointSpace:
    """The same with all numbers computed from its margins; uncertainties stay where margins do."""
    frame = Frame(joint_space.condyles)
    mm = None if joint_space.mm_per_pixel is None else joint_space.mm_per_pixel * frame.width
    left, right = (
        _numbers(compartment, frame, mm, of_right=place == 1)
        for place, compartment in enumerate(joint_space.compartments)
    )
    mirrored = left.name == "lateral"
    angle = _convergence(left, right, frame)
    corrected = left.corrected or right.corrected
    return replace(
        joint_space,
        compartments=(left, right),
        difference=_difference(left, right, mm, corrected, joint_space.difference, mirrored),
        convergence_angle=None if angle is None else (-angle if mirrored else angle),
        convergence_uncertainty=None if corrected else joint_space.convergence_uncertainty,
    )


def _check_points(name: str, points: Sequence[Point]) -> None:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] != 2:
        raise InvalidOption(name, "is no list of points", "Give two or more points (x, y)")
    if not np.isfinite(values).all() or not np.ptp(values[:, 0]):
        raise InvalidOption(name, "has points that make no margin", "Give distinct, finite points")


def _moved(points: Sequence[Point]) -> Margin:
    placed = tuple((float(x), float(y)) for x, y in points)
    return Margin(placed, (True,) * len(placed), corrected=True)


def _numbers(
    compartment: Compartment, frame: Frame, mm: float | None, *, of_right: bool
) -> Compartment:
    """The compartment with its widths, ``mm`` being the condylar width in millimetres."""
    across = _Across.of(compartment, frame)
    fixed = tuple(_fixed(compartment, across, mm, of_right=of_right))
    narrowest = across.narrowest() if across.told_share >= _LEAST_TOLD else None
    if narrowest is None:
        notes = compartment.note.removesuffix(NOT_TOLD).removesuffix("; "), NOT_TOLD
        note = "; ".join(filter(None, notes))
        return replace(compartment, minimum=None, mean=None, fixed=fixed, narrowest=None, note=note)
    minimum, ends = narrowest
    femur, tibia = frame.points(ends)
    old = compartment
    return replace(
        old,
        minimum=_measure(minimum, mm, old.minimum, old.corrected),
        mean=_measure(across.mean(), mm, old.mean, old.corrected),
        fixed=fixed,
        narrowest=((float(femur[0]), float(femur[1])), (float(tibia[0]), float(tibia[1]))),
        note="" if old.corrected else old.note,
    )


def _fixed(
    compartment: Compartment, across: _Across, mm: float | None, *, of_right: bool
) -> Iterator[FixedWidth]:
    from_ends = FIXED_PLACES, tuple(1 - place for place in FIXED_PLACES)
    along = from_ends[of_right]
    xs = {"medial": from_ends[0], "lateral": from_ends[1]}.get(compartment.name, along)
    old = {fixed.x: fixed.width for fixed in compartment.fixed}
    for x, width in zip((round(x, 3) for x in xs), across.at(np.array(along)), strict=True):
        if width is None:
            yield FixedWidth(x, None)
        else:
            yield FixedWidth(x, _measure(width, mm, old.get(x), compartment.corrected))


def _measure(ratio: float, mm: float | None, old: Measure | None, corrected: bool) -> Measure:
    """A length given as ratio, with the uncertainties of the old one unless a margin was moved."""
    in_mm = None if mm is None else ratio * mm
    if corrected or old is None:
        return Measure(ratio, mm=in_mm)
    return replace(old, ratio=ratio, mm=in_mm)


def _difference(
    left: Compartment,
    right: Compartment,
    mm: float | None,
    corrected: bool,
    old: Measure | None,
    mirrored: bool,
) -> Measure | None:
    if left.minimum is None or right.minimum is None:
        return None
    ratio = right.minimum.ratio - left.minimum.ratio
    return _measure(-ratio if mirrored else ratio, mm, old, corrected)


@dataclass(frozen=True, slots=True)
class _Across:
    """Both margins of a compartment at the same places along the axis, in condylar widths."""

    along: Float64Array  # (N,)
    femur: Float64Array  # (N,) below the axis
    tibia: Float64Array  # (N,)
    told_femur: np.ndarray  # (N,) bool
    told_tibia: np.ndarray

    @classmethod
    def of(cls, compartment: Compartment, frame: Frame) -> _Across:
        margins = compartment.femur, compartment.tibia
        places = [frame.places(np.array(margin.points)) for margin in margins]
        low = max(place[:, 0].min() for place in places)
        high = min(place[:, 0].max() for place in places)
        along = np.linspace(low, max(low, high), _SAMPLES)
        below, told = [], []
        for margin, place in zip(margins, places, strict=True):
            order = np.argsort(place[:, 0], kind="stable")
            x, y = place[order].T
            below.append(np.interp(along, x, y))
            told.append(np.interp(along, x, np.array(margin.told, dtype=float)[order]) > 1 - 1e-9)
        is_empty = high <= low
        return cls(along, *below, *(one & (not is_empty) for one in told))

    @property
    def told_share(self) -> float:
        return float((self.told_femur & self.told_tibia).mean())

    def at(self, along: Float64Array) -> list[float | None]:
        """Widths at places, never below 0; ``None``: a margin is not told there."""
        nearest = np.abs(self.along - along[:, None]).argmin(axis=1)
        step = self.along[1] - self.along[0]
        told = (self.told_femur & self.told_tibia)[nearest]
        told &= np.abs(self.along[nearest] - along) <= step
        widths = np.interp(along, self.along, self.tibia - self.femur).tolist()
        return [
            max(0.0, width) if is_told else None
            for width, is_told in zip(widths, told, strict=True)
        ]

    def mean(self) -> float:
        told = self.told_femur & self.told_tibia
        return float(np.maximum(self.tibia - self.femur, 0)[told].mean())

    def narrowest(self) -> tuple[float, Float64Array] | None:
        """The least width among the weight-bearing places, and its ends on femur and tibia;
        ``None``: both margins are told at none of them.
        """
        from_end = np.minimum(self.along, 1 - self.along)
        bearing = (from_end >= WEIGHT_BEARING[0] - 1e-9) & (from_end <= WEIGHT_BEARING[1] + 1e-9)
        gap = self.tibia - self.femur
        gap = np.where(bearing & self.told_femur & self.told_tibia, gap, np.inf)
        at = int(gap.argmin())
        if not np.isfinite(gap[at]):
            return None
        ends = np.array([[self.along[at], self.femur[at]], [self.along[at], self.tibia[at]]])
        return max(0.0, float(gap[at])), ends


def _convergence(left: Compartment, right: Compartment, frame: Frame) -> float | None:
    """Degrees between the tangent below both condyles and the line through both plateaus, positive
    where they meet on the picture's left; ``None``: a compartment is not measured.
    """
    if left.minimum is None or right.minimum is None:
        return None
    condyles = [_told(compartment.femur, frame) for compartment in (left, right)]
    plateaus = [_told(compartment.tibia, frame).mean(axis=0) for compartment in (left, right)]
    slope = 0.0
    for _ in range(4):  # the tangent touches where the condyles lie lowest against it
        low = [points[(points[:, 1] - slope * points[:, 0]).argmax()] for points in condyles]
        slope = _slope(*low)
    return math.degrees(math.atan(_slope(*plateaus)) - math.atan(slope))


def _told(margin: Margin, frame: Frame) -> Float64Array:
    return frame.places(np.array(margin.points)[np.array(margin.told)])


def _slope(left: Float64Array, right: Float64Array) -> float:
    return float((right[1] - left[1]) / (right[0] - left[0]))
