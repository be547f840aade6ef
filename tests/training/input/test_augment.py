from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from examples_truth import EXAMPLES
from kellgren.training.input.augment import Draw, apply, draw
from kellgren.training.input.loading import target_table
from kellgren.training.member.batches import epoch_order
from kellgren.training.recipe import Augmentation, Targets, read_recipe

SIZE = 64


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(ranges: Augmentation, count: int, seed: int = 0) -> Draw:
    """For one batch."""
    return draw(ranges, 1, count, chance(seed)).of_step(0)


def changed(planes: torch.Tensor, ranges: Augmentation, seed: int = 0) -> torch.Tensor:
    """Drawn and applied."""
    return apply(planes, drawn(ranges, len(planes), seed), chance(seed))


def knees(size: int = SIZE, count: int = 4) -> torch.Tensor:
    """Real knees, (N, 1, S, S) in 0..1."""
    paths = sorted(EXAMPLES.glob("*.png"))[:count]
    planes = [np.asarray(Image.open(path).resize((size, size))) for path in paths]
    return torch.from_numpy(np.stack(planes))[:, None].float() / 255.0


def unchanged(count: int = 1, **changes: Any) -> Draw:
    """What chance never decides exactly, but a test may: no change, but for those given."""
    tensors = {name: torch.as_tensor(values) for name, values in changes.items()}
    return dataclasses.replace(drawn(Augmentation(), count), **tensors)


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


def affine(*rows: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor([rows], dtype=torch.float32)


# --- each change by itself -------------------------------------------------------------------


def test_ranges_of_zero_change_nothing() -> None:
    planes = knees()
    torch.testing.assert_close(changed(planes, Augmentation()), planes, rtol=0, atol=1e-3)


def test_the_given_planes_stay_as_they_are() -> None:
    planes = knees()
    before = planes.clone()
    changed(planes, read_recipe("inception").augmentation)
    everything = unchanged(4, box=torch.full((4, 4), 0.2), blurred=[True] * 4, shrink=0.6)
    apply(planes, everything, chance())
    assert torch.equal(planes, before)


def test_a_mirror_is_exact() -> None:
    planes = knees()
    mirrored = changed(planes, Augmentation(mirror=1.0))
    torch.testing.assert_close(mirrored, planes.flip(-1), rtol=0, atol=1e-3)


def test_a_mirror_has_its_probability() -> None:
    change = drawn(Augmentation(mirror=0.5), 2000)
    assert float((change.affine[:, 0, 0] < 0).float().mean()) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(("across", "down"), [(0.25, 0.0), (0.0, 0.25), (-0.125, 0.125)])
def test_a_shift_moves_by_its_share_of_the_width(across: float, down: float) -> None:
    # the matrix leads from output to input, so the picture goes the other way
    change = unchanged(affine=affine((1, 0, -2 * across), (0, 1, -2 * down)))
    row, column = place(apply(spot(32, 32), change, chance()))
    assert (row, column) == pytest.approx((32 + down * SIZE, 32 + across * SIZE), abs=0.1)


def test_a_drawn_shift_moves_by_what_was_drawn_and_no_further_than_its_range() -> None:
    reach = 0.2
    for seed in range(10):
        change = drawn(Augmentation(shift=reach), 1, seed)
        row, column = place(apply(spot(32, 32), change, chance()))
        moved = np.array([column - 32, row - 32]) / SIZE
        np.testing.assert_allclose(moved, -change.affine[0, :, 2] / 2, atol=0.01)
        assert np.abs(moved).max() <= reach + 0.01
    widest = drawn(Augmentation(shift=reach), 5000).affine[:, :, 2] / 2
    assert float(widest.abs().max()) == pytest.approx(reach, abs=0.002)
    assert float(widest.mean()) == pytest.approx(0.0, abs=0.01)
    assert abs(float(torch.corrcoef(widest.T)[0, 1])) < 0.05  # across and down by themselves


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    planes = knees()
    change = unchanged(4, affine=affine((0, -1, 0), (1, 0, 0)).repeat(4, 1, 1))
    turned = apply(planes, change, chance())
    torch.testing.assert_close(turned, planes.rot90(1, (-2, -1)), rtol=0, atol=1e-3)


def test_a_drawn_rotation_turns_by_what_was_drawn() -> None:
    for seed in range(10):
        change = drawn(Augmentation(rotation=30.0), 1, seed)
        angle = float(torch.atan2(change.affine[0, 1, 0], change.affine[0, 0, 0]))
        assert abs(np.degrees(angle)) <= 30.0
        # 16 pixels to the right of the centre
        row, column = place(apply(spot(32, 48), change, chance()))
        assert np.hypot(row - 32, column - 32) == pytest.approx(16, abs=0.2)
        assert np.arctan2(32 - row, column - 32) == pytest.approx(angle, abs=0.02)


def test_rotations_fill_their_range() -> None:
    change = drawn(Augmentation(rotation=20.0), 5000)
    angles = torch.atan2(change.affine[:, 1, 0], change.affine[:, 0, 0]).rad2deg()
    assert (float(angles.min()), float(angles.max())) == pytest.approx((-20, 20), abs=0.1)
    assert float(angles.mean()) == pytest.approx(0, abs=0.5)


def test_a_scale_magnifies_about_the_centre() -> None:
    change = unchanged(affine=affine((0.5, 0, 0), (0, 0.5, 0)))
    assert place(apply(spot(32, 40), change, chance())) == pytest.approx((32, 48), abs=0.2)
    zooms = drawn(Augmentation(scale=0.25), 5000).affine
    factors = 1 / torch.hypot(zooms[:, 0, 0], zooms[:, 1, 0])
    assert (float(factors.min()), float(factors.max())) == pytest.approx((0.8, 1.25), abs=0.005)
    assert float(factors.log().mean()) == pytest.approx(0, abs=0.01)  # drawn by its logarithm


def test_places_are_those_of_torch() -> None:
    """The same sampling grid as `affine_grid`, made in another way."""
    planes, change = knees(), drawn(read_recipe("inception").augmentation, 4)
    moved = apply(planes, unchanged(4, affine=change.affine), chance())
    grid = functional.affine_grid(change.affine, list(planes.shape), align_corners=False)
    expected = functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(moved, expected.clamp_min(1e-4), rtol=0, atol=1e-5)


def test_contrast_stretches_about_the_mean() -> None:
    planes = 0.4 + 0.2 * knees()
    stretched = apply(planes, unchanged(4, contrast=torch.full((4,), 1.5)), chance())
    mean = planes.mean(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(stretched, mean + 1.5 * (planes - mean), rtol=0, atol=1e-3)


def test_brightness_is_added_and_gamma_is_an_exponent() -> None:
    planes = 0.2 + 0.5 * knees()
    added = torch.tensor([0.1, -0.1, 0.2, 0.0])
    brighter = apply(planes, unchanged(4, brightness=added), chance())
    torch.testing.assert_close(brighter, planes + added.view(-1, 1, 1, 1), rtol=0, atol=1e-3)
    curved = apply(planes, unchanged(4, gamma=torch.full((4,), 2.0)), chance())
    torch.testing.assert_close(curved, planes**2, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "reach", "lowest", "highest"),
    [
        ("contrast", 0.25, 0.75, 1.25),
        ("brightness", 0.1, -0.1, 0.1),
        ("gamma", 0.25, 0.8, 1.25),
        ("noise", 0.02, 0.0, 0.02),
    ],
)
def test_tones_fill_their_ranges(name: str, reach: float, lowest: float, highest: float) -> None:
    values = getattr(drawn(Augmentation(**{name: reach}), 5000), name)
    actual = (float(values.min()), float(values.max()))
    assert actual == pytest.approx((lowest, highest), abs=0.002)
    lower, upper = (math.log(lowest), math.log(highest)) if name == "gamma" else (lowest, highest)
    evenly = values.log() if name == "gamma" else values
    assert float(evenly.mean()) == pytest.approx((lower + upper) / 2, abs=0.02 * (upper - lower))


@pytest.mark.parametrize("shrink", [0.55, 0.7, 0.95])
def test_blur_takes_resolution_from_the_chosen_pictures_alone(shrink: float) -> None:
    planes = knees(count=4)
    chosen = torch.tensor([True, False, True])  # the fourth is beyond those that can be
    blurred = apply(planes, unchanged(4, blurred=chosen, shrink=shrink), chance())
    small = round(SIZE * shrink)
    coarse = functional.interpolate(planes, size=(small, small), mode="bilinear", antialias=True)
    expected = functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    for number, lost in enumerate([True, False, True, False]):
        other = expected[number] if lost else planes[number]
        torch.testing.assert_close(blurred[number], other, rtol=0, atol=2e-4)
    assert not torch.allclose(expected, planes, atol=2e-3)


def test_blur_draws_both_who_and_how_much() -> None:
    change = draw(Augmentation(blur=0.15), 500, 32, chance())
    assert change.blurred is not None
    blurred = float(change.blurred.sum()) / (500 * 32)
    assert blurred == pytest.approx(0.15, abs=0.01)
    assert change.blurred.shape == (500, 5)  # none but the first five can be
    assert change.blurred.float().mean(0).numpy() == pytest.approx(0.96, abs=0.03)
    assert 0.55 <= float(change.shrink.min()) < 0.56
    assert 0.94 < float(change.shrink.max()) <= 0.95
    every = drawn(Augmentation(blur=1.0), 7).blurred
    assert every is not None
    assert every.tolist() == [True] * 7


def test_noise_has_the_drawn_deviation() -> None:
    grey = torch.full((2, 1, SIZE, SIZE), 0.5)
    noisy = apply(grey, unchanged(2, noise=[0.05, 0.0]), chance())
    assert float(noisy[0].std()) == pytest.approx(0.05, rel=0.05)
    assert float(noisy[1].std()) < 1e-6


def test_erasing_paints_a_grey_rectangle() -> None:
    planes = knees(count=2)
    box = torch.tensor([[0.25, 0.5, 0.125, 0.25], [0, 0, 0, 0]])
    erased = apply(planes, unchanged(2, box=box), chance())
    inside = erased[0, 0, 16:24, 32:48]
    torch.testing.assert_close(inside, inside[:1, :1].expand_as(inside))
    assert float(inside[0, 0]) == pytest.approx(float(planes[0].mean()), abs=1e-3)
    outside = torch.ones(SIZE, SIZE, dtype=torch.bool)
    outside[16:24, 32:48] = False
    torch.testing.assert_close(erased[0, 0][outside], planes[0, 0][outside], rtol=0, atol=1e-3)
    torch.testing.assert_close(erased[1], planes[1], rtol=0, atol=1e-3)


def test_erasing_has_its_probability_and_sizes() -> None:
    boxes = drawn(Augmentation(erase=0.3), 5000).box
    assert boxes is not None
    painted = boxes[boxes[:, 2] > 0]
    assert len(painted) / 5000 == pytest.approx(0.3, abs=0.02)
    lowest, highest = painted.min(0).values.tolist(), painted.max(0).values.tolist()
    assert lowest == pytest.approx([0, 0, 0.1, 0.1], abs=0.01)
    assert highest == pytest.approx([0.8, 0.8, 0.3, 0.3], abs=0.01)


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
    first = changed(planes, ranges, seed)
    assert first.shape == planes.shape
    assert torch.isfinite(first).all()
    assert 0.0 <= float(first.min()) <= float(first.max()) <= 1.0
    assert torch.equal(first, changed(planes, ranges, seed))


def test_other_chance_gives_other_pictures() -> None:
    ranges = read_recipe("inception").augmentation
    one, other = (changed(knees(), ranges, seed) for seed in (1, 2))
    assert not torch.allclose(one, other, atol=0.05)


def test_every_step_gets_chance_of_its_own() -> None:
    epoch = draw(read_recipe("inception").augmentation, 3, 4, chance())
    for name in ("affine", "gamma", "shrink", "noise"):
        first, second, third = (getattr(epoch.of_step(step), name) for step in range(3))
        assert torch.equal(first, getattr(epoch, name)[0])
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)


def test_what_is_drawn_does_not_hang_on_what_is_switched_on() -> None:
    """A range set to zero leaves the other draws as they were: recipes stay comparable."""
    ranges = read_recipe("inception").augmentation
    off = {"gamma": 0.0, "blur": 0.0, "noise": 0.0}
    whole = draw(ranges, 5, 8, chance())
    without = draw(ranges.model_copy(update=off), 5, 8, chance())
    for name in ("affine", "contrast", "brightness", "shrink"):
        assert torch.equal(getattr(whole, name), getattr(without, name))
    assert (without.blurred, without.noise) == (None, None)


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
    order = torch.stack(epoch_order(count, batch, chance(seed)))
    size = min(batch, count)
    assert order.shape == (count // size, size)
    seen = order.flatten().tolist()
    assert len(set(seen)) == order.numel()
    assert set(seen) <= set(range(count))
    assert torch.equal(order, torch.stack(epoch_order(count, batch, chance(seed))))


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_a_last_batch_that_is_kept_holds_the_rest_but_never_a_single_knee(
    count: int, batch: int, seed: int
) -> None:
    whole = epoch_order(count, batch, chance(seed))
    kept = epoch_order(count, batch, chance(seed), last_batch="keep")
    rest = count % min(batch, count)
    assert all(torch.equal(one, other) for one, other in zip(whole, kept, strict=False))
    assert [len(one) for one in kept[len(whole) :]] == ([rest] if rest > 1 else [])
    seen = torch.cat(kept).tolist()
    assert len(set(seen)) == len(seen) == count - (rest == 1)
