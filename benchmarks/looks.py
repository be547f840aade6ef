"""One look at a knee against two, at it and at its mirror image: paired, on knees held out.

    python benchmarks/looks.py --data kneeKL299 --folds results/folds.json [--patients 200]
        [--model BUNDLE] [--keep looks.npz] [--once BACKBONE ... | --write NEW-BUNDLE]

The knees are those of the patients whom no network of the bundle learnt from, in the published
split ``train`` and ``val``, patients in an order drawn with seed 42. Both looks come from one run
of the networks, and both are combined by the card's numbers, which were fitted to two looks. The
second table favours neither: each number of looks is combined by numbers fitted to it, on the
patients of four other fifths of these knees.
It also says how many knees keep their grade where the one look is at the mirror image, as it is of
a left knee whose side is not known; with two looks all do.
``--once`` names the backbones that look once; the others look twice then. Without it all look once.
``--keep`` stores the logits as they come, so that an interrupted run goes on.

``--write`` lays the same networks down as a bundle that takes one look, with vote, grade sets,
rule of naming and scores fitted to it on these knees, and with the second table's differences in
its card: for whoever finds them too small for a second look. It needs the extra train.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import load_folds
from kellgren.evaluation import Grades, compare
from kellgren.grading.bundle import Bundle, default_bundle, open_bundle, write_bundle
from kellgren.grading.card_parts.one_look import Difference, OneLook
from kellgren.grading.combiner import fit_combiner
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee

SAVED_EVERY = 50
FIFTHS = 5
STATED = ("accuracy", "qwk", "log_loss")
Logits = npt.NDArray[np.float32]
Votes = npt.NDArray[np.float64]


def held_out(data: Path, folds: Path, bundle: Bundle, patients: int) -> list[Knee]:
    """Knees of so many patients whom no network learnt from, a patient's together."""
    dealt = load_folds(folds)
    learnt = {fold for member in bundle.card.members for fold in member.trained_folds}
    kept = [
        knee
        for knee in for_training(index(data), data)
        if dealt.of_patient.get(knee.patient) not in (None, *learnt)
    ]
    names = sorted({knee.patient for knee in kept})
    drawn = [names[i] for i in np.random.default_rng(42).permutation(len(names))]
    place = {name: position for position, name in enumerate(drawn[: patients or None])}
    return sorted(
        (knee for knee in kept if knee.patient in place),
        key=lambda knee: (place[knee.patient], knee.image.name),
    )


def looks_at(knees: list[Knee], bundle: Bundle, keep: Path | None) -> Logits:
    """``(N, M, 2, 5)`` logits of each network at each knee and at its mirror image."""
    members = [
        MemberRuntime(
            bundle.path(m.model), bundle.path(m.head), m.preprocess, EngineSettings(threads=1)
        )
        for m in bundle.card.members
    ]
    stored: dict[str, Logits] = {}
    if keep is not None and keep.exists():
        with np.load(keep) as table:
            stored = {name: table[name] for name in table.files}
    for number, knee in enumerate(knees, start=1):
        name = knee.image.name
        if name not in stored:
            crop = whole_knee(read_radiograph(knee.image), knee.side)
            planes = [member.preprocess.plane(crop) for member in members]
            pairs = [np.stack([plane, plane[:, ::-1]]) for plane in planes]
            stored[name] = np.stack([m.logits(p) for m, p in zip(members, pairs, strict=True)])
        if keep is not None and (number % SAVED_EVERY == 0 or number == len(knees)):
            with replaced_whole(keep) as temporary, temporary.open("wb") as stream:
                np.savez(stream, **stored)
    return np.stack([stored[knee.image.name] for knee in knees])


def votes_of(logits: Logits, bundle: Bundle) -> Votes:
    """``(B, N, 5)`` of each backbone, of logits ``(N, M, 5)``, as `Panel.examine` makes them."""
    backbones = [member.backbone for member in bundle.card.members]
    return np.stack(
        [
            softmax(logits[:, [at for at, n in enumerate(backbones) if n == one]].mean(axis=1))
            for one in bundle.card.combiner.members
        ]
    )


def fitted_apart(
    votes: Votes, truth: npt.NDArray[np.int64], patients: list[str], bundle: Bundle
) -> Votes:
    """``(N, 5)``: each knee by a combiner of the bundle's rule, fitted to other patients' votes."""
    names = sorted(set(patients))
    fifth = np.array([names.index(patient) % FIFTHS for patient in patients])
    combined = np.empty(votes.shape[1:])
    for part in range(FIFTHS):
        held = fifth == part
        rule, members = bundle.card.combiner.rule, bundle.card.combiner.members
        combiner = fit_combiner(rule, members, votes[:, ~held], truth[~held])
        combined[held] = combiner.combine(votes[:, held])
    return combined


def show(
    one: Votes, two: Votes, truth: npt.NDArray[np.int64], patients: list[str]
) -> dict[str, Difference]:
    """Print how often both agree, and the scores of both, paired; what a card states of them."""
    same = (one.argmax(axis=1) == two.argmax(axis=1)).mean()
    shift = np.abs(one - two).max(axis=1)
    print(f"same grade {same:.3f}; largest shift of a probability: mean {shift.mean():.3f},")
    print(f"95th percentile {np.quantile(shift, 0.95):.3f}, largest {shift.max():.3f}")
    print("metric | one look | two looks | one - two | p")
    compared = compare(truth, *(Grades(p.argmax(axis=1), p) for p in (one, two)), patients)
    for key, it in compared.metrics.items():
        print(f"{key} | {it.this:.4f} | {it.other:.4f} | {it.difference} | {it.p_value:.3f}")
    found = {key: compared.metrics[key].difference for key in STATED}
    return {key: Difference(value=it.value, low=it.low, high=it.high) for key, it in found.items()}


def write(folder: Path, bundle: Bundle, knees: list[Knee], votes: Votes, found: OneLook) -> None:
    """Write the bundle that takes one look, fitted and scored as ``kellgren bundle build`` does.

    Args:
        folder: new or empty.
        bundle: that takes two.
        knees: N that no network of it learnt from.
        votes: ``(B, N, 5)`` of one look at them.
        found: what one look loses.
    """
    from kellgren.training.selection.assemble import estimate_of, write_estimates
    from kellgren.training.selection.bundle_card import with_estimates
    from kellgren.training.selection.out_of_fold import OutOfFold

    rule, backbones = bundle.card.combiner.rule, bundle.card.combiner.members
    order = sorted(range(len(knees)), key=lambda at: knees[at].image.name)
    folds = np.zeros(len(knees), np.int64)
    in_order = tuple(knees[at] for at in order)
    predictions = OutOfFold(backbones, votes[:, order], in_order, 0, folds)
    estimated = estimate_of(predictions, rules=[rule], smallest=len(backbones))
    card = bundle.card.model_copy(update={"one_look": found, "elsewhere": ()})
    card = with_estimates(card, predictions, estimated, "qwk")
    with TemporaryDirectory() as temporary:
        files = {name: bundle.path(name) for name in card.files}
        files |= write_estimates(predictions, estimated, Path(temporary))
        made = write_bundle(card, files, folder)
    print(f"written: {folder}, bundle {made.checksum[:12]}")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--folds", type=Path, required=True)
    words.add_argument("--patients", type=int, default=0)
    words.add_argument("--model", type=Path, default=default_bundle())
    words.add_argument("--keep", type=Path)
    parts = words.add_mutually_exclusive_group()
    parts.add_argument("--once", nargs="+", default=[], metavar="BACKBONE")
    parts.add_argument("--write", type=Path, help="new folder for the bundle that takes one look")
    given = words.parse_args()

    bundle = open_bundle(given.model)
    knees = held_out(given.data, given.folds, bundle, given.patients)
    logits = looks_at(knees, bundle, given.keep)
    both = votes_of(logits.mean(axis=2), bundle)
    once = [not given.once or name in given.once for name in bundle.card.combiner.members]
    upright, mirrored = (
        np.where(np.array(once)[:, None, None], votes_of(logits[:, :, look], bundle), both)
        for look in (0, 1)
    )
    looks = (upright, both)
    truth = np.array([int(knee.grade or 0) for knee in knees])
    patients = [knee.patient for knee in knees]
    print(f"{len(knees)} knees of {len(set(patients))} patients, bundle {bundle.checksum[:12]}")
    print("combined by the card:")
    one, two = (bundle.card.combiner.combine(votes) for votes in looks)
    show(one, two, truth, patients)
    kept = one.argmax(axis=1) == bundle.card.combiner.combine(mirrored).argmax(axis=1)
    print(f"same grade where the one look is at the mirror image: {kept.mean():.3f}")
    print("each combined by numbers fitted to it, on other patients:")
    one, two = (fitted_apart(votes, truth, patients, bundle) for votes in looks)
    found = show(one, two, truth, patients)
    if given.write is not None:
        told = OneLook(knees=len(knees), patients=len(set(patients)), **found)
        write(given.write, bundle, knees, upright, told)


if __name__ == "__main__":
    main()
