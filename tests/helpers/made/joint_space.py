"""A measured joint space with margins of known places, for a picture of any size."""

from __future__ import annotations

import numpy as np

from kellgren.grades import Side
from kellgren.joint_space.measurement import (
    Bone,
    Compartment,
    CompartmentName,
    JointSpace,
    Margin,
    Measure,
    Point,
)
from kellgren.joint_space.spacing import NONE_STATED
from kellgren.joint_space.widths import measured
from kellgren.knee import KneeCrop

GIVEN = "millimetres by the spacing that was given"
WHOLE_CROP = KneeCrop(np.zeros((224, 224), np.float32), Side.RIGHT)
"""A picture of 224 pixels that is one knee, whole."""
WIDTHS = {"medial": 8.0, "lateral": 12.0, "left": 8.0, "right": 12.0}
"""Of the gap between the margins, in pixels of a picture of 224."""


def made_joint_space(
    names: tuple[CompartmentName, CompartmentName] = ("lateral", "medial"),
    mm_per_pixel: float | None = 0.5,
    *,
    size: float = 224.0,
    untold: CompartmentName | None = None,
) -> JointSpace:
    """Both margins straight and level, 21 points each, in the middle of a square picture.

    Args:
        names: of the compartments, from the picture's left.
        mm_per_pixel: of the points' pixels.
        size: of the picture, pixels.
        untold: the compartment whose tibia cannot be told anywhere.
    """
    scale = size / 224
    in_mm = None if mm_per_pixel is None else 0.002 * 184 * scale * mm_per_pixel
    spread = Measure(0.0, 0.002, mm_uncertainty=in_mm)
    left, right = (
        Compartment(
            name=name,
            femur=_margin(begin, 100.0, scale, told=True),
            tibia=_margin(begin, 100.0 + WIDTHS[name], scale, told=name != untold),
            minimum=spread,
            mean=spread,
            fixed=(),
            narrowest=None,
        )
        for name, begin in zip(names, (30.0, 130.0), strict=True)
    )
    return measured(
        JointSpace(
            compartments=(left, right),
            condyles=((20 * scale, 80 * scale), (204 * scale, 80 * scale)),
            mm_per_pixel=mm_per_pixel,
            spacing=NONE_STATED if mm_per_pixel is None else GIVEN,
            difference=spread,
            convergence_angle=None,
            convergence_uncertainty=0.4,
            condylar_uncertainty=0.01,
        )
    )


def margin_of(space: JointSpace, name: CompartmentName, bone: Bone) -> Margin:
    """One margin."""
    compartment = space.compartment(name)
    assert compartment is not None
    return compartment.femur if bone == "femur" else compartment.tibia


def raised(margin: Margin, pixels: float, begin: int = 0, end: int | None = None) -> list[Point]:
    """The points of a margin, some of them moved upwards."""
    chosen = range(len(margin.points))[begin:end]
    return [(x, y - pixels * (place in chosen)) for place, (x, y) in enumerate(margin.points)]


def _margin(begin: float, y: float, scale: float, *, told: bool) -> Margin:
    points = tuple(((begin + 3 * step) * scale, y * scale) for step in range(21))
    return Margin(points, (told,) * len(points))
