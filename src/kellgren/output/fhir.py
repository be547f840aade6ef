"""Readings as FHIR R4 Observations, one a knee, without name or number of the patient."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NotRequired, Self, TypedDict
from uuid import UUID, uuid5

from kellgren.atomic_files import written_whole
from kellgren.exchange.json_list import JsonList
from kellgren.grades import NOT_NAMED, NOTICE, Grade
from kellgren.grading.judgement import certainty_words, set_name
from kellgren.output.fhir_elements import (
    SYSTEM,
    CodeableConcept,
    Component,
    concept,
    quantity,
)
from kellgren.output.fhir_joint_space import joint_space_components, joint_space_notes
from kellgren.reading_schema import GradedRow, ModelRecord, ReadingRow

_UNCONFIRMED = f"{NOTICE} No reader has confirmed this."
_NAMESPACE = UUID("5f1c6c3e-6a0b-4c0e-9a52-0b8f3d7c41aa")
_SNOMED = "http://snomed.info/sct"
_SCALES = {
    "OAI": ("KL-OAI", "Kellgren-Lawrence scale, OAI reading protocol"),
    "not stated": ("KL-UNSTATED", "Kellgren-Lawrence scale, reading protocol not stated"),
}
_SITES = {
    "L": ("82169009", "Left knee"),
    "R": ("6757004", "Right knee"),
    "": ("72696002", "Knee"),
}


class Annotation(TypedDict):
    """A remark for readers."""

    text: str


class Device(TypedDict):
    """The software and model that made an observation, as text."""

    display: str


class Identifier(TypedDict):
    """A name in a system of names."""

    system: str
    value: str


class Subject(TypedDict):
    """The patient, by pseudonym."""

    type: Literal["Patient"]
    identifier: Identifier


class Observation(TypedDict):
    """The elements of FHIR's Observation that a reading has."""

    resourceType: Literal["Observation"]
    id: str
    status: Literal["preliminary"]
    category: list[CodeableConcept]
    code: CodeableConcept
    valueCodeableConcept: NotRequired[CodeableConcept]
    dataAbsentReason: NotRequired[CodeableConcept]
    bodySite: CodeableConcept
    method: CodeableConcept
    device: Device
    note: list[Annotation]
    component: list[Component]
    subject: NotRequired[Subject]


class Entry(TypedDict):
    """An observation in a collection."""

    fullUrl: str
    resource: Observation


class Collection(TypedDict):
    """FHIR's Bundle of type collection."""

    resourceType: Literal["Bundle"]
    type: Literal["collection"]
    entry: list[Entry]


def observation(row: GradedRow, knee: int = 1) -> Observation:
    """One knee's reading as an Observation of status preliminary.

    Args:
        row: of a batch; its pseudonym, where it has one, is the subject's identifier.
        knee: its number in the file, from 1.
    """
    model = row.model
    identity = json.dumps([row.image, knee, row.side, model.model_dump()], sort_keys=True)
    resource: Observation = {
        "resourceType": "Observation",
        "id": str(uuid5(_NAMESPACE, identity)),
        "status": "preliminary",
        "category": [
            concept(
                "http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging"
            )
        ],
        "code": concept(SYSTEM, "KL", "Kellgren-Lawrence grade"),
        "bodySite": concept(_SNOMED, *_SITES[row.side]),
        "method": concept(SYSTEM, *_SCALES[model.scale or "OAI"]),
        "device": {"display": f"{model.software}, model {model.name} {model.checksum}"},
        "note": [
            {"text": text}
            for text in (
                *(_UNCONFIRMED, *_calibrated(model), *_remarks(row), *row.warnings),
                *joint_space_notes(row.joint_space),
            )
        ],
        "component": _components(row),
    }
    if row.named:
        resource["valueCodeableConcept"] = _grade(Grade(row.grade))
    else:
        resource["dataAbsentReason"] = concept(SYSTEM, "NOT-NAMED", NOT_NAMED.capitalize())
    if row.patient:
        resource["subject"] = {
            "type": "Patient",
            "identifier": {"system": "urn:kellgren:pseudonym", "value": row.patient},
        }
    return resource


def _calibrated(model: ModelRecord) -> tuple[str, ...]:
    if model.local_calibration is None:
        return ()
    return (f"Calibrated to local readers: {model.local_calibration}.",)


class ObservationFile:
    """A Bundle of all graded knees in a ``.json`` file, or one file a knee in a folder.

    Rows are written as they come; a Bundle appears when the block of `at` ends well.

    Args:
        target: the folder, made if it is not there; ``None`` with a Bundle.
        bundle: what takes the entries.
    """

    def __init__(self, target: Path | None, bundle: JsonList | None) -> None:
        self._folder, self._bundle = target, bundle
        self._image, self._knee = "", 0

    @classmethod
    @contextmanager
    def at(cls, target: Path) -> Iterator[Self]:
        """Open one: a Bundle where the target ends in ``.json``, else a folder."""
        if target.suffix.lower() != ".json":
            yield cls(target, None)
            return
        empty: Collection = {"resourceType": "Bundle", "type": "collection", "entry": []}
        with written_whole(target) as stream:
            bundle = JsonList(stream, empty)
            yield cls(None, bundle)
            bundle.end()

    def add(self, row: ReadingRow) -> None:
        """Write one row of a batch, where it is graded; those of a file follow each other."""
        if not isinstance(row, GradedRow):
            return
        self._knee = self._knee + 1 if row.image == self._image else 1
        self._image = row.image
        one = observation(row, self._knee)
        if self._bundle is not None:
            entry: Entry = {"fullUrl": f"urn:uuid:{one['id']}", "resource": one}
            self._bundle.add(entry)
        elif self._folder is not None:
            with written_whole(self._folder / f"{one['id']}.json") as stream:
                json.dump(one, stream, indent=2)
                stream.write("\n")


def _remarks(row: GradedRow) -> list[str]:
    """How set and certainty held on held-out knees, and what speaks against the grade."""
    held = row.grade_set
    remarks = []
    if held.coverage is not None:
        remarks.append(
            f"The {set_name(held.level)} of grades holds the label of {100 * held.coverage:.1f} % "
            f"of held-out knees.{certainty_words(row.certainty, row.right_share)}"
        )
    return remarks + [f"Doubt: {doubt}." for doubt in row.doubts]


def _components(row: GradedRow) -> list[Component]:
    """Probabilities, certainty, ends of the set, the most probable grade where none is named."""
    low, high = row.grade_set.lowest, row.grade_set.highest
    certainty = concept(SYSTEM, f"C-{row.certainty.upper()}", f"{row.certainty} certainty")
    return [
        *(_probability(grade, p) for grade, p in zip(Grade, row.probabilities, strict=True)),
        {
            "code": concept(SYSTEM, "CERTAINTY", "Certainty of the grade"),
            "valueCodeableConcept": certainty,
        },
        {
            "code": concept(SYSTEM, "KL-LOW", "Lowest grade of the set"),
            "valueCodeableConcept": _grade(Grade(low)),
        },
        {
            "code": concept(SYSTEM, "KL-HIGH", "Highest grade of the set"),
            "valueCodeableConcept": _grade(Grade(high)),
        },
        quantity("SET-LEVEL", "Level of the set of grades", row.grade_set.level),
        *_known("SET-COVERAGE", "Share of labels in such sets", row.grade_set.coverage),
        *_known("RIGHT-SHARE", "Share of right grades of that certainty", row.right_share),
        *_known("DISAGREEMENT", "Disagreement of the members, nats", row.disagreement),
        {
            "code": concept(SYSTEM, "KL-MOST", "Most probable Kellgren-Lawrence grade"),
            "valueCodeableConcept": _grade(Grade(row.grade)),
        },
        *joint_space_components(row.joint_space),
    ]


def _grade(grade: Grade) -> CodeableConcept:
    return concept(
        SYSTEM, f"KL{int(grade)}", f"Kellgren-Lawrence grade {int(grade)}: {grade.label}"
    )


def _probability(grade: Grade, share: float) -> Component:
    words = f"Probability of Kellgren-Lawrence grade {int(grade)}"
    return quantity(f"P{int(grade)}", words, share)


def _known(code: str, display: str, value: float | None) -> list[Component]:
    return [] if value is None else [quantity(code, display, value)]
