"""A check of a radiograph before it is graded, with its evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    """

    name: CheckName
    verdict: Verdict
    evidence: str

    def to_dict(self) -> dict[str, str]:
        """Name, verdict and evidence as plain values for JSON."""
        return asdict(self)
