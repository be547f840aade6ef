"""Make the picture gate: draw examples, learn, take the limits from knees it did not learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.data.manifest import Knee
from kellgren.data.splits import make_folds
from kellgren.localisation.knee_detector import Localiser
from kellgren.localisation.picture_gate import (
    CARD,
    NETWORK,
    WEIGHTS,
    FeatureNetwork,
    GateCard,
    Limits,
)
from kellgren.localisation.picture_scores import GateWeights, Scores
from kellgren.training.gate_making.examples import (
    WITH_IMPLANT,
    draw_examples,
    frame_examples,
    frame_knees,
    published,
)
from kellgren.training.gate_making.feature_network import SIZE
from kellgren.training.gate_making.fit import fit_weights
from kellgren.training.knee_detector.film_maker import BoxedFrame

UNSEEN_FOLD, LIMIT_FOLD = 0, 1
"""Folds of five, seed 42: never looked at, and used for the limits alone."""
LIMIT_KNEES = 660
"""How many knees of that fold serve the limits."""
CORRECTED_CONFIDENCE = 0.6
"""Of 35 real films, the detector gave 95 % at least 0.61 when they were inverted."""
_LEAST_OF_PLATES = -2.0
"""Of the limit of growth plates: drawn ones score above 2, so a lower limit costs native knees."""
_LEAST_DISTANCE = 2.2
"""Of the limit of distance: films that nothing was learnt from lie up to 2.16, slices above 2.3."""
_MARGIN = 0.15
"""How far a limit lies beyond the quantile, in shares of its distance from the median."""
_CREDIT = (
    "EfficientNet-Lite2, Google; Apache-2.0",
    "Chen 2018, doi 10.17632/56rmx5bjcr.1, CC BY 4.0",
    "Gornale and Patravali 2020, doi 10.17632/t9ndx37v5h.1, CC BY 4.0",
)
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Roles:
    """Which knees serve what: no patient serves twice."""

    learnt: list[Knee]
    limits: list[Knee]
    unseen: list[Knee]


def roles_of(knees: Sequence[Knee], learnt: int, seed: int) -> Roles:
    """Share the native knees out by fold; ``learnt`` of folds 2 to 4 are learnt from."""
    folds = make_folds(list(knees))
    fold_of = np.array([folds.held_out(knees, fold) for fold in range(5)]).argmax(axis=0)
    native = [
        (knee, fold)
        for knee, fold in zip(knees, fold_of, strict=True)
        if knee.image.stem not in WITH_IMPLANT
    ]
    chosen = _some([knee for knee, fold in native if fold > LIMIT_FOLD], learnt, seed)
    patients = {knee.patient for knee in chosen}
    return Roles(
        learnt=chosen,
        limits=_some([knee for knee, fold in native if fold == LIMIT_FOLD], LIMIT_KNEES, seed),
        unseen=[
            knee for knee, fold in native if fold != LIMIT_FOLD and knee.patient not in patients
        ],
    )


def _some(knees: list[Knee], count: int, seed: int) -> list[Knee]:
    """At most ``count``, drawn by chance: knees are often listed by grade."""
    return [knees[n] for n in np.random.default_rng(seed).permutation(len(knees))[:count]]


def build_gate(
    network: bytes,
    roles: Roles,
    frames: Sequence[BoxedFrame],
    folder: Path,
    *,
    seed: int,
    tell: Tell,
) -> GateCard:
    """Make the gate and write it.

    Args:
        network: content of the ONNX file.
        roles: which knees to learn from and to take the limits from.
        frames: real films of another hospital to learn from, with boxes; none that are to judge.
        folder: receives network, weights and card.
        seed: of everything that is drawn.
        tell: is told how far it has come.
    """
    features = FeatureNetwork(network, SIZE)
    rng = np.random.default_rng(seed)

    def told(done: int) -> None:
        if done % 100 == 0:
            tell(f"{done} of {len(roles.learnt)} knees drawn on")

    localiser = Localiser()
    examples = draw_examples(roles.learnt, features, localiser, rng, told)
    examples += frame_examples(frames, features, rng)
    tell(f"learning from {len(examples)} pictures")
    content = fit_weights(examples, seed).content()
    weights = GateWeights.parsed(content)  # the limits fit the weights as they are stored
    tell(f"limits from {len(roles.limits)} knees")
    crops = [weights.scores(features.features(published(k, localiser))) for k in roles.limits]
    films = [weights.scores(features.features(knee)) for knee in frame_knees(frames)]
    files = {NETWORK: network, WEIGHTS: content}
    card = GateCard(
        size=SIZE,
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        **limits_by_use(crops, films),
        corrected_confidence=CORRECTED_CONFIDENCE,
        training={
            "learnt": len(roles.learnt),
            "real_films": len(frames),
            "pictures": len(examples),
            "limits_from": len(roles.limits),
            "seed": seed,
            "credit": _CREDIT if frames else _CREDIT[:-1],
        },
        figures={},
    )
    write_gate(folder, files, card)
    return card


def limits_by_use(crops: Sequence[Scores], films: Sequence[Scores]) -> dict[str, Limits]:
    """The card's three sets of limits, by their names in it.

    Args:
        crops: scores of knees cropped as published, which nothing was learnt from.
        films: scores of knees of real films.
    """
    upright = limits_of(crops, 0.0015, films, 0.03, margin=_MARGIN)
    upright = upright.model_copy(
        update={
            "growth_plates": max(upright.growth_plates, _LEAST_OF_PLATES),
            "distance": max(upright.distance, _LEAST_DISTANCE),
        }
    )
    strict = limits_of(crops, 0.03, films, 0.1)
    corrected = upright.model_copy(update={"distance": strict.distance, "other": strict.other})
    warned = limits_of(crops, 0.01, films, 0.03)
    return {"upright": upright, "corrected": corrected, "warned": warned}


def limits_of(
    crops: Sequence[Scores],
    share: float,
    films: Sequence[Scores] = (),
    share_of_films: float = 0.0,
    *,
    margin: float = 0.0,
) -> Limits:
    """Limits above which no more than a share of the scores lies, of each score for itself.

    Args:
        crops: scores of knees cropped as published.
        share: of them.
        films: scores of knees of real films.
        share_of_films: of them; the larger of both limits holds.
        margin: how far beyond the quantile the limit lies, in shares of its distance from the
            median.
    """
    limits = {}
    for name in ("distance", "metal", "growth_plates", "other"):
        found = []
        for scores, part in ((crops, share), (films, share_of_films)):
            if scores:
                middle, top = np.quantile([getattr(s, name) for s in scores], [0.5, 1 - part])
                found.append(float(top + margin * (top - middle)))
        limits[name] = round(max(found), 3)
    return Limits(**limits)


def write_gate(folder: Path, files: dict[str, bytes], card: GateCard) -> None:
    """Write the files and, last, the card that holds their checksums."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with replaced_whole(folder / name) as draft:
            draft.write_bytes(data)
    with written_whole(folder / CARD) as stream:
        stream.write(card.model_dump_json(indent=1) + "\n")
