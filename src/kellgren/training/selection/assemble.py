"""From finished runs to a bundle: combiner, scores with intervals, card, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kellgren.data.manifest import Knee
from kellgren.errors import TrainingError
from kellgren.grading.bundle import Bundle, refuse_filled, write_bundle
from kellgren.grading.card import Weights
from kellgren.grading.combiner import RULES, Rule
from kellgren.training.run_folder import HEAD, MODEL, OUT_OF_FOLD
from kellgren.training.selection.bundle_card import file_name, make_card
from kellgren.training.selection.cards.data_facts import StatedData, training_data
from kellgren.training.selection.cards.refit import PAIRED, PREDICTIONS
from kellgren.training.selection.nested import Estimated, estimate
from kellgren.training.selection.out_of_fold import (
    OutOfFold,
    Run,
    find_finals,
    find_runs,
    predicted,
    read_out_of_fold,
)
from kellgren.training.selection.prediction_table import write_readings
from kellgren.training.selection.subsets import Measure


def build_bundle(
    paths: Sequence[Path],
    knees: Sequence[Knee],
    folder: Path,
    name: str,
    *,
    measure: Measure = "qwk",
    rules: Sequence[Rule] = RULES,
    fold: int | None = None,
    weights: Weights = "fp16",
    stated: StatedData | None = None,
) -> Bundle:
    """Make a bundle of finished runs: one network of each chosen backbone, and their vote.

    Args:
        paths: folders of runs or campaigns, with members, facts and out-of-fold predictions.
        knees: graded, among them all that the runs held out.
        folder: new or empty.
        name: of the bundle.
        measure: by which backbones and rule are chosen, and the other knee earns its place.
        rules: to choose among.
        fold: whose networks go in. Without it: finals, and of a backbone that has none, the
            network of its lowest fold. Combiner and scores come from all folds, whichever go in.
        weights: how the large ones are stored.
        stated: what the owner of the data says of them.

    Raises:
        TrainingError: a run is not finished or does not fit the others, none held a fold out, a
            chosen backbone has no network of the fold, or int8 changes too many grades.
        BundleError: the folder holds something already.
    """
    refuse_filled(folder)
    runs = find_runs(paths)
    predictions = read_out_of_fold(runs, knees)
    estimated = estimate_of(predictions, measure, rules)
    chosen = chosen_runs(runs, find_finals(paths), estimated, fold)
    learnt = training_data(chosen, knees, stated)
    card = make_card(name, runs, chosen, learnt, predictions, estimated, measure)
    files = {file_name(run, part): run.folder / part for run in chosen for part in (MODEL, HEAD)}
    with TemporaryDirectory() as temporary:
        files |= write_estimates(predictions, estimated, Path(temporary))
        if weights == "int8":
            # onnx is of the extra `train`
            from kellgren.training.selection.eight_bits.int8_bundle import with_int8_weights

            unseen = unseen_knees(chosen, knees)
            card, files = with_int8_weights(card, files, knees, unseen, Path(temporary))
        return write_bundle(card, files, folder)


def estimate_of(
    predictions: OutOfFold,
    measure: Measure = "qwk",
    rules: Sequence[Rule] = RULES,
    smallest: int = 1,
) -> Estimated:
    """Combiner and nested estimate from predictions out of fold; arguments as of `estimate`."""
    return estimate(
        predictions.backbones,
        predictions.members,
        predictions.truth,
        predictions.patients,
        predictions.other,
        measure=measure,
        rules=rules,
        smallest=smallest,
    )


def write_estimates(predictions: OutOfFold, estimated: Estimated, folder: Path) -> dict[str, Path]:
    """Write the nested out-of-fold predictions, single and paired; where they are, by name."""
    other = predictions.other
    images = [Path(knee.image).name for knee in predictions.knees]
    contralateral = [images[at] if at >= 0 and estimated.both_knees else "" for at in other]
    written = {PREDICTIONS: folder / PREDICTIONS, PAIRED: folder / PAIRED}
    write_readings(predictions.knees, estimated.single, written[PREDICTIONS])
    write_readings(predictions.knees, estimated.paired, written[PAIRED], contralateral)
    return written


def chosen_runs(
    runs: Sequence[Run],
    finals: Mapping[str, Run],
    estimated: Estimated,
    fold: int | None = None,
) -> list[Run]:
    """One network of each backbone that the combiner takes.

    Never two: the combiner was fitted on what single networks say, and the mean of several is
    less sure than that. No knee is held out by two networks of one split, so there is none to
    fit a combiner of means on.

    Args:
        runs: that held a fold out.
        finals: by backbone.
        estimated: with the combiner.
        fold: whose networks to take, finals or not.

    Raises:
        TrainingError: a chosen backbone has no network of the fold.
    """
    chosen = []
    for backbone in estimated.combiner.members:
        networks = {run.fold: run for run in runs if run.backbone == backbone}
        if fold is not None and fold not in networks:
            raise TrainingError(
                backbone,
                f"has no network of fold {fold}, only of {', '.join(map(str, networks))}",
                "Name one --fold that was trained, or train finals",
            )
        if fold is None and backbone in finals:
            chosen.append(finals[backbone])
        else:
            chosen.append(networks[fold] if fold is not None else next(iter(networks.values())))
    return chosen


def unseen_knees(chosen: Sequence[Run], knees: Sequence[Knee]) -> list[Knee]:
    """The knees that all of these runs held out: none where a final is among them."""
    if any(run.fold is None for run in chosen):
        return []
    held_out = [predicted(run.folder / OUT_OF_FOLD, knees) for run in chosen]
    return [knee for knee in knees if all(str(knee.image) in table for table in held_out)]
