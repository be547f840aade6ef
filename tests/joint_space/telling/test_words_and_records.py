"""What is said of a joint space, and the record that keeps it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from kellgren.errors import InvalidOption
from kellgren.grades import Side
from kellgren.joint_space.measurement import JointSpace, Point
from kellgren.joint_space.spacing import NONE_STATED
from kellgren.joint_space.telling.correcting import Correction, corrected
from kellgren.joint_space.telling.placing import corners_of, shares
from kellgren.joint_space.telling.space_record import JointSpaceRecord
from kellgren.joint_space.telling.space_words import COLUMNS, space_words, table_cells
from kellgren.knee import KneeCrop, Region
from made.joint_space import GIVEN, WHOLE_CROP, made_joint_space, margin_of, raised

SPACE = made_joint_space()


def record_of(space: JointSpace = SPACE) -> JointSpaceRecord:
    return JointSpaceRecord.of(space, WHOLE_CROP)


def moved(points: list[Point], **changes: object) -> Correction:
    told = [True] * len(points)
    margin = {"compartment": "medial", "bone": "tibia", "points": points, "told": told}
    return Correction.model_validate({"margins": [margin | changes]})


def test_a_width_is_told_in_millimetres_or_as_a_ratio_with_the_reason() -> None:
    assert space_words(SPACE) == [
        "joint-space width, lateral: 6.0 mm (±0.2)",
        "joint-space width, medial: 4.0 mm (±0.2)",
        "joint-line convergence angle: 2.3° (±0.4)",
        GIVEN,
    ]
    words = space_words(made_joint_space(mm_per_pixel=None))
    assert words[1] == "joint-space width, medial: 0.043 of the condylar width (±0.002)"
    assert words[3] == NONE_STATED


def test_what_cannot_be_measured_says_why() -> None:
    space = made_joint_space(untold="medial")
    assert space_words(space)[1].startswith("joint-space width, medial: not measured: the margins")
    cells = table_cells(space)
    assert cells["jsw_lateral"] == "0.06522"
    assert "jsw_medial" not in cells
    assert "medial: not measured: the margins cannot be told" in cells["jsw_note"]


def test_of_an_unknown_side_the_widths_stand_in_the_note() -> None:
    cells = table_cells(made_joint_space(("left", "right"), None))
    assert {"jsw_medial", "jsw_lateral"}.isdisjoint(cells)
    assert "left of the picture: 0.043 of the condylar width (±0.002)" in cells["jsw_note"]
    assert "right of the picture: 0.065" in cells["jsw_note"]


def test_the_cells_are_the_numbers() -> None:
    cells = table_cells(SPACE)
    assert set(cells) == set(COLUMNS)
    assert (cells["jsw_medial"], cells["jsw_medial_sd"], cells["jsw_medial_mm"]) == (
        f"{8 / 184:.5f}",
        "0.00200",
        "4.000",
    )
    assert (cells["jsw_corrected"], cells["jsw_note"]) == ("", "")


def test_a_record_gives_back_what_was_measured() -> None:
    record = record_of()
    assert JointSpaceRecord.model_validate_json(record.model_dump_json()) == record
    assert record.remade(record.space) == record
    assert record.space.compartments[0].femur == SPACE.compartments[0].femur


def test_a_corrected_margin_changes_the_numbers_of_its_compartment_alone() -> None:
    points = raised(margin_of(SPACE, "medial", "tibia"), 2.0, 13, 17)
    record = corrected(record_of(), moved(points))
    lateral, medial = record.compartments
    assert record.corrected
    assert medial.tibia.corrected
    assert not medial.femur.corrected
    assert medial.minimum is not None
    assert medial.minimum.ratio == pytest.approx(6 / 184, abs=1e-4)
    assert medial.minimum.mm == pytest.approx(3.0, abs=0.01)
    assert medial.minimum.ratio_uncertainty is None
    assert lateral == record_of().compartments[0]
    assert "4.0 mm" not in (said := space_words(record.space)[1])
    assert said == "joint-space width, medial: 3.0 mm, margins corrected by hand"
    assert table_cells(record.space)["jsw_corrected"] == "yes"


def test_a_margin_that_is_not_told_measures_nothing() -> None:
    points = list(margin_of(SPACE, "medial", "tibia").points)
    assert corrected(record_of(), moved(points, told=[False] * 21)).compartments[1].minimum is None


@pytest.mark.parametrize(
    ("points", "changes", "problem"),
    [
        ([(130, 108), (190, 108)], {"compartment": "left"}, "Choose one of lateral, medial"),
        ([(130, 108), (290, 108)], {}, "outside the knee's picture"),
        ([(130, -90), (190, 108)], {}, "outside the knee's picture"),
        ([(-1.7e308, -1.7e308), (1.7e308, 1.7e308)], {}, "outside the knee's picture"),
    ],
)
def test_margins_of_no_such_knee_are_refused(
    points: list[Point], changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(InvalidOption, match=problem):
        corrected(record_of(), moved(points, **changes))


@pytest.mark.parametrize(
    "points",
    [
        [(130, 108)],
        [(130, 108), (130, 120)],
        [(math.nan, 1), (2, 3)],
        [(float(n), 1.0) for n in range(401)],
    ],
    ids=len,
)
def test_what_is_no_margin_is_invalid(points: list[Point]) -> None:
    with pytest.raises(ValidationError):
        moved(points)


def test_each_point_says_whether_it_is_told() -> None:
    with pytest.raises(ValidationError, match="as many values"):
        moved([(130, 108), (160, 108), (190, 108)], told=[True, True])


@pytest.mark.parametrize(
    ("region", "shape"),
    [
        (None, (40, 80)),
        (Region((60, 50), 40, 30.0), (40, 40)),
        (Region((60, 50), 80, 90.0), (80, 40)),
    ],
)
def test_a_point_lies_in_the_picture_where_the_crop_shows_it(
    region: Region | None, shape: tuple[int, int]
) -> None:
    """Corners of the crop, and its middle, as places of the radiograph and back."""
    crop = KneeCrop(np.zeros(shape, np.float32), Side.LEFT, region=region)
    corners = corners_of(crop)
    middle = tuple(np.mean(corners, axis=0))
    placed = shares([*corners, middle], corners)
    assert placed == pytest.approx(np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)]))
    lengths = math.dist(*corners[:2]), math.dist(*corners[1:3])
    scale = 1 if region is None else region.width / max(shape)
    assert lengths == pytest.approx((shape[1] * scale, shape[0] * scale))
    if region is not None and shape[0] == shape[1]:
        assert corners == pytest.approx(np.array(region.corners()))


def test_a_moved_region_moves_the_frame() -> None:
    region = Region((60, 50), 40, 30.0)
    crop = KneeCrop(np.zeros((40, 40), np.float32), Side.LEFT, region=region)
    other = replace(crop, region=replace(region, centre=(70, 45)))
    assert np.array(corners_of(other)) - np.array(corners_of(crop)) == pytest.approx(
        np.array([(10, -5)] * 4)
    )
