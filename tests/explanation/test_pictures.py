"""What is drawn: colours of the map, the sheet, the film; areas under curves; the nearest knees."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from kellgren.explanation.cam import heat, regridded
from kellgren.explanation.faithfulness import Curves
from kellgren.explanation.film_picture import LONGEST, draw_film
from kellgren.explanation.overlay import (
    GRADE_COLOURS,
    KNEE,
    NOTICE,
    Caption,
    blend,
    draw_overlay,
    draw_refusal,
    heat_colours,
    png_bytes,
)
from kellgren.explanation.similar import SAME_FILM, SimilarKnees, Source, joined
from kellgren.grades import Grade, Side
from kellgren.grading.judgement import GradeSet
from kellgren.knee import KneeCrop, Region

# --- the sheet of a refused joint -----------------------------------------------------------------


def test_the_sheet_of_a_refused_joint_says_what_this_software_is_not() -> None:
    """Below the reason, whatever its length, in the ink of quiet words."""
    knee = np.zeros((64, 64), dtype=np.float32)
    short, long = (
        np.asarray(draw_refusal(knee, Side.LEFT, reason)) for reason in ("No knee.", "Word. " * 60)
    )
    lines = np.flatnonzero((short != short[0, 0]).any(axis=2)[:, KNEE + 60 :].any(axis=1))
    last = slice(int(lines[-1]) - 12, int(lines[-1]) + 1)
    assert lines[-1] > KNEE
    expected = Image.new("L", (600, 40))
    ImageDraw.Draw(expected).text((2, 2), NOTICE, 255, ImageFont.load_default(14), "lt")
    box = expected.getbbox()
    assert box is not None
    drawn = np.flatnonzero((short[last, KNEE + 40 :] != short[0, 0]).any(axis=(0, 2)))
    assert abs((drawn[-1] - drawn[0] + 1) - (box[2] - box[0])) <= 1
    np.testing.assert_array_equal(long[last], short[last])


# --- the map -------------------------------------------------------------------------------------


def test_colours_become_lighter_all_the_way() -> None:
    colours = heat_colours(np.linspace(0, 1, 257, dtype=np.float32))
    lightness = colours @ np.array([0.2126, 0.7152, 0.0722])
    assert colours.shape == (257, 3)
    assert (colours.min(), colours.max()) == (0, 255)
    assert (np.diff(lightness) > 0).all()
    beyond = heat_colours(np.array([-1.0, 2.0], dtype=np.float32))
    np.testing.assert_array_equal(beyond, colours[[0, -1]])


def test_bone_shows_where_the_map_is_weak() -> None:
    knee = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)
    plain = np.asarray(blend(knee, np.zeros_like(knee)))
    np.testing.assert_array_equal(plain, np.rint(knee * 255)[..., None].repeat(3, axis=2))
    covered = np.asarray(blend(knee, np.ones_like(knee))).astype(int)
    assert (np.diff(covered[0], axis=0) > 0).all(), "the bone shows through the strongest map too"
    assert covered[0, 0, 0] > covered[0, 0, 2] + 30, "and the map has a colour"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_map_on_a_finer_grid_and_back_is_the_map(rows: int, columns: int, seed: int) -> None:
    evidence = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    finer = regridded(evidence, (3 * rows, 2 * columns))
    assert finer.sum() == pytest.approx(evidence.sum(), abs=1e-4)
    np.testing.assert_allclose(regridded(finer, (rows, columns)), evidence, atol=1e-6)
    np.testing.assert_allclose(regridded(evidence[::-1], (3 * rows, 2 * columns)), finer[::-1])


def test_a_map_without_positive_evidence_shows_nothing() -> None:
    assert (heat(np.full((4, 4), -1, np.float32), (40, 30)) == 0).all()
    assert heat(np.full((4, 4), 5, np.float32), (40, 30)).shape == (40, 30)
    assert (heat(np.full((4, 4), 5, np.float32), (40, 30)) == 1).all()


# --- the sheet -----------------------------------------------------------------------------------

PROBABILITIES = (0.1, 0.2, 0.4, 0.3, 0.0)


def caption(**changes: object) -> Caption:
    words: dict[str, object] = {
        "grade": Grade.MINIMAL,
        "side": Side.LEFT,
        "probabilities": PROBABILITIES,
        "certainty": "low",
        "right_share": 0.49,
        "grade_set": GradeSet(Grade.DOUBTFUL, Grade.MODERATE, 0.9, 0.901),
        "model": "tiny",
    }
    return Caption(**(words | changes))  # type: ignore[arg-type]


def sheet(height: int = 90, width: int = 90, **changes: object) -> np.ndarray:
    knee = np.full((height, width), 0.5, np.float32)
    return np.asarray(draw_overlay(knee, np.zeros_like(knee), caption(**changes))).astype(int)


def test_a_knee_is_not_distorted_but_framed_in_black() -> None:
    for height, width in ((90, 90), (60, 90), (90, 45), (90, 1)):
        grey = (sheet(height, width) == 128).all(axis=2)
        rows, columns = grey.any(axis=1).sum(), grey.any(axis=0).sum()
        longest = max(height, width)
        assert rows == pytest.approx(KNEE * height / longest, abs=4)
        assert columns == pytest.approx(2 * KNEE * width / longest, abs=4)


@pytest.mark.parametrize("grade", list(Grade))
def test_bars_are_as_long_as_probabilities(grade: Grade) -> None:
    def painted(probabilities: tuple[float, ...]) -> int:
        below = sheet(probabilities=probabilities)[-168:]
        return int((below == GRADE_COLOURS[grade]).all(axis=2).sum())

    one, none = (0.0,) * grade + (1.0,) + (0.0,) * (4 - grade), (0.0,) * 5
    half = tuple(share / 2 for share in one)
    assert painted(none) == 0
    assert painted(half) == pytest.approx(painted(one) / 2, rel=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"side": Side.UNKNOWN},
        {"side": Side.RIGHT},
        {"grade_set": GradeSet(Grade.MINIMAL, Grade.MINIMAL, 0.9, 0.901)},
        {"grade_set": GradeSet(Grade.DOUBTFUL, Grade.MODERATE, 0.95, 0.901)},
        {"grade_set": GradeSet(Grade.DOUBTFUL, Grade.MODERATE, 0.9, 0.88)},
        {"grade_set": GradeSet(Grade.DOUBTFUL, Grade.MODERATE, 0.9, None)},
        {"named": False},
        {"right_share": 0.6},
        {"certainty": "high"},
        {"model": "other"},
        {"mapped": Grade.SEVERE},
        {"with_other": True},
        {"grade": Grade.SEVERE},
        {"beyond": True},
    ],
)
def test_every_word_is_on_the_sheet(changes: dict[str, object]) -> None:
    assert (sheet(**changes) != sheet()).any()
    assert (sheet(mapped=Grade.MINIMAL) == sheet()).all(), "the grade's own map needs no words"


def test_a_sheet_grows_with_its_words() -> None:
    usual = sheet()
    one = sheet(doubts=("the 90 % set holds 3 grades",))
    assert len(one) == len(usual) + 22
    assert (one[: len(usual) - 80] == usual[:-80]).all()
    more = {"doubts": ("the members disagree",) * 9, "forced": True, "calibrated_to": "Ours"}
    tall = sheet(**more)
    assert len(tall) == len(usual) + 4 * 22
    margin = tall[:, -20:]
    assert (margin == margin[0, 0]).all(), "no line runs out of the sheet"


def test_a_png_is_the_picture() -> None:
    picture = draw_overlay(np.eye(40, dtype=np.float32), np.eye(40, dtype=np.float32), caption())
    with Image.open(io.BytesIO(png_bytes(picture))) as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


# --- the film ------------------------------------------------------------------------------------


def drawn(*crops: KneeCrop, shape: tuple[int, int] = (200, 400)) -> np.ndarray:
    return np.asarray(draw_film(np.full(shape, 0.5, np.float32), crops)).astype(int)


def test_a_film_is_enlarged_to_its_longest_side() -> None:
    assert drawn().shape == (LONGEST // 2, LONGEST, 3)
    assert (drawn() == 128).all()
    assert drawn(shape=(4000, 32)).shape == (LONGEST, 10, 3)


@pytest.mark.parametrize("side", list(Side))
def test_a_square_lies_where_the_knee_is(side: Side) -> None:
    crop = KneeCrop(np.zeros((8, 8), np.float32), side, None, Region((100, 100), 60))
    y, x = np.nonzero((drawn(crop) != 128).any(axis=2))
    assert (x.min(), x.max()) == pytest.approx((70 * 3, 130 * 3), abs=4)
    assert (y.min(), y.max()) == pytest.approx((70 * 3, 130 * 3), abs=4)
    top, bottom = (int((abs(y - edge) < 5).sum()) for edge in (70 * 3, 130 * 3))
    assert top > 2 * bottom, "the knee's upper edge is the thick one"
    others = [KneeCrop(crop.pixels, other, None, crop.region) for other in Side]
    assert sum((drawn(other) == drawn(crop)).all() for other in others) == 1


def test_a_knee_without_a_region_is_the_whole_picture() -> None:
    crop = KneeCrop(np.zeros((8, 8), np.float32), Side.LEFT)
    region = KneeCrop(crop.pixels, Side.LEFT, None, Region((200, 100), 400))
    np.testing.assert_array_equal(drawn(crop), drawn(region))
    assert (drawn(crop) != 128).any()


# --- areas and neighbours ------------------------------------------------------------------------


def test_the_gain_by_hand() -> None:
    share = np.array([0.0, 0.5, 1.0])
    falling, rising = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0])
    even = np.array([1.0, 0.5, 0.0])
    curves = Curves(3, share, falling, rising, even, even[::-1])
    assert [curves.area(curve) for curve in (falling, rising, even)] == [0.25, 0.75, 0.5]
    assert curves.gain == 0.25
    assert Curves(3, share, even, even, falling, rising).gain == -0.25
    assert curves.to_dict()["areas"] == {
        "deletion": 0.25,
        "insertion": 0.75,
        "random_deletion": 0.5,
        "random_insertion": 0.5,
    }


def index(distances: list[float]) -> SimilarKnees:
    """Knees of one patient each, so far from the features ``(1, 0)``."""
    codes = np.array([[1 + distance, 0] for distance in distances], dtype=np.float32)
    return SimilarKnees(
        source=Source("none", "none", "none", "none"),
        networks=["a"],
        files=[f"{1000 + number}L" for number in range(len(distances))],
        grades=np.zeros(len(distances), dtype=np.int64),
        centre=np.zeros(2, dtype=np.float32),
        axes=np.eye(2, dtype=np.float32),
        codes=codes,
        pictures=[b""] * len(distances),
    )


@pytest.mark.parametrize("count", range(5))
def test_at_most_so_many_are_nearest(count: int) -> None:
    features = [np.array([5, 0], dtype=np.float32)]
    far = index([0.3, SAME_FILM - 0.01, 0.2, SAME_FILM + 0.01])
    assert [knee.number for knee in far.nearest(features, count)] == [3, 2, 0][:count]
    assert [knee.number for knee in index([0.3, 0.2]).nearest(features, count)] == [1, 0][:count]


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=4))
def test_no_network_outweighs_another_by_its_scale(scales: list[float]) -> None:
    features = [np.arange(1, 4, dtype=np.float32) for _ in scales]
    scaled = [part * np.float32(scale) for part, scale in zip(features, scales, strict=True)]
    np.testing.assert_allclose(joined(scaled), joined(features), rtol=1e-5)
    assert np.linalg.norm(joined(scaled)) == pytest.approx(len(scales) ** 0.5)
    assert np.isfinite(joined([np.zeros(3, np.float32)])).all()
