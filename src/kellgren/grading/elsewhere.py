"""What a card says of knees of other hospitals than those that its networks learnt from."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from kellgren.grading.card_parts.part import Part

SCORES = {
    "accuracy": "accuracy",
    "one_off": "within one grade",
    "qwk": "QWK",
    "auc_grade2": "AUC for grade 2 or more",
}
"""The scores that are shown, and what each is called."""


class Score(Part):
    """A score with its 95 % interval.

    Attributes:
        value: the score.
        low: of its interval.
        high: of its interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Elsewhere(Part):
    """How a bundle grades knees of another hospital, by the grades of the readers there.

    Attributes:
        name: of the knees.
        licence: of the data.
        credit: whom to cite.
        limits: what these knees cannot show, such as that they are of one site.
        knees: graded, and refused by no check.
        pictures: that they are seen on; intervals are over these.
        order: rank correlation of the readers' grades with the expected grades, -1..1.
        delivered: scores of the bundle as it is, by names such as those of `SCORES`.
        calibrated: scores after a local calibration, each knee by a fit without its picture.
        high: knees of high certainty, as delivered.
        high_right: how many of these have the grade that the readers gave.
    """

    name: str
    licence: str
    credit: str
    limits: str
    knees: PositiveInt
    pictures: PositiveInt
    order: float
    delivered: dict[str, Score]
    calibrated: dict[str, Score]
    high: NonNegativeInt
    high_right: NonNegativeInt

    @property
    def words(self) -> str:
        """Such as ``167 knees on 138 pictures: Example Hospital``."""
        return f"{self.knees} knees on {self.pictures} pictures: {self.name}"

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """Of each score: its name, as delivered, calibrated to the readers there."""
        return [
            (name, str(self.delivered[key]), str(self.calibrated[key]))
            for key, name in SCORES.items()
            if key in self.delivered and key in self.calibrated
        ]

    @property
    def certainty(self) -> str:
        """Such as ``of 90 knees of high certainty 37 have the readers' grade``."""
        return f"of {self.high} knees of high certainty {self.high_right} have the readers' grade"
