"""Bringing predictions and labels together, knee by knee, without ever guessing.

A row and a label belong together when they name the same path. Tables travel between machines and
pictures change their format, so what paths leave open is tried by file name, then by file name
without its ending. A name only counts where it points to one label.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from kellgren.data.predictions import Predictions, in_short
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import Coverage, MatchedKnees
from kellgren.file_names import composed, file_name, shown_name
from kellgren.grades import Side
from kellgren.imaging.picture import SUFFIXES

Key = Callable[[str], str]
# Known endings only: in p1.left and 1.2.840.113 what follows the last dot tells knees apart.
_ENDINGS = "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES | {".bmp"}))
_ENDING = re.compile(rf"(?<=.)({_ENDINGS})$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Label:
    """The true grade of one knee; the side is needed only where an image shows both knees."""

    image: str
    patient: str
    grade: int
    side: Side = Side.UNKNOWN


class Labels:
    """Labels, found by their images' names; looking up several tables costs one look at the paths.

    Args:
        labels: of the knees.
    """

    def __init__(self, labels: Sequence[Label]) -> None:
        self.labels = labels
        self._at: dict[Key, dict[str, list[int]]] = {}

    def at(self, key: Key) -> dict[str, list[int]]:
        """Positions of labels by what their images' names come to."""
        if key not in self._at:
            found = self._at.setdefault(key, {})
            for index, label in enumerate(self.labels):
                found.setdefault(key(label.image), []).append(index)
        return self._at[key]

    def may_fit(self, image: str) -> bool:
        """Whether any label's image has this path or name, with whichever ending."""
        return any(key(image) in self.at(key) for key in _KEYS)

    def sideless(self, image: str) -> bool:
        """Whether an image has one label that names no side: of two knees, nobody knows which."""
        fitting = next(filter(None, (self.at(key).get(key(image)) for key in _KEYS)), [])
        return len(fitting) == 1 and self.labels[fitting[0]].side is Side.UNKNOWN


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    image: str
    side: Side
    index: int | None  # among the graded rows; None: refused


@dataclass(slots=True)
class _Pairing:
    """Which row each label got, and what went wrong."""

    row_of: dict[int, _Row] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)


def match(predictions: Predictions, labels: Sequence[Label] | Labels) -> MatchedKnees:
    """Find the label of every prediction.

    Refused rows take their labels out of the search, but are never scored. Where row and label
    both name a side, the sides must agree. Predictions without a label and labels without a
    prediction are counted in the coverage.

    Raises:
        InvalidPredictions: a row fits several labels, a labelled knee is predicted twice, or no
            row fits any label.
    """
    known = labels if isinstance(labels, Labels) else Labels(labels)
    labels = known.labels
    pairing = _pair(_rows(predictions), known)
    if pairing.ambiguous:
        raise InvalidPredictions(
            predictions.source,
            in_short(pairing.ambiguous),
            "Use the same image paths in predictions and labels, and name the side where one"
            " image shows both knees.",
        )
    if pairing.repeated:
        raise InvalidPredictions(
            predictions.source,
            in_short(pairing.repeated),
            "Keep one row per knee, and give each knee of a film a label with its side.",
        )
    scored = {label: row.index for label, row in pairing.row_of.items() if row.index is not None}
    if not scored:
        raise _nothing_matches(predictions, labels)
    order = sorted(scored)
    chosen = np.array([scored[label] for label in order], dtype=np.int64)
    return MatchedKnees(
        images=tuple(labels[label].image for label in order),
        patients=tuple(labels[label].patient for label in order),
        truth=np.array([labels[label].grade for label in order], dtype=np.int64),
        predicted=predictions.grades[chosen],
        probabilities=(
            None if predictions.probabilities is None else predictions.probabilities[chosen]
        ),
        coverage=Coverage(
            labelled=len(labels),
            scored=len(scored),
            refused=len(pairing.row_of) - len(scored),
            unlabelled=len(predictions.images) - len(scored),
        ),
        labels=np.array(order, dtype=np.int64),
        named=np.array(predictions.named, dtype=np.bool_)[chosen],
        words=tuple(predictions.words[row] for row in chosen) if predictions.words else (),
        kept=tuple(predictions.kept[row] for row in chosen) if predictions.kept else (),
    )


def _rows(predictions: Predictions) -> list[_Row]:
    """Graded rows first: a knee that was refused once and graded later is graded."""
    graded = zip(predictions.rows, predictions.images, predictions.sides, strict=True)
    rows = [_Row(*row, index=index) for index, row in enumerate(graded)]
    return rows + [_Row(it.row, it.image, it.side, index=None) for it in predictions.refused]


def _pair(rows: list[_Row], known: Labels) -> _Pairing:
    pairing, labels = _Pairing(), known.labels
    for key in _KEYS:
        if not rows:
            break
        earlier = frozenset(pairing.row_of)
        labels_at = known.at(key)
        open_rows = []
        for row in rows:
            fitting = [
                index
                for index in labels_at.get(key(row.image), ())
                if _sides_agree(labels[index].side, row.side)
            ]
            if not fitting:
                open_rows.append(row)
            elif key in (_name, _stem) and not earlier.isdisjoint(fitting):
                # Another row has this label by its path, so the name does not identify a knee:
                # hospitals export patient1/L.png, patient2/L.png. The row has no label.
                continue
            else:
                _assign(pairing, row, fitting, labels)
        rows = open_rows
    return pairing


def _assign(pairing: _Pairing, row: _Row, fitting: list[int], labels: Sequence[Label]) -> None:
    if row.index is None:
        # One refused image may stand for both of its knees.
        if len({labels[index].image for index in fitting}) == 1:
            for index in fitting:
                pairing.row_of.setdefault(index, row)
    elif len(fitting) > 1:
        pairing.ambiguous.append(
            f"row {row.number} ({row.image}) fits {len(fitting)} labels, such as"
            f" {labels[fitting[0]].image} and {labels[fitting[1]].image}"
        )
    elif (first := pairing.row_of.get(fitting[0])) is not None and first.index is not None:
        image, two = labels[fitting[0]].image, f"rows {first.number} and {row.number}"
        both = {first.side, row.side} == {Side.LEFT, Side.RIGHT}
        pairing.repeated.append(
            f"{two} are both knees of {image}, whose label names no side"
            if both
            else f"{two} predict the same knee, {image}"
        )
    else:
        pairing.row_of[fitting[0]] = row


def _nothing_matches(predictions: Predictions, labels: Sequence[Label]) -> InvalidPredictions:
    if not labels:
        return InvalidPredictions(
            predictions.source, "there are no labels to compare with", "Give labelled knees."
        )
    if not predictions.images:
        return InvalidPredictions(
            predictions.source,
            f"no row has a grade, {len(predictions.refused)} were refused",
            "Read the notes of the refused rows and predict again.",
        )
    return InvalidPredictions(
        predictions.source,
        f"none of {len(predictions.images)} predictions fits any of {len(labels)} labels;"
        f" the first prediction is {predictions.images[0]}, the first label {labels[0].image}",
        "Use the same image paths, or at least the same file names, in predictions and labels.",
    )


def _as_written(image: str) -> str:
    return composed(shown_name(image))


def _real(image: str) -> str:
    return composed(os.path.realpath(image))


def _name(image: str) -> str:
    return composed(file_name(image))


def _stem(image: str) -> str:
    return _ENDING.sub("", _name(image))


def _sides_agree(one: Side, other: Side) -> bool:
    return Side.UNKNOWN in (one, other) or one is other


_KEYS: tuple[Key, ...] = (_as_written, _real, _name, _stem)
"""What an image's name comes to, the surest first."""
