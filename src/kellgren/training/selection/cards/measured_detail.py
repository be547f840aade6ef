"""The range of fine detail of the knees that a bundle is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kellgren.grading.card_parts.detail_range import FEWEST_FOR_RANGE, DetailRange, detail_range
from kellgren.imaging.integrity.fine_detail import fine_detail
from kellgren.imaging.radiograph import read_radiograph


def measured_range(pictures: Sequence[Path]) -> DetailRange | None:
    """The range of those pictures that are there; ``None`` where they are too few.

    Args:
        pictures: of one held-out knee each.

    Raises:
        UnreadableRadiograph: a picture that is there does not decode.
    """
    there = [picture for picture in pictures if picture.is_file()]
    if len(there) < FEWEST_FOR_RANGE:
        return None
    return detail_range([fine_detail(read_radiograph(picture).pixels) for picture in there])
