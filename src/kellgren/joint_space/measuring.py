"""From a knee's crop to the joint space that was measured on it."""

from __future__ import annotations

import math

import numpy as np

from kellgren.arrays import Float64Array
from kellgren.grades import Side
from kellgren.imaging.picture import PixelSpacing
from kellgren.joint_space import edges
from kellgren.joint_space.edges import EDGE_PLACES, place_edges
from kellgren.joint_space.joint_line import JointLine, find_joint_line
from kellgren.joint_space.margins import CONDYLES, FRAME, Straightened, find_margins
from kellgren.joint_space.measurement import Compartment, CompartmentName, JointSpace, Margin, Point
from kellgren.joint_space.spacing import trusted_spacing
from kellgren.joint_space.widths import measured
from kellgren.knee import KneeCrop, Region

_EVERY = 3  # of the places is published as a point of a margin


def measure(
    crop: KneeCrop, spacing: PixelSpacing | None = None, *, mirrored: bool = False
) -> JointSpace:
    """Measure the joint space of one knee.

    Args:
        crop: as the localiser cut it, bone bright.
        spacing: of the radiograph that it was cut from, as that was read.
        mirrored: the film's left is the patient's left, so that the medial side is the other one.

    Returns:
        Margins, widths and their uncertainty; what cannot be told is ``None``, and said to be.
    """
    line = find_joint_line(crop.pixels)
    rough = Straightened.of(crop.pixels, _square(line, crop), CONDYLES)
    margins = find_margins(rough)
    exact = Straightened.of(crop.pixels, rough.region, edges.CONDYLES)
    placed = place_edges(exact, margins)
    mm, words = trusted_spacing(spacing)
    film = _OnFilm(crop, rough.region)
    ends = film.points(np.array([[0.0, 0.0], [1.0, 0.0]]))
    left, right = (
        _compartment(name, placed.below[at], placed.steepness[at] > 0, film, of_right=at == 1)
        for at, name in enumerate(_names(crop.side, mirrored=mirrored))
    )
    return measured(JointSpace((left, right), (ends[0], ends[1]), mm, words, None, None))


def _square(line: JointLine, crop: KneeCrop) -> Region:
    """The square around the joint in the crop's pixels; the line was found on a square picture."""
    height, width = crop.pixels.shape
    across, down = width, height * line.slope
    turn = math.atan2(down, across)
    condyles = line.width * width / math.cos(math.atan(line.slope)) * math.cos(turn)
    return Region(
        (line.centre[0] * width, line.centre[1] * height), FRAME * condyles, math.degrees(turn)
    )


def _names(side: Side, *, mirrored: bool) -> tuple[CompartmentName, CompartmentName]:
    """Of the picture's left and right: the film's left shows a right knee's lateral side."""
    if side is Side.UNKNOWN:
        return "left", "right"
    is_lateral_left = (side is Side.RIGHT) != mirrored
    return ("lateral", "medial") if is_lateral_left else ("medial", "lateral")


class _OnFilm:
    """From the frame of the condyles, in condylar widths, to points of the radiograph."""

    def __init__(self, crop: KneeCrop, square: Region) -> None:
        height, width = crop.pixels.shape
        self._square = square
        self._middle = np.array([width / 2, height / 2])
        self._region = crop.region
        self._scale = 1.0 if crop.region is None else crop.region.width / max(height, width)

    def points(self, places: Float64Array) -> list[Point]:
        """The points at ``(N, 2)`` along the condylar width, from 0 to 1, and below its line."""
        condyles = self._square.width / FRAME
        centred = (places - [0.5, 0.0]) * condyles
        points = np.array(self._square.centre) + _turned(centred, self._square.angle)
        if self._region is not None:
            points = (points - self._middle) * self._scale
            points = np.array(self._region.centre) + _turned(points, self._region.angle)
        return [(round(float(x), 2), round(float(y), 2)) for x, y in points]


def _turned(points: Float64Array, degrees: float) -> Float64Array:
    """Turned clockwise about 0, 0, the picture's y pointing down."""
    turn = math.radians(degrees)
    x, y = points.T
    return np.column_stack(
        (x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn))
    )


def _compartment(
    name: CompartmentName,
    placed: Float64Array,
    told: np.ndarray,
    film: _OnFilm,
    *,
    of_right: bool,
) -> Compartment:
    """The compartment with its margins, without numbers."""
    some = slice(None, None, -_EVERY if of_right else _EVERY)
    along = 1 - EDGE_PLACES if of_right else EDGE_PLACES
    femur, tibia = (
        Margin(
            tuple(film.points(np.column_stack((along, placed[:, bone]))[some])),
            tuple(bool(one) for one in told[some, bone]),
        )
        for bone in (0, 1)
    )
    return Compartment(name, femur, tibia, None, None, (), None)
