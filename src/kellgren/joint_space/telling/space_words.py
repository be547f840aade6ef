"""What was measured of a joint space, in words for readers and as cells of a table."""

from __future__ import annotations

from kellgren.joint_space.measurement import Compartment, CompartmentName, JointSpace, Measure

PLACES: dict[CompartmentName, str] = {
    "medial": "medial",
    "lateral": "lateral",
    "left": "left of the picture",
    "right": "right of the picture",
}
COLUMNS = (
    *("jsw_medial", "jsw_medial_sd", "jsw_medial_mm"),
    *("jsw_lateral", "jsw_lateral_sd", "jsw_lateral_mm"),
    *("jsw_angle", "jsw_corrected", "jsw_note"),
)
"""Of a table of readings; ``docs/reference/predictions.md`` describes them."""


def length_words(measure: Measure) -> str:
    """Such as ``3.1 mm (±0.2)``, or ``0.041 of the condylar width (±0.002)`` without spacing."""
    if measure.mm is not None:
        return f"{measure.mm:.1f} mm{_spread(measure.mm_uncertainty, 1)}"
    return f"{measure.ratio:.3f} of the condylar width{_spread(measure.ratio_uncertainty, 3)}"


def compartment_words(compartment: Compartment) -> str:
    """Such as ``joint-space width, medial: 3.1 mm (±0.2)``: the minimum, or why there is none."""
    said = compartment.note or "a margin cannot be told"
    if compartment.minimum is None:
        found = f"not measured: {said}"
    else:
        found = length_words(compartment.minimum)
        if compartment.corrected:
            found += ", margins corrected by hand"
        if compartment.note:
            found += f"; {compartment.note}"
    return f"joint-space width, {PLACES[compartment.name]}: {found}"


def angle_words(space: JointSpace) -> str:
    """Such as ``joint-line convergence angle: 1.2° (±0.4)``; empty: not measured."""
    if space.convergence_angle is None:
        return ""
    spread = _spread(space.convergence_uncertainty, 1)
    return f"joint-line convergence angle: {space.convergence_angle:.1f}°{spread}"


def space_words(space: JointSpace) -> list[str]:
    """Both compartments, the angle, and where the millimetres come from: a line each."""
    lines = [*map(compartment_words, space.compartments), angle_words(space), space.spacing]
    return [line for line in lines if line]


def table_cells(space: JointSpace) -> dict[str, str]:
    """The cells of `COLUMNS`; of a knee whose side is not known, the widths stand in the note."""
    cells = {"jsw_corrected": "yes" if space.corrected else ""}
    notes = []
    for compartment in space.compartments:
        minimum = compartment.minimum
        if compartment.name in ("left", "right") or minimum is None:
            notes.append(compartment_words(compartment))
            continue
        column = f"jsw_{compartment.name}"
        cells[column] = f"{minimum.ratio:.5f}"
        cells[f"{column}_sd"] = _number(minimum.ratio_uncertainty, 5)
        cells[f"{column}_mm"] = _number(minimum.mm, 3)
        if compartment.note:
            notes.append(f"{compartment.name}: {compartment.note}")
    if space.mm_per_pixel is None:
        notes.append(space.spacing)
    cells["jsw_angle"] = _number(space.convergence_angle, 2)
    cells["jsw_note"] = "; ".join(notes)
    return cells


def _spread(uncertainty: float | None, digits: int) -> str:
    return "" if uncertainty is None else f" (±{uncertainty:.{digits}f})"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
