"""A grader: reads untrusted files in a process of its own, one thread, bounded in memory.

Run as a module, it opens the model once, says so, and then answers one job after the other: a JSON
line on standard input, a JSON line and the pictures it counts on standard output. When its parent
goes away it ends.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from kellgren.batch import Outcome, grade_file
from kellgren.bundle import default_bundle
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.explain import heat
from kellgren.grades import Side
from kellgren.library_messages import silence_dicom_loggers
from kellgren.overlay import heat_colours, png_bytes
from kellgren.reading import KneeReading
from kellgren.similar import SimilarKnees

LARGEST_PICTURE, MAP_SIDE = 2048, 192  # longest side in pixels of what the page shows
FIRST_LOOK = Path(str(resources.files("kellgren"))) / "web" / "static" / "atlas" / "9589486R.png"
SIMILAR = 24  # knees kept for each: those of its own patient are left out when they are shown
NICENESS = 5  # so that HTTP is answered while every core grades


def knee_picture(reading: KneeReading) -> bytes:
    """The knee as the page shows it: an 8-bit grey PNG."""
    picture = Image.fromarray(np.rint(reading.crop.pixels * 255).astype(np.uint8))
    picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), Image.Resampling.LANCZOS)
    return png_bytes(picture)


def map_picture(reading: KneeReading) -> bytes:
    """The class-activation map to lay over the knee: colour, and clear where it is weak."""
    height, width = reading.crop.pixels.shape
    scale = MAP_SIDE / max(height, width)
    warm = heat(reading.activation, (round(height * scale), round(width * scale)))
    cover = np.rint(np.sqrt(warm)[..., None] * 255)
    layers = np.concatenate([heat_colours(warm), cover], axis=-1)
    return png_bytes(Image.fromarray(np.rint(layers).astype(np.uint8)))


def similar_knees(
    known: SimilarKnees | None, ensemble: Ensemble, reading: KneeReading
) -> list[tuple[int, float]]:
    """Numbers and distances of the known knees most like one; none if they are another model's."""
    places = None if known is None else known.places(ensemble.bundle)
    if known is None or places is None:
        return []
    near = known.nearest([reading.features[place] for place in places], SIMILAR)
    return [(knee.number, round(knee.distance, 4)) for knee in near]


def read_case(
    ensemble: Ensemble, job: dict[str, str], known: SimilarKnees | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """Read one file under its neutral name, and look for graded knees like those in it.

    Returns:
        The answer without pictures; picture, map and overlay of each knee in turn, and last the
        report where the source was DICOM.
    """
    began = time.monotonic()
    content = Path(job["content"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / job["file"]
        path.symlink_to(content)
        outcome = grade_file(ensemble, str(path), Side(job["side"]))
    pictures = [
        part(reading)
        for reading in outcome.readings
        for part in (knee_picture, map_picture, KneeReading.overlay)
    ]
    report = dicom_report(outcome.readings, content)
    answer = {
        "state": "graded" if outcome.readings else "refused",
        "rows": _rows(outcome, job["image"]),
        "note": outcome.note,
        "model": ensemble.model,
        "knees": [[int(r.grade), r.certainty] for r in outcome.readings],
        "similar": [similar_knees(known, ensemble, r) for r in outcome.readings],
        "report": report is not None,
        "seconds": round(time.monotonic() - began, 3),
    }
    return answer, pictures if report is None else [*pictures, report]


def dicom_report(readings: Sequence[KneeReading], content: Path) -> bytes | None:
    """The structured report on a DICOM picture; ``None`` where there is nothing to answer."""
    if not readings or not _is_dicom(content):
        return None
    # highdicom takes longer to load than a knee takes to read.
    from kellgren.dicom_output.report import structured_report
    from kellgren.dicom_output.source import read_source

    stream = io.BytesIO()
    try:
        made = structured_report(readings, read_source(content))
        made.save_as(stream, enforce_file_format=True)
    except KellgrenError:  # a picture that the PACS could not match with an answer
        return None
    return stream.getvalue()


def _is_dicom(content: Path) -> bool:
    with content.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _rows(outcome: Outcome, image: str) -> list[dict[str, Any]]:
    return [{**row, "image": image} for row in outcome.rows()]


def _serve(requests: IO[str], answers: IO[bytes], model: Path) -> None:
    ensemble, known = Ensemble.open(model, threads=1), SimilarKnees.default()
    # The first look takes longer than the others; it should not be a reader's.
    grade_file(ensemble, str(FIRST_LOOK))
    _tell(answers, {"ready": True, "model": ensemble.model}, [])
    for line in requests:
        _tell(answers, *read_case(ensemble, json.loads(line), known))


def _tell(stream: IO[bytes], answer: dict[str, Any], pictures: list[bytes]) -> None:
    header = {**answer, "sizes": [len(picture) for picture in pictures]}
    stream.write(json.dumps(header).encode() + b"\n" + b"".join(pictures))
    stream.flush()


def _confine(memory: int) -> None:
    if os.name != "posix":
        return
    import resource

    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Answer jobs until there are none; ``argv`` holds the bytes of memory and the bundle."""
    memory, *model = sys.argv[1:]
    # Native libraries print where they like: the answers get a stream that none of them knows.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _confine(int(memory))
    silence_dicom_loggers()
    requests = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
    _serve(requests, answers, Path(model[0]) if model else default_bundle())


if __name__ == "__main__":
    main()
