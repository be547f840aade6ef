"""The contralateral knee: a small model of what it adds to the distribution of a knee.

``softmax(sharpness * log p + agreement * q + bias)``, where p is the distribution of the knee and q
that of the contralateral one. The two knees are treated alike. The contralateral knee's
probabilities enter as they are, not as logarithms, so that what it adds is bounded: one badly read
knee cannot decide the grade of both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from kellgren.arrays import Distributions, FloatArray, GradeArray, IntArray
from kellgren.grades import Side
from kellgren.grading.multinomial import fit_multinomial
from kellgren.grading.voting import logs, softmax

_SHRINKAGE = 1e-3
_DIGITS = 6


class BothKnees(BaseModel):
    """The fitted model.

    Attributes:
        sharpness: multiplies the knee's own log-probabilities.
        agreement: multiplies the contralateral knee's probability of the same grade; 0 ignores it.
        bias: of each grade.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sharpness: float = Field(gt=0.05, lt=20.0)
    agreement: float = Field(gt=-20.0, lt=20.0)
    bias: tuple[float, ...] = Field(min_length=5, max_length=5)

    def combine(self, own: FloatArray, other: FloatArray) -> Distributions:
        """Both ``(..., 5)``, each knee read alone; so is the result, read with both."""
        return softmax(
            self.sharpness * logs(own) + self.agreement * np.asarray(other), 1, self.bias
        )


def fit_both_knees(own: FloatArray, other: FloatArray, grades: GradeArray) -> BothKnees:
    """Fit on knees that no member learnt from, drawn towards ignoring the contralateral one.

    Args:
        own: ``(N, 5)`` distributions of knees read alone.
        other: ``(N, 5)`` of the contralateral knee of each.
        grades: ``(N,)`` labels of the knees.
    """
    design = np.concatenate(
        [
            logs(own)[:, :, None],
            np.asarray(other)[:, :, None],
            np.tile(np.eye(5), (len(own), 1, 1)),
        ],
        axis=2,
    )
    prior = np.array([1.0, *[0.0] * 6])
    sharpness, agreement, *bias = fit_multinomial(design, grades, prior, np.full(7, _SHRINKAGE))
    centred = np.asarray(bias) - np.mean(bias)
    return BothKnees(
        sharpness=round(float(sharpness), _DIGITS),
        agreement=round(float(agreement), _DIGITS),
        bias=tuple(round(float(value), _DIGITS) for value in centred),
    )


def other_knees(patients: Sequence[str], sides: Sequence[Side]) -> IntArray:
    """``(N,)`` the position of each knee's contralateral knee, -1 where there is none.

    Two knees belong together when a patient has exactly one left and one right knee here, and no
    other.
    """
    of_patient: dict[str, list[int]] = {}
    for position, patient in enumerate(patients):
        of_patient.setdefault(patient, []).append(position)
    partner = np.full(len(patients), -1, dtype=np.int64)
    for positions in of_patient.values():
        if sorted(sides[p].value for p in positions) == ["L", "R"]:
            partner[positions] = positions[::-1]
    return partner
