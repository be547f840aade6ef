"""Squares on a film, what is cut from them, and the limits of every check."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.grades import Side
from kellgren.imaging.evidence import SideStatement
from kellgren.imaging.picture import PixelSpacing
from kellgren.imaging.radiograph import Radiograph
from kellgren.knee import Region
from kellgren.localisation.crop import cut, cut_knee, whole_knee
from kellgren.localisation.knee_detector import Detection, Localiser, is_whole
from kellgren.localisation.laterality import (
    check_side,
    decided,
    evidence_of,
    facing,
    places,
    side_statements,
)
from kellgren.localisation.quality import (
    Missing,
    check_exposure,
    check_inversion,
    check_knee,
    check_view,
    metal,
    missing,
)

REGIONS = st.builds(
    Region,
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    st.floats(1, 800),
    st.floats(-180, 180),
)


# --- squares -------------------------------------------------------------------------------------


@given(REGIONS)
def test_the_corners_give_the_square_back(region: Region) -> None:
    corners = np.array(region.corners())
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    assert corners.mean(axis=0) == pytest.approx(region.centre, abs=1e-6)
    assert np.linalg.norm(across) == pytest.approx(region.width)
    assert np.linalg.norm(down) == pytest.approx(region.width)
    assert across @ down == pytest.approx(0, abs=1e-6 * region.width**2)
    assert across[0] * down[1] > across[1] * down[0], "clockwise, as y points down"
    turned = math.degrees(math.atan2(across[1], across[0])) - region.angle
    assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(corners[2], corners[0] + across + down, atol=1e-6)


def mirrored(region: Region, width: int) -> Region:
    return Region((width - region.centre[0], region.centre[1]), region.width, -region.angle)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.floats(-10, 60), st.floats(-10, 50)),
    st.floats(8, 90),
    st.floats(-180, 180),
    st.sampled_from([None, 0.0]),
)
def test_a_mirrored_film_gives_the_mirrored_cut(
    centre: tuple[float, float], width: float, angle: float, outside: float | None
) -> None:
    film = smooth(40, 50)
    region = Region(centre, width, angle)
    plain = cut(film, region, 24, outside=outside)
    other = cut(film[:, ::-1], mirrored(region, 50), 24, outside=outside)
    assert np.abs(other[:, ::-1] - plain).mean() < 0.02
    if outside is None:
        np.testing.assert_allclose(other[:, ::-1], plain, atol=0.08)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without symmetry or sharp edges, 0.1 to 0.9."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return (0.5 + 0.4 * np.sin(5 * x + 3 * y * y)).astype(np.float32)


@given(REGIONS, st.sampled_from([90, 180, 270]))
def test_what_is_missing_is_told_with_the_knee_upright(region: Region, turn: int) -> None:
    """The film turned with the knee: the same is missing at the same places."""
    height, width = 400, 300
    x, y = region.centre
    centre = {90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}[turn]
    shape = (height, width) if turn == 180 else (width, height)
    turned = replace(region, centre=centre, angle=region.angle + turn)
    assert missing(turned, shape) == pytest.approx(missing(region, (height, width)), abs=0.03)


@pytest.mark.parametrize(
    ("centre", "width", "beyond"),
    [
        ((50, 25), 50, (0, 0, 0)),
        ((50, 15), 40, (0.125, 0, 0)),
        ((50, 40), 40, (0, 0.25, 0)),
        ((96, 25), 40, (0, 0, 0.4)),
        ((6, 25), 40, (0, 0, 0.35)),
        ((50, 25), 60, (1 / 12, 1 / 12, 0)),
        ((-30, 25), 40, (0.5, 0.5, 0.5)),
    ],
)
def test_what_is_missing_by_hand(
    centre: tuple[float, float], width: float, beyond: tuple[float, float, float]
) -> None:
    assert missing(Region(centre, width), (50, 100)) == pytest.approx(beyond, abs=0.02)


# --- cuts ----------------------------------------------------------------------------------------


def film(spacing: PixelSpacing | None) -> Radiograph:
    return Radiograph("film", smooth(300, 300), Side.UNKNOWN, spacing, 8, "PNG", ())


@pytest.mark.parametrize(("width", "size"), [(20, 64), (64, 64), (100.4, 100), (1500, 1024)])
def test_a_cut_keeps_its_length_in_millimetres(width: float, size: int) -> None:
    radiograph = film(PixelSpacing(0.3, 0.2, "given"))
    region = Region((150, 150), width, 10)
    crop = cut_knee(radiograph, radiograph.pixels, region, Side.LEFT)
    assert crop.pixels.shape == (size, size)
    assert crop.mm_per_pixel == pytest.approx(0.2 * width / size)
    assert (crop.side, crop.region) == (Side.LEFT, region)


def test_a_spacing_that_is_not_known_stays_so() -> None:
    radiograph = film(None)
    region = Region((150, 150), 80)
    assert cut_knee(radiograph, radiograph.pixels, region, Side.LEFT).mm_per_pixel is None
    assert whole_knee(radiograph, Side.LEFT).mm_per_pixel is None
    whole = whole_knee(film(PixelSpacing(0.3, 0.2, "given")), Side.RIGHT)
    assert (whole.mm_per_pixel, whole.region, whole.side) == (0.2, None, Side.RIGHT)


@pytest.mark.parametrize(
    ("region", "shape", "whole"),
    [
        (Region((50, 50), 100), (100, 100), True),
        (Region((50, 50), 100, 19), (100, 100), True),
        (Region((50, 50), 100, 21), (100, 100), False),
        (Region((50, 50), 100, 90), (100, 100), True),
        (Region((50, 50), 100, -180), (100, 100), True),
        (Region((50, 50), 100, 69), (100, 100), False),
        (Region((59, 50), 100), (100, 100), True),
        (Region((50, 61), 100), (100, 100), False),
        (Region((50, 50), 83), (100, 100), True),
        (Region((50, 50), 81), (100, 100), False),
        (Region((50, 50), 126), (100, 100), False),
        (Region((50, 43), 100), (86, 100), True),
        (Region((50, 42), 100), (84, 100), False),
    ],
)
def test_a_square_that_is_the_whole_picture(
    region: Region, shape: tuple[int, int], whole: bool
) -> None:
    assert is_whole(region, shape) is whole


# --- sides ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "left", "side", "verdict", "evidence"),
    [
        ("___", None, "", "unknown", "nothing tells the side"),
        ("___", 0.5, "", "unknown", "nothing tells the side"),
        (
            "___",
            0.02,
            "",
            "unknown",
            "nothing tells the side; its anatomy looks like a right knee",
        ),
        ("L__", None, "L", "passed", "left, from ImageLaterality"),
        ("_RR", 0.5, "R", "passed", "right, from the file's name and the caller"),
        ("LLL", 0.99, "L", "passed", "left, from ImageLaterality and the file's name and the "
         "caller"),
        ("LR_", 0.99, "", "warning", "side unknown: ImageLaterality says left, the file's name "
         "says right"),
        ("R_L", 0.01, "", "warning", "side unknown: ImageLaterality says right, the caller says "
         "left"),
        ("__L", 0.02, "L", "warning", "the caller says left, but the anatomy looks like a right "
         "knee"),
        ("R__", 0.97, "R", "warning", "ImageLaterality says right, but the anatomy looks like a "
         "left knee"),
        ("R__", 0.969, "R", "passed", "right, from ImageLaterality"),
    ],
)  # fmt: skip
def test_what_contradicts_what(
    stated: str, left: float | None, side: str, verdict: str, evidence: str
) -> None:
    header, name, caller = (Side(letter.strip("_")) for letter in stated)
    element = [SideStatement("ImageLaterality", header.value, header)] if header.value else []
    statements = side_statements(element, name, caller)
    told = evidence_of(statements, Side.UNKNOWN, facing(None, []), left)
    check = check_side(told)
    assert decided(told) is Side(side)
    assert (check.name, check.verdict, check.evidence) == ("side", verdict, evidence)


@pytest.mark.parametrize(
    ("apart", "turn", "sides"),
    [(51, 0, "RL"), (49, 0, None), (-51, 0, "LR"), (200, 59, "RL"), (200, 61, None)],
)
def test_knees_that_overlap_or_stand_askew_tell_no_side(
    apart: float, turn: float, sides: str | None
) -> None:
    knees = [Region((0, 0), 100, -turn / 2), Region((apart, 0), 100, turn / 2)]
    expected = [Side(letter) for letter in sides] if sides else [Side.UNKNOWN] * 2
    assert places(knees) == expected
    assert places([]) == []
    assert places([*knees, knees[0]]) == [Side.UNKNOWN] * 3


# --- checks --------------------------------------------------------------------------------------


def seen(
    localiser: Localiser, far: float = 0.0, angle: float = 0.0, sure: float = 1.0
) -> Detection:
    """A knee whose features lie so far from those of real knees."""
    whitener = np.array(localiser.card.feature_whitener)
    away = np.linalg.solve(whitener.T, np.full(len(whitener), far))
    features = np.array(localiser.card.feature_mean) + away
    return Detection(Region((0, 0), 100, angle), sure, 0.5, 0.0, features.astype(np.float32))


def test_the_distance_is_1_where_every_direction_is_off_by_its_spread(
    localiser: Localiser,
) -> None:
    for far in (0.0, 1.0, 3.0):
        assert localiser.distance(seen(localiser, far)) == pytest.approx(far, abs=0.01)


def test_a_knee_is_there_from_the_least_confidence_on(localiser: Localiser) -> None:
    least = localiser.card.least_confidence
    assert check_knee(None, localiser).verdict == "refused"
    assert check_knee(seen(localiser, sure=least), localiser).verdict == "passed"
    check = check_knee(seen(localiser, sure=np.nextafter(least, 0)), localiser)
    assert check.verdict == "refused"
    assert f"at least {least:.2f} is asked for" in check.evidence


@pytest.mark.parametrize(
    ("angle", "beyond", "verdict", "words"),
    [
        (0, (0, 0, 0), "passed", "looks like a frontal knee"),
        (45, (0.3, 0.2, 0.075), "passed", "looks like a frontal knee"),
        (46, (0, 0, 0), "warning", "sideways and was turned upright"),
        (-135, (0.5, 0, 0), "warning", "sideways and was turned upright"),
        (-136, (0, 0, 0), "warning", "upside down and was turned upright"),
        (0, (0.31, 0, 0), "warning", "31% of its square are missing above the joint"),
        (0, (0, 0.22, 0), "warning", "22% of its square are missing below the joint"),
        (0, (0, 0, 0.1), "warning", "10% of its square are missing at a side"),
        (0, (0.4, 0, 0.2), "warning", "above the joint, 20% of its square are missing at"),
    ],
)
def test_views_and_their_limits(
    localiser: Localiser,
    angle: float,
    beyond: tuple[float, float, float],
    verdict: str,
    words: str,
) -> None:
    most = localiser.card.most_distance
    near, far = (seen(localiser, most * share, angle) for share in (0.97, 1.03))
    check = check_view(near, localiser, Missing(*beyond))
    assert (check.verdict, words in check.evidence) == (verdict, True)
    assert check_view(far, localiser, Missing(*beyond)).verdict == "refused"


@pytest.mark.parametrize(
    ("black", "white", "verdict", "words"),
    [
        (0, 0, "passed", "0% of the knee are black, 0% white"),
        (37, 0, "passed", "37% of the knee are black, 0% white"),
        (38, 0, "warning", "strongly clipped: 38%"),
        (0, 38, "warning", "0% of the knee are black, 38% white"),
        (37, 38, "warning", "strongly clipped"),
        (38, 38, "refused", "clipped: 38%"),
        (0, 76, "refused", "clipped: 0%"),
    ],
)
def test_exposures_and_their_limits(black: int, white: int, verdict: str, words: str) -> None:
    knee = np.tile(np.linspace(0.2, 0.8, 100, dtype=np.float32), (100, 1)).T
    knee[:black] = 0.0
    knee[100 - white :] = 1.0
    check = check_exposure(knee)
    assert (check.verdict, words in check.evidence) == (verdict, True)


def test_inversion_gives_the_probability_of_what_it_found() -> None:
    turned = check_inversion(was_inverted=True, probability=0.9)
    assert (turned.verdict, turned.evidence[-6:]) == ("warning", "(0.90)")
    upright = check_inversion(was_inverted=False, probability=0.1)
    assert upright.evidence == "bone is bright (probability 0.90)"


def test_metal_has_an_edge_and_bright_bone_none() -> None:
    knee = np.full((192, 192), 0.4, np.float32)
    assert metal(knee) == (1.0, 0.0)
    knee[50:100, 50:100] = 1.0
    share, edge = metal(knee)
    assert share == pytest.approx(50 * 50 / 192**2)
    assert edge == pytest.approx(0.6)
    doubled = knee.repeat(2, axis=0).repeat(2, axis=1)
    assert metal(doubled) == pytest.approx((share, edge), abs=0.01)
