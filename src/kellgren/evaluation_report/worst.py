"""The knees on which grader and label disagree most, looked at again."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kellgren.data.matching import Label
from kellgren.ensemble import Ensemble
from kellgren.errors import KellgrenError
from kellgren.evaluation import MatchedKnees
from kellgren.explanation.cam import heat
from kellgren.explanation.overlay import blend
from kellgren.grades import Grade, Side
from kellgren.reading import KneeReading

MOST = 12
_SAME = 0.05  # probabilities; bfloat16 moves them by 0.02, another network by more
_LARGEST = 320  # pixels of a picture's longer side: sharp on a card, small in a file


@dataclass(frozen=True, slots=True)
class Case:
    """One knee that was graded wrongly.

    Attributes:
        name: of its file, without folders.
        truth: by the label.
        predicted: by the table.
        confidence: probability of the predicted grade, 0..1; None if the table has none.
        pictures: JPEG files' bytes: the knee, and the knee under the map; None if unreadable.
        seen: what the model that drew the map gives the knee, or why there is no picture.
        by_another: whether the table's probabilities are others than those of that model.
    """

    name: str
    truth: Grade
    predicted: Grade
    confidence: float | None
    pictures: tuple[bytes, bytes] | None
    seen: str
    by_another: bool


def worst_order(matched: MatchedKnees) -> list[int]:
    """Wrongly graded knees: the largest error first, then the surest, then by name."""
    error = np.abs(matched.predicted - matched.truth)
    sure = _confidence(matched)
    wrong = [int(knee) for knee in np.flatnonzero(error)]
    return sorted(wrong, key=lambda k: (-int(error[k]), -(sure[k] or 0.0), matched.images[k]))


def worst_cases(
    matched: MatchedKnees, labels: Sequence[Label], ensemble: Ensemble, *, most: int = MOST
) -> list[Case]:
    """Read the worst graded knees again, with their maps.

    Args:
        matched: knees with label and grade.
        labels: those that they were matched to; pictures lie at the labels' paths.
        ensemble: draws the maps; its own grade is stated beside the table's.
        most: how many knees.
    """
    sure = _confidence(matched)
    cases = []
    for knee in worst_order(matched)[:most]:
        label = labels[int(matched.labels[knee])]
        reading = read_label(label, ensemble)
        pictures, seen = _shown(reading)
        cases.append(
            Case(
                name=re.split(r"[/\\]", label.image)[-1],
                truth=Grade(int(matched.truth[knee])),
                predicted=Grade(int(matched.predicted[knee])),
                confidence=sure[knee],
                pictures=pictures,
                seen=seen,
                by_another=_by_another(matched, knee, reading),
            )
        )
    return cases


def graded_by_another(cases: Sequence[Case]) -> str:
    """A sentence for people where the maps are not of the model that graded; empty where they are.

    Nothing is known of tables without probabilities, nor of pictures that cannot be read.
    """
    others, read = sum(it.by_another for it in cases), sum(it.pictures is not None for it in cases)
    if not others:
        return ""
    return (
        f"The table's probabilities of {others} of the {read} worst knees are not those of the"
        " model that draws the maps: another one graded them, or with the other knee. Name that one"
        " with --model."
    )


def _by_another(matched: MatchedKnees, knee: int, reading: KneeReading | str) -> bool:
    if matched.probabilities is None or isinstance(reading, str):
        return False
    apart = np.abs(matched.probabilities[knee] - np.asarray(reading.probabilities))
    return bool(apart.max() > _SAME)


def _confidence(matched: MatchedKnees) -> list[float | None]:
    if matched.probabilities is None:
        return [None] * len(matched.truth)
    stated = matched.probabilities[np.arange(len(matched.truth)), matched.predicted]
    return [float(share) for share in stated]


def read_label(label: Label, ensemble: Ensemble) -> KneeReading | str:
    """The reading of a label's picture, or why there is none."""
    try:
        readings: list[KneeReading] = ensemble.read(label.image)
    except KellgrenError as error:
        return error.reason
    if len(readings) > 1:
        readings = [it for it in readings if it.side is label.side is not Side.UNKNOWN]
    if len(readings) != 1:
        return "The picture shows several knees, and the label does not name one of them."
    return readings[0]


def _shown(reading: KneeReading | str) -> tuple[tuple[bytes, bytes] | None, str]:
    if isinstance(reading, str):
        return None, reading
    share = reading.probabilities[reading.grade]
    return _pictures(reading), f"map of grade {int(reading.grade)}, read with p {share:.2f}"


def _pictures(reading: KneeReading) -> tuple[bytes, bytes]:
    pixels = reading.crop.pixels
    shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    plain = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    return _jpeg(plain), _jpeg(blend(pixels, heat(reading.activation, shape)))


def _jpeg(picture: Image.Image) -> bytes:
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()
