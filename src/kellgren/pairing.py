"""Which of many files show the two knees of one patient, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from kellgren.grades import Side
from kellgren.naming import patient_and_side


def in_pairs(images: Sequence[str]) -> list[tuple[str, ...]]:
    """Files in the order of their first, those of one patient's left and right knee together.

    A patient with just one left and one right file has a pair, wherever these lie; one with more,
    as after several visits, has a pair in each folder that holds just one of each.

    Args:
        images: paths; names like ``9001234L.png`` tell patient and side.
    """
    partner: dict[str, str] = {}
    named = [(image, *patient_and_side(image)) for image in images]
    known = [(image, patient, side) for image, patient, side in named if side is not Side.UNKNOWN]
    for groups in (
        _grouped((patient, image, side) for image, patient, side in known),
        _grouped(
            (f"{PurePath(image).parent}\0{patient}", image, side) for image, patient, side in known
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
