"""Which side a knee is: what header, name, caller and place on the film say, never a guess."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kellgren.grades import Side
from kellgren.knee import Region
from kellgren.localisation.check import Check

PLACE = "its place on the film"
_SURE = 0.97
"""Probability from which the picture's own look is worth a warning; in between it is silent."""


def claims(header: Side, name: Side, told: Side) -> dict[str, Side]:
    """What is said of a film's side, by whom."""
    return {"the file's header": header, "the file's name": name, "the caller": told}


def places(regions: Sequence[Region]) -> list[Side]:
    """What the place on a film says of each knee: the film's left is the patient's right.

    The film is turned upright for it. One knee alone, or two that stand in each other's way or
    upside down to each other, say nothing.
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


def agree(said: Mapping[str, Side]) -> Side:
    """The side that all who know one agree on; unknown where two contradict each other."""
    sides = {side for side in said.values() if side is not Side.UNKNOWN}
    return sides.pop() if len(sides) == 1 else Side.UNKNOWN


def check_side(said: Mapping[str, Side], left: float | None) -> Check:
    """The side and what it rests on.

    The picture's own look is wrong too often to overrule anybody or to decide alone: it only warns.

    Args:
        said: by whom, which side.
        left: probability that the knee is a left one by its anatomy; ``None``: nobody looked.
    """
    known = {who: side for who, side in said.items() if side is not Side.UNKNOWN}
    agreed = agree(known)
    looks = _look(left)
    if len(set(known.values())) > 1:
        contradiction = ", ".join(f"{who} says {side.label}" for who, side in known.items())
        return Check("side", "warning", f"side unknown: {contradiction}")
    if agreed is Side.UNKNOWN:
        opinion = "" if looks is Side.UNKNOWN else f"; its anatomy looks like a {looks.label} knee"
        return Check("side", "unknown", f"nothing tells the side{opinion}")
    sources = " and ".join(known)
    if looks not in (Side.UNKNOWN, agreed):
        return Check(
            "side",
            "warning",
            f"{sources} says {agreed.label}, but the anatomy looks like a {looks.label} knee",
        )
    return Check("side", "passed", f"{agreed.label}, from {sources}")


def _look(left: float | None) -> Side:
    if left is None or 1 - _SURE < left < _SURE:
        return Side.UNKNOWN
    return Side.LEFT if left >= _SURE else Side.RIGHT
