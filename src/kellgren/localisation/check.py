"""What was checked on a radiograph before it was graded, each check with its evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

CheckName = Literal["knee", "side", "view", "inversion", "exposure", "implant"]
Verdict = Literal["passed", "warning", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One gate on the way from a radiograph to a reading.

    Attributes:
        name: what was asked.
        verdict: ``refused`` stops the reading unless it is forced, ``warning`` goes with it,
            ``unknown`` where the picture or its header does not tell.
        evidence: one sentence for the reader, without names or identifiers of the file's header.
    """

    name: CheckName
    verdict: Verdict
    evidence: str

    def to_dict(self) -> dict[str, str]:
        """Ready for JSON."""
        return asdict(self)
