"""Blocks of a JPEG that were decoded to wrong values, and blocks that are as they were stored."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from mutated_files import Judge
from PIL import Image
from sound_pictures import KINDS

from kellgren.imaging.integrity.blocks import block_edges
from kellgren.imaging.integrity.damage import MOST_BLOCK_EDGES
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.knee_detector import Localiser

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.png"))
MOSAIC = 5_080_389
"""Of a mutated file: one changed number in a progressive JPEG, which leaves a mosaic of blocks."""


@pytest.fixture(scope="module")
def knees() -> list[np.ndarray]:
    return [read_radiograph(path).pixels for path in EXAMPLES]


def test_a_mosaic_is_warned_of() -> None:
    found = Judge(KINDS["jpeg, progressive"], Localiser()).outcome(MOSAIC)
    assert (found.mutation, found.result) == ("extreme_number", "warned")


@pytest.mark.parametrize("begin", [(0, 0), (3, 5)])
def test_blocks_of_another_brightness_stand_out(
    knees: list[np.ndarray], begin: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    for knee in knees:
        height, width = (side // 8 + 1 for side in knee.shape)
        moved = random.choice([0, 0.08], (height, width), p=[0.7, 0.3])
        mosaic = knee + np.kron(moved, np.ones((8, 8)))[: len(knee), : knee.shape[1]]
        top, left = begin
        assert block_edges(mosaic[top:, left:].astype(np.float32)) > MOST_BLOCK_EDGES


@pytest.mark.parametrize("quality", [60, 90])
def test_a_usual_jpeg_has_none(knees: list[np.ndarray], quality: int) -> None:
    for knee in knees:
        stored = io.BytesIO()
        Image.fromarray(np.rint(255 * knee).astype(np.uint8)).save(stored, "JPEG", quality=quality)
        assert block_edges(read_radiograph(stored.getvalue()).pixels) < 0.7 * MOST_BLOCK_EDGES


def test_one_grey_value_has_none() -> None:
    assert block_edges(np.full((32, 32), 0.5, np.float32)) == 0.0
