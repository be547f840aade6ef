"""How far a measurement can be trusted: by how far others of the same knee lie from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from kellgren.joint_space.measurement import Compartment, FixedWidth, JointSpace, Measure

CONDYLAR_UNCERTAINTY, IN_DOUBT = 0.015, 0.045
"""Standard deviation of the condylar width, relative to it; the second, where an outer edge of the
femur can hardly be told. See docs/measurements/joint-space.md."""
_LEAST = 0.0010  # of the condylar width: about a quarter of a pixel of the training crops
_LEAST_DEGREES = 0.2


def with_spread(
    joint_space: JointSpace, looks: Sequence[JointSpace], *, of_condyles: float
) -> JointSpace:
    """The measurement with its uncertainties.

    Args:
        joint_space: the measurement itself.
        looks: it, and others of the same knee in the same frame, turned, resized and toned.
        of_condyles: uncertainty of the condylar width, relative to it.

    Returns:
        What fewer than two looks could measure has no uncertainty.
    """

    def measure_of(get: Callable[[JointSpace], Measure | None]) -> Measure | None:
        own = get(joint_space)
        if own is None:
            return None
        found = [one.ratio for one in map(get, looks) if one is not None]
        return _uncertain(own, found, joint_space.condylar_width_mm, of_condyles)

    def compartment_of(at: int) -> Compartment:
        own = joint_space.compartments[at]

        def fixed_of(k: int) -> FixedWidth:
            width = measure_of(lambda look: look.compartments[at].fixed[k].width)
            return FixedWidth(own.fixed[k].x, width)

        return replace(
            own,
            minimum=measure_of(lambda look: look.compartments[at].minimum),
            mean=measure_of(lambda look: look.compartments[at].mean),
            fixed=tuple(fixed_of(k) for k in range(len(own.fixed))),
        )

    angles = [a for a in (look.convergence_angle for look in looks) if a is not None]
    is_known = joint_space.convergence_angle is not None and len(angles) > 1
    return replace(
        joint_space,
        compartments=(compartment_of(0), compartment_of(1)),
        difference=measure_of(lambda look: look.difference),
        convergence_uncertainty=(
            math.hypot(_deviation(angles), _LEAST_DEGREES) if is_known else None
        ),
        condylar_uncertainty=of_condyles,
    )


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _uncertain(
    own: Measure, found: Sequence[float], condyles_mm: float | None, of_condyles: float
) -> Measure:
    if len(found) < 2:
        return own
    of_length = math.hypot(_deviation(found), _LEAST)
    ratio = math.hypot(of_length, own.ratio * of_condyles)
    mm = None if condyles_mm is None else of_length * condyles_mm
    return replace(own, ratio_uncertainty=ratio, mm_uncertainty=mm)
