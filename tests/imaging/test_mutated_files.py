"""A few hundred files of the benchmark of mutated ones, in this process."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from mutated_files import FAILED, SLOW_SECONDS, Judge, toned
from sound_pictures import KINDS

from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.knee_detector import Localiser

EACH = 5
"""Mutations of each kind that is decoded in this process."""
IN_A_CHILD = ("JPEGLossless", "JPEGLS", "JPEG2000", "HTJ2K", "Extended12Bit")
"""Names of transfer syntaxes whose decoder takes a process, and so a few of them only."""


@pytest.fixture(scope="module")
def results() -> Counter[str]:
    counts: Counter[str] = Counter()
    localiser = Localiser()
    for place, (name, kind) in enumerate(KINDS.items()):
        judge = Judge(kind, localiser)
        few = any(decoded in name for decoded in IN_A_CHILD)
        for number in range(2 if few else EACH):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's, on writing what it is told to
                found = judge.outcome(1000 * place + number)
            assert found.result != "foreign", found
            assert found.seconds < SLOW_SECONDS, found
            counts[found.result] += 1
    return counts


def test_mutated_files_are_not_graded_or_warned_of_or_read_rightly(results: Counter[str]) -> None:
    assert results.total() > 100
    assert results["refused"] > 0.4 * results.total()
    # What no check can tell: a change within the range of what a knee may look like.
    assert sum(results[failed] for failed in FAILED) <= 0.01 * results.total()


def test_sound_files_are_read_without_a_warning() -> None:
    for name, kind in KINDS.items():
        if name not in ("bmp", "webp"):
            assert read_radiograph(kind.sound()).warnings == (), name


def test_damage_is_found_in_the_pixels_and_told(results: Counter[str]) -> None:
    assert results["damaged"] > 12
    assert results["warned"] > 3
    assert results["same"] > 12


def test_another_tone_is_taken_off_and_damage_is_not() -> None:
    sound = read_radiograph(KINDS["png"].sound()).pixels
    darker, inverted = 0.6 * sound**1.4, 1 - sound
    assert np.abs(toned(sound, darker) - darker).max() < 1e-6
    assert np.abs(toned(sound, inverted) - inverted).mean() > 0.05
    half = sound.copy()
    half[150:] *= 0.6
    assert np.abs(toned(sound, half) - half).mean() > 0.05


@pytest.mark.parametrize(
    ("kind", "number", "mutation"),
    [
        ("png", 5_026_048, "rows_from_elsewhere"),
        ("tiff in strips", 5_059_370, "columns_swapped"),
        ("tiff, tiff_adobe_deflate", 5_030_795, "stretch_of_one_value"),
    ],
)
def test_what_once_went_unnoticed_is_warned_of(kind: str, number: int, mutation: str) -> None:
    """The joint was found beside the damage, or a band of one value was taken for a margin."""
    found = Judge(KINDS[kind], Localiser()).outcome(number)
    assert (found.mutation, found.result) == (mutation, "warned")
