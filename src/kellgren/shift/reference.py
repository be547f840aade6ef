"""References to compare with: kept as a small file, without names, for one bundle's readings."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kellgren.atomic_files import written_whole
from kellgren.errors import InvalidOption
from kellgren.grading.card import Card
from kellgren.shift.quantities import QUANTITIES, Key
from kellgren.shift.sample import Sample, WatchedKnees, one_per_patient

MOST_PATIENTS = 2000
_Values = Annotated[tuple[float, ...], Field(max_length=MOST_PATIENTS)]


class ShiftReference(BaseModel):
    """A sample of one knee a patient, by quantity and without what belongs to whom.

    Attributes:
        format: of the file.
        knees: whose they are, in words.
        grading: what `grading_checksum` gives of the bundle that graded them.
        patients: one knee of each.
        grade: the most probable grades, ascending, 0..4.
        certainty: largest probabilities, likewise, 0..1.
        gate_distance: distances from frontal knees.
        exposure: mean grey values of the knees, 0..1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    knees: str
    grading: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    patients: Annotated[int, Field(ge=1, le=MOST_PATIENTS)]
    grade: tuple[Annotated[int, Field(ge=0, le=4)], ...]
    certainty: _Values
    gate_distance: _Values
    exposure: _Values

    @property
    def sample(self) -> Sample:
        """For `compare`."""
        values: dict[Key, np.ndarray] = {
            it.key: np.sort(np.array(getattr(self, it.key), dtype=np.float64)) for it in QUANTITIES
        }
        return Sample(self.patients, values)


def grading_checksum(card: Card) -> str:
    """SHA-256 of all in a bundle that decides grades and probabilities, in hexadecimal digits.

    A card whose words change keeps it; another member, vote, calibration or number of looks does
    not.
    """
    members = [
        {
            "files": [card.files.get(member.model), card.files.get(member.head)],
            "preprocess": member.preprocess.model_dump(mode="json"),
        }
        for member in card.members
    ]
    local = card.local_calibration
    decides = {
        "members": members,
        "combiner": card.combiner.model_dump(mode="json"),
        "both_knees": card.both_knees and card.both_knees.model_dump(mode="json"),
        "local": local and local.shift.model_dump(mode="json"),
        **({"looks": 1} if card.one_look else {}),  # two are what references of before had
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def reference_of(knees: WatchedKnees, card: Card, words: str) -> ShiftReference:
    """A reference from graded knees.

    Args:
        knees: graded by the bundle.
        card: of the bundle.
        words: whose knees they are.
    """
    sample = one_per_patient(knees, most=MOST_PATIENTS)
    rounded = {key: [round(float(it), 4) for it in column] for key, column in sample.values.items()}
    return ShiftReference.model_validate(
        {"knees": words, "grading": grading_checksum(card), "patients": sample.patients} | rounded
    )


def write_reference(reference: ShiftReference, path: Path) -> None:
    """Write it as JSON; the file appears whole or not at all."""
    with written_whole(path) as stream:
        stream.write(reference.model_dump_json() + "\n")


def read_reference(path: Path) -> ShiftReference:
    """Read what `write_reference` wrote.

    Raises:
        InvalidOption: it is no such file.
    """
    try:
        return ShiftReference.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InvalidOption(
            path,
            f"is no reference of shifts ({type(error).__name__})",
            "Write one with kellgren watch --write-reference, or name a table of kellgren grade",
        ) from None


def is_reference(path: Path) -> bool:
    """Whether a JSON file seems to be a reference, and not a document of readings."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as stream:
        return b'"grading"' in stream.read(2**16)


def packaged_reference(card: Card) -> ShiftReference | None:
    """The reference that comes with the package, if it was made by such a bundle."""
    path = Path(str(resources.files("kellgren"))) / "models" / "shift_reference.json"
    reference = read_reference(path)
    return reference if reference.grading == grading_checksum(card) else None
