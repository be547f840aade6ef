"""From a knee's crop to the joint space that was measured on it."""

from __future__ import annotations

import math

import numpy as np

from kellgren.grades import Side
from kellgren.imaging.picture import PixelSpacing
from kellgren.joint_space.consensus import consensus, turned_back
from kellgren.joint_space.edges import EDGE_PLACES, PlacedEdges, place_edges
from kellgren.joint_space.film_points import FilmPoints
from kellgren.joint_space.joint_line import JointLine, find_joint_line
from kellgren.joint_space.margins import FRAME, find_margins, straightened
from kellgren.joint_space.measurement import Compartment, CompartmentName, JointSpace, Margin
from kellgren.joint_space.spacing import trusted_spacing
from kellgren.joint_space.spread import CONDYLAR_UNCERTAINTY, IN_DOUBT, with_spread
from kellgren.joint_space.widths import measured
from kellgren.knee import KneeCrop, Plane, Region

_EVERY = 3  # of the places is published as a point of a margin
_LOOKS = ((0.0, 1.0, 1.0), (2.0, 1.03, 0.8), (-2.0, 0.97, 1.25))
"""Degrees by which the square is turned, its width, and the exponent of the grey values."""
_NOTED = 0.1  # of the places in doubt are worth a note


def measure(
    crop: KneeCrop, spacing: PixelSpacing | None = None, *, mirrored: bool | None = False
) -> JointSpace:
    """Measure the joint space of one knee.

    Args:
        crop: as the localiser cut it, bone bright.
        spacing: of the radiograph that it was cut from, as that was read.
        mirrored: the film's left is the patient's left, so that the medial side is the other one;
            ``None``: not known, so that no side of the picture is said to be the medial one.

    Returns:
        Margins, widths and their uncertainty; what cannot be told is ``None``, and said to be.
    """
    line = find_joint_line(crop.pixels)
    square = _square(line, crop)
    seen = _seen(crop.pixels, square)
    names = _names(crop.side, mirrored=mirrored)
    film = FilmPoints(crop, square)
    ends = film.of(np.array([[0.0, 0.0], [1.0, 0.0]]))
    mm, words = trusted_spacing(spacing)
    agreed, *looks = (
        measured(
            JointSpace(
                _compartments(names, edges, line, film),
                (ends[0], ends[1]),
                mm,
                words,
                None,
                None,
            )
        )
        for edges in (consensus(seen), *seen)
    )
    of_condyles = IN_DOUBT if any(line.doubtful) else CONDYLAR_UNCERTAINTY
    return with_spread(agreed, looks, of_condyles=of_condyles)


def _seen(pixels: Plane, square: Region) -> list[PlacedEdges]:
    """The edges in the frame of the square, as each look sees them: turned, resized and toned."""
    looks = []
    for turn, size, exponent in _LOOKS:
        around = Region(square.centre, square.width * size, square.angle + turn)
        looks.append(straightened(pixels, around) ** np.float32(exponent))
    joints = np.stack(looks)
    placed = place_edges(joints, find_margins(joints))
    return [turned_back(edges, *look[:2]) for edges, look in zip(placed, _LOOKS, strict=True)]


def _square(line: JointLine, crop: KneeCrop) -> Region:
    """The square around the joint in the crop's pixels; the line was found on a square picture."""
    height, width = crop.pixels.shape
    stretch = math.hypot(width, height * line.slope) / math.hypot(width, width * line.slope)
    return Region(
        (line.centre[0] * width, line.centre[1] * height),
        FRAME * line.width * width * stretch,
        math.degrees(math.atan2(height * line.slope, width)),
    )


def _names(side: Side, *, mirrored: bool | None) -> tuple[CompartmentName, CompartmentName]:
    """Of the picture's left and right: the film's left shows a right knee's lateral side."""
    if side is Side.UNKNOWN or mirrored is None:
        return "left", "right"
    is_lateral_left = (side is Side.RIGHT) != mirrored
    return ("lateral", "medial") if is_lateral_left else ("medial", "lateral")


def _compartments(
    names: tuple[CompartmentName, CompartmentName],
    edges: PlacedEdges,
    line: JointLine,
    film: FilmPoints,
) -> tuple[Compartment, Compartment]:
    """The picture's left and right compartment with their margins, without numbers."""
    left, right = (
        Compartment(
            names[at], *_margins(edges, at, film), None, None, (), None, _note(edges, at, line)
        )
        for at in (0, 1)
    )
    return left, right


def _margins(edges: PlacedEdges, at: int, film: FilmPoints) -> tuple[Margin, Margin]:
    """Those of femur and tibia in a compartment."""
    some = slice(None, None, -_EVERY if at else _EVERY)  # from the picture's left to its right
    along = np.stack((1 - EDGE_PLACES if at else EDGE_PLACES,) * 2, axis=1)
    points = film.of(np.stack((along, edges.below[at]), axis=-1)[some].reshape(-1, 2))
    told = edges.told[at, some].T.tolist()
    femur, tibia = (Margin(tuple(points[bone::2]), tuple(told[bone])) for bone in (0, 1))
    return femur, tibia


def _note(edges: PlacedEdges, at: int, line: JointLine) -> str:
    """What cannot be told, and what to doubt."""
    rims = float(edges.rims[at].mean())
    unseen = float((~edges.told[at]).any(axis=1).mean())
    shares = (
        (rims, "the plateau's rims overlap over {:.0%} of it: the brightest line was taken"),
        (unseen, "a margin cannot be told over {:.0%} of it"),
    )
    words = [words.format(share) for share, words in shares if share >= _NOTED]
    if line.doubtful[at]:
        words.append("the femur's outer edge can hardly be told: ratios and places are uncertain")
    return "; ".join(words)
