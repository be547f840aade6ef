"""What a finished run leaves: the exported member, its out-of-fold predictions, its curves."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.evaluation import Scores, score
from kellgren.files import replaced_whole, written_whole
from kellgren.localise import whole_knee
from kellgren.manifest import Knee
from kellgren.preprocess import Preprocess
from kellgren.radiograph import read_radiograph
from kellgren.runtime import MemberRuntime
from kellgren.splits import Folds
from kellgren.training.export import export_onnx
from kellgren.training.member_run import MemberRun, trained_network
from kellgren.training.run_folder import FACTS, HEAD, MODEL, OUT_OF_FOLD, SCORES
from kellgren.voting import softmax

COLUMNS = ("image", "side", "grade", "p0", "p1", "p2", "p3", "p4", "fold")
Advance = Callable[[int, int], None]


def finish(
    run: MemberRun,
    folds: Folds | None,
    fold: int | None,
    advance: Advance = lambda done, of: None,
) -> Scores | None:
    """Write all that a trained run leaves: member, head, facts, scores, out-of-fold predictions.

    ``oof.csv`` comes last: where it lies, the run is finished.

    Returns:
        The scores on the held-out knees; ``None`` where none are held out.

    Raises:
        TrainingError: the exported member grades otherwise than the trained network does.
        CannotKeep: a file cannot be written.
    """
    counted = {"folds": folds.count, "folds_hash": folds.hash} if folds else {"folds": 1}
    export_member(run, fold, {"folds_hash": "none"} | counted)
    if fold is None:
        return None
    knees = [knee for knee, out in zip(run.knees, run.held_out, strict=True) if out]
    found = predict_held_out(run, knees, advance)
    truth = [int(knee.grade or 0) for knee in knees]
    scores = score(truth, found.argmax(axis=1), found, [knee.patient for knee in knees])
    with written_whole(run.out / SCORES) as stream:
        json.dump(scores.to_dict(), stream, indent=2)
    _write_predictions(knees, found, fold, run.out / OUT_OF_FOLD)
    return scores


def export_member(run: MemberRun, fold: int | None, folds: dict[str, Any]) -> float:
    """Write the trained member as ONNX, its head, and the facts a bundle's card will need.

    The weights are stored as float16 and computed with in float32. The out-of-fold predictions
    come from this very file, so whatever the rounding costs is in their scores.

    Returns:
        The largest difference of a logit from torch, relative to max(1, its size).
    """
    network = trained_network(run)
    preprocess = run.preprocess(run.recipe.final_size)
    difference = export_onnx(network, preprocess.size, run.out / MODEL, half_storage=True)
    with replaced_whole(run.out / HEAD) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            weight=network.head.weight.detach().numpy(),
            bias=network.head.bias.detach().numpy(),
        )
    origin = json.loads((run.out / "origin.json").read_text("utf-8"))
    facts = {
        "architecture": run.recipe.network.architecture,
        "preprocess": preprocess.model_dump(),
        "recipe": run.recipe.model_dump(mode="json"),
        "recipe_hash": run.recipe.hash,
        "started_from": origin["started_from"],
        "held_out_fold": fold,
        "data": run.data_hash,
        "knees": len(run.learnt),
        "patients": len({knee.patient for knee in run.learnt}),
        "sources": sorted({knee.source for knee in run.knees}),
        "device": str(run.device),
        "export_difference": difference,
        "versions": versions(),
        **folds,
    }
    with written_whole(run.out / FACTS) as stream:
        json.dump(facts, stream, indent=2)
    return difference


def predict_held_out(
    run: MemberRun, knees: Sequence[Knee], advance: Advance = lambda done, of: None
) -> npt.NDArray[np.float64]:
    """Grade knees with the exported member, as `kellgren grade` would.

    Returns:
        ``(N, 5)`` probabilities, uncalibrated, in the order of the knees.
    """
    found = np.empty((len(knees), 5))
    preprocess = run.preprocess(run.recipe.final_size)
    for done, probabilities in enumerate(_graded(run, knees, preprocess)):
        found[done] = probabilities
        advance(done + 1, len(knees))
    return found


def _write_predictions(
    knees: Sequence[Knee], found: npt.NDArray[np.float64], fold: int, path: Path
) -> None:
    """The columns of ``grade --csv``, and the fold."""
    with written_whole(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for knee, row in zip(knees, found, strict=True):
            numbers = [f"{p:.6f}" for p in row]
            writer.writerow((knee.image, knee.side.value, int(row.argmax()), *numbers, fold))


def _graded(
    run: MemberRun, knees: Sequence[Knee], preprocess: Preprocess
) -> Iterator[npt.NDArray[np.float64]]:
    member = MemberRuntime(run.out / MODEL, run.out / HEAD, preprocess, threads=1)

    def grade(knee: Knee) -> npt.NDArray[np.float64]:
        crop = whole_knee(read_radiograph(knee.image), knee.side)
        return softmax(member.examine(crop).logits)

    with ThreadPoolExecutor() as pool:
        yield from pool.map(grade, knees)


def draw_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw loss and held-out scores by epoch as a PNG."""
    with _figure(path) as axes:
        epochs = [record["epoch"] for record in history]
        axes[0].plot(epochs, [record["loss"] for record in history], "o-", label="training")
        if "qwk" in history[-1]:
            held = [record["held_out_loss"] for record in history]
            axes[0].plot(epochs, held, "o-", label="held out")
            for name, label in (("accuracy", "accuracy"), ("qwk", "QWK"), ("macro_f1", "macro-F1")):
                axes[1].plot(epochs, [record[name] for record in history], "o-", label=label)
            axes[1].legend(frameon=False)
        axes[0].set(xlabel="epoch", ylabel="loss")
        axes[1].set(xlabel="epoch", ylabel="held-out score, one look")
        axes[0].legend(frameon=False)


@contextmanager
def _figure(path: Path) -> Iterator[Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    yield axes
    with replaced_whole(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def versions() -> dict[str, str]:
    """Of the libraries that decide the numbers."""
    import platform
    from importlib.metadata import version

    names = ("kellgren", "torch", "torchvision", "numpy", "pillow", "onnx", "onnxruntime")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
