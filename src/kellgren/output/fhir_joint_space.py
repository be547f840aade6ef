"""The joint space as components of a FHIR Observation."""

from __future__ import annotations

from collections.abc import Iterator

from kellgren.joint_space.telling.space_record import (
    CompartmentRecord,
    JointSpaceRecord,
    MeasureRecord,
)
from kellgren.joint_space.telling.space_words import PLACES
from kellgren.output.fhir_elements import SYSTEM, CodeableConcept, Component, concept, quantity

_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


def joint_space_components(space: JointSpaceRecord | None) -> list[Component]:
    """Widths of both compartments with their uncertainty, the angle, and whose margins they are.

    Args:
        space: of one knee; ``None``: not measured, there are no components.
    """
    if space is None:
        return []
    made = [part for one in space.compartments for part in _compartment(one)]
    if space.convergence_angle is not None:
        angle, spread = space.convergence_angle, space.convergence_uncertainty
        made += _with_spread("JLCA", "joint-line convergence angle", angle, spread, "deg", 2)
    origin = ("MARGINS-HAND", "Corrected by hand")
    if not space.corrected:
        origin = ("MARGINS-FOUND", "Found by the software")
    margins = concept(SYSTEM, "MARGINS", "Origin of the margins")
    return [*made, {"code": margins, "valueCodeableConcept": concept(SYSTEM, *origin)}]


def joint_space_notes(space: JointSpaceRecord | None) -> list[str]:
    """What to doubt of a measured joint space, and where its millimetres come from."""
    if space is None:
        return []
    notes = [
        f"Joint space, {PLACES[one.name]}: {one.note}." for one in space.compartments if one.note
    ]
    return [*notes, f"Joint space: {space.spacing}."]


def _compartment(compartment: CompartmentRecord) -> Iterator[Component]:
    place, words = compartment.name.upper(), PLACES[compartment.name]
    for measure, code, kind in (
        (compartment.minimum, f"JSW-MIN-{place}", "minimum"),
        (compartment.mean, f"JSW-MEAN-{place}", "mean"),
    ):
        name = f"joint-space width, {words}, {kind}"
        if measure is not None:
            yield from _lengths(code, name, measure)
        elif kind == "minimum":
            why = f"Not measured: {compartment.note or 'a margin cannot be told'}"
            yield {
                "code": concept(SYSTEM, code, _capital(name)),
                "dataAbsentReason": _absent(why),
            }


def _lengths(code: str, name: str, measure: MeasureRecord) -> Iterator[Component]:
    """In millimetres where these are trusted, and always as share of the condylar width."""
    if measure.mm is not None:
        yield from _with_spread(f"{code}-MM", name, measure.mm, measure.mm_uncertainty, "mm", 3)
    relative = f"{name}, of the condylar width"
    yield from _with_spread(
        code, relative, measure.ratio, measure.ratio_uncertainty, "{ratio}", digits=5
    )


def _with_spread(
    code: str, name: str, value: float, spread: float | None, unit: str, digits: int
) -> Iterator[Component]:
    yield quantity(code, _capital(name), value, unit, digits)
    if spread is not None:
        yield quantity(f"{code}-SD", f"Standard deviation of the {name}", spread, unit, digits)


def _absent(why: str) -> CodeableConcept:
    made = concept(_ABSENT, "not-performed", "Not Performed")
    return {**made, "text": why}


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
