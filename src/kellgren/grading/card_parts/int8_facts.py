"""What computing in int8 changed, in a network and in the vote."""

from __future__ import annotations

from kellgren.grading.card_parts.part import Part


class Int8Check(Part):
    """What computing in int8 changed, on real knees, against the same networks in fp32.

    Attributes:
        knees: compared, each with both looks.
        out_of_fold: whether no network of the bundle had learnt from them.
        agreement: share of them that got the same grade.
        mean_shift: mean change of a probability.
        largest_shift: largest change of a probability.
        accuracy: on these knees, before and after.
        qwk: likewise.
    """

    knees: int
    out_of_fold: bool
    agreement: float
    mean_shift: float
    largest_shift: float
    accuracy: tuple[float, float]
    qwk: tuple[float, float]

    @property
    def words(self) -> str:
        """One line."""
        kind = "held-out knees" if self.out_of_fold else "knees of the training data"
        changes = (
            f"{name} {before:.3f} to {after:.3f}"
            for name, (before, after) in (("accuracy", self.accuracy), ("QWK", self.qwk))
        )
        return (
            f"{self.agreement:.2%} of {self.knees} {kind} graded as in fp32, probabilities "
            f"shifted by {self.mean_shift:.4f} ({self.largest_shift:.3f} at most), "
            f"{', '.join(changes)}"
        )


class Int8Member(Part):
    """A network whose convolutions are computed in int8; its mean and linear layer are in fp32.

    Attributes:
        check: of this network alone.
        calibrated_on: how many knees showed it what its tensors hold.
        layers: convolutions in int8.
        kept: convolutions in fp32.
        tries: how many ways of quantising it were judged by the same knees.
    """

    check: Int8Check
    calibrated_on: int
    layers: int
    kept: int
    tries: int
