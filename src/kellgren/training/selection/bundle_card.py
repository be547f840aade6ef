"""A bundle's card, from what its runs and the files of their data say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from kellgren.arrays import FloatArray
from kellgren.data.manifest import Knee
from kellgren.evaluation import score
from kellgren.grades import Grade
from kellgren.grading.card import FORMAT, Card, MemberCard, Pictures, TrainingData
from kellgren.grading.fitted_card import certainty_shares, with_sets
from kellgren.grading.naming import HeldOut
from kellgren.grading.preprocess import Preprocess
from kellgren.imaging.picture import FORMAT_SUFFIXES
from kellgren.training.run_folder import HEAD, MODEL
from kellgren.training.selection.nested import Estimated
from kellgren.training.selection.out_of_fold import OutOfFold, Run
from kellgren.training.selection.subsets import Measure

_SCALE = "Kellgren-Lawrence, grades 0 to 4; which reading protocol the labels follow is not stated"
_OAI_SCALE = "Kellgren-Lawrence as read in the Osteoarthritis Initiative, grades 0 to 4"
_USE = (
    "Research on posterior-anterior knee radiographs, one knee a picture. Not a medical device: "
    "not for diagnosis or treatment. Known limits: {cohort}no implants, no children, no lateral "
    "or skyline views."
)
_OAI_COHORT = "trained on one cohort (Osteoarthritis Initiative, ages 45 to 79, USA); "
_CHEN = {
    "name": "Knee Osteoarthritis Severity Grading Dataset, train and val splits",
    "licence": "CC BY 4.0",
    "credit": "Chen P., Mendeley Data V1 2018, doi 10.17632/56rmx5bjcr.1",
}
_OAI_NOTE = (
    "The radiographs were taken, and graded, in the Osteoarthritis Initiative (OAI), which the US "
    "National Institutes of Health fund; neither has reviewed this model."
)
_COPIES_NOTE = "The pictures read were {format} copies; the data set publishes PNG files."
_IMAGENET_NOTE = (
    "Training began with weights learnt from ImageNet, whose pictures are offered for "
    "non-commercial research; the weights' own licences stand with each network where known."
)
_DICOM = "DICOM"
_NOT_READ = "not read"


def make_card(
    name: str,
    runs: Sequence[Run],
    chosen: Sequence[Run],
    learnt: TrainingData,
    predictions: OutOfFold,
    estimated: Estimated,
    measure: Measure,
) -> Card:
    """All that is known of the bundle; checksums and seal come when it is written.

    Args:
        name: of the bundle.
        runs: whose predictions the combiner was chosen on.
        chosen: whose members go in.
        learnt: what these learnt from.
        predictions: the runs' predictions.
        estimated: from them.
        measure: that decided.
    """
    gain = {key: value.to_dict() for key, value in estimated.gain.items()}
    held_out = sorted({run.fold for run in runs if run.fold is not None})
    helps = estimated.other_knee_helps(measure)
    paired = {**scores_of(predictions, estimated.paired), "gain": gain, "decided_by": measure}
    of_oai = _published(chosen)
    card = Card(
        format=FORMAT,
        name=name,
        version=chosen[0].facts["versions"]["kellgren"],
        grades=tuple(grade.label for grade in Grade),
        scale=_OAI_SCALE if of_oai else _SCALE,
        members=tuple(_member(run) for run in chosen),
        combiner=estimated.combiner,
        both_knees=estimated.both_knees if helps else None,
        data=learnt,
        out_of_fold={"held_out_folds": held_out, **scores_of(predictions, estimated.single)},
        out_of_fold_paired=None if estimated.both_knees is None else paired,
        versions=chosen[0].facts["versions"],
        files={},
        intended_use=_USE.format(cohort=_OAI_COHORT if of_oai else ""),
    )
    votes = np.stack([predictions.members[at] for at in _positions(predictions, card)])
    told = (predictions.truth, predictions.patients, votes)
    alone = HeldOut.of(estimated.single, *told)
    return with_sets(card, alone, HeldOut.of(estimated.paired, *told) if helps else None)


def _positions(predictions: OutOfFold, card: Card) -> list[int]:
    """Where the backbones that vote stand among the predicted ones."""
    return [predictions.backbones.index(name) for name in card.combiner.members]


def scores_of(predictions: OutOfFold, probabilities: FloatArray) -> dict[str, Any]:
    """Scores of calibrated distributions, with intervals, and of each word for certainty."""
    graded = probabilities.argmax(axis=1)
    scores = score(predictions.truth, graded, probabilities, predictions.patients)
    knees = HeldOut.of(probabilities, predictions.truth, predictions.patients)
    return {**scores.to_dict(), **certainty_shares(knees)}


def member_name(run: Run) -> str:
    """Of its network in a bundle: backbone, and the fold held out or ``final``."""
    return f"{run.backbone}-final" if run.fold is None else f"{run.backbone}-f{run.fold}"


def file_name(run: Run, part: str) -> str:
    """In a bundle, of a file in a run's folder."""
    return part.replace("member", member_name(run), 1)


def training_data(chosen: Sequence[Run], knees: Sequence[Knee]) -> TrainingData:
    """What the chosen networks learnt from: a final, or two folds together, leave no knee out.

    Args:
        chosen: whose networks go in.
        knees: graded, among them all that the runs learnt from or held out.
    """
    first = chosen[0].facts
    final = next((run for run in chosen if run.fold is None), None)
    graded = [knee for knee in knees if knee.grade is not None]
    if final is not None or len({run.fold for run in chosen}) == 1:
        facts = (final or chosen[0]).facts
        counted, patients = int(facts["knees"]), int(facts["patients"])
    else:
        counted, patients = len(graded), len({knee.patient for knee in graded})
    sources = sorted({source for run in chosen for source in run.facts["sources"]})
    unknown = {"name": ", ".join(sources), "licence": "not stated", "credit": "not stated"}
    pictures = pictures_of(graded)
    return TrainingData(
        **(_CHEN if _published(chosen) else unknown),
        knees=counted,
        patients=patients,
        folds_hash=first["folds_hash"],
        folds=first["folds"],
        pictures=pictures,
        notes=_notes(chosen, pictures),
    )


def pictures_of(knees: Sequence[Knee]) -> tuple[Pictures, ...]:
    """What the knees' files are, by their headers: format, and the range of their sizes."""
    sizes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    without: dict[str, int] = defaultdict(int)
    for knee in knees:
        try:
            with Image.open(knee.image) as picture:
                sizes[str(picture.format)].append(picture.size)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            known = knee.image.suffix.lower() in FORMAT_SUFFIXES["DICOM"] and knee.image.is_file()
            without[_DICOM if known else _NOT_READ] += 1
    measured = [
        Pictures(
            format=kind,
            knees=len(count),
            width=(min(w for w, _ in count), max(w for w, _ in count)),
            height=(min(h for _, h in count), max(h for _, h in count)),
        )
        for kind, count in sorted(sizes.items())
    ]
    return (*measured, *(Pictures(format=kind, knees=n) for kind, n in sorted(without.items())))


def _published(chosen: Sequence[Run]) -> bool:
    """Whether all they learnt from is the published set."""
    return all(source.startswith("chen2018") for run in chosen for source in run.facts["sources"])


def _notes(chosen: Sequence[Run], pictures: Sequence[Pictures]) -> tuple[str, ...]:
    notes = []
    if _published(chosen):
        notes.append(_OAI_NOTE)
        copied = [kind.format for kind in pictures if kind.format not in ("PNG", _NOT_READ)]
        notes += [_COPIES_NOTE.format(format=kind) for kind in copied]
    if any("ImageNet" in run.facts["started_from"] for run in chosen):
        notes.append(_IMAGENET_NOTE)
    return tuple(notes)


def _member(run: Run) -> MemberCard:
    facts = run.facts
    return MemberCard(
        name=member_name(run),
        backbone=run.backbone,
        architecture=facts["architecture"],
        model=file_name(run, MODEL),
        head=file_name(run, HEAD),
        preprocess=Preprocess.model_validate(facts["preprocess"]),
        recipe=facts["recipe"],
        recipe_hash=facts["recipe_hash"],
        started_from=facts["started_from"],
        trained_folds=tuple(f for f in range(facts["folds"]) if f != run.fold),
        knees=facts["knees"],
        patients=facts["patients"],
    )
