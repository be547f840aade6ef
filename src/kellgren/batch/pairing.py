"""Which of many files show the two knees of one patient, by their names or by a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from kellgren.file_names import patient_and_side
from kellgren.grades import Side

Known = Mapping[str, tuple[str, Side]]
"""Patient and side of files, by path, as the caller states them; before those of the names."""


def in_pairs(images: Sequence[str], known: Known | None = None) -> list[tuple[str, ...]]:
    """Files in the order of their first, those of one patient's left and right knee together.

    A patient with just one left and one right file has a pair, in whichever folders these are; one
    with more, as after several visits, has a pair in each folder that holds just one of each.

    Args:
        images: paths; names like ``9001234L.png`` state patient and side.
        known: patient and side of files; their names are not used then.
    """
    partner: dict[str, str] = {}
    named = [(image, *((known or {}).get(image) or patient_and_side(image))) for image in images]
    sided = [(image, patient, side) for image, patient, side in named if side is not Side.UNKNOWN]
    for groups in (
        _grouped((patient, image, side) for image, patient, side in sided),
        _grouped(
            (f"{PurePath(image).parent}\0{patient}", image, side) for image, patient, side in sided
        ),
    ):
        for members in groups:
            if sorted(side.value for _, side in members) == ["L", "R"]:
                (one, _), (other, _) = members
                partner.setdefault(one, other)
                partner.setdefault(other, one)
    units: dict[str, tuple[str, ...]] = {}
    for image in images:
        if partner.get(image) not in units:
            units[image] = (image, partner[image]) if image in partner else (image,)
    return list(units.values())


def _grouped(rows: Iterable[tuple[str, str, Side]]) -> list[list[tuple[str, Side]]]:
    groups: dict[str, list[tuple[str, Side]]] = {}
    for key, image, side in rows:
        groups.setdefault(key, []).append((image, side))
    return list(groups.values())
