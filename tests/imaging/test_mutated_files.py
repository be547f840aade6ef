"""A few hundred files of the benchmark of mutated ones, in this process."""

from __future__ import annotations

import warnings
from collections import Counter

import pytest
from mutated_files import SLOW_SECONDS, outcome
from mutations import sound_files

from kellgren.imaging.radiograph import read_radiograph

EACH = 14
"""Mutations of each kind that is decoded in this process."""
IN_A_CHILD = ("JPEGLossless", "JPEGLS", "JPEG2000", "HTJ2K", "Extended12Bit")
"""Names of transfer syntaxes whose decoder takes a process, and so a few of them only."""


@pytest.fixture(scope="module")
def results() -> Counter[str]:
    counts: Counter[str] = Counter()
    for place, (kind, sound) in enumerate(sound_files().items()):
        pixels = None if kind in ("bmp", "webp") else read_radiograph(sound).pixels
        few = any(name in kind for name in IN_A_CHILD)
        for number in range(2 if few else EACH):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pydicom's, on writing what it is told to
                found = outcome(1000 * place + number, kind, sound, pixels)
            assert found.result != "foreign", found
            assert found.seconds < SLOW_SECONDS, found
            counts[found.result] += 1
    return counts


def test_mutated_files_are_refused_warned_of_or_read_rightly(results: Counter[str]) -> None:
    assert results.total() > 250
    assert results["refused"] > 0.4 * results.total()
    # What no check can tell: a change within the range of what a knee may look like.
    assert results["unnoticed"] <= 0.02 * results.total()


def test_sound_files_are_read_without_a_warning() -> None:
    for kind, sound in sound_files().items():
        if kind not in ("bmp", "webp"):
            assert read_radiograph(sound).warnings == (), kind


def test_damage_leaves_its_traces_and_warnings(results: Counter[str]) -> None:
    assert results["trace"] > 20
    assert results["warned"] > 5
    assert results["read"] > 20
