"""What chance draws stays within the ranges of a recipe, whatever these are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.training.input.augment import apply, draw
from kellgren.training.input.loading import target_table
from kellgren.training.recipe import Augmentation, Targets

SHARE = st.floats(0, 1)
RANGES = st.builds(
    Augmentation,
    **{name: SHARE for name in Augmentation.model_fields if name != "rotation"},
    rotation=st.floats(0, 180),
)
EPSILON = 1e-5


def within(values: torch.Tensor, low: float, high: float) -> bool:
    return bool((values >= low - EPSILON).all() and (values <= high + EPSILON).all())


@settings(deadline=None, max_examples=60)
@given(RANGES, st.integers(1, 3), st.integers(1, 9), st.integers(0, 99))
def test_every_draw_is_within_its_range(
    ranges: Augmentation, steps: int, count: int, seed: int
) -> None:
    drawn = draw(ranges, steps, count, torch.Generator().manual_seed(seed))
    assert within(drawn.contrast, 1 - ranges.contrast, 1 + ranges.contrast)
    assert within(drawn.brightness, -ranges.brightness, ranges.brightness)
    assert within(drawn.gamma, 1 / (1 + ranges.gamma), 1 + ranges.gamma)
    assert within(drawn.shrink, 0.55, 0.95)
    assert within(drawn.affine[..., 2], -2 * ranges.shift, 2 * ranges.shift)  # -1..1 is a width
    turn = drawn.affine[..., :2]
    zoom = turn[..., 0].norm(dim=-1)  # of the first row: 1 / zoom
    assert within(zoom, 1 / (1 + ranges.scale), 1 + ranges.scale)
    cosine = turn[..., 1, 1] / zoom
    assert within(cosine, math.cos(math.radians(ranges.rotation)), 1)
    mirrored = torch.linalg.det(turn) < 0
    assert ranges.mirror > 0 or not mirrored.any()
    assert drawn.contrast.shape == drawn.brightness.shape == drawn.gamma.shape == (steps, count)
    few = math.ceil(count * ranges.blur)
    assert (None if drawn.blurred is None else drawn.blurred.shape[1]) == (few or None)
    assert (drawn.noise is None) == (ranges.noise == 0)
    assert drawn.noise is None or within(drawn.noise, 0, ranges.noise)
    assert (drawn.box is None) == (ranges.erase == 0)
    if drawn.box is not None:
        erased = drawn.box.any(dim=-1)
        assert within(drawn.box[erased][:, :2], 0, 0.8)
        assert within(drawn.box[erased][:, 2:], 0.1, 0.3)


@settings(deadline=None, max_examples=8)
@given(RANGES, st.integers(0, 99))
def test_a_step_is_its_part_of_the_epoch_and_gives_pictures(
    ranges: Augmentation, seed: int
) -> None:
    drawn = draw(ranges, 2, 4, torch.Generator().manual_seed(seed))
    planes = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    for step in range(2):
        change = drawn.of_step(step)
        torch.testing.assert_close(change.affine, drawn.affine[step])
        assert (change.box is None) == (drawn.box is None)
        noise = [torch.Generator().manual_seed(seed) for _ in range(2)]
        one, again = (apply(planes, change, generator) for generator in noise)
        torch.testing.assert_close(one, again, rtol=0, atol=0)
        assert one.shape == planes.shape
        assert within(one, 0, 1)
        assert torch.isfinite(one).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("name", ["mirror", "erase", "blur"])
def test_a_probability_of_none_or_all_is_no_chance(name: str, share: float) -> None:
    drawn = draw(Augmentation(**{name: share}), 4, 25, torch.Generator().manual_seed(0))
    happened: dict[str, Any] = {
        "mirror": torch.linalg.det(drawn.affine[..., :2]) < 0,
        "erase": torch.zeros(1) if drawn.box is None else drawn.box.any(dim=-1),
        "blur": torch.zeros(1) if drawn.blurred is None else drawn.blurred,
    }
    assert happened[name].float().mean() == share


@settings(deadline=None)
@given(
    st.builds(Targets, kind=st.just("ordinal"), sharpness=st.floats(0.01, 20))
    | st.builds(Targets, kind=st.just("smooth"), smoothing=st.floats(0, 0.9)),
    st.integers(2, 6),
)
def test_targets_are_distributions_with_their_mode_at_the_label(
    targets: Targets, grades: int
) -> None:
    table = target_table(targets, grades)
    assert (table.shape, table.dtype) == ((grades, grades), np.float32)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    assert (table >= 0).all()
    np.testing.assert_array_equal(table.argmax(axis=1), np.arange(grades))
    np.testing.assert_allclose(
        table[::-1, ::-1], table, rtol=1e-5
    )  # no end of the scale is special
    if targets.kind == "smooth":
        off = table[~np.eye(grades, dtype=bool)]
        np.testing.assert_allclose(off, targets.smoothing / grades, atol=1e-6)
