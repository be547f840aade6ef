"""Numbers of the joint space from margins whose widths are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kellgren.errors import InvalidOption
from kellgren.imaging.picture import PixelSpacing
from kellgren.joint_space.measurement import Compartment, JointSpace, Margin, Measure
from kellgren.joint_space.spacing import NONE_STATED, trusted_spacing
from kellgren.joint_space.spread import with_spread
from kellgren.joint_space.widths import NOT_TOLD, measured, remeasure

LEFT, RIGHT = (0.08, 0.32), (0.68, 0.92)  # of the condylar width


def margin(ends: tuple[float, float], heights: tuple[float, float], told: bool = True) -> Margin:
    """A straight one, of a knee 200 pixels wide whose condyles begin at x = 50, y = 100."""
    x, y = np.linspace(*ends, 9), np.linspace(*heights, 9)
    points = tuple((50 + 200 * float(a), 100 + float(b)) for a, b in zip(x, y, strict=True))
    return Margin(points, (told,) * 9)


def knee(
    left: tuple[float, float] = (12.0, 12.0),
    right: tuple[float, float] = (8.0, 8.0),
    names: tuple[Any, Any] = ("lateral", "medial"),
    mm: float | None = None,
) -> JointSpace:
    """Flat condyles, and plateaus at these heights below them."""
    compartments = tuple(
        Compartment(name, margin(at, (0, 0)), margin(at, low), None, None, (), None)
        for name, at, low in zip(names, (LEFT, RIGHT), (left, right), strict=True)
    )
    ends = ((50.0, 100.0), (250.0, 100.0))
    return measured(
        JointSpace((compartments[0], compartments[1]), ends, mm, NONE_STATED, None, None)
    )


def close(found: Measure | None, ratio: float, mm: float | None) -> bool:
    """Whether a length without an uncertainty is this one."""
    assert found is not None
    assert found.ratio == pytest.approx(ratio, abs=1e-9)
    assert found.mm == (None if mm is None else pytest.approx(mm, abs=1e-9))
    return (found.ratio_uncertainty, found.mm_uncertainty) == (None, None)


def test_parallel_margins_have_one_width_everywhere():
    space = knee(mm=0.5)
    medial = space.medial
    assert medial is not None
    assert close(medial.minimum, 0.04, 4.0)
    assert medial.mean is not None
    assert medial.mean.ratio == pytest.approx(0.04)
    assert [place.x for place in medial.fixed] == [0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3]
    assert all(place.width.ratio == pytest.approx(0.04) for place in medial.fixed if place.width)
    assert space.condylar_width_mm == 100
    assert close(space.difference, 0.02, 2.0)
    assert space.convergence_angle == pytest.approx(np.degrees(np.arctan(4 / (0.6 * 200))))


def test_the_lateral_side_counts_its_places_from_the_medial_side():
    lateral = knee(left=(6.0, 18.0)).lateral
    assert lateral is not None
    widths = {place.x: place.width.ratio for place in lateral.fixed if place.width}
    assert list(widths) == [0.85, 0.825, 0.8, 0.775, 0.75, 0.725, 0.7]
    assert widths[0.8] == pytest.approx((6 + 12 * (0.2 - 0.08) / 0.24) / 200)
    assert widths[0.85] < widths[0.7]


def test_the_minimum_is_perpendicular_to_the_condylar_width():
    space = knee()
    left, right = space.compartments
    slanted = replace(left, femur=margin(LEFT, (0, 48)), tibia=margin(LEFT, (4, 52)))
    lateral = measured(replace(space, compartments=(slanted, right))).lateral
    assert lateral is not None
    assert close(lateral.minimum, 4 / 200, None)
    assert lateral.narrowest is not None
    femur, tibia = lateral.narrowest
    assert (tibia[0] - femur[0], tibia[1] - femur[1]) == pytest.approx((0, 4))


@pytest.mark.parametrize(
    ("heights", "least_at"),
    [((12.0, 24.0), 0.13), ((24.0, 12.0), 0.20)],  # borders and the eminence's slope are left out
)
def test_the_minimum_lies_where_weight_is_borne(heights: tuple[float, float], least_at: float):
    for lateral in (knee(left=heights).lateral, knee(right=heights[::-1]).medial):
        assert lateral is not None
        assert lateral.minimum is not None
        width = np.interp(least_at, LEFT, heights) / 200
        assert lateral.minimum.ratio == pytest.approx(width, abs=2e-4)
        assert lateral.narrowest is not None
        place = (lateral.narrowest[0][0] - 50) / 200
        assert min(place, 1 - place) == pytest.approx(least_at, abs=0.003)


def test_nothing_told_where_weight_is_borne_gives_no_minimum():
    space = knee()
    left, right = space.compartments
    wide = margin((0.08, 0.5), (0, 0))
    hidden = replace(wide, told=(False,) * 4 + (True,) * 5)
    tibia = margin((0.08, 0.5), (12, 12))
    lateral = measured(
        replace(space, compartments=(replace(left, femur=hidden, tibia=tibia), right))
    ).lateral
    assert lateral is not None
    assert (lateral.minimum, lateral.mean, lateral.narrowest) == (None, None, None)


def test_the_angle_is_positive_where_the_medial_side_is_narrow():
    right_knee = knee(left=(12, 12), right=(4, 4))
    left_knee = knee(left=(4, 4), right=(12, 12), names=("medial", "lateral"))
    assert right_knee.convergence_angle == pytest.approx(left_knee.convergence_angle)
    assert (right_knee.convergence_angle or 0) > 3
    assert right_knee.difference == left_knee.difference
    unknown = knee(left=(4, 4), right=(12, 12), names=("left", "right"))
    assert (unknown.convergence_angle or 0) > 3
    assert unknown.medial is None
    assert unknown.difference is not None
    assert unknown.difference.ratio == pytest.approx(0.04)
    assert unknown.compartments[1].fixed[0].x == 0.85


def test_what_cannot_be_told_is_not_measured():
    space = knee()
    left, right = space.compartments
    hidden = replace(right.femur, told=(True,) * 4 + (False,) * 5)
    unseen = measured(replace(space, compartments=(left, replace(right, femur=hidden))))
    medial = unseen.medial
    assert medial is not None
    assert (medial.minimum, medial.mean, medial.narrowest) == (None, None, None)
    assert medial.note == NOT_TOLD
    assert measured(unseen).medial == medial  # said once
    assert unseen.difference is None
    assert unseen.convergence_angle is None
    assert {place.x for place in medial.fixed if place.width is not None} == {0.25, 0.275, 0.3}
    assert unseen.lateral == space.lateral


def test_margins_that_cross_leave_no_space():
    lateral = knee(left=(-6.0, 18.0)).lateral
    assert lateral is not None
    assert lateral.minimum == Measure(0.0)
    assert lateral.mean is not None
    assert lateral.mean.ratio > 0.03


def test_a_correction_changes_what_rests_on_it_and_says_so():
    first = knee(mm=0.5)
    wider = knee(left=(12, 12), right=(8.4, 8.4), mm=0.5)
    space = with_spread(first, (first, wider), of_condyles=0.01)
    assert space.medial is not None
    assert space.medial.minimum is not None
    assert space.medial.minimum.ratio_uncertainty == pytest.approx(0.00178, rel=0.05)
    assert remeasure(space, {}) == space
    moved = [(x, y + 4) for x, y in space.medial.tibia.points]
    corrected = remeasure(space, {("medial", "tibia"): moved})
    assert corrected.medial is not None
    assert close(corrected.medial.minimum, 0.06, 6.0)
    assert corrected.medial.tibia.corrected
    assert not corrected.medial.femur.corrected
    assert corrected.corrected
    assert corrected.lateral == space.lateral
    assert close(corrected.difference, 0.0, 0.0)
    assert corrected.convergence_uncertainty is None
    assert json.loads(json.dumps(corrected.to_dict()))["corrected"] is True
    back = remeasure(corrected, {("medial", "tibia"): space.medial.tibia.points})
    assert back.medial is not None
    assert back.medial.minimum is not None
    assert back.medial.minimum.ratio == space.medial.minimum.ratio


@pytest.mark.parametrize(
    ("name", "bone", "points"),
    [
        ("left", "femur", [(60, 90), (80, 90)]),
        ("medial", "patella", [(60, 90), (80, 90)]),
        ("medial", "femur", [(60, 90)]),
        ("medial", "femur", [(60, 90), (60, 95)]),
        ("medial", "femur", [(60, 90), (float("nan"), 95)]),
    ],
)
def test_what_is_no_margin_is_refused(name: Any, bone: Any, points: Any):
    with pytest.raises(InvalidOption):
        remeasure(knee(), {(name, bone): points})


@pytest.mark.parametrize(
    ("source", "known", "word"),
    [
        ("PixelSpacing (calibration GEOMETRY)", True, "GEOMETRY"),
        ("ImagerPixelSpacing / EstimatedRadiographicMagnificationFactor", True, "at the patient"),
        ("ImagerPixelSpacing (at the detector)", True, "at the detector"),
        ("NominalScannedPixelSpacing", True, "on the film"),
        ("given", True, "given"),
        ("TIFF resolution", False, "TIFF resolution"),
    ],
)
def test_millimetres_come_from_detectors_and_say_so(source: str, known: bool, word: str):
    mm, words = trusted_spacing(PixelSpacing(0.2, 0.2, source))
    assert mm == (0.2 if known else None)
    assert word in words
    assert words.startswith("millimetres" if known else "no millimetres")
    assert trusted_spacing(None) == (None, NONE_STATED)
