"""What a file's name says of the knee in it."""

from __future__ import annotations

import re
from pathlib import PurePath

from kellgren.grades import Side

_PATIENT_AND_SIDE = re.compile(r"^(?P<patient>\d{4,})(?P<side>[LR])$")


def patient_and_side(path: PurePath | str) -> tuple[str, Side]:
    """Read patient and side from a name like ``9001234L.png``, as the published sets have it.

    Args:
        path: a file's path; only its name without the suffix is looked at.

    Returns:
        The patient and the side; for any other name the whole stem and ``Side.UNKNOWN``: a name
        that says nothing makes each file its own patient.
    """
    stem = PurePath(path).stem
    found = _PATIENT_AND_SIDE.match(stem)
    if found is None:
        return stem, Side.UNKNOWN
    return found["patient"], Side(found["side"])
