"""Each member of a bundle grades a knee by itself; their votes are combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kellgren.arrays import Distributions
from kellgren.grading.bundle import Bundle, default_bundle, fast_bundle
from kellgren.grading.engines.engine_settings import DEFAULT_SETTINGS, EngineSettings
from kellgren.grading.naming import disagreement
from kellgren.grading.runtime import MemberOutput, MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.knee import KneeCrop


@dataclass(frozen=True, slots=True)
class PanelOutput:
    """What the members of a bundle compute of one knee.

    Attributes:
        probabilities: ``(5,)``, of the vote, calibrated.
        outputs: of each network, in the bundle's order.
        map_weights: ``(M,)`` weight of each network's map, summing to 1.
        votes: ``(B, 5)`` each backbone's own distribution, in the combiner's order.
    """

    probabilities: Distributions
    outputs: tuple[MemberOutput, ...]
    map_weights: tuple[float, ...]
    votes: Distributions

    @property
    def disagreement(self) -> float | None:
        """Of the backbones, in nats; ``None`` where there is one only."""
        return float(disagreement(self.votes)) if len(self.votes) > 1 else None


class Panel:
    """The members of a bundle, ready to grade knees.

    Args:
        bundle: already checked.
        settings: how its networks are run.
        mirror: average over the knee and its mirror image; ``None``: as the bundle's card has it.

    Attributes:
        record: name and checksum of the bundle, engine, precision and mirroring, and the device
            where that is not the processor, as every reading states them.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: EngineSettings = DEFAULT_SETTINGS,
        *,
        mirror: bool | None = None,
    ) -> None:
        self._combiner = bundle.card.combiner
        self._mirror = bundle.card.one_look is None if mirror is None else mirror
        self.record: dict[str, str] = {
            "name": bundle.card.name,
            "checksum": bundle.checksum,
            "engine": settings.engine,
            "precision": settings.precision,
            "mirror": "averaged" if self._mirror else "off",
            **({"device": settings.device} if settings.device != "cpu" else {}),
        }
        self._members = [
            MemberRuntime(
                bundle.path(member.model),
                bundle.path(member.head),
                member.preprocess,
                settings,
                read=lambda path: bundle.read(path.name),
                trial=bundle.folder not in (default_bundle(), fast_bundle()),
            )
            for member in bundle.card.members
        ]
        backbones = [member.backbone for member in bundle.card.members]
        weight = dict(zip(self._combiner.members, self._combiner.map_weights, strict=True))
        self._map_weights = tuple(weight[name] / backbones.count(name) for name in backbones)
        self._networks = [
            [at for at, name in enumerate(backbones) if name == backbone]
            for backbone in self._combiner.members
        ]

    def examine(self, crop: KneeCrop) -> PanelOutput:
        """Run every network on a knee, and combine the votes of the backbones."""
        outputs = self.outputs(crop, mirror=self._mirror)
        logits = np.stack([output.logits for output in outputs])
        votes = np.stack([softmax(logits[of_it].mean(axis=0)) for of_it in self._networks])
        return PanelOutput(self._combiner.combine(votes), outputs, self._map_weights, votes)

    def outputs(
        self, crop: KneeCrop, *, mirror: bool, factors: Sequence[float] = (1.0,)
    ) -> tuple[MemberOutput, ...]:
        """What every network computes of a knee; arguments as of `MemberRuntime.examine`."""
        return tuple(
            member.examine(crop, mirror=mirror, factors=factors) for member in self._members
        )
