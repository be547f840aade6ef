"""Runs' predictions of knees that none of them learnt from, and what is not among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.arrays import Distributions
from kellgren.data.manifest import Knee
from kellgren.data.matching import Labels
from kellgren.errors import TrainingError
from kellgren.training.kept_epochs import kept_epochs
from kellgren.training.run_folder import OUT_OF_FOLD
from kellgren.training.selection.out_of_fold import Run, labels_of, predicted_and_coverage
from kellgren.training.selection.protocols import Network
from kellgren.training.selection.subsets import counted

KNEES = "knees.csv"
_NAMED = 3
Table = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Unseen:
    """Networks side by side on knees that none of them learnt from.

    Attributes:
        knees: T of them, graded, which every network predicted.
        networks: of each backbone, by fold and epoch; their predictions are of these knees.
        left_out: file names of graded knees that some network did not predict.
        ungraded: knees without a label.
        unlabelled: most rows of a table that fit no graded knee.
    """

    knees: tuple[Knee, ...]
    networks: dict[str, list[Network]]
    left_out: tuple[str, ...]
    ungraded: int
    unlabelled: int

    @property
    def truth(self) -> npt.NDArray[np.int64]:
        """``(T,)`` grades."""
        return np.array([int(knee.grade or 0) for knee in self.knees], dtype=np.int64)

    @property
    def patients(self) -> list[str]:
        """Whose knees they are."""
        return [knee.patient for knee in self.knees]

    @property
    def warnings(self) -> list[str]:
        """What is not among them, in sentences; empty where nothing is missing."""
        found = []
        if self.left_out:
            named = ", ".join(self.left_out[:_NAMED])
            more = ", ..." if len(self.left_out) > _NAMED else ""
            found.append(
                f"{len(self.left_out)} test knees are left out, for not every network predicted "
                f"them: {named}{more}"
            )
        if self.ungraded:
            found.append(f"{self.ungraded} test knees have no grade and are not scored")
        if self.unlabelled:
            found.append(f"{self.unlabelled} predictions fit no graded test knee")
        return found

    def to_dict(self) -> dict[str, object]:
        """The counts, ready for JSON, and every knee that is left out by name."""
        return {
            "knees": len(self.knees),
            "patients": len(set(self.patients)),
            "left_out": list(self.left_out),
            "ungraded": self.ungraded,
            "unlabelled": self.unlabelled,
        }


def refuse_learnt(knees: Sequence[Knee], learnt: Collection[str], subject: Path | str) -> None:
    """Refuse knees of patients that runs learnt from.

    Args:
        knees: to be predicted.
        learnt: patients that any run learnt from.
        subject: whose knees these are, for the message.

    Raises:
        TrainingError: there are some; the message counts and names them.
    """
    known = [knee for knee in knees if knee.patient in learnt]
    if known:
        raise TrainingError(
            subject,
            f"{len(known)} of {len(knees)} knees are of patients that runs learnt from, "
            f"such as {known[0].image.name} of patient {known[0].patient}",
            "Name knees of other patients, such as the folder of the test split alone",
        )


def grades_of(source: Path, labels: Path | None) -> Path:
    """Where the true grades of predicted knees are: named, or kept beside the tables.

    Args:
        source: of the predictions, as `read_unseen` takes it.
        labels: manifest or folder; ``None``: the manifest that `train predict` left.

    Raises:
        TrainingError: none are named and none lie there.
    """
    beside = source / KNEES
    if labels is None and not beside.is_file():
        raise TrainingError(
            source,
            f"is not a folder that train predict wrote: it has no {KNEES}",
            "Give train predict first and name its folder, or name the labels as well",
        )
    return beside if labels is None else labels


def table_name(run: Run, epoch: int | None = None) -> str:
    """The name of a run's table in a folder of predictions."""
    return f"{run.folder.name}.csv" if epoch is None else f"{run.folder.name}.epoch-{epoch:02}.csv"


def read_unseen(
    runs: Sequence[Run],
    source: Path,
    knees: Sequence[Knee],
    learnt: Sequence[Knee],
) -> Unseen:
    """Read the runs' predictions of knees that none learnt from.

    Args:
        runs: that held a fold out.
        source: folder with a table for each run, as `train predict` leaves it, or the name of a
            file in each run's folder. Tables of kept epochs are taken where they are there.
        knees: test knees, graded or not.
        learnt: all that the runs learnt from, graded.

    Raises:
        InvalidPredictions: a table is damaged or fits no label.
        TrainingError: a table is missing, the tables have no knee in common, or learnt knees are
            among the knees.
    """
    refuse_learnt(knees, {knee.patient for knee in learnt}, source)
    graded = [knee for knee in knees if knee.grade is not None]
    labels, own_labels = labels_of(graded), labels_of(learnt)
    tables: list[tuple[Run, int | None, Path, Table]] = []
    unlabelled = 0
    for run, epoch, held_out, path in _paths(runs, source):
        table, coverage = predicted_and_coverage(path, labels)
        unlabelled = max(unlabelled, coverage.unlabelled)
        tables.append((run, epoch, held_out, table))
    shared = [knee for knee in graded if all(str(knee.image) in rows for *_, rows in tables)]
    if not shared:
        raise TrainingError(source, "has no knee that all runs predicted", "Grade the same knees")
    networks: dict[str, list[Network]] = {}
    for run, epoch, held_out, rows in tables:
        test = np.array([rows[str(knee.image)] for knee in shared])
        own = _confusion(held_out, own_labels)
        networks.setdefault(run.backbone, []).append(Network(run.fold or 0, epoch, test, own))
    kept = {str(knee.image) for knee in shared}
    left_out = tuple(knee.image.name for knee in graded if str(knee.image) not in kept)
    return Unseen(tuple(shared), networks, left_out, len(knees) - len(graded), unlabelled)


def _paths(runs: Sequence[Run], source: Path) -> Iterator[tuple[Run, int | None, Path, Path]]:
    """Run, epoch, its predictions of its own held-out knees, and those of the test knees."""
    if not source.is_dir():
        for run in runs:
            yield run, None, run.folder / OUT_OF_FOLD, run.folder / source
        return
    if len({run.folder.name for run in runs}) < len(runs):
        raise TrainingError(
            source,
            "two runs have folders of one name, so that their tables cannot be told apart",
            "Rename one of them",
        )
    for run in runs:
        whole = source / table_name(run)
        if not whole.is_file():
            raise TrainingError(
                source, f"has no table {whole.name}", "Give the same train predict again"
            )
        yield run, None, run.folder / OUT_OF_FOLD, whole
        for kept in kept_epochs(run.folder):
            table = source / table_name(run, kept.number)
            if table.is_file():
                yield run, kept.number, kept.predictions, table


def _confusion(table: Path, labels: Labels) -> Distributions:
    """``(5, 5)`` of a network on the knees that its fold held out."""
    rows, _ = predicted_and_coverage(table, labels)
    truth = {label.image: label.grade for label in labels.labels}
    grades = np.array([row.argmax() for row in rows.values()])
    return counted(grades, np.array([truth[image] for image in rows]))
