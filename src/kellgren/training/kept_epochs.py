"""The epochs that a run kept beside the one it ends in, as they lie in its folder.

``<run>/epochs/`` holds, for every epoch that early stopping tolerated:

- ``epoch-07.safetensors``: its weights, half precision (`member.epochs.load_epoch` reads them),
- ``epoch-07.csv``: its predictions of the held-out knees, with the columns of ``oof.csv``,

and ``epochs.json``, which lists them with their checksums once the run is finished.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kellgren.artefacts import file_checksum
from kellgren.atomic_files import written_whole
from kellgren.errors import TrainingError

EPOCHS, LIST = "epochs", "epochs.json"
_WEIGHTS, _PREDICTIONS = ".safetensors", ".csv"


@dataclass(frozen=True)
class KeptEpoch:
    """One epoch that a run kept.

    Attributes:
        number: counted from 1, as in the run's log.
        weights: file.
        predictions: table of the held-out knees, two views a knee.
        record: of the run's log: losses and scores, one view a knee.
    """

    number: int
    weights: Path
    predictions: Path
    record: dict[str, Any]


def weights_file(run: Path, number: int) -> Path:
    """Where a run keeps the weights of an epoch, counted from 1."""
    return run / EPOCHS / f"epoch-{number:02}{_WEIGHTS}"


def predictions_file(run: Path, number: int) -> Path:
    """Where a run keeps the predictions of an epoch, counted from 1."""
    return weights_file(run, number).with_suffix(_PREDICTIONS)


def numbers_kept(run: Path) -> list[int]:
    """The epochs whose weights lie there, finished or not, in order."""
    files = (run / EPOCHS).glob(f"epoch-*{_WEIGHTS}")
    return sorted(int(file.stem.removeprefix("epoch-")) for file in files)


def forget_epochs_from(run: Path, number: int) -> None:
    """Delete what is kept of this epoch and later ones, and the list, for they are done anew."""
    late = [kept for kept in numbers_kept(run) if kept >= number]
    if late:
        (run / EPOCHS / LIST).unlink(missing_ok=True)
    for kept in late:
        predictions_file(run, kept).unlink(missing_ok=True)
        weights_file(run, kept).unlink()


def write_list(run: Path, history: Sequence[dict[str, Any]]) -> None:
    """List the kept epochs with their checksums; the last file that they leave.

    Args:
        run: folder, in which weights and predictions of each epoch lie.
        history: one record per epoch of the run.
    """
    rows = [
        {
            "epoch": number,
            "weights_sha256": file_checksum(weights_file(run, number)),
            "predictions_sha256": file_checksum(predictions_file(run, number)),
            "record": history[number - 1],
        }
        for number in numbers_kept(run)
    ]
    with written_whole(run / EPOCHS / LIST) as stream:
        json.dump({"epochs": rows}, stream, indent=1)


def kept_epochs(run: Path) -> tuple[KeptEpoch, ...]:
    """The epochs that a finished run kept, in order; none where its recipe keeps none.

    The tables' checksums are checked here; those of the weights where they are read.

    Raises:
        TrainingError: the run is not finished, or a file is missing or changed.
    """
    if not (run / EPOCHS).is_dir():
        return ()
    path = run / EPOCHS / LIST
    try:
        rows = json.loads(path.read_text("utf-8"))["epochs"]
        return tuple(_checked(run, row) for row in rows)
    except FileNotFoundError as error:
        name = Path(error.filename or path).name
        raise TrainingError(
            run / EPOCHS, f"lacks {name}: the run is not finished", "Finish it first"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            path, f"is damaged ({type(error).__name__})", "Restore the original file"
        ) from None


def _checked(run: Path, row: dict[str, Any]) -> KeptEpoch:
    number = int(row["epoch"])
    weights, predictions = weights_file(run, number), predictions_file(run, number)
    if file_checksum(predictions) != row["predictions_sha256"]:
        raise TrainingError(predictions, "does not fit its checksum", "Restore the original file")
    if not weights.is_file():
        raise FileNotFoundError(2, "missing", str(weights))
    return KeptEpoch(number, weights, predictions, dict(row["record"]))
