"""Readings as FHIR R4 Observations, one a knee, without name or number of the patient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from kellgren.atomic_files import written_whole
from kellgren.grades import Grade

SYSTEM = "urn:oid:2.25.201750775484760214326456822609209393261"
"""The coding scheme 99KELLGREN, the same as in DICOM."""
NOTICE = "Research software, not a medical device. No reader has confirmed this."
_NAMESPACE = UUID("5f1c6c3e-6a0b-4c0e-9a52-0b8f3d7c41aa")
_SNOMED, _UCUM = "http://snomed.info/sct", "http://unitsofmeasure.org"
_SITES = {
    "L": ("82169009", "Left knee"),
    "R": ("6757004", "Right knee"),
    "": ("72696002", "Knee"),
}


def observation(row: Mapping[str, Any], knee: int = 1) -> dict[str, Any]:
    """One knee's reading as an Observation of status preliminary.

    Args:
        row: of a batch, graded; its ``patient`` is a pseudonym, and the subject's identifier.
        knee: its number in the file, from 1.
    """
    model, grade = row["model"], Grade(row["grade"])
    identity = json.dumps([row["image"], knee, row["side"], model], sort_keys=True)
    low, high = row["likely"]
    resource: dict[str, Any] = {
        "resourceType": "Observation",
        "id": str(uuid5(_NAMESPACE, identity)),
        "status": "preliminary",
        "category": [
            _concept(
                "http://terminology.hl7.org/CodeSystem/observation-category", "imaging", "Imaging"
            )
        ],
        "code": _concept(SYSTEM, "KL", "Kellgren-Lawrence grade"),
        "valueCodeableConcept": _grade(grade),
        "bodySite": _concept(_SNOMED, *_SITES[row["side"]]),
        "method": _concept(SYSTEM, "KL-OAI", "Kellgren-Lawrence scale, OAI reading protocol"),
        "device": {"display": f"{model['software']}, model {model['name']} {model['checksum']}"},
        "note": [{"text": text} for text in (NOTICE, *row["warnings"])],
        "component": [
            *(_probability(g, p) for g, p in zip(Grade, row["probabilities"], strict=True)),
            {
                "code": _concept(SYSTEM, "CERTAINTY", "Certainty of the grade"),
                "valueCodeableConcept": _concept(
                    SYSTEM, f"C-{row['certainty'].upper()}", f"{row['certainty']} certainty"
                ),
            },
            {
                "code": _concept(SYSTEM, "KL-LOW", "Lowest likely Kellgren-Lawrence grade"),
                "valueCodeableConcept": _grade(Grade(low)),
            },
            {
                "code": _concept(SYSTEM, "KL-HIGH", "Highest likely Kellgren-Lawrence grade"),
                "valueCodeableConcept": _grade(Grade(high)),
            },
        ],
    }
    if row.get("patient"):
        resource["subject"] = {
            "type": "Patient",
            "identifier": {"system": "urn:kellgren:pseudonym", "value": row["patient"]},
        }
    return resource


def write_observations(rows: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write a Bundle of all graded knees to a ``.json`` file, or one file a knee to a folder.

    Args:
        rows: of a batch; what was not graded is left out.
        target: ends in ``.json``, or is a folder, made if it is not there.
    """
    counts: dict[str, int] = {}
    observations = []
    for row in rows:
        if row["grade"] is not None:
            counts[row["image"]] = counts.get(row["image"], 0) + 1
            observations.append(observation(row, counts[row["image"]]))
    if target.suffix.lower() == ".json":
        entries = [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in observations]
        _write({"resourceType": "Bundle", "type": "collection", "entry": entries}, target)
        return
    for one in observations:
        _write(one, target / f"{one['id']}.json")


def _write(resource: dict[str, Any], path: Path) -> None:
    with written_whole(path) as stream:
        json.dump(resource, stream, indent=2)
        stream.write("\n")


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _grade(grade: Grade) -> dict[str, Any]:
    return _concept(
        SYSTEM, f"KL{int(grade)}", f"Kellgren-Lawrence grade {int(grade)}: {grade.label}"
    )


def _probability(grade: Grade, share: float) -> dict[str, Any]:
    return {
        "code": _concept(
            SYSTEM, f"P{int(grade)}", f"Probability of Kellgren-Lawrence grade {int(grade)}"
        ),
        "valueQuantity": {"value": round(share, 6), "unit": "1", "system": _UCUM, "code": "1"},
    }
