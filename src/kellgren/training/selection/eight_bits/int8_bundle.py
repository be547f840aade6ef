"""A bundle's members with int8 weights, if real knees keep their grades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from kellgren.arrays import Distributions
from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.grading.card import Card, MemberCard, StorageCheck
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.training.export.int8_storage import store_int8

LEAST_AGREEMENT = 0.998
MOST_KNEES = 500
_OBSERVED = 32
"""How many knees show a layer what it is given."""
_FEWEST = 20
_SEED = 0


def with_int8_weights(
    card: Card,
    files: Mapping[str, Path],
    knees: Sequence[Knee],
    held_out: Sequence[Knee],
    folder: Path,
) -> tuple[Card, dict[str, Path]]:
    """Store the members' large weights as int8, and compare the grades before and after.

    Args:
        card: of the bundle as it was.
        files: of the bundle, by name.
        knees: of the training data.
        held_out: those that no network of the bundle learnt from; empty where there are none.
        folder: for the new files.

    Returns:
        The card with what the storage changed, and the files.

    Raises:
        TrainingError: there are too few knees, or fewer than 99.8 % keep their grade.
        UnreadableRadiograph: a knee does not decode.
    """
    observed, compared = _dealt(knees, held_out)
    changed = dict(files)
    members = []
    for member in card.members:
        stored = _store(files[member.model], member, observed, folder / member.model)
        members.append(member.model_copy(update={"weights": "int8"}) if stored else member)
        changed[member.model] = folder / member.model
    if not any(member.weights == "int8" for member in members):
        raise TrainingError(
            card.name, "has no layer large enough for int8", "Store them with --weights fp16"
        )
    check = compare_storage(card, files, changed, compared, out_of_fold=bool(held_out))
    if check.agreement < LEAST_AGREEMENT:
        raise TrainingError(
            card.name,
            f"with int8 weights grades {1 - check.agreement:.1%} of {check.knees} knees otherwise "
            f"than with fp16 (at most {1 - LEAST_AGREEMENT:.1%} may), and shifts a probability by "
            f"up to {check.largest_shift:.3f}",
            "Store them with --weights fp16",
        )
    return card.model_copy(update={"members": tuple(members), "storage": check}), changed


def compare_storage(
    card: Card,
    before: Mapping[str, Path],
    after: Mapping[str, Path],
    knees: Sequence[Knee],
    *,
    out_of_fold: bool,
) -> StorageCheck:
    """Grade knees with two storages of the same networks, each knee alone.

    Args:
        card: with members and combiner.
        before: files by name.
        after: likewise.
        knees: to be graded.
        out_of_fold: whether no network learnt from them.
    """
    one, other = (np.concatenate(list(_graded(card, files, knees))) for files in (before, after))
    return StorageCheck(
        knees=len(knees),
        out_of_fold=out_of_fold,
        agreement=round(float((one.argmax(axis=1) == other.argmax(axis=1)).mean()), 6),
        largest_shift=round(float(np.abs(one - other).max()), 6),
    )


def _graded(
    card: Card, files: Mapping[str, Path], knees: Sequence[Knee]
) -> Iterator[Distributions]:
    """``(1, 5)`` of each knee, by one network of each backbone and their combiner."""
    networks = {
        member.backbone: MemberRuntime(files[member.model], files[member.head], member.preprocess)
        for member in card.members
    }
    for knee in knees:
        crop = whole_knee(read_radiograph(knee.image), knee.side)
        probabilities = [
            softmax(networks[of_it].examine(crop).logits) for of_it in card.combiner.members
        ]
        yield card.combiner.combine(probabilities)[None]


def _dealt(knees: Sequence[Knee], held_out: Sequence[Knee]) -> tuple[list[Knee], list[Knee]]:
    """Knees that show the layers what they are given, and others to compare grades on."""
    chance = np.random.default_rng(_SEED)
    apart = {knee.image for knee in held_out}
    if apart:
        observed = [knee for knee in knees if knee.image not in apart]
        observed = [observed[at] for at in chance.permutation(len(observed))[:_OBSERVED]]
        compared = [held_out[at] for at in chance.permutation(len(held_out))[:MOST_KNEES]]
    else:
        order = [knees[at] for at in chance.permutation(len(knees))]
        observed = order[:_OBSERVED]
        compared = order[_OBSERVED : _OBSERVED + MOST_KNEES]
    if min(len(observed), len(compared)) < _FEWEST:
        raise TrainingError(
            f"{len(knees)} knees",
            f"are too few to check int8 weights on: {_FEWEST} to look at and {_FEWEST} others to "
            "grade are needed",
            "Store them with --weights fp16",
        )
    return observed, compared


def _store(path: Path, member: MemberCard, knees: Sequence[Knee], out: Path) -> int:
    """Write a member with int8 weights; how many layers have them."""
    sees = member.preprocess
    model = onnx.load(path)
    crops = (whole_knee(read_radiograph(knee.image), knee.side) for knee in knees)
    planes = np.stack([sees.plane(crop) for crop in crops])
    layers = store_int8(model, sees.normalise(planes))
    with replaced_whole(out) as temporary:
        onnx.save_model(model, temporary)
    return layers
