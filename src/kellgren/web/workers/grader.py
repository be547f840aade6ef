"""A grader: reads untrusted files in a process of its own, one thread, bounded in memory.

Run as a module, it opens the model once, reports that it is ready, and then answers one job after
the other: a `Job` as a line of JSON on standard input, an answer as `encoded_answer` writes it on
standard output. It ends when its parent does.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from kellgren.batch.units import grade_file
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.explanation.cam import heat
from kellgren.explanation.overlay import heat_colours, png_bytes
from kellgren.explanation.similar import SimilarKnees
from kellgren.grades import Side
from kellgren.grading.bundle import default_bundle
from kellgren.knee import KneeCrop
from kellgren.libraries import silence_dicom_loggers
from kellgren.reading import KneeReading
from kellgren.reading_schema import CertaintyLevel, ModelRecord
from kellgren.web.storage.messages import (
    Answer,
    GraderReady,
    Job,
    KneePictures,
    SimilarDistances,
    encoded_answer,
)
from kellgren.web.workers.confinement import confine
from kellgren.web.workers.process import TRY_AGAIN

LARGEST_PICTURE, MAP_SIDE = 2048, 192  # longest side in pixels of what the page shows
WARM_UP_IMAGE = Path(str(resources.files("kellgren"))) / "web" / "static" / "atlas" / "9589486R.png"
SIMILAR = 24  # knees kept for each: those of its own patient are left out when they are shown
_CERTAINTY: TypeAdapter[CertaintyLevel] = TypeAdapter(CertaintyLevel)


def knee_picture(crop: KneeCrop) -> bytes:
    """The knee as the page shows it: an 8-bit grey PNG."""
    picture = Image.fromarray(np.rint(crop.pixels * 255).astype(np.uint8))
    picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), Image.Resampling.LANCZOS)
    return png_bytes(picture)


def map_picture(reading: KneeReading) -> bytes:
    """The class-activation map to lay over the knee: colour, and clear where it is weak."""
    height, width = reading.crop.pixels.shape
    scale = MAP_SIDE / max(height, width)
    activation = heat(reading.activation, (round(height * scale), round(width * scale)))
    opacity = np.rint(np.sqrt(activation)[..., None] * 255)
    layers = np.concatenate([heat_colours(activation), opacity], axis=-1)
    return png_bytes(Image.fromarray(np.rint(layers).astype(np.uint8)))


def similar_knees(
    index: SimilarKnees | None, ensemble: Ensemble, reading: KneeReading
) -> SimilarDistances:
    """Numbers and distances of the index's knees most similar to one; none for another model."""
    networks = None if index is None else index.places(ensemble.bundle)
    if index is None or networks is None:
        return ()
    nearest = index.nearest([reading.features[network] for network in networks], SIMILAR)
    return tuple((knee.number, round(knee.distance, 4)) for knee in nearest)


def read_case(ensemble: Ensemble, job: Job, index: SimilarKnees | None = None) -> Answer:
    """Read one file under its neutral name, and search the index for similar graded knees.

    Raises:
        NoRoom: there is no space for a temporary file.
    """
    began = time.monotonic()
    with _neutral_name(job) as path:
        outcome = grade_file(ensemble, str(path), Side(job.side))
    knees = tuple(
        KneePictures(
            grade=int(reading.grade),
            certainty=_CERTAINTY.validate_python(reading.certainty),
            picture=knee_picture(reading.crop),
            map=map_picture(reading),
            overlay=reading.overlay(),
            similar=similar_knees(index, ensemble, reading),
        )
        for reading in outcome.readings
    )
    return Answer(
        state="graded" if outcome.readings else "refused",
        rows=tuple(row.model_copy(update={"image": job.image}) for row in outcome.rows()),
        note=outcome.note,
        model=ModelRecord.model_validate(ensemble.model),
        knees=knees,
        report=dicom_report(outcome.readings, job.content),
        seconds=round(time.monotonic() - began, 3),
        refused=tuple(knee_picture(joint.crop) for joint in outcome.refused),
    )


@contextmanager
def _neutral_name(job: Job) -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / job.file
        path.symlink_to(job.content)
    except OSError as error:
        raise NoRoom(str(error)) from None
    with folder:
        yield path


class NoRoom(Exception):
    """The machine has no space for a temporary file: no film is the cause."""


def dicom_report(readings: Sequence[KneeReading], content: Path) -> bytes | None:
    """The structured report on a DICOM picture; ``None``: no knee, or no DICOM picture."""
    try:
        if not readings or not _is_dicom(content):
            return None
    except FileNotFoundError:  # the case was deleted while it was read
        return None
    # highdicom takes longer to load than a knee takes to read.
    from kellgren.output.dicom.source import read_source
    from kellgren.output.dicom.structured_report import structured_report

    stream = io.BytesIO()
    try:
        report = structured_report(readings, read_source(content))
        report.save_as(stream, enforce_file_format=True)
    except (KellgrenError, FileNotFoundError):  # without the identifiers that it refers to
        return None
    return stream.getvalue()


def _is_dicom(content: Path) -> bool:
    with content.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _serve(requests: IO[str], answers: IO[bytes], model: Path) -> None:
    ensemble, index = Ensemble.open(model, threads=1), SimilarKnees.default()
    # The first file takes longer than the others; it should not be a client's.
    grade_file(ensemble, str(WARM_UP_IMAGE))
    ready = GraderReady(model=ModelRecord.model_validate(ensemble.model))
    _send(answers, ready.model_dump_json().encode() + b"\n")
    for line in requests:
        job = Job.model_validate_json(line)
        try:
            answer = read_case(ensemble, job, index)
        except NoRoom:
            sys.exit(TRY_AGAIN)
        _send(answers, encoded_answer(answer))


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(message)
    stream.flush()


def main() -> None:
    """Answer jobs until there are none; ``argv`` holds the bytes of memory and the bundle."""
    memory, *model = sys.argv[1:]
    # Native libraries print where they like: the answers get a stream that none of them knows.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    confine(int(memory))
    silence_dicom_loggers()
    requests = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
    _serve(requests, answers, Path(model[0]) if model else default_bundle())


if __name__ == "__main__":
    main()
