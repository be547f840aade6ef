"""Blocks, rows and columns that belong elsewhere, pixels that stand twice, bits that are lost."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kellgren.imaging.integrity.contours import contours
from kellgren.imaging.integrity.copies import copied_share
from kellgren.imaging.integrity.damage import (
    MOST_PERHAPS_CONTOURS,
    MOST_PERHAPS_COPIED,
    MOST_SEAM,
    MOST_SPLICE,
    damage,
    doubt,
    traces,
)
from kellgren.imaging.integrity.seams import seam
from kellgren.imaging.integrity.splices import splice
from kellgren.knee import Region
from kellgren.localisation.quality import check_damage

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.png"))
BLOCK, OTHER = np.s_[60:145, 70:155], np.s_[181:266, 133:218]

Greys = np.ndarray
"""``(H, W)`` uint8."""


@pytest.fixture(scope="module")
def knees() -> list[Greys]:
    return [np.array(Image.open(path).convert("L")) for path in EXAMPLES]


def plane(greys: Greys) -> np.ndarray:
    return greys.astype(np.float32) / 255


def told(greys: Greys) -> str:
    found = traces(plane(greys))
    return damage(found) + doubt(found)


def copied_block(knee: Greys, _: Greys) -> None:
    knee[BLOCK] = knee[OTHER].copy()


def swapped_blocks(knee: Greys, _: Greys) -> None:
    knee[BLOCK], knee[OTHER] = knee[OTHER].copy(), knee[BLOCK].copy()


def mirrored_block(knee: Greys, _: Greys) -> None:
    knee[50:200, 70:200] = knee[50:200, 70:200][::-1].copy()


def swapped_columns(knee: Greys, _: Greys) -> None:
    knee[:, 60:100], knee[:, 180:220] = knee[:, 180:220].copy(), knee[:, 60:100].copy()


def swapped_rows(knee: Greys, _: Greys) -> None:
    knee[40:80], knee[200:240] = knee[200:240].copy(), knee[40:80].copy()


def block_of_another_knee(knee: Greys, other: Greys) -> None:
    knee[BLOCK] = other[OTHER]


def columns_of_another_knee(knee: Greys, other: Greys) -> None:
    knee[:, 180:] = other[:, 180:]


def copied_bytes(knee: Greys, _: Greys) -> None:
    knee.reshape(-1)[50_003:62_003] = knee.reshape(-1)[20_100:32_100].copy()


def flipped_bit(knee: Greys, _: Greys) -> None:
    knee[100:250] ^= 32


def block_at_the_border(knee: Greys, _: Greys) -> None:
    knee[:90, 60:150] = 77


KINDS = [
    copied_block,
    swapped_blocks,
    mirrored_block,
    swapped_columns,
    swapped_rows,
    block_of_another_knee,
    columns_of_another_knee,
    copied_bytes,
    flipped_bit,
    block_at_the_border,
]


@pytest.mark.parametrize("broken", KINDS, ids=lambda kind: kind.__name__)
def test_a_part_from_elsewhere_is_noticed(
    knees: list[Greys], broken: Callable[[Greys, Greys], None]
) -> None:
    noticed = []
    for knee, other in zip(knees, knees[1:] + knees[:1], strict=True):
        damaged = knee.copy()
        broken(damaged, other)
        noticed.append(bool(told(damaged)))
    assert sum(noticed) >= 0.9 * len(knees)  # one may go over into what is beside it


def as_jpeg(knee: Greys, quality: int) -> Greys:
    stream = io.BytesIO()
    Image.fromarray(knee).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream))


def as_jpeg_2000(knee: Greys) -> Greys:
    stream = io.BytesIO()
    Image.fromarray(knee).save(stream, "JPEG2000", quality_mode="rates", quality_layers=[20])
    return np.array(Image.open(stream))


def resized(knee: Greys, factor: float, how: Image.Resampling) -> Greys:
    size = (round(knee.shape[1] * factor), round(knee.shape[0] * factor))
    return np.array(Image.fromarray(knee).resize(size, how))


WAYS: dict[str, Callable[[Greys], Greys]] = {
    "JPEG 75": lambda knee: as_jpeg(knee, 75),
    "JPEG 40": lambda knee: as_jpeg(knee, 40),
    "JPEG 2000": as_jpeg_2000,
    "twice": lambda knee: resized(knee, 2, Image.Resampling.BICUBIC),
    "twice, by whole pixels": lambda knee: resized(knee, 2, Image.Resampling.NEAREST),
    "thrice, by whole pixels": lambda knee: resized(knee, 3, Image.Resampling.NEAREST),
    "half": lambda knee: resized(knee, 0.5, Image.Resampling.BOX),
    "padded": lambda knee: np.pad(knee, 40),
    "on grey": lambda knee: np.pad(knee, 40, constant_values=128),
    "32 greys": lambda knee: knee // 8 * 8,
    "16 greys": lambda knee: knee // 16 * 16,
    "darker": lambda knee: (knee * 0.3).astype(np.uint8),
    "inverted": lambda knee: 255 - knee,
}


@pytest.mark.parametrize("way", WAYS)
def test_knees_that_were_stored_otherwise_show_none_of_it(knees: list[Greys], way: str) -> None:
    for knee in knees[:5]:
        seen = plane(WAYS[way](knee))
        assert seam(seen) <= MOST_SEAM
        assert splice(seen) <= MOST_SPLICE
        assert copied_share(seen) <= MOST_PERHAPS_COPIED
        assert contours(seen) <= MOST_PERHAPS_CONTOURS


def test_copies_are_found_by_their_pixels_wherever_they_lie(knees: list[Greys]) -> None:
    knee = plane(knees[0])
    assert copied_share(knee) == 0
    copied = knee.copy()
    copied[33:118, 101:186] = copied[181:266, 17:102].copy()
    assert 0.03 < copied_share(copied) < 85 * 85 / knee.size
    stretch = knee.reshape(-1).copy()
    stretch[61_007:74_007] = stretch[3:13_003].copy()
    assert 0.07 < copied_share(stretch.reshape(knee.shape)) < 13_000 / knee.size


def test_letters_and_flat_ground_that_recur_are_no_copy(knees: list[Greys]) -> None:
    knee = knees[0].copy()
    rows, columns = np.mgrid[:20, :14]
    letter = np.where((rows > 15) | (columns < 4), 255, 0).astype(np.uint8)
    for top, left in ((5, 5), (5, 40), (260, 5), (260, 270)):
        knee[top : top + 20, left : left + 14] = letter
    knee[:, :30] = 0
    assert copied_share(plane(knee)) <= MOST_PERHAPS_COPIED


def test_a_bright_line_is_no_seam_and_a_step_is(knees: list[Greys]) -> None:
    line, step = (np.maximum(knees[3], 60) for _ in range(2))
    line[150] = 200
    step[150:] -= 30
    assert seam(plane(line)) <= MOST_SEAM < seam(plane(step))


def test_another_picture_beside_a_knee_is_no_seam_of_it(knees: list[Greys]) -> None:
    film = plane(np.concatenate([knees[0], knees[1][:, ::-1]], axis=1))
    square = Region((170.0, 150.0), 280.0)
    assert check_damage(film, square) is None
    film[120:200, 120:200] = film[30:110, 400:480].copy()
    check = check_damage(film, square)
    assert check is not None
    assert check.verdict == "refused"


def test_a_narrow_strip_has_no_seam() -> None:
    noise = np.random.default_rng(0).random((40, 9), np.float32)
    assert seam(noise) <= MOST_SEAM
    assert seam(noise[:20]) == 0
