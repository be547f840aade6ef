"""A check of a radiograph before it is graded, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckName = Literal[
    "header",
    "knee",
    "side",
    "view",
    "inversion",
    "exposure",
    "picture",
    "implant",
    "growth_plates",
    "colour",
    "joints",
    "damage",
]
Verdict = Literal["passed", "warning", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a radiograph before it is graded.

    Attributes:
        name: ``header``, ``knee``, ``side``, ``view``, ``inversion``, ``exposure``, ``picture``,
            ``implant``, ``growth_plates``, ``colour``; only where they have something to say,
            ``joints``, of other joints than one knee or two, and ``damage``, of broken data.
        verdict: ``passed``; ``warning``, which the reading carries; ``refused``, which stops the
            reading unless it is forced; ``unknown`` where neither picture nor header tells.
        evidence: one sentence for the reader, without names or identifiers of the file's header.
        value: the number that is watched for shifts, four decimal places: of ``picture`` the
            distance from frontal knees, of ``exposure`` the mean grey value of the knee, 0..1;
            ``None``: another check.
    """

    name: CheckName
    verdict: Verdict
    evidence: str
    value: float | None = None

    def to_dict(self) -> dict[str, str | float]:
        """Name, verdict and evidence as plain values for JSON, and the value where there is one."""
        told: dict[str, str | float] = {"name": self.name, "verdict": self.verdict}
        told["evidence"] = self.evidence
        return told if self.value is None else told | {"value": self.value}
