"""What the default model reads from damaged files that no check noticed, beside the sound ones.

    python benchmarks/mutated_files.py --count 100000 --record mutated.jsonl
    python benchmarks/unnoticed_readings.py mutated.jsonl

Each file that the record calls unnoticed is made and judged again, so that what is noticed by now
is told too.
"""

from __future__ import annotations

import argparse
import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mutated_files import Judge, Outcome
from mutations import mutated, mutations_of
from sound_pictures import KINDS

from kellgren import Ensemble
from kellgren.localisation.knee_detector import Localiser


def unnoticed(record: Path) -> Iterator[tuple[Outcome, bool]]:
    """Of the record: each with whether it was damaged in DICOM's structure only."""
    for line in record.read_text().splitlines():
        told = json.loads(line)
        if "outcome" in told and told["outcome"]["result"] == "unnoticed":
            yield Outcome(**told["outcome"]), told["dicom"]


def compared(record: Path) -> Iterator[str]:
    """A line for each, and one of all that are unnoticed still."""
    ensemble, localiser = Ensemble.default(), Localiser()
    shifts: list[float] = []
    kept = 0
    for found, of_dicom_only in unnoticed(record):
        kind = KINDS[found.kind]
        again = Judge(kind, localiser).outcome(found.number, of_dicom_only=of_dicom_only)
        name = f"{found.kind}, {found.number}, {found.mutation}"
        if again.result != "unnoticed":
            yield f"{name}: {again.result} now"
            continue
        rng = random.Random(found.number)
        mutation = rng.choice(mutations_of(kind, of_dicom_only=of_dicom_only))
        example, data = mutated(kind, mutation, rng)
        sound, seen = (
            np.array(ensemble.read_film(picture)[0].probabilities)
            for picture in (kind.sound(example), data)
        )
        shifts.append(float(np.abs(seen - sound).max()))
        kept += bool(seen.argmax() == sound.argmax())
        grades = f"most probable {sound.argmax()}, damaged {seen.argmax()}"
        yield f"{name}: {again.note} off, {grades}, a probability moved by {shifts[-1]:.3f}"
    yield (
        f"{len(shifts)} unnoticed: {kept} keep the most probable grade, "
        f"a probability moves by {max(shifts, default=0.0):.3f} at most"
    )


def main() -> None:
    """Print them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("record", type=Path, help="written by mutated_files.py")
    warnings.simplefilter("ignore")  # pydicom's, on writing what it is told to
    for line in compared(options.parse_args().record):
        print(line, flush=True)


if __name__ == "__main__":
    main()
