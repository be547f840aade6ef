"""What a finished run leaves: the exported member, its out-of-fold predictions, its curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.data.splits import Folds
from kellgren.evaluation import Scores, score
from kellgren.grading.preprocess import Preprocess
from kellgren.grading.voting import softmax
from kellgren.libraries import import_matplotlib
from kellgren.training.architectures import Member
from kellgren.training.export.onnx_export import Exported, export
from kellgren.training.input.loading import load_store
from kellgren.training.member.epochs import keeps_epochs, predict_kept_epochs
from kellgren.training.member.predicting import predict, write_predictions
from kellgren.training.member.run import MemberRun, trained_network
from kellgren.training.member.verify import check_file
from kellgren.training.run_folder import FACTS, HEAD, MODEL, OUT_OF_FOLD, SCORES

CHECKED = 64
_NO_FOLDS = {"folds": 1, "folds_hash": "none"}
Advance = Callable[[int, int], None]


def finish(
    run: MemberRun,
    folds: Folds | None,
    fold: int | None = None,
    advance: Advance = lambda done, of: None,
) -> Scores | None:
    """Write all that a trained run leaves: member, head, facts, scores, out-of-fold predictions.

    The held-out knees are predicted by torch on the run's device, with the weights rounded as the
    member's file holds them. The file itself grades 64 of them on the processor, to see that it
    is that network; `kellgren train verify` has it grade all.

    Epochs that the run kept predict the held-out knees, too (`kept_epochs`).

    ``oof.csv`` comes last: where it lies, the run is finished. A run that holds nothing out is
    finished where its facts lie, ``member.json``.

    Args:
        run: whose training has ended.
        folds: that deal the patients; ``None``: there are none.
        fold: that is held out; ``None``: none is, as for a final member.
        advance: called with how many held-out knees of how many are predicted.

    Returns:
        The scores on the held-out knees; ``None`` where none are held out.

    Raises:
        TrainingError: the exported member grades otherwise than the trained network does.
        CannotKeep: a file cannot be written.
    """
    preprocess = run.preprocess(run.recipe.final_size)
    written = _write_member(run, preprocess)
    store = load_store(run.knees, preprocess)
    held_out = np.flatnonzero(run.held_out)
    predicted = held_out if len(held_out) else evenly(np.arange(len(run.knees)))
    logits = predict(written.network, store, predicted, preprocess, run.device.name, advance)
    some = evenly(np.arange(len(predicted)))
    check = check_file(run.out, preprocess, store.exact(predicted[some]), logits[some, 0])
    facts: dict[str, Any] = {
        "held_out_fold": fold,
        "export_difference": written.difference,
        "export_check": check,
    }
    counted = {"folds": folds.count, "folds_hash": folds.hash} if folds else _NO_FOLDS
    if folds and folds.by != "patient":
        facts["folds_by"] = folds.by
    if run.inner.any():
        facts["inner_knees"] = int(run.inner.sum())
    write_facts(run, preprocess, facts | counted)
    if fold is None:
        return None
    if keeps_epochs(run):
        predict_kept_epochs(run, store, fold, advance)
    return write_scores(run, held_out, softmax(logits.mean(axis=1)), fold)


def evenly(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """At most 64 of them, from all over, in order."""
    places = np.linspace(0, len(positions) - 1, min(CHECKED, len(positions)))
    return positions[places.round().astype(np.int64)]


def _write_member(run: MemberRun, preprocess: Preprocess) -> Exported:
    """The trained member as ONNX, large weights as float16, and its head beside it."""
    network = trained_network(run)
    written = export(network, preprocess.size, run.out / MODEL, half_storage=True)
    write_head(run, network)
    return written


def write_head(run: MemberRun, network: Member) -> None:
    """The linear layer, which explanations read."""
    with replaced_whole(run.out / HEAD) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            weight=network.head.weight.detach().numpy(),
            bias=network.head.bias.detach().numpy(),
        )


def write_facts(run: MemberRun, preprocess: Preprocess, more: dict[str, Any]) -> None:
    """What a bundle's card will need."""
    origin = json.loads((run.out / "origin.json").read_text("utf-8"))
    facts = {
        "architecture": run.recipe.network.architecture,
        "preprocess": preprocess.model_dump(),
        "recipe": run.recipe.model_dump(mode="json"),
        "recipe_hash": run.recipe.hash,
        "started_from": origin["started_from"],
        "data": run.data_hash,
        "knees": len(run.learnt),
        "patients": len({knee.patient for knee in run.learnt}),
        "sources": sorted({knee.source for knee in run.knees}),
        "device": str(run.device),
        "versions": versions(),
        **more,
    }
    with written_whole(run.out / FACTS) as stream:
        json.dump(facts, stream, indent=2)


def write_scores(
    run: MemberRun,
    held_out: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    fold: int,
) -> Scores:
    """Score the held-out knees, write scores and predictions; the last that a run leaves.

    Args:
        run: to whose folder they go.
        held_out: ``(n,)`` positions of the knees.
        probabilities: ``(n, 5)`` probabilities.
        fold: that is held out.
    """
    knees = [run.knees[position] for position in held_out]
    truth = [int(knee.grade or 0) for knee in knees]
    scores = score(
        truth, probabilities.argmax(axis=1), probabilities, [knee.patient for knee in knees]
    )
    with written_whole(run.out / SCORES) as stream:
        json.dump(scores.to_dict(), stream, indent=2)
    write_predictions(knees, probabilities, fold, run.out / OUT_OF_FOLD)
    return scores


# Shares of the picture: to measure them would take longer than to draw it.
_MARGINS = {"left": 0.075, "right": 0.985, "bottom": 0.13, "top": 0.965, "wspace": 0.2}


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and held-out scores, of the epochs that were judged, as a PNG."""
    with _figure(path) as axes:
        epochs = [record["epoch"] for record in history]
        axes[0].plot(epochs, [record["loss"] for record in history], "o-", label="training")
        judged = [record for record in history if "qwk" in record]
        if judged:
            looked = [record["epoch"] for record in judged]
            held = [record["held_out_loss"] for record in judged]
            axes[0].plot(looked, held, "o-", label="held out")
            for name, label in (("accuracy", "accuracy"), ("qwk", "QWK"), ("macro_f1", "macro-F1")):
                axes[1].plot(looked, [record[name] for record in judged], "o-", label=label)
            axes[1].legend(frameon=False)
        if "inner_loss" in history[-1]:
            inner = [record["inner_loss"] for record in history]
            axes[0].plot(epochs, inner, "o-", label="inner part, stops the run")
        axes[0].set(xlabel="epoch", ylabel="loss")
        axes[1].set(xlabel="epoch", ylabel="held-out score, one look")
        axes[0].legend(frameon=False)


@contextmanager
def _figure(path: Path) -> Iterator[Any]:
    figure = import_matplotlib().figure.Figure(figsize=(10, 4))
    figure.subplots_adjust(**_MARGINS)
    axes = figure.subplots(1, 2)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    yield axes
    with replaced_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def versions() -> dict[str, str]:
    """Of the libraries that decide the numbers."""
    import platform
    from importlib.metadata import version

    names = ("kellgren", "torch", "torchvision", "numpy", "pillow", "onnx", "onnxruntime")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
