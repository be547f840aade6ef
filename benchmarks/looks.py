"""One look at a knee against two, at it and at its mirror image: paired, on knees held out.

    python benchmarks/looks.py --data kneeKL299 --folds results/folds.json [--patients 200]
        [--model BUNDLE] [--keep looks.npz]

The knees are those of the patients whom no network of the bundle learnt from, in the published
split ``train`` and ``val``, patients in an order drawn with seed 42. Both looks come from one run
of the networks, and both are combined by the card's numbers, which were fitted to two looks.
``--keep`` stores the logits as they come, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.atomic_files import replaced_whole
from kellgren.data.manifest import Knee, for_training, index
from kellgren.data.splits import load_folds
from kellgren.evaluation import Grades, compare
from kellgren.grading.bundle import Bundle, default_bundle, open_bundle
from kellgren.grading.engines.engine_settings import EngineSettings
from kellgren.grading.runtime import MemberRuntime
from kellgren.grading.voting import softmax
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee

SAVED_EVERY = 50
Logits = npt.NDArray[np.float32]


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


def vote(logits: Logits, bundle: Bundle) -> npt.NDArray[np.float64]:
    """``(N, 5)`` of logits ``(N, M, 5)``, as `Panel.examine` combines them."""
    backbones = [member.backbone for member in bundle.card.members]
    votes = [
        softmax(logits[:, [at for at, name in enumerate(backbones) if name == one]].mean(axis=1))
        for one in bundle.card.combiner.members
    ]
    return np.asarray(bundle.card.combiner.combine(np.stack(votes)))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--folds", type=Path, required=True)
    words.add_argument("--patients", type=int, default=0)
    words.add_argument("--model", type=Path, default=default_bundle())
    words.add_argument("--keep", type=Path)
    given = words.parse_args()

    bundle = open_bundle(given.model)
    knees = held_out(given.data, given.folds, bundle, given.patients)
    logits = looks_at(knees, bundle, given.keep)
    one, two = vote(logits[:, :, 0], bundle), vote(logits.mean(axis=2), bundle)
    truth = np.array([int(knee.grade or 0) for knee in knees])
    patients = [knee.patient for knee in knees]
    graders = [Grades(p.argmax(axis=1), p) for p in (one, two)]
    compared = compare(truth, *graders, patients)

    same = (one.argmax(axis=1) == two.argmax(axis=1)).mean()
    shift = np.abs(one - two).max(axis=1)
    print(f"{len(knees)} knees of {len(set(patients))} patients, bundle {bundle.checksum[:12]}")
    print(f"same grade {same:.3f}; largest shift of a probability: mean {shift.mean():.3f},")
    print(f"95th percentile {np.quantile(shift, 0.95):.3f}, largest {shift.max():.3f}")
    print("metric | one look | two looks | one - two | p")
    for key, it in compared.metrics.items():
        print(f"{key} | {it.this:.4f} | {it.other:.4f} | {it.difference} | {it.p_value:.3f}")


if __name__ == "__main__":
    main()
