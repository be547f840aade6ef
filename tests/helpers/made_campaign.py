"""Campaigns whose runs predict what a test says: tables without training."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds, save_folds
from kellgren.grades import Grade, Side

Floats = npt.NDArray[np.float64]


def made_knees(folder: Path, grades: Sequence[int], first_patient: int = 9_000_000) -> list[Knee]:
    """Knees without pictures, two a patient: left and right in turn."""
    return [
        Knee(
            folder / f"{first_patient + number // 2}{'LR'[number % 2]}.png",
            f"{first_patient + number // 2}",
            Side("LR"[number % 2]),
            Grade(int(grade)),
            *("", "made"),
        )
        for number, grade in enumerate(grades)
    ]


def made_folds(knees: Sequence[Knee], count: int) -> Folds:
    """Patients dealt in turn."""
    patients = list(dict.fromkeys(knee.patient for knee in knees))
    return Folds({patient: at % count for at, patient in enumerate(patients)}, count, 0)


def lay_run(
    campaign: Path, name: str, size: int, fold: int, folds: Folds, table: tuple[list[Knee], Floats]
) -> Path:
    """A finished run: facts, folds, its table of the knees it held out, and no network."""
    job = campaign / "jobs" / f"{name}-{size}-f{fold}-abc"
    job.mkdir(parents=True)
    facts = {
        **{"architecture": "none", "recipe": {"name": name}, "recipe_hash": f"{name}{size}"},
        **{"preprocess": {"size": size, "mean": [0.5] * 3, "std": [0.5] * 3}},
        **{"held_out_fold": fold, "folds": folds.count, "folds_hash": folds.hash},
        **{"started_from": "nothing", "knees": 0, "patients": 0, "sources": [], "data": "none"},
    }
    (job / "member.json").write_text(json.dumps(facts))
    for empty in ("member.onnx", "member.head.npz"):
        (job / empty).write_bytes(b"")
    save_folds(folds, job / "folds.json")
    write_table(job / "oof.csv", *table)
    return job


def write_table(path: Path, knees: Sequence[Knee], probabilities: Floats) -> None:
    """A table of predictions with six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "side", "grade", *(f"p{grade}" for grade in range(5))))
        for knee, row in zip(knees, probabilities, strict=True):
            shares = (f"{share:.6f}" for share in row)
            writer.writerow((knee.image, knee.side.value, int(row.argmax()), *shares))


def one_hot(grades: Sequence[int], sure: float = 0.6) -> Floats:
    """Distributions that give a grade this probability, and the others the rest alike."""
    rest = (1 - sure) / 4
    return np.where(np.arange(5) == np.asarray(grades)[:, None], sure, rest)
