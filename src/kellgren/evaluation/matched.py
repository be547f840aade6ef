"""Knees with a label and a predicted grade, and how many of the labelled knees these are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Float64Array, IntArray, Mask


@dataclass(frozen=True, slots=True)
class Coverage:
    """What became of the labelled knees, and of the predictions."""

    labelled: int
    scored: int
    refused: int  # labelled knees whose row has no grade
    unlabelled: int  # graded rows that fit no label

    @property
    def missing(self) -> int:
        """Labelled knees that have no row at all."""
        return self.labelled - self.scored - self.refused

    def __str__(self) -> str:
        parts = [f"{spaced(self.scored)} of {spaced(self.labelled)} labelled knees were predicted"]
        if self.refused:
            parts.append(f"{spaced(self.refused)} refused")
        if self.missing:
            parts.append(f"{spaced(self.missing)} without a row")
        if self.unlabelled:
            noun = "prediction" if self.unlabelled == 1 else "predictions"
            parts.append(f"{spaced(self.unlabelled)} {noun} without a label")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, int]:
        """Ready for JSON."""
        return {
            "labelled": self.labelled,
            "scored": self.scored,
            "refused": self.refused,
            "missing": self.missing,
            "unlabelled": self.unlabelled,
        }


@dataclass(frozen=True, slots=True, eq=False)
class MatchedKnees:
    """N knees with a label and a predicted grade, in the order of the labels."""

    images: tuple[str, ...]  # as the labels name them
    patients: tuple[str, ...]
    truth: IntArray  # (N,) 0..4
    predicted: IntArray  # (N,) 0..4
    probabilities: Float64Array | None  # (N, 5)
    coverage: Coverage
    labels: IntArray  # (N,) which of the labels each knee has
    named: Mask | None = None  # (N,) whether the grade is named; None: all are
    words: tuple[str, ...] = ()  # N for the certainty, as in the table; empty: it has none
    kept: tuple[tuple[str, ...], ...] = ()  # N: cells of the columns that were asked for

    def among(self, labels: IntArray) -> MatchedKnees:
        """Only the knees of these labels; the coverage stays that of the whole table."""
        kept = np.flatnonzero(np.isin(self.labels, labels))
        return MatchedKnees(
            images=tuple(self.images[knee] for knee in kept),
            patients=tuple(self.patients[knee] for knee in kept),
            truth=self.truth[kept],
            predicted=self.predicted[kept],
            probabilities=None if self.probabilities is None else self.probabilities[kept],
            coverage=self.coverage,
            labels=self.labels[kept],
            named=None if self.named is None else self.named[kept],
            words=tuple(self.words[knee] for knee in kept) if self.words else (),
            kept=tuple(self.kept[knee] for knee in kept) if self.kept else (),
        )


def spaced(number: int) -> str:
    """A count in groups of three digits: 6 604."""
    return f"{number:,}".replace(",", " ")
