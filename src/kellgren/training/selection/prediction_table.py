"""Out-of-fold predictions in the columns of ``grade --csv``, plain or in a gzip that never changes.

Images are written by name, not by path: tables travel.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee
from kellgren.grades import Grade
from kellgren.grading.calibration import certainty
from kellgren.reading_tables import COLUMNS


def write_readings(
    knees: Sequence[Knee],
    probabilities: npt.NDArray[np.floating],
    path: Path,
    read_with: Sequence[str] = (),
) -> None:
    """Write one row a knee; equal rows make equal files, to the last byte.

    Args:
        knees: N of them.
        probabilities: ``(N, 5)``.
        path: where to; a name ending in ``.gz`` is compressed.
        read_with: the name of the other knee's image where that had a say, else empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for knee, row, contralateral in zip(
        knees, probabilities, read_with or [""] * len(knees), strict=True
    ):
        grade = Grade(int(row.argmax()))
        writer.writerow(
            {
                "image": knee.image.name,
                "side": knee.side.value,
                "grade": int(grade),
                **{f"p{number}": f"{share:.6f}" for number, share in enumerate(row)},
                "name": grade.label,
                "certainty": certainty(row),
                "most_probable": int(grade),
                "read_with": contralateral,
            }
        )
    content = text.getvalue().encode()
    with replaced_whole(path) as temporary, temporary.open("wb") as stream:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 9, stream, mtime=0) as packed:
                packed.write(content)
        else:
            stream.write(content)
