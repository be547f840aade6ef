"""What one look at a knee loses against two: at the knee, and at its mirror image."""

from __future__ import annotations

from kellgren.grading.card_parts.part import Part


class Difference(Part):
    """A score of one look less that of two, on the same knees.

    Attributes:
        value: of the difference.
        low: end of its 95 % interval over patients.
        high: likewise.
    """

    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        """Such as ``-0.002 (-0.009 to 0.004)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class OneLook(Part):
    """Differences on held-out knees, found too small to be worth a second look.

    Attributes:
        knees: that no network of the bundle learnt from.
        patients: whose knees these are.
        accuracy: of the most probable grades.
        qwk: quadratically weighted kappa.
        log_loss: of the probabilities; the only one of which more is worse.
    """

    knees: int
    patients: int
    accuracy: Difference
    qwk: Difference
    log_loss: Difference

    @property
    def words(self) -> str:
        """One line."""
        return (
            f"one; against two, on {self.knees} held-out knees: accuracy {self.accuracy.words}, "
            f"QWK {self.qwk.words}, log loss {self.log_loss.words}"
        )
