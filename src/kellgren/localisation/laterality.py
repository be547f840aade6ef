"""The side of a knee, from header, name, caller and position on the film; never guessed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kellgren.grades import Side
from kellgren.imaging.evidence import (
    BOTH,
    CODED_BOTH,
    PLACE,
    UNPAIRED,
    Orientation,
    SideStatement,
    agree,
)
from kellgren.knee import Region
from kellgren.localisation.check import Check
from kellgren.localisation.letters import BACKWARDS, LETTER

ANATOMY = "its anatomy (warns, never decides)"
_NEVER_DECIDE = (ANATOMY, LETTER)
_NO_ONE_SIDE = (BOTH, CODED_BOTH, UNPAIRED)
_SURE = 0.97
"""Probability from which the side estimated from the anatomy may give a warning."""
_ALONG = 0.5  # cosine of the most by which header and picture may differ in a direction, 60 degrees
_ALIKE = 1.6  # ratio of the widths up to which two joints can be one patient's on one film


def side_statements(
    header: Sequence[SideStatement], name: Side, caller: Side
) -> tuple[SideStatement, ...]:
    """What is stated of a film's side, by whom."""
    others = {"the file's name": name, "the caller": caller}
    return (
        *header,
        *(
            SideStatement(source, side.value, side)
            for source, side in others.items()
            if side is not Side.UNKNOWN
        ),
    )


@dataclass(frozen=True, slots=True)
class Facing:
    """Whether a film shows the patient as usual, or mirrored.

    Attributes:
        mirrored: the film's left is the patient's left; ``None``: the header contradicts itself
            or the picture, so no place on the film tells a side.
        reason: where that is known from.
        doubt: what is odd about it, for the reader; empty: nothing.
    """

    mirrored: bool | None
    reason: str
    doubt: str = ""


def facing(orientation: Orientation | None, regions: Sequence[Region]) -> Facing:
    """How the patient faces the reader, by the header and the knees found.

    Args:
        orientation: that the header states. Without it the patient is assumed to face the reader,
            as on almost all films; the reason says so.
        regions: of the knees; how they stand must fit what the header states.
    """
    if orientation is None:
        return Facing(False, "orientation assumed as usual, the file states none")
    named = f"PatientOrientation {orientation.stated}"
    if orientation.left is None:
        named = named.strip() + ("" if orientation.stated else " of no use")
        return Facing(None, named, f"{named} does not tell where the patient's left is")
    across = [_turned(region.angle, orientation.left) for region in regions]
    foot = orientation.foot
    down = [1.0] * len(regions) if foot is None else [_down(r.angle, foot) for r in regions]
    mirrored = {cosine < 0 for cosine in across}
    if len(mirrored) > 1 or min((*map(abs, across), *down), default=1.0) < _ALONG:
        return Facing(None, named, f"{named} does not fit how the knees stand on the film")
    if mirrored == {True}:
        return Facing(True, named, f"the film is mirrored, by {named}")
    return Facing(False, named)


def _turned(angle: float, direction: tuple[int, int]) -> float:
    """Cosine between a direction on the picture and the rows of an upright knee."""
    turn = math.radians(angle)
    return direction[0] * math.cos(turn) + direction[1] * math.sin(turn)


def _down(angle: float, direction: tuple[int, int]) -> float:
    """Cosine between a direction on the picture and the columns of an upright knee."""
    turn = math.radians(angle)
    return direction[1] * math.cos(turn) - direction[0] * math.sin(turn)


def places(regions: Sequence[Region], *, mirrored: bool | None = False) -> list[Side]:
    """The side of each knee by its place on the film: the film's left is the patient's right.

    Computed as on the upright film. Unknown for one knee alone, and for two that overlap, that
    stand upside down to each other, or that are of unlike size.

    Args:
        regions: of knees that may be graded; what is refused tells no side of another.
        mirrored: the film's left is the patient's left; ``None``: not known.
    """
    unknown = [Side.UNKNOWN] * len(regions)
    if len(regions) != 2 or mirrored is None:
        return unknown
    one, other = regions
    apart_by = (other.angle - one.angle + 180) % 360 - 180
    widths = sorted((one.width, other.width))
    if abs(apart_by) > 60 or widths[1] > _ALIKE * widths[0]:
        return unknown
    turn = math.radians(one.angle + apart_by / 2)
    dx, dy = (b - a for a, b in zip(one.centre, other.centre, strict=True))
    across = dx * math.cos(turn) + dy * math.sin(turn)
    if abs(across) < 0.5 * max(one.width, other.width):
        return unknown
    is_usual = (across > 0) is not mirrored
    return [Side.RIGHT, Side.LEFT] if is_usual else [Side.LEFT, Side.RIGHT]


def doubted(
    shown: Facing, regions: Sequence[Region], letters: Sequence[Sequence[SideStatement]]
) -> Facing:
    """The same, or a doubt where the letters beside the knees speak against it.

    Args:
        shown: by the header, or assumed.
        regions: of the knees.
        letters: beside each of them.
    """
    read = [letter for beside in letters for letter in beside]
    if shown.mirrored is None:
        return shown
    if not shown.mirrored and any(s.value == BACKWARDS.format(side=s.side.value) for s in read):
        doubt = "a letter on the film is written backwards: it may be mirrored"
        return Facing(None, shown.reason, doubt)
    for place, beside in zip(places(regions, mirrored=shown.mirrored), letters, strict=True):
        against = [s.value for s in beside if place not in (Side.UNKNOWN, s.side)]
        if against:
            doubt = f"{PLACE} ({shown.reason}) says {place.label} beside the letter {against[0]}"
            return Facing(None, shown.reason, doubt)
    return shown


def both_for_one(statements: Sequence[SideStatement], knees: int) -> str:
    """A doubt where a source says that both sides are shown and one knee may be graded."""
    both = [s.source for s in statements if s.value in _NO_ONE_SIDE[:2]]
    return f"{both[0]} says both sides, and one knee is to be seen" if both and knees == 1 else ""


def evidence_of(
    statements: Sequence[SideStatement],
    place: Side,
    facing: Facing,
    left: float | None,
    letters: Sequence[SideStatement] = (),
) -> tuple[SideStatement, ...]:
    """All that tells, or might tell, the side of one knee.

    Args:
        statements: of header, name and caller.
        place: by its place on the film.
        facing: how the patient faces the reader.
        left: probability that it is a left knee by its anatomy, on a film that is not mirrored;
            ``None``: not estimated.
        letters: read beside the knee.
    """
    found = list(statements)
    if place is not Side.UNKNOWN:
        found.append(SideStatement(PLACE, facing.reason, place))
    elif facing.mirrored is None:
        found.append(SideStatement(PLACE, f"{facing.reason}, in doubt", place))
    found += letters
    return tuple(found) if left is None else (*found, _anatomy(left, facing))


def _anatomy(left: float, facing: Facing) -> SideStatement:
    """Of a mirrored knee the anatomy is the other one's."""
    if facing.mirrored is None:
        return SideStatement(ANATOMY, "the film may be mirrored", Side.UNKNOWN)
    probability = 1 - left if facing.mirrored else left
    sure = Side.LEFT if probability >= _SURE else Side.UNKNOWN
    side = Side.RIGHT if probability <= 1 - _SURE else sure
    return SideStatement(ANATOMY, f"left by {probability:.3f}", side)


def decided(evidence: Sequence[SideStatement]) -> Side:
    """The side on which all sources agree; unknown where two contradict, or a letter does.

    The estimate from the anatomy is wrong too often to overrule a source or to decide alone: it
    only warns. What is taken for a letter may be a scratch: it decides nothing alone.
    """
    side = agree(statement for statement in evidence if statement.source not in _NEVER_DECIDE)
    letters = {statement.side for statement in evidence if statement.source == LETTER}
    return side if letters <= {side} else Side.UNKNOWN


def check_side(evidence: Sequence[SideStatement], doubt: str = "") -> Check:
    """The side, and its sources as evidence.

    Args:
        evidence: on this knee's side.
        doubt: what is odd about the film's orientation; empty: nothing.
    """
    known = [s for s in evidence if s.side is not Side.UNKNOWN and s.source not in _NEVER_DECIDE]
    letters = [s for s in evidence if s.source == LETTER]
    agreed, added = decided(evidence), f"; {doubt}" if doubt else ""
    anatomical = next((s.side for s in evidence if s.source == ANATOMY), Side.UNKNOWN)
    if known and agreed is Side.UNKNOWN:
        against = [*known, *letters, *(s for s in evidence if s.value in _NO_ONE_SIDE)]
        contradiction = ", ".join(f"{_source(s)} says {_said(s)}" for s in against)
        return Check("side", "warning", f"side unknown: {contradiction}{added}")
    if agreed is Side.UNKNOWN:
        if anatomical is not Side.UNKNOWN:
            added = f"; its anatomy looks like a {anatomical.label} knee"
        elif letters:
            added = f"; a letter beside it reads {' and '.join(s.value for s in letters)}"
        else:
            added = ""
        if doubt:
            return Check("side", "warning", f"side unknown: {doubt}{added}")
        return Check("side", "unknown", f"nothing tells the side{added}")
    sources = " and ".join(_source(statement) for statement in known)
    if anatomical not in (Side.UNKNOWN, agreed):
        looks = f"but the anatomy looks like a {anatomical.label} knee"
        return Check("side", "warning", f"{sources} says {agreed.label}, {looks}{added}")
    found = f"{agreed.label}, from {sources}"
    return Check("side", "warning" if doubt else "passed", f"{found}{added}")


def _said(statement: SideStatement) -> str:
    return statement.value if statement.side is Side.UNKNOWN else statement.side.label


def _source(statement: SideStatement) -> str:
    """A source; for the place on the film, with what is assumed or known of its orientation."""
    if statement.source == LETTER:
        return f"a letter beside it ({statement.value})"
    if statement.source != PLACE:
        return statement.source
    return f"{PLACE} ({statement.value})"
