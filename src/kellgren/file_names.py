"""Patient and side, read from a file's name."""

from __future__ import annotations

import re
from pathlib import PurePath

from kellgren.grades import Side

_PATIENT_AND_SIDE = re.compile(r"(?P<patient>\d{4,})(?P<side>[LR])")


def patient_and_side(path: PurePath | str) -> tuple[str, Side]:
    """Read patient and side from a name like ``9001234L.png``, as the published sets have it.

    Args:
        path: a file's path; only its name without the suffix is read.

    Returns:
        The patient and the side; for any other name the whole stem and ``Side.UNKNOWN``, so
        that each such file counts as a patient of its own.
    """
    stem = PurePath(path).stem
    match = _PATIENT_AND_SIDE.fullmatch(stem)
    if match is None:
        return stem, Side.UNKNOWN
    return match["patient"], Side(match["side"])
