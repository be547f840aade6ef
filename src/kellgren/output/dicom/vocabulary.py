"""The private coding scheme 99KELLGREN, and unique identifiers derived from what they identify.

No standard code exists for a Kellgren-Lawrence grade. docs/reference/dicom.md lists the scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid5

from highdicom import UID
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from kellgren.grades import NOTICE, Grade

SCHEME = "99KELLGREN"
RESEARCH_NOTICE = NOTICE.removesuffix(".")
FORCED_NOTICE = "Refused by a check, graded only because that was forced"
_NAMESPACE = UUID("5f1c6c3e-6a0b-4c0e-9a52-0b8f3d7c41aa")


def unique_id(*parts: str) -> UID:
    """The identifier derived from these texts, always the same: below 2.25, after PS3.5 B.2.

    Args:
        parts: what the identified object follows from; none of them holds a line break.
    """
    return UID(f"2.25.{uuid5(_NAMESPACE, chr(10).join(parts)).int}")


SCHEME_UID = unique_id("coding scheme", SCHEME)
DEVICE_UID = unique_id("device")


def scheme_identification() -> CodingSchemeIdentificationItem:
    """Identification of the scheme, for every object that uses it."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME,
        name="Kellgren-Lawrence readings",
        uid=SCHEME_UID,
        responsible_organization="kellgren project",
    )


def _code(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=meaning)


GRADE = _code("KL", "Kellgren-Lawrence grade")
MOST_PROBABLE = _code("KL-MOST", "Most probable Kellgren-Lawrence grade")
NOT_NAMED = _code("NOT-NAMED", "Not sure enough to name a grade")
SET_LOW = _code("KL-LOW", "Lowest grade of the set")
SET_HIGH = _code("KL-HIGH", "Highest grade of the set")
SET_LEVEL = _code("SET-LEVEL", "Level of the set of grades")
SET_COVERAGE = _code("SET-COVERAGE", "Share of labels in such sets")
RIGHT_SHARE = _code("RIGHT-SHARE", "Share of right grades of that certainty")
DISAGREEMENT = _code("DISAGREEMENT", "Disagreement of the members, nats")
CERTAINTY = _code("CERTAINTY", "Certainty of the grade")
STATUS = _code("STATUS", "Status of the software")
RESEARCH = _code("RESEARCH", RESEARCH_NOTICE)
NOT_GRADED = _code("NOT-GRADED", "Not graded: the picture was refused")
SCALE = _code("KL-OAI", "Kellgren-Lawrence scale, OAI reading protocol")
OTHER_SCALE = _code("KL-UNSTATED", "Kellgren-Lawrence scale, reading protocol not stated")
JOINT_SPACE_WIDTH = _code("JSW", "Joint-space width")
LATERAL_LESS_MEDIAL = _code("JSW-LAT-MED", "Minimum joint-space widths, lateral less medial")
RIGHT_LESS_LEFT = _code("JSW-RIGHT-LEFT", "Minimum widths, right less left of the picture")
CONVERGENCE_ANGLE = _code("JLCA", "Joint-line convergence angle")
CONDYLAR_WIDTH = _code("CONDYLAR-WIDTH", "Width of the femoral condyles")
UNCERTAINTY = CodedConcept("371884006", "SCT", "+/-, range of measurement uncertainty")
PICTURE_LEFT = _code("PICTURE-LEFT", "Left of the picture, the knee's side being unknown")
PICTURE_RIGHT = _code("PICTURE-RIGHT", "Right of the picture, the knee's side being unknown")
FEMUR_MARGIN = _code("MARGIN-FEMUR", "Margin of the femoral condyle")
TIBIA_MARGIN = _code("MARGIN-TIBIA", "Margin of the tibial plateau")
NARROWEST = _code("NARROWEST", "Narrowest place of the joint space")
MARGINS = _code("MARGINS", "Origin of the margins")
FOUND = _code("MARGINS-FOUND", "Found by the software")
CORRECTED = _code("MARGINS-HAND", "Corrected by hand")
EVIDENCE = _code("EVIDENCE", "Half or more of the strongest evidence for the grade")


def scale_code(model: Mapping[str, str]) -> CodedConcept:
    """``KL-OAI``, or ``KL-UNSTATED`` where the model's labels follow another protocol."""
    return OTHER_SCALE if model.get("scale") == "not stated" else SCALE


def grade_code(grade: Grade) -> CodedConcept:
    """``KL0`` to ``KL4``."""
    return _code(f"KL{int(grade)}", f"Kellgren-Lawrence grade {int(grade)}: {grade.label}")


def probability_code(grade: Grade) -> CodedConcept:
    """``P0`` to ``P4``."""
    return _code(f"P{int(grade)}", f"Probability of Kellgren-Lawrence grade {int(grade)}")


def certainty_code(certainty: str) -> CodedConcept:
    """``C-HIGH``, ``C-MODERATE`` or ``C-LOW``."""
    return _code(f"C-{certainty.upper()}"[:16], f"{certainty} certainty")
