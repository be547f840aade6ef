"""What a campaign leaves for others to check: predictions of every knee, folds, a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.data.manifest import Knee
from kellgren.grading.bundle import Card
from kellgren.training.selection.assemble import chosen_runs, estimate_of
from kellgren.training.selection.bundle_card import make_card
from kellgren.training.selection.cards.data_facts import StatedData, training_data
from kellgren.training.selection.out_of_fold import find_finals, find_runs, read_out_of_fold
from kellgren.training.selection.prediction_table import write_readings
from kellgren.training.selection.subsets import Measure

_HEADLINES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "qwk": "QWK", "mae": "MAE"}


def publish_results(
    paths: Sequence[Path],
    knees: Sequence[Knee],
    out: Path,
    name: str,
    measure: Measure = "qwk",
    stated: StatedData | None = None,
) -> list[Path]:
    """Write ``campaign.json``, ``folds.json``, ``oof/*.csv.gz`` and ``model_card.md``.

    Equal runs make equal files. Members' predictions are as they left them; the ensemble's are
    nested and calibrated, each knee's by a combiner that never saw its patient.

    Args:
        paths: of runs or campaigns.
        knees: graded, among them all that the runs held out.
        out: folder; what lies there under the same names is replaced.
        name: of the ensemble.
        measure: that chooses.
        stated: what the owner of the data says of them.

    Returns:
        The files.
    """
    runs = find_runs(paths)
    predictions = read_out_of_fold(runs, knees)
    estimated = estimate_of(predictions, measure)
    chosen = chosen_runs(runs, find_finals(paths), estimated)
    learnt = training_data(chosen, knees, stated)
    card = make_card(name, runs, chosen, learnt, predictions, estimated, measure)
    images = [knee.image.name for knee in predictions.knees]
    contralateral = [
        images[at] if at >= 0 and estimated.both_knees else "" for at in predictions.other
    ]
    written = [out / "oof" / f"{backbone}.csv.gz" for backbone in predictions.backbones]
    for path, probabilities in zip(written, predictions.members, strict=True):
        write_readings(predictions.knees, probabilities, path)
    for path, probabilities, read_with in (
        (out / "oof" / "ensemble.csv.gz", estimated.single, ()),
        (out / "oof" / "ensemble_paired.csv.gz", estimated.paired, contralateral),
    ):
        write_readings(predictions.knees, probabilities, path, read_with)
        written.append(path)
    written += _plan(paths, out)
    with written_whole(out / "model_card.md") as stream:
        stream.write(model_card(card))
    return [*written, out / "model_card.md"]


def model_card(card: Card) -> str:
    """A card in words, as Markdown."""
    lines = [
        f"# {card.name}",
        "",
        card.intended_use,
        "",
        f"Grades: {', '.join(card.grades)} ({card.scale}).",
        "",
        "## Scores",
        "",
        "Out of fold, nested: each knee by members and a combiner that never saw its patient; "
        "95 % intervals over patients.",
        *_shipped(card),
        "",
        "| | each knee alone | with the other knee | gain |",
        "|---|---|---|---|",
    ]
    paired = card.out_of_fold_paired or {}
    for key, label in _HEADLINES.items():
        gained = _interval(paired.get("gain", {}).get(key))
        alone, both = _interval(card.out_of_fold[key]), _interval(paired.get(key))
        lines.append(f"| {label} | {alone} | {both} | {gained} |")
    used = "has a say where it is there" if card.both_knees else "is not used: no gain was shown"
    lines += [
        "",
        f"{card.out_of_fold['knees']} knees of {card.out_of_fold['patients']} patients. "
        f"The other knee {used}.",
        *([] if card.one_look is None else ["", f"Looks at a knee: {card.one_look.words}."]),
        "",
        *_elsewhere(card),
        "## Members",
        "",
        "| backbone | architecture | pixels | network learnt from | weight | started from |",
        "|---|---|---|---|---|---|",
    ]
    data = card.data
    for backbone, weight in zip(card.combiner.members, card.combiner.weights, strict=True):
        networks = [member for member in card.members if member.backbone == backbone]
        one = networks[0]
        lines.append(
            f"| {backbone} | {one.architecture} | {one.preprocess.size} "
            f"| {'; '.join(network.learnt_from(data.folds) for network in networks)} "
            f"| {weight:.3f} | {one.started_from} |"
        )
    lines += [
        "",
        f"Rule: {card.combiner.rule}, temperature {card.combiner.temperature:.3f}.",
        *([f"Weights stored as {card.storage.words}."] if card.storage else []),
        "",
        "## Data",
        "",
        f"{data.name}: {data.knees} knees of {data.patients} patients. {data.credit}. "
        f"Licence: {data.licence}. Folds {data.folds_hash[:12]}.",
        *([f"Population: {data.population}."] if data.population else []),
        *(f"Pictures: {pictures.words}." for pictures in data.pictures),
        *data.notes,
        "",
    ]
    return "\n".join(lines)


def _elsewhere(card: Card) -> list[str]:
    """Scores on knees of other hospitals, and what they cannot show."""
    lines = ["## Elsewhere", ""] if card.elsewhere else []
    for other in card.elsewhere:
        lines += [
            f"{other.words}. {other.credit}. Licence: {other.licence}. Limits: {other.limits}.",
            "",
            "| | as delivered | calibrated to the readers there |",
            "|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in other.rows),
            "",
            f"As delivered, {other.certainty}.",
            "",
        ]
    return lines


def _shipped(card: Card) -> list[str]:
    """How the networks of the bundle differ from those that were scored."""
    if any(len(member.trained_folds) == card.data.folds for member in card.members):
        return [
            "The networks that learnt from all folds were not scored: no knee is left to score "
            "them on. The scores are those of networks by the same recipes, each without a fold."
        ]
    return []


def _interval(interval: Mapping[str, Any] | None) -> str:
    if interval is None or interval["value"] is None:
        return ""
    if interval["low"] is None:
        return f"{interval['value']:.3f}"
    return f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def _plan(paths: Sequence[Path], out: Path) -> list[Path]:
    """Copy campaign and folds, where a campaign has left them; a run has folds alone."""
    written = []
    for name in ("campaign.json", "folds.json"):
        source = next((path / name for path in paths if (path / name).is_file()), None)
        if source is not None:
            json.loads(source.read_text("utf-8"))  # what is published can be read
            with replaced_whole(out / name) as temporary:
                shutil.copyfile(source, temporary)
            written.append(out / name)
    return written
