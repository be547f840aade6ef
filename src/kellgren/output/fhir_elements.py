"""Parts of FHIR's Observation that several kinds of results share."""

from __future__ import annotations

from typing import NotRequired, TypedDict

SYSTEM = "urn:oid:2.25.201750775484760214326456822609209393261"
"""The coding scheme 99KELLGREN, the same as in DICOM."""
_UCUM = "http://unitsofmeasure.org"


class Coding(TypedDict):
    """A code of a coding scheme."""

    system: str
    code: str
    display: str


class CodeableConcept(TypedDict):
    """A concept by its code and as text."""

    coding: list[Coding]
    text: str


class Quantity(TypedDict):
    """A number with its unit."""

    value: float
    unit: str
    system: str
    code: str


class Component(TypedDict):
    """One of several results of an observation: a quantity or a concept."""

    code: CodeableConcept
    valueQuantity: NotRequired[Quantity]
    valueCodeableConcept: NotRequired[CodeableConcept]
    dataAbsentReason: NotRequired[CodeableConcept]


def concept(system: str, code: str, display: str) -> CodeableConcept:
    """A concept of one code, whose display is its text."""
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def quantity(code: str, display: str, value: float, unit: str = "1", digits: int = 6) -> Component:
    """A component of one number; its unit by UCUM."""
    return {
        "code": concept(SYSTEM, code, display),
        "valueQuantity": {
            "value": round(value, digits),
            "unit": unit,
            "system": _UCUM,
            "code": unit,
        },
    }
