"""The four quantities of a reading that are watched for shifts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kellgren.reading_schema import KneeRecord

Key = Literal["grade", "certainty", "gate_distance", "exposure"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of each graded knee.

    Attributes:
        key: short name, of files and metrics.
        name: for people.
        of_picture: it describes the picture; the others, what the model says of the knee.
        bounds: upper bounds of the buckets that the server counts in.
    """

    key: Key
    name: str
    of_picture: bool
    bounds: tuple[float, ...]


QUANTITIES = (
    Quantity("grade", "grades", False, (0, 1, 2, 3, 4)),
    Quantity(
        "certainty", "largest probability", False, (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
    ),
    Quantity(
        "gate_distance",
        "distance from frontal knees",
        True,
        (1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.7, 2.0),
    ),
    Quantity(
        "exposure",
        "mean grey value of the knee",
        True,
        (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9),
    ),
)
"""In the order of tables. An infinite bound ends the buckets of each."""


def values_of(reading: KneeRecord) -> dict[Key, float | None]:
    """Of one reading; ``None`` where it was made without that number, as version 0.1 did."""
    told = {check.name: check.value for check in reading.checks}
    return {
        "grade": float(reading.grade),
        "certainty": max(reading.probabilities),
        "gate_distance": told.get("picture"),
        "exposure": told.get("exposure"),
    }
