"""What a file says of its picture besides the grey values: sides, orientation, what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kellgren.grades import Side

Vector = tuple[int, int]
"""A direction on a picture: (x, y), x along its rows and y down its columns."""


@dataclass(frozen=True, slots=True)
class SideStatement:
    """What one source says of a knee's side.

    Attributes:
        source: an element of the header, the file's name, the caller, the place on the film.
        value: what it says, in a term of the standard or in words of this package.
        side: that follows from it; unknown where none does.
    """

    source: str
    value: str
    side: Side

    def to_dict(self) -> dict[str, str]:
        """Source, value and side as plain values for JSON."""
        return {"source": self.source, "value": self.value, "side": self.side.value}


PLACE = "its place on the film"
"""Source of what holds for one knee only, while all others speak of the whole picture."""
BOTH, CODED_BOTH, UNPAIRED = "B: both sides", "bilateral", "U: unpaired"
"""Values of those that say that the picture is of no one side."""


def agree(statements: Iterable[SideStatement]) -> Side:
    """The side on which all sources that state one agree; unknown where two contradict.

    That the picture shows both sides contradicts that it shows one, but not a knee's place on it.
    """
    stated = list(statements)
    known = [statement for statement in stated if statement.side is not Side.UNKNOWN]
    sides = {statement.side for statement in known}
    of_no_one_side = any(s.value in (BOTH, CODED_BOTH, UNPAIRED) for s in stated)
    if len(sides) != 1 or (of_no_one_side and any(s.source != PLACE for s in known)):
        return Side.UNKNOWN
    return sides.pop()


@dataclass(frozen=True, slots=True)
class Orientation:
    r"""How the patient lies on a picture, as PatientOrientation states it.

    Attributes:
        stated: its two values as in the file, such as ``L\F``; empty: they are no directions.
        left: the patient's left; ``None``: it lies along neither axis, or is not told.
        foot: the patient's feet; likewise.
    """

    stated: str
    left: Vector | None = None
    foot: Vector | None = None


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a picture is, or may be, no X-ray film of an adult's knee from the front.

    Attributes:
        refused: the header says that it is another thing; otherwise that it may be.
        evidence: one sentence, without names, numbers or dates of the header.
    """

    refused: bool
    evidence: str


@dataclass(frozen=True, slots=True)
class HeaderEvidence:
    """What a file's header says of its picture; that of a file without a header is empty.

    Attributes:
        described: what it is in the header's terms, such as ``DX, KNEE, AP``; ``None``: the
            format has no header.
        sides: one statement an element.
        orientation: of the patient; ``None``: not stated.
        objections: to grading the picture.
    """

    described: str | None = None
    sides: tuple[SideStatement, ...] = ()
    orientation: Orientation | None = None
    objections: tuple[Objection, ...] = ()


NO_HEADER = HeaderEvidence()
"""Of a picture or array without a header."""
