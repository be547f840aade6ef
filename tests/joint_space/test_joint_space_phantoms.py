"""The joint space of drawn knees, whose widths are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from joint_space_phantoms import SIDE, Phantom

from kellgren.grades import Side
from kellgren.imaging.picture import PixelSpacing
from kellgren.joint_space.edges import place_edges
from kellgren.joint_space.margins import find_margins, straightened
from kellgren.joint_space.measure_knee import measure
from kellgren.joint_space.measurement import JointSpace
from kellgren.joint_space.spread import CONDYLAR_UNCERTAINTY, IN_DOUBT
from kellgren.joint_space.widths import measured, remeasure
from kellgren.knee import KneeCrop, Plane, Region

CONDYLES = 249.0
"""Greatest width in pixels of a drawn femur, a little above its joint."""
DETECTOR = PixelSpacing(0.25, 0.25, "PixelSpacing (calibration GEOMETRY)")


@pytest.fixture(scope="module")
def drawn() -> tuple[Phantom, Plane]:
    phantom = Phantom(6.0, 14.0, tilt=4.0)
    return phantom, phantom.draw(np.random.default_rng(0))


def in_pixels(space: JointSpace) -> list[float]:
    widths = [one.minimum.ratio * space.condylar_width for one in space.compartments if one.minimum]
    assert len(widths) == 2
    return widths


def known(phantom: Phantom) -> list[float]:
    return [phantom.narrowest(right=right) for right in (False, True)]


@pytest.mark.parametrize(
    "phantom",
    [
        Phantom(3.0, 17.0, tilt=-6.0, blur=1.5, noise=0.012),
        Phantom(10.0, 5.0, tilt=3.0, blur=0.9, radius=80.0),
        Phantom(15.0, 8.0, centre=(155.0, 168.0), radius=160.0, concavity=0.0),
    ],
)
def test_known_widths_are_found_within_a_pixel(phantom: Phantom):
    found = measure(KneeCrop(phantom.draw(np.random.default_rng(3)), Side.UNKNOWN))
    assert in_pixels(found) == pytest.approx(known(phantom), abs=1.0)
    assert all(all(one.femur.told) and all(one.tibia.told) for one in found.compartments)


@pytest.mark.parametrize(
    ("rims", "line"),
    [
        (((6.0, 0.6, 0.4), (4.5, 0.8, 0.4)), 0.10),  # two rims above a bright floor
        (((7.0, 0.8, 0.8), (4.0, 0.5, 0.2)), 0.06),  # bright rims above a faint floor
    ],
)
def test_the_tibias_margin_follows_the_floor_below_the_rims(
    rims: tuple[tuple[float, float, float], ...], line: float
):
    phantom = Phantom(9.0, 14.0, tilt=2.0, rims=rims, line=line)
    found = measure(KneeCrop(phantom.draw(np.random.default_rng(5)), Side.UNKNOWN))
    assert in_pixels(found) == pytest.approx(known(phantom), abs=1.0)


def test_bones_that_touch_have_no_width_and_do_not_move_the_margin():
    phantom = Phantom(14.0, 0.0)
    found = measure(KneeCrop(phantom.draw(np.random.default_rng(4)), Side.RIGHT))
    assert in_pixels(found) == pytest.approx([phantom.narrowest(right=False), 0.0], abs=1.0)
    assert (found.convergence_angle or 0) > 2  # they meet on the medial side
    assert found.difference is not None
    assert found.difference.ratio > 0.03


def lined(picture: Plane, x: float) -> Plane:
    """The same with a bright upright line in the bone, steeper than its outer edge."""
    seen = picture.copy()
    rows, column = slice(90, 160), round(x)
    seen[rows, column : column + 3] = np.minimum(seen[rows, column : column + 3] + 0.2, 1)
    return seen


@pytest.mark.parametrize("tilt", [0.0, 5.0])
def test_the_condyles_end_at_their_contour_and_not_at_lines_inside(tilt: float):
    picture = Phantom(9.0, 12.0, tilt=tilt).draw(np.random.default_rng(6))
    for seen in (picture, lined(picture, 54.0), lined(picture, 238.0)):
        found = measure(KneeCrop(seen, Side.RIGHT))
        assert found.condylar_width == pytest.approx(CONDYLES, abs=3.0)
        assert found.condylar_uncertainty == CONDYLAR_UNCERTAINTY


def test_a_femur_that_leaves_the_picture_is_doubted_on_its_side():
    whole = Phantom(9.0, 12.0).draw(np.random.default_rng(7))
    height = 299 * 260 // 299
    found = measure(KneeCrop(np.ascontiguousarray(whole[20 : 20 + height, 39:]), Side.RIGHT))
    left, right = found.compartments
    assert "outer edge can hardly be told" in left.note
    assert "outer edge" not in right.note
    assert found.condylar_uncertainty == IN_DOUBT


def test_what_is_no_darker_than_bone_is_no_space():
    picture = Phantom(14.0, 12.0).draw(np.random.default_rng(8))
    bone = np.random.default_rng(9).normal(0.58, 0.01, (40, 110)).astype(np.float32)
    filled = picture[145:185, 165:275]
    filled[:] = np.maximum(filled, bone)
    left, right = in_pixels(measure(KneeCrop(picture, Side.RIGHT)))
    assert left == pytest.approx(14, abs=1.0)
    assert right == 0


def test_the_side_names_the_compartments(drawn: tuple[Phantom, Plane]):
    _, picture = drawn
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    right = measure(KneeCrop(picture, Side.RIGHT))
    left = measure(KneeCrop(mirrored, Side.LEFT))
    assert [one.name for one in right.compartments] == ["lateral", "medial"]
    assert [one.name for one in left.compartments] == ["medial", "lateral"]
    for name in ("medial", "lateral"):
        widths = [space.compartment(name) for space in (right, left)]
        minima = [one.minimum.ratio for one in widths if one is not None and one.minimum]
        assert minima[0] == pytest.approx(minima[1], abs=0.002)
    turned_over = measure(KneeCrop(picture, Side.LEFT), mirrored=True)
    assert [one.name for one in turned_over.compartments] == ["lateral", "medial"]


def test_points_and_millimetres_are_those_of_the_film(drawn: tuple[Phantom, Plane]):
    phantom, picture = drawn
    whole = measure(KneeCrop(picture, Side.RIGHT))
    region = Region((800.0, 500.0), 2 * SIDE, 90.0)
    film = measure(KneeCrop(picture, Side.RIGHT, 0.5, region), DETECTOR)
    assert in_pixels(film) == pytest.approx([2 * width for width in in_pixels(whole)], rel=0.01)
    medial = film.medial
    assert medial is not None
    assert medial.minimum is not None
    assert medial.minimum.mm == pytest.approx(2 * 0.25 * phantom.narrowest(right=True), abs=0.5)
    x, y = whole.compartments[0].femur.points[3]
    turned = (800 - 2 * (y - SIDE / 2), 500 + 2 * (x - SIDE / 2))
    assert film.compartments[0].femur.points[3] == pytest.approx(turned, abs=0.05)
    assert whole.mm_per_pixel is None
    assert whole.spacing.startswith("no millimetres")


def test_the_margins_alone_hold_the_numbers(drawn: tuple[Phantom, Plane]):
    found = measure(KneeCrop(drawn[1], Side.RIGHT), DETECTOR)
    assert remeasure(found, {}) == found
    bare = replace(
        found,
        compartments=tuple(
            replace(one, minimum=None, mean=None, fixed=(), narrowest=None)
            for one in found.compartments
        ),
        difference=None,
        convergence_angle=None,
    )
    again = measured(bare)
    assert in_pixels(again) == in_pixels(found)
    assert again.convergence_angle == found.convergence_angle


def test_uncertainties_are_small_where_edges_are_plain(drawn: tuple[Phantom, Plane]):
    found = measure(KneeCrop(drawn[1], Side.RIGHT))
    for one in found.compartments:
        assert one.minimum is not None
        assert 0 < (one.minimum.ratio_uncertainty or 0) < 0.004
    assert 0 < (found.convergence_uncertainty or 0) < 1


@pytest.mark.parametrize("shape", [(64, 64), (299, 299), (240, 320)])
def test_a_picture_without_edges_gives_no_numbers(shape: tuple[int, int]):
    found = measure(KneeCrop(np.full(shape, 0.5, dtype=np.float32), Side.LEFT))
    for one in found.compartments:
        assert one.minimum is None
        assert "cannot be told" in one.note
    assert found.difference is None
    assert found.convergence_angle is None


def test_a_look_sees_the_same_alone_as_beside_others(drawn: tuple[Phantom, Plane]):
    squares = (Region((SIDE / 2, 165.0), 1.25 * CONDYLES, angle) for angle in (4.0, 6.0, 1.0))
    joints = np.stack([straightened(drawn[1], square) for square in squares])
    beside = place_edges(joints, find_margins(joints))
    for joint, seen in zip(joints[:, None], beside, strict=True):
        (alone,) = place_edges(joint, find_margins(joint))
        for name in ("below", "told", "rims"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(alone, name))
    assert not np.array_equal(beside[0].below, beside[1].below)
