from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydantic import ValidationError

from examples_truth import EXAMPLES
from kellgren.data.manifest import Knee
from kellgren.errors import UnreadableRadiograph
from kellgren.grades import Grade, Side
from kellgren.grading.preprocess import Preprocess, levelled
from kellgren.imaging.picture import Picture, PixelSpacing
from kellgren.imaging.radiograph import Radiograph, read_radiograph
from kellgren.imaging.square_pixels import with_square_pixels
from kellgren.knee import UNSTRETCHED, KneeCrop, Plane, Region, resampled
from kellgren.localisation.crop import whole_knee
from kellgren.training.input.loading import load_planes

HALF = (0.5, 0.5, 0.5)


def preprocess(size: int = 64, mirror_left: bool = True) -> Preprocess:
    return Preprocess(size=size, mean=HALF, std=HALF, mirror_left=mirror_left)


@pytest.fixture(scope="module")
def published() -> Plane:
    return read_radiograph(EXAMPLES / "9177337L.png").pixels


def noise(height: int = 80, width: int = 100) -> Plane:
    return np.random.default_rng(0).random((height, width), dtype=np.float32)


pictures = hnp.arrays(
    np.float32,
    st.tuples(st.integers(32, 90), st.integers(32, 90)),
    elements=st.floats(0, 1, width=32),
    fill=st.nothing() | st.just(np.float32(0.25)),
)


@settings(deadline=None, max_examples=50)
@given(pictures, st.integers(32, 100))
def test_a_plane_is_square_and_within_0_and_1(pixels: Plane, size: int) -> None:
    plane = preprocess(size).plane(KneeCrop(pixels, Side.UNKNOWN))
    assert plane.shape == (size, size)
    assert plane.dtype == np.float32
    assert plane.min() >= 0.0
    assert plane.max() <= 1.0


@settings(deadline=None, max_examples=50)
@given(pictures, st.integers(32, 100))
def test_a_mirrored_picture_of_the_other_side_gives_the_same_plane(
    pixels: Plane, size: int
) -> None:
    left = preprocess(size).plane(KneeCrop(pixels, Side.LEFT))
    right = preprocess(size).plane(KneeCrop(pixels[:, ::-1], Side.RIGHT))
    np.testing.assert_array_equal(left, right)


def test_only_left_knees_are_mirrored() -> None:
    pixels = noise()
    plane = {side: preprocess().plane(KneeCrop(pixels, side)) for side in Side}
    np.testing.assert_array_equal(plane[Side.RIGHT], plane[Side.UNKNOWN])
    np.testing.assert_allclose(plane[Side.LEFT], plane[Side.RIGHT][:, ::-1], atol=1e-5)
    assert not np.allclose(plane[Side.LEFT], plane[Side.RIGHT], atol=0.1)
    assert preprocess().mirrors(KneeCrop(pixels, Side.LEFT))
    assert not preprocess().mirrors(KneeCrop(pixels, Side.RIGHT))


def test_mirroring_can_be_switched_off() -> None:
    left, right = KneeCrop(noise(), Side.LEFT), KneeCrop(noise(), Side.RIGHT)
    off = preprocess(mirror_left=False)
    np.testing.assert_array_equal(off.plane(left), off.plane(right))
    assert not off.mirrors(left)


def refined(published: Plane, rows: int, columns: int) -> KneeCrop:
    """A knee as a file of so many rows and columns holds it, made square as that file is read."""
    picture = Picture(resampled(published, rows, columns), 8)
    square = with_square_pixels(picture, columns / rows)
    return KneeCrop(square.pixels, Side.LEFT, stretch=square.stretch)


@pytest.mark.parametrize("shape", [(299, 448), (448, 299), (374, 299), (299, 598)])
def test_a_knee_of_finer_pixels_in_one_direction_is_seen_as_of_square_ones(
    published: Plane, shape: tuple[int, int]
) -> None:
    for size in (288, 256):
        own = preprocess(size).plane(KneeCrop(published, Side.LEFT))
        seen = preprocess(size).plane(refined(published, *shape))
        assert np.sqrt(np.square(seen - own).mean()) < 0.0009  # a quarter of a step of 8 bits


@pytest.mark.parametrize("shape", [(150, 299), (299, 150)])
def test_half_the_rows_or_columns_are_seen_with_their_damping_undone(
    published: Plane, shape: tuple[int, int]
) -> None:
    own = preprocess(256).plane(KneeCrop(published, Side.LEFT))
    crop = refined(published, *shape)
    undone = preprocess(256).plane(crop)
    left = preprocess(256).plane(replace(crop, stretch=UNSTRETCHED))
    along = int(shape[0] > shape[1])
    true, sharp, soft = (np.square(np.diff(p, axis=along)).mean() for p in (own, undone, left))
    assert soft < sharp < true


def test_a_lying_knee_has_its_damping_undone_along_the_longer_pixels(
    published: Plane,
) -> None:
    upright = refined(published, 150, 299)
    middle = (upright.pixels.shape[1] / 2, upright.pixels.shape[0] / 2)
    turned = replace(
        upright,
        pixels=np.ascontiguousarray(np.rot90(upright.pixels)),
        region=Region(middle, float(upright.pixels.shape[0]), 90.0),
        side=Side.RIGHT,
    )
    upright = replace(upright, side=Side.RIGHT)
    seen = preprocess(256).plane(turned)
    np.testing.assert_allclose(seen, np.rot90(preprocess(256).plane(upright)), atol=1e-5)


def test_a_plane_of_the_same_size_keeps_its_pixels() -> None:
    pixels = noise(64, 64)
    np.testing.assert_allclose(preprocess(64).plane(KneeCrop(pixels, Side.RIGHT)), pixels)


def test_overshoot_of_the_cubic_is_clipped() -> None:
    pixels = np.zeros((64, 64), dtype=np.float32)
    pixels[:, 32:] = 1.0
    plane = preprocess(200).plane(KneeCrop(pixels, Side.RIGHT))
    assert (plane.min(), plane.max()) == (0.0, 1.0)


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.float32([0.0, 1.0]), (256, 128))
    plane = preprocess(32).plane(KneeCrop(stripes, Side.RIGHT))
    np.testing.assert_allclose(plane, 0.5, atol=0.02)


def test_normalised_planes_are_a_network_s_input() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    member = Preprocess(size=64, mean=mean, std=std)
    planes = np.random.default_rng(1).random((3, 64, 64), dtype=np.float32)
    given_to = member.normalise(planes)
    assert given_to.shape == (3, 3, 64, 64)
    assert given_to.dtype == np.float32
    for channel in range(3):
        expected = (planes - mean[channel]) / std[channel]
        np.testing.assert_allclose(given_to[:, channel], expected, rtol=1e-5, atol=1e-6)


def test_a_description_is_frozen_and_knows_its_keys() -> None:
    described = preprocess()
    assert Preprocess.model_validate_json(described.model_dump_json()) == described
    with pytest.raises(ValidationError):
        Preprocess.model_validate(described.model_dump() | {"sise": 3})
    with pytest.raises(ValidationError):
        preprocess(size=16)


# --- from the file to the plane --------------------------------------------------------------


def test_a_radiograph_is_one_knee_with_its_spacing() -> None:
    pixels = noise()
    spaced = Radiograph("x", pixels, Side.UNKNOWN, PixelSpacing(0.2, 0.1, "tag"), 8, "PNG", ())
    crop = whole_knee(spaced, Side.RIGHT)
    assert (crop.side, crop.mm_per_pixel) == (Side.RIGHT, 0.1)
    np.testing.assert_array_equal(crop.pixels, pixels)
    crop = whole_knee(read_radiograph(EXAMPLES / "9511862L.png"), Side.LEFT)
    assert (crop.pixels.shape, crop.mm_per_pixel) == ((299, 299), None)


def knee(name: str) -> Knee:
    return Knee(EXAMPLES / f"{name}.png", name[:-1], Side(name[-1]), Grade.NONE, "val", "mine")


def test_training_sees_what_grading_sees() -> None:
    told: list[tuple[int, int]] = []
    names = ("9511862L", "9511862R", "9637958L")
    planes = load_planes(
        [knee(name) for name in names], preprocess(96), lambda *at: told.append(at)
    )
    assert (planes.shape, planes.dtype) == ((3, 96, 96), np.uint8)
    assert told == [(1, 3), (2, 3), (3, 3)]
    for plane, name in zip(planes, names, strict=True):
        with Image.open(EXAMPLES / f"{name}.png") as image:
            pixels = np.asarray(image, dtype=np.float32) / 255.0
        graded = preprocess(96).plane(KneeCrop(pixels, Side(name[-1])))
        assert np.abs(plane / 255.0 - graded).max() <= 0.5 / 255 + 1e-6


def test_a_knee_that_cannot_be_read_stops_loading() -> None:
    with pytest.raises(UnreadableRadiograph, match="does not exist"):
        load_planes([knee("9511862L"), knee("0000000L")], preprocess())


# --- exposure taken out --------------------------------------------------------------------------


def real_pixels() -> Plane:
    return read_radiograph(EXAMPLES / "9511862L.png").pixels


@settings(deadline=None, max_examples=40)
@given(st.floats(0.3, 0.9), st.floats(0, 1), st.floats(0.7, 1.5))
def test_a_knee_exposed_otherwise_is_levelled_to_the_same(
    contrast: float, place: float, power: float
) -> None:
    pixels = real_pixels()
    dark, bright = np.percentile(pixels, (1, 99))
    share = np.clip((pixels - dark) / (bright - dark), 0, 1)
    other = place * (1 - contrast) + contrast * share**power
    np.testing.assert_allclose(levelled(other.astype(np.float32)), levelled(share), atol=0.02)


def test_levelled_grey_values_keep_their_order_and_fill_the_range() -> None:
    pixels = real_pixels()
    even = levelled(pixels)
    order = np.argsort(pixels, axis=None)
    assert (np.diff(even.ravel()[order]) >= 0).all()
    assert 0.0 <= even.min() <= 0.05
    assert 0.95 <= even.max() <= 1.0
    np.testing.assert_allclose(np.percentile(even, (1, 50, 99)), (0.05, 0.68, 0.95), atol=0.01)
    assert even.dtype == np.float32


@pytest.mark.parametrize("grey", [0.0, 0.4, 1.0])
def test_levelling_makes_no_contrast_of_nothing(grey: float) -> None:
    flat = np.full((40, 40), grey, dtype=np.float32)
    faint = np.clip(flat + np.random.default_rng(0).normal(0, 0.001, flat.shape), 0, 1)
    assert np.isfinite(levelled(flat)).all()
    assert levelled(faint.astype(np.float32)).std() < 0.1


def test_only_a_member_that_wants_it_sees_levelled_planes() -> None:
    crop = KneeCrop(real_pixels(), Side.RIGHT)
    plain, level = preprocess(), Preprocess(size=64, mean=HALF, std=HALF, level=True)
    np.testing.assert_array_equal(levelled(plain.plane(crop)), level.plane(crop))
    assert not np.allclose(plain.plane(crop), level.plane(crop), atol=0.02)
