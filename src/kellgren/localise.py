"""From a radiograph to the knees in it.

Today a file is taken as one knee, already cut; whole films with one or two knees will be cut here,
and whatever comes before and after this room will not notice.
"""

from __future__ import annotations

from kellgren.grades import Side
from kellgren.preprocess import KneeCrop
from kellgren.radiograph import Radiograph


def find_knees(radiograph: Radiograph, side: Side) -> list[KneeCrop]:
    """Cut out each knee.

    Args:
        radiograph: one knee, filling the picture.
        side: of that knee, as agreed upon by whoever knows of it.

    Returns:
        One crop for each knee.
    """
    spacing = radiograph.spacing
    return [KneeCrop(radiograph.pixels, side, None if spacing is None else spacing.column_mm)]
