"""Every finished run predicts knees that none of them learnt from: one table a network."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kellgren.artefacts import file_checksum
from kellgren.atomic_files import written_whole
from kellgren.data.manifest import Knee, write_manifest
from kellgren.errors import KellgrenError, TrainingError
from kellgren.imaging.radiograph import read_radiograph
from kellgren.localisation.crop import whole_knee
from kellgren.parallel.interrupts import mapped
from kellgren.training.fingerprint import data_hash
from kellgren.training.reproduction.learnt import check_unseen, learnt_by
from kellgren.training.reproduction.trained import Trained, trained_networks
from kellgren.training.selection.out_of_fold import Run
from kellgren.training.selection.unseen import KNEES

LIST = "predictions.json"
COLUMNS = ("image", "side", "grade", "p0", "p1", "p2", "p3", "p4", "fold", "note")
Progress = Callable[[str, int, int], None]


@dataclass
class Predicted:
    """What became of the runs and of the knees.

    Attributes:
        written: tables that are new.
        kept: tables that were there already.
        unreadable: why a picture has no prediction, by its path.
        failed: why a network made no table, by the table's name.
        unchecked: pictures that runs learnt from and that lie elsewhere now, so that copies of
            them would not be noticed.
    """

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unchecked: int = 0


def predict_unseen(
    runs: Sequence[Run],
    knees: Sequence[Knee],
    out: Path,
    *,
    device: str | None,
    subject: Path,
    progress: Progress = lambda name, done, of: None,
) -> Predicted:
    """Let every network of the runs predict knees, and write its table; go on where that stopped.

    A table that is there is kept where the weights, the knees and the pictures that could be read
    are the same as then. A picture that cannot be read has a row without a grade, with the reason.
    The knees themselves lie beside the tables, as a manifest.

    Args:
        runs: finished ones, finals too.
        knees: graded or not.
        out: folder of the tables.
        device: on which torch computes; ``None``: the runs' files do, on the processor.
        subject: the data that the knees come from, for messages.
        progress: called with what is done, and how many of how many knees.

    Raises:
        TrainingError: a run learnt from some of the knees, or the folder holds predictions of
            other knees.
        InvalidManifest: a run's folds are damaged.
    """
    learnt = learnt_by(runs)
    check_unseen(knees, learnt, subject)
    notes = _opened(out, knees)
    outcome = Predicted(unreadable=_unreadable(knees, progress), unchecked=learnt.gone)
    write_manifest(knees, out / KNEES)
    readable = [knee for knee in knees if knee.image not in outcome.unreadable]
    if not readable:
        raise TrainingError(subject, "has no picture that can be read", "Name other data")
    seen = _hashed(str(knee.image) for knee in readable)
    for network in (it for run in runs for it in trained_networks(run)):
        path = out / network.table
        try:
            made_by = {"weights": file_checksum(network.weights), "readable": seen}
            if path.is_file() and notes["tables"].get(path.name) == made_by:
                outcome.kept.append(path)
                continue
            probabilities = network.probabilities(readable, device, partial(progress, path.stem))
        except (KellgrenError, OSError) as error:
            outcome.failed[path.name] = str(error)
            continue
        _write(path, knees, readable, probabilities, outcome.unreadable, network)
        notes["tables"][path.name] = made_by
        _keep(notes, out)
        outcome.written.append(path)
    return outcome


def _opened(out: Path, knees: Sequence[Knee]) -> dict[str, Any]:
    """The folder's list of tables; a new one where there is none."""
    path, own = out / LIST, data_hash(knees, None, None)
    if not path.exists():
        return {"knees": own, "tables": {}}
    try:
        notes: dict[str, Any] = json.loads(path.read_text("utf-8"))
        other = notes["knees"] != own
        notes["tables"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            path, f"is damaged ({type(error).__name__})", "Name another -o folder"
        ) from None
    if other:
        raise TrainingError(out, "holds predictions of other knees", "Name another -o folder")
    return notes


def _keep(notes: Mapping[str, Any], out: Path) -> None:
    with written_whole(out / LIST) as stream:
        json.dump(notes, stream, indent=1)


def _unreadable(knees: Sequence[Knee], progress: Progress) -> dict[Path, str]:
    def problem(knee: Knee) -> str | None:
        try:
            whole_knee(read_radiograph(knee.image), knee.side)
        except KellgrenError as error:
            return error.reason
        return None

    found: dict[Path, str] = {}
    with ThreadPoolExecutor() as pool:
        for done, (knee, why) in enumerate(zip(knees, mapped(pool, problem, knees), strict=True)):
            if why is not None:
                found[knee.image] = why
            progress("reading the pictures", done + 1, len(knees))
    return found


def _write(
    path: Path,
    knees: Sequence[Knee],
    readable: Sequence[Knee],
    probabilities: npt.NDArray[np.float64],
    unreadable: Mapping[Path, str],
    network: Trained,
) -> None:
    """The columns of a run's ``oof.csv``, and a note where there is no grade."""
    rows = {id(knee): row for knee, row in zip(readable, probabilities, strict=True)}
    fold = "" if network.run.fold is None else network.run.fold
    with written_whole(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for knee in knees:
            row = rows.get(id(knee))
            if row is None:
                cells: list[object] = ["", *[""] * 5, fold, unreadable[knee.image]]
            else:
                cells = [int(row.argmax()), *(f"{share:.6f}" for share in row), fold, ""]
            writer.writerow((knee.image, knee.side.value, *cells))


def _hashed(names: Any) -> str:
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()
