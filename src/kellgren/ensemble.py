"""The members of a bundle look at one knee, and vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kellgren.bundle import Bundle
from kellgren.preprocess import KneeCrop
from kellgren.runtime import Engine, MemberOutput, MemberRuntime, Precision
from kellgren.voting import soft_vote, softmax


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the members say of one knee.

    Attributes:
        probabilities: ``(5,)``, of the vote, calibrated.
        outputs: of each member, in the bundle's order.
        votes: ``(M, 5)`` each member's own distribution.
    """

    probabilities: npt.NDArray[np.float64]
    outputs: tuple[MemberOutput, ...]
    votes: npt.NDArray[np.float64]


class Panel:
    """The members of a bundle, ready to look at knees.

    Args:
        bundle: already checked.
        engine: see `MemberRuntime`.
        precision: see `MemberRuntime`.
        threads: of each member's engine; 0 leaves the choice to it.
        mirror: average each look with the look at the mirror image.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: Engine = "onnxruntime",
        precision: Precision = "fp32",
        threads: int = 0,
        mirror: bool = True,
    ) -> None:
        self._temperature, self._bias = bundle.card.temperature, bundle.card.bias
        self._mirror = mirror
        self._members = [
            MemberRuntime(
                bundle.path(member.model),
                bundle.path(member.head),
                member.preprocess,
                engine=engine,
                precision=precision,
                threads=threads,
            )
            for member in bundle.card.members
        ]

    def examine(self, crop: KneeCrop) -> Opinion:
        """Every member's look at a knee, and their vote."""
        outputs = tuple(member.examine(crop, mirror=self._mirror) for member in self._members)
        votes = np.stack(
            [softmax(output.logits, self._temperature, self._bias) for output in outputs]
        )
        return Opinion(soft_vote(list(votes)), outputs, votes)
