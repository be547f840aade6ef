"""From finished runs to a bundle: combiner, scores with intervals, card, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.bundle import FORMAT, Bundle, Card, MemberCard, TrainingData, write_bundle
from kellgren.calibration import CERTAINTY_WORDS, certainty, likely_grades
from kellgren.choosing import Measure
from kellgren.combining import RULES, Rule
from kellgren.errors import TrainingError
from kellgren.estimating import Estimated, estimate
from kellgren.evaluation import score
from kellgren.grades import Grade
from kellgren.manifest import Knee
from kellgren.preprocess import Preprocess
from kellgren.training.out_of_fold import OutOfFold, Run, find_runs, read_out_of_fold
from kellgren.training.reading_table import write_readings
from kellgren.training.run_folder import HEAD, MODEL

Floats = npt.NDArray[np.floating]
Grades = npt.NDArray[np.integer]
PREDICTIONS, PAIRED = "out_of_fold.csv", "out_of_fold_paired.csv"
_SCALE = "Kellgren-Lawrence as read in the Osteoarthritis Initiative, grades 0 to 4"
_USE = (
    "Research on posterior-anterior knee radiographs, one knee a picture. Not a medical device: "
    "not for diagnosis or treatment. Known limits: trained on one cohort (Osteoarthritis "
    "Initiative, ages 45 to 79, USA); no implants, no children, no lateral or skyline views."
)
_CHEN = {
    "name": "Knee Osteoarthritis Severity Grading Dataset, train and val splits",
    "licence": "CC BY 4.0",
    "credit": "Chen P., Mendeley Data V1 2018, doi 10.17632/56rmx5bjcr.1",
}


def build_bundle(
    paths: Sequence[Path],
    knees: Sequence[Knee],
    folder: Path,
    name: str,
    *,
    measure: Measure = "qwk",
    rules: Sequence[Rule] = RULES,
    folds: Sequence[int] | None = None,
) -> Bundle:
    """Make a bundle of finished runs.

    Args:
        paths: folders of runs or campaigns, with members, facts and out-of-fold predictions.
        knees: graded, among them all that the runs held out.
        folder: new or empty.
        name: of the bundle.
        measure: by which backbones and rule are chosen, and the other knee earns its place.
        rules: to choose among.
        folds: which fold-models go into the bundle; all of them without it. Combiner and scores
            come from all folds, whichever go in.

    Raises:
        TrainingError: a run is not finished, held nothing out, or does not fit the others; or a
            chosen backbone has none of the folds.
        BundleError: the folder holds something already.
    """
    runs = find_runs(paths)
    found = read_out_of_fold(runs, knees)
    estimated = estimate_of(found, measure, rules)
    chosen = chosen_runs(runs, estimated, folds)
    learnt = training_data(chosen, knees)
    card = make_card(name, runs, chosen, learnt, found, estimated, measure)
    files = {_file(run, part): run.folder / part for run in chosen for part in (MODEL, HEAD)}
    with TemporaryDirectory() as tables:
        written = write_estimates(found, estimated, Path(tables))
        return write_bundle(card, files | written, folder)


def estimate_of(
    found: OutOfFold, measure: Measure = "qwk", rules: Sequence[Rule] = RULES
) -> Estimated:
    """Combiner and nested estimate from the runs' predictions."""
    return estimate(
        found.backbones,
        found.members,
        found.truth,
        found.patients,
        found.other,
        measure=measure,
        rules=rules,
    )


def write_estimates(found: OutOfFold, estimated: Estimated, folder: Path) -> dict[str, Path]:
    """Write the nested out-of-fold predictions, single and paired; where they are, by name."""
    other = found.other
    images = [Path(knee.image).name for knee in found.knees]
    fellows = [images[at] if at >= 0 and estimated.both_knees else "" for at in other]
    written = {PREDICTIONS: folder / PREDICTIONS, PAIRED: folder / PAIRED}
    write_readings(found.knees, estimated.single, written[PREDICTIONS])
    write_readings(found.knees, estimated.paired, written[PAIRED], fellows)
    return written


def make_card(
    name: str,
    runs: Sequence[Run],
    chosen: Sequence[Run],
    learnt: TrainingData,
    found: OutOfFold,
    estimated: Estimated,
    measure: Measure,
) -> Card:
    """All that is known of the bundle; checksums and seal come when it is written.

    Args:
        name: of the bundle.
        runs: whose predictions the combiner was chosen on.
        chosen: whose members go in.
        learnt: what these learnt from.
        found: the runs' predictions.
        estimated: from them.
        measure: that decided.
    """
    gain = {key: value.to_dict() for key, value in estimated.gain.items()}
    held_out = sorted({run.fold for run in runs})
    earned = estimated.earned(measure)
    paired = {**scores_of(found, estimated.paired), "gain": gain, "decided_by": measure}
    return Card(
        format=FORMAT,
        name=name,
        version=chosen[0].facts["versions"]["kellgren"],
        grades=tuple(grade.label for grade in Grade),
        scale=_SCALE,
        members=tuple(_member(run) for run in chosen),
        combiner=estimated.combiner,
        both_knees=estimated.both_knees if earned else None,
        data=learnt,
        out_of_fold={"held_out_folds": held_out, **scores_of(found, estimated.single)},
        out_of_fold_paired=None if estimated.both_knees is None else paired,
        versions=chosen[0].facts["versions"],
        files={},
        intended_use=_USE,
    )


def scores_of(found: OutOfFold, probabilities: Floats) -> dict[str, Any]:
    """Scores of calibrated distributions, with intervals, and how the words for them hold."""
    graded = probabilities.argmax(axis=1)
    scores = score(found.truth, graded, probabilities, found.patients)
    return {**scores.to_dict(), **_honesty(found.truth, graded, probabilities)}


def chosen_runs(
    runs: Sequence[Run], estimated: Estimated, folds: Sequence[int] | None
) -> list[Run]:
    """The runs whose members the combiner takes, or those of some folds.

    Raises:
        TrainingError: a chosen backbone has none of the folds.
    """
    backbones = estimated.combiner.members
    chosen = [
        run for run in runs if run.backbone in backbones and (folds is None or run.fold in folds)
    ]
    for backbone in backbones:
        if backbone not in {run.backbone for run in chosen}:
            raise TrainingError(
                backbone, f"has none of the folds {folds}", "Name folds that were trained"
            )
    return chosen


def _file(run: Run, part: str) -> str:
    return part.replace("member", f"{run.backbone}-f{run.fold}", 1)


def _member(run: Run) -> MemberCard:
    facts = run.facts
    return MemberCard(
        name=f"{run.backbone}-f{run.fold}",
        backbone=run.backbone,
        architecture=facts["architecture"],
        model=_file(run, MODEL),
        head=_file(run, HEAD),
        preprocess=Preprocess.model_validate(facts["preprocess"]),
        recipe=facts["recipe"],
        recipe_hash=facts["recipe_hash"],
        started_from=facts["started_from"],
        trained_folds=tuple(f for f in range(facts["folds"]) if f != run.fold),
    )


def training_data(chosen: Sequence[Run], knees: Sequence[Knee]) -> TrainingData:
    """What the chosen networks learnt from: two folds together leave no knee out."""
    facts = chosen[0].facts
    sources = sorted({source for run in chosen for source in run.facts["sources"]})
    published = all(source.startswith("chen2018") for source in sources)
    unknown = {"name": ", ".join(sources), "licence": "not stated", "credit": "not stated"}
    one_fold = len({run.fold for run in chosen}) == 1
    graded = [knee for knee in knees if knee.grade is not None]
    return TrainingData(
        **(_CHEN if published else unknown),
        knees=facts["knees"] if one_fold else len(graded),
        patients=facts["patients"] if one_fold else len({knee.patient for knee in graded}),
        folds_hash=facts["folds_hash"],
        folds=facts["folds"],
    )


def _honesty(truth: Grades, graded: Grades, calibrated: Floats) -> dict[str, Any]:
    """How often the certainty words and the likely ranges keep their promise."""
    right = graded == truth
    words = np.array([certainty(row) for row in calibrated])
    ranges = np.array([likely_grades(row) for row in calibrated])
    inside = (ranges[:, 0] <= truth) & (truth <= ranges[:, 1])
    return {
        "certainty": {
            word: {
                "knees": int((words == word).sum()),
                "accuracy": round(float(right[words == word].mean()), 4)
                if (words == word).any()
                else None,
            }
            for word, _ in CERTAINTY_WORDS
        },
        "likely_coverage": round(float(inside.mean()), 4),
        "likely_mean_length": round(float((ranges[:, 1] - ranges[:, 0] + 1).mean()), 4),
    }
