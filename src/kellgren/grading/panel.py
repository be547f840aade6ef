"""The members of a bundle look at one knee, and vote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Distributions
from kellgren.grading.bundle import Bundle
from kellgren.grading.runtime import Engine, MemberOutput, MemberRuntime, Precision
from kellgren.grading.voting import softmax
from kellgren.knee import KneeCrop


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the members say of one knee.

    Attributes:
        probabilities: ``(5,)``, of the vote, calibrated.
        outputs: of each network, in the bundle's order.
        says: ``(M,)`` how much each network has to say, summing to 1.
        votes: ``(B, 5)`` each backbone's own distribution, in the combiner's order.
    """

    probabilities: Distributions
    outputs: tuple[MemberOutput, ...]
    says: tuple[float, ...]
    votes: Distributions


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
        self._combiner = bundle.card.combiner
        self._mirror = mirror
        self._members = [
            MemberRuntime(
                bundle.path(member.model),
                bundle.path(member.head),
                member.preprocess,
                engine=engine,
                precision=precision,
                threads=threads,
                read=lambda path: bundle.read(path.name),
            )
            for member in bundle.card.members
        ]
        backbones = [member.backbone for member in bundle.card.members]
        weight = dict(zip(self._combiner.members, self._combiner.says, strict=True))
        self._says = tuple(weight[name] / backbones.count(name) for name in backbones)
        self._networks = [
            [at for at, name in enumerate(backbones) if name == backbone]
            for backbone in self._combiner.members
        ]

    def examine(self, crop: KneeCrop) -> Opinion:
        """Every network's look at a knee, and the vote of the backbones."""
        outputs = tuple(member.examine(crop, mirror=self._mirror) for member in self._members)
        logits = np.stack([output.logits for output in outputs])
        votes = np.stack([softmax(logits[of_it].mean(axis=0)) for of_it in self._networks])
        return Opinion(self._combiner.combine(votes), outputs, self._says, votes)
