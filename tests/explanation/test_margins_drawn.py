"""The joint space over a picture: where the margins lie, and dotted where they are not told."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kellgren.explanation.margins_drawn import FEMUR, NARROWEST, TIBIA, with_margins
from kellgren.joint_space.measurement import JointSpace
from kellgren.joint_space.telling.placing import Corners
from kellgren.knee import Region
from made.joint_space import made_joint_space

SIDE = 448
WHOLE: Corners = ((0.0, 0.0), (224.0, 0.0), (224.0, 224.0), (0.0, 224.0))


def drawn(
    space: JointSpace, corners: Corners = WHOLE, shown: tuple[int, int] = (224, 224)
) -> np.ndarray:
    """``(SIDE, SIDE, 3)`` of a black picture, without the words below."""
    picture = with_margins(Image.new("RGB", (SIDE, SIDE)), shown, space, corners)
    return np.asarray(picture)[:360].astype(int)


def of_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """``(N, 2)`` of x and y: the pixels of a colour."""
    y, x = np.nonzero((abs(picture - colour) < 30).all(axis=2))
    return np.column_stack((x, y))


def test_margins_lie_where_they_were_measured() -> None:
    picture = drawn(made_joint_space())
    femur, tibia = of_colour(picture, FEMUR), of_colour(picture, TIBIA)
    assert femur[:, 0].min() == pytest.approx(60, abs=2)
    assert femur[:, 0].max() == pytest.approx(380, abs=2)
    assert set(femur[:, 1]) <= {199, 200}
    lateral, medial = tibia[tibia[:, 0] < 220], tibia[tibia[:, 0] > 220]
    assert set(lateral[:, 1]) <= {223, 224}
    assert set(medial[:, 1]) <= {215, 216}
    across = of_colour(picture, NARROWEST)
    assert across[:, 1].min() == pytest.approx(200, abs=2)
    assert across[:, 1].max() == pytest.approx(224, abs=2)


def test_a_margin_that_is_not_told_is_dotted_and_has_no_narrowest_place() -> None:
    told, untold = (drawn(made_joint_space(untold=name)) for name in (None, "medial"))
    counts = [
        sum(of_colour(picture[:, 224:], colour).size for colour in (TIBIA, NARROWEST))
        for picture in (told, untold)
    ]
    assert 0 < counts[1] < counts[0] / 2
    assert of_colour(untold[:, 224:], NARROWEST).size == 0
    np.testing.assert_array_equal(told[:, :200], untold[:, :200])


def test_margins_follow_the_square_that_the_knee_was_cut_from() -> None:
    """Of a film on which the knee is turned and twice as far from the corner."""
    corners = Region((112.0, 112.0), 224.0, 180.0).corners()
    upside_down = drawn(made_joint_space(), (corners[0], corners[1], corners[2], corners[3]))
    femur = of_colour(upside_down, FEMUR)
    assert set(femur[:, 1]) <= {247, 248}
    low = drawn(made_joint_space(), ((0, 0), (224, 0), (224, 112), (0, 112)), (224, 112))
    assert set(of_colour(low, FEMUR)[:, 1]) <= {311, 312}  # in the middle, with a margin above


def test_words_below_the_knee_end_before_the_pictures_edge() -> None:
    picture = with_margins(
        Image.new("RGB", (SIDE, SIDE)), (224, 224), made_joint_space(untold="medial"), WHOLE
    )
    words = np.asarray(picture)[360:].astype(int)
    columns = of_colour(words, NARROWEST)[:, 0]
    assert columns.max() > SIDE / 2
    assert columns.max() < SIDE - 5
