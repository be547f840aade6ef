"""The side of a knee, from header, name, caller and position on the film; never guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kellgren.grades import Side
from kellgren.knee import Region
from kellgren.localisation.check import Check

PLACE = "its place on the film"
_SURE = 0.97
"""Probability from which the side estimated from the anatomy may give a warning."""


def side_statements(header: Side, name: Side, caller: Side) -> dict[str, Side]:
    """What is statements of a film's side, by whom."""
    return {"the file's header": header, "the file's name": name, "the caller": caller}


def places(regions: Sequence[Region]) -> list[Side]:
    """The side of each knee by its place on the film: the film's left is the patient's right.

    Computed as on the upright film. Unknown for one knee alone, and for two that overlap or that
    stand upside down to each other.
    """
    unknown = [Side.UNKNOWN] * len(regions)
    if len(regions) != 2:
        return unknown
    one, other = regions
    apart_by = (other.angle - one.angle + 180) % 360 - 180
    if abs(apart_by) > 60:
        return unknown
    turn = math.radians(one.angle + apart_by / 2)
    dx, dy = (b - a for a, b in zip(one.centre, other.centre, strict=True))
    across = dx * math.cos(turn) + dy * math.sin(turn)
    if abs(across) < 0.5 * max(one.width, other.width):
        return unknown
    return [Side.RIGHT, Side.LEFT] if across > 0 else [Side.LEFT, Side.RIGHT]


def agree(statements: Mapping[str, Side]) -> Side:
    """The side on which all sources that state one agree; unknown where two contradict."""
    sides = {side for side in statements.values() if side is not Side.UNKNOWN}
    return sides.pop() if len(sides) == 1 else Side.UNKNOWN


def check_side(statements: Mapping[str, Side], left: float | None) -> Check:
    """The side, and its sources as evidence.

    The estimate from the anatomy is wrong too often to overrule a source or to decide alone: it
    only warns.

    Args:
        statements: the side that each source states.
        left: probability that the knee is a left one by its anatomy; ``None``: not estimated.
    """
    known = {source: side for source, side in statements.items() if side is not Side.UNKNOWN}
    agreed = agree(known)
    anatomical = _anatomical_side(left)
    if len(set(known.values())) > 1:
        contradiction = ", ".join(f"{source} says {side.label}" for source, side in known.items())
        return Check("side", "warning", f"side unknown: {contradiction}")
    if agreed is Side.UNKNOWN:
        estimate = f"; its anatomy looks like a {anatomical.label} knee"
        return Check(
            "side",
            "unknown",
            "nothing tells the side" + ("" if anatomical is Side.UNKNOWN else estimate),
        )
    sources = " and ".join(known)
    if anatomical not in (Side.UNKNOWN, agreed):
        return Check(
            "side",
            "warning",
            f"{sources} says {agreed.label}, but the anatomy looks like a {anatomical.label} knee",
        )
    return Check("side", "passed", f"{agreed.label}, from {sources}")


def _anatomical_side(left: float | None) -> Side:
    if left is None or 1 - _SURE < left < _SURE:
        return Side.UNKNOWN
    return Side.LEFT if left >= _SURE else Side.RIGHT
