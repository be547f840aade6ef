from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from examples_truth import EXAMPLES
from kellgren.recipe import Augmentation, Targets, read_recipe
from kellgren.training.augment import Draw, apply, draw
from kellgren.training.data import epoch_order, target_table

SIZE = 64


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def knees(size: int = SIZE, count: int = 4) -> torch.Tensor:
    """Real knees, (N, 1, S, S) in 0..1."""
    paths = sorted(EXAMPLES.glob("*.png"))[:count]
    planes = [np.asarray(Image.open(path).resize((size, size))) for path in paths]
    return torch.from_numpy(np.stack(planes))[:, None].float() / 255.0


def unchanged(count: int = 1, **changes: Any) -> Draw:
    """What chance never decides exactly, but a test may: no change, but for those given."""
    return dataclasses.replace(draw(Augmentation(), count, rng()), **changes)


def spot(row: int, column: int) -> torch.Tensor:
    """A bright square of 6 x 6 pixels about a place, on grey."""
    plane = torch.full((1, 1, SIZE, SIZE), 0.2)
    plane[..., row - 3 : row + 3, column - 3 : column + 3] = 1.0
    return plane


def place(plane: torch.Tensor) -> tuple[float, float]:
    """Row and column of the bright square's centre."""
    weight = (plane[0, 0] - 0.2).clamp_min(0.0)
    at = torch.arange(SIZE) + 0.5
    total = weight.sum()
    return float((weight.sum(1) * at).sum() / total), float((weight.sum(0) * at).sum() / total)


def affine(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array([rows], dtype=np.float32)


# --- each change by itself -------------------------------------------------------------------


def test_ranges_of_zero_change_nothing() -> None:
    planes = knees()
    change = draw(Augmentation(), len(planes), rng())
    torch.testing.assert_close(apply(planes, change), planes, rtol=0, atol=1e-3)


def test_the_given_planes_stay_as_they_are() -> None:
    planes = knees()
    before = planes.clone()
    apply(planes, draw(read_recipe("inception").augmentation, len(planes), rng()))
    apply(planes, unchanged(4, box=np.full((4, 4), 0.2, dtype=np.float32)))
    assert torch.equal(planes, before)


def test_a_mirror_is_exact() -> None:
    planes = knees()
    mirrored = apply(planes, draw(Augmentation(mirror=1.0), len(planes), rng()))
    torch.testing.assert_close(mirrored, planes.flip(-1), rtol=0, atol=1e-3)


def test_a_mirror_has_its_probability() -> None:
    change = draw(Augmentation(mirror=0.5), 2000, rng())
    assert np.mean(change.affine[:, 0, 0] < 0) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("across", "down"), [(0.25, 0.0), (0.0, 0.25), (-0.125, 0.125)])
def test_a_shift_moves_by_its_share_of_the_width(across: float, down: float) -> None:
    # the matrix leads from output to input, so the picture goes the other way
    change = unchanged(affine=affine((1, 0, -2 * across), (0, 1, -2 * down)))
    row, column = place(apply(spot(32, 32), change))
    assert (row, column) == pytest.approx((32 + down * SIZE, 32 + across * SIZE), abs=0.1)


def test_a_drawn_shift_moves_by_what_was_drawn_and_no_further_than_its_range() -> None:
    reach = 0.2
    for seed in range(10):
        change = draw(Augmentation(shift=reach), 1, rng(seed))
        row, column = place(apply(spot(32, 32), change))
        moved = np.array([column - 32, row - 32]) / SIZE
        np.testing.assert_allclose(moved, -change.affine[0, :, 2] / 2, atol=0.01)
        assert np.abs(moved).max() <= reach + 0.01
    widest = draw(Augmentation(shift=reach), 5000, rng()).affine[:, :, 2] / 2
    assert np.abs(widest).max() == pytest.approx(reach, abs=0.002)
    assert widest.mean() == pytest.approx(0.0, abs=0.01)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    planes = knees()
    change = unchanged(4, affine=np.repeat(affine((0, -1, 0), (1, 0, 0)), 4, axis=0))
    torch.testing.assert_close(apply(planes, change), planes.rot90(1, (-2, -1)), rtol=0, atol=1e-3)


def test_a_drawn_rotation_turns_by_what_was_drawn() -> None:
    for seed in range(10):
        change = draw(Augmentation(rotation=30.0), 1, rng(seed))
        angle = np.arctan2(change.affine[0, 1, 0], change.affine[0, 0, 0])
        assert abs(np.degrees(angle)) <= 30.0
        row, column = place(apply(spot(32, 48), change))  # 16 pixels to the right of the centre
        assert np.hypot(row - 32, column - 32) == pytest.approx(16, abs=0.2)
        assert np.arctan2(32 - row, column - 32) == pytest.approx(angle, abs=0.02)


def test_rotations_fill_their_range() -> None:
    change = draw(Augmentation(rotation=20.0), 5000, rng())
    angles = np.degrees(np.arctan2(change.affine[:, 1, 0], change.affine[:, 0, 0]))
    assert (angles.min(), angles.max()) == pytest.approx((-20, 20), abs=0.1)
    assert angles.mean() == pytest.approx(0, abs=0.5)


def test_a_scale_magnifies_about_the_centre() -> None:
    change = unchanged(affine=affine((0.5, 0, 0), (0, 0.5, 0)))
    assert place(apply(spot(32, 40), change)) == pytest.approx((32, 48), abs=0.2)
    drawn = draw(Augmentation(scale=0.25), 5000, rng())
    factors = 1 / np.hypot(drawn.affine[:, 0, 0], drawn.affine[:, 1, 0])
    assert (factors.min(), factors.max()) == pytest.approx((0.8, 1.25), abs=0.005)


def test_contrast_stretches_about_the_mean() -> None:
    planes = 0.4 + 0.2 * knees()
    stretched = apply(planes, unchanged(4, contrast=np.full(4, 1.5, dtype=np.float32)))
    mean = planes.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(stretched, mean + 1.5 * (planes - mean), rtol=0, atol=1e-3)


def test_brightness_is_added_and_gamma_is_an_exponent() -> None:
    planes = 0.2 + 0.5 * knees()
    added = np.array([0.1, -0.1, 0.2, 0.0], dtype=np.float32)
    brighter = apply(planes, unchanged(4, brightness=added))
    expected = planes + torch.from_numpy(added).view(-1, 1, 1, 1)
    torch.testing.assert_close(brighter, expected, rtol=0, atol=1e-3)
    curved = apply(planes, unchanged(4, gamma=np.full(4, 2.0, dtype=np.float32)))
    torch.testing.assert_close(curved, planes**2, rtol=0, atol=1e-3)


def test_blur_takes_high_frequencies_from_the_chosen_pictures_alone() -> None:
    planes = knees(count=3)
    chosen = np.array([True, False, True])
    blurred = apply(planes, unchanged(3, blurred=chosen, shrink=0.55))

    def fine_energy(picture: torch.Tensor) -> float:
        spectrum = torch.fft.fftshift(torch.fft.fft2(picture[0])).abs() ** 2
        return float(
            spectrum.sum() - spectrum[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].sum()
        )

    for before, after, lost in zip(planes, blurred, chosen, strict=True):
        ratio = fine_energy(after) / fine_energy(before)
        assert ratio < 0.5 if lost else ratio == pytest.approx(1.0, abs=0.01)
        assert float(after.mean()) == pytest.approx(float(before.mean()), abs=0.01)


def test_blur_draws_both_who_and_how_much() -> None:
    change = draw(Augmentation(blur=0.25), 5000, rng())
    assert change.blurred.mean() == pytest.approx(0.25, abs=0.02)
    shrinks = [draw(Augmentation(blur=1.0), 1, rng(seed)).shrink for seed in range(200)]
    assert 0.55 <= min(shrinks) < 0.6 < 0.9 < max(shrinks) <= 0.95


def test_noise_has_the_drawn_deviation() -> None:
    grey = torch.full((2, 1, SIZE, SIZE), 0.5)
    noisy = apply(grey, unchanged(2, noise=np.array([0.05, 0.0], dtype=np.float32), noise_seed=7))
    assert float(noisy[0].std()) == pytest.approx(0.05, rel=0.05)
    assert float(noisy[1].std()) < 1e-6


def test_erasing_paints_a_grey_rectangle() -> None:
    planes = knees(count=2)
    box = np.array([[0.25, 0.5, 0.125, 0.25], [0, 0, 0, 0]], dtype=np.float32)
    erased = apply(planes, unchanged(2, box=box))
    inside = erased[0, 0, 16:24, 32:48]
    torch.testing.assert_close(inside, inside[:1, :1].expand_as(inside))
    assert float(inside[0, 0]) == pytest.approx(float(planes[0].mean()), abs=1e-3)
    outside = torch.ones(SIZE, SIZE, dtype=torch.bool)
    outside[16:24, 32:48] = False
    torch.testing.assert_close(erased[0, 0][outside], planes[0, 0][outside], rtol=0, atol=1e-3)
    torch.testing.assert_close(erased[1], planes[1], rtol=0, atol=1e-3)


def test_erasing_has_its_probability_and_sizes() -> None:
    boxes = draw(Augmentation(erase=0.3), 5000, rng()).box
    painted = boxes[boxes[:, 2] > 0]
    assert len(painted) / 5000 == pytest.approx(0.3, abs=0.02)
    assert painted[:, :2].min() >= 0.0
    assert painted[:, 2:].min() >= 0.1
    assert painted[:, 2:].max() <= 0.3


# --- all of them -----------------------------------------------------------------------------

share = st.floats(0, 1)
anything = st.builds(
    Augmentation,
    rotation=st.floats(0, 180),
    **{name: share for name in Augmentation.model_fields if name != "rotation"},
)


@settings(deadline=None, max_examples=30)
@given(anything, st.integers(0, 2**32 - 1))
def test_the_result_is_pictures_in_0_to_1_and_chance_repeats(
    ranges: Augmentation, seed: int
) -> None:
    planes = knees(size=32)
    first = apply(planes, draw(ranges, 4, rng(seed)))
    assert first.shape == planes.shape
    assert torch.isfinite(first).all()
    assert 0.0 <= float(first.min()) <= float(first.max()) <= 1.0
    assert torch.equal(first, apply(planes, draw(ranges, 4, rng(seed))))


def test_other_chance_gives_other_pictures() -> None:
    ranges = read_recipe("inception").augmentation
    one, other = (apply(knees(), draw(ranges, 4, rng(seed))) for seed in (1, 2))
    assert not torch.allclose(one, other, atol=0.05)


def test_what_is_drawn_does_not_hang_on_what_is_switched_on() -> None:
    """A range set to zero leaves the other draws as they were: recipes stay comparable."""
    ranges = read_recipe("inception").augmentation
    whole = draw(ranges, 8, rng())
    without = draw(ranges.model_copy(update={"gamma": 0.0, "blur": 0.0}), 8, rng())
    np.testing.assert_array_equal(whole.affine, without.affine)
    assert (whole.noise_seed, whole.shrink) == (without.noise_seed, without.shrink)


# --- targets and order -----------------------------------------------------------------------


def test_smoothed_targets_are_the_paper_s() -> None:
    table = target_table(Targets(kind="smooth", smoothing=0.1), 5)
    expected = np.full((5, 5), 0.1 / 5)
    np.fill_diagonal(expected, 1 - 0.1 + 0.1 / 5)
    np.testing.assert_allclose(table, expected, rtol=1e-6)
    np.testing.assert_array_equal(target_table(Targets(kind="smooth"), 5), np.eye(5))


@pytest.mark.parametrize("sharpness", [0.5, 2.2, 5.0])
def test_ordinal_targets_fall_with_the_distance(sharpness: float) -> None:
    table = target_table(Targets(kind="ordinal", sharpness=sharpness), 5)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(table.argmax(axis=1), np.arange(5))
    np.testing.assert_allclose(table[0, 1:] / table[0, :-1], np.exp(-sharpness), rtol=1e-5)
    np.testing.assert_allclose(table, table[::-1, ::-1], rtol=1e-6)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_an_epoch_sees_each_knee_at_most_once_in_full_batches(
    count: int, batch: int, seed: int
) -> None:
    order = epoch_order(count, batch, rng(seed))
    size = min(batch, count)
    assert order.shape == (count // size, size)
    assert len(set(order.ravel().tolist())) == order.size
    assert set(order.ravel().tolist()) <= set(range(count))
    np.testing.assert_array_equal(order, epoch_order(count, batch, rng(seed)))
