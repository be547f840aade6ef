"""Teachers: trained networks whose predictions of the learnt knees a run's targets are mixed with.

A teacher of a run must have held out what the run holds out. Then nothing of those knees' labels
reaches the run, neither from its own targets nor from its teacher's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kellgren.artefacts import file_checksum
from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds
from kellgren.errors import TrainingError
from kellgren.grading.bundle import CARD, Bundle, open_bundle
from kellgren.grading.preprocess import Preprocess
from kellgren.training.campaign.plan import PLAN, all_jobs
from kellgren.training.fingerprint import data_hash
from kellgren.training.recipe import Teacher
from kellgren.training.run_folder import FACTS, HEAD, MODEL


@dataclass(frozen=True)
class TeacherNetwork:
    """One network of a teacher.

    Attributes:
        model: ONNX file.
        head: its head's weights.
        preprocess: what it sees.
        backbone: networks of one backbone are averaged before the mean of the backbones.
        run: folder of the run that made it; ``None``: it is a bundle's.
        sha256: of the ONNX file.
    """

    model: Path
    head: Path
    preprocess: Preprocess
    backbone: str
    run: Path | None
    sha256: str


@dataclass(frozen=True)
class TeacherNetworks:
    """A run's teacher: networks, none of which learnt from what the run holds out."""

    networks: tuple[TeacherNetwork, ...]

    @property
    def identity(self) -> str:
        """SHA-256 over the networks: a run goes on with the teacher that it began with alone."""
        content = [[network.backbone, network.sha256] for network in self.networks]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def find_teacher(
    settings: Teacher, knees: Sequence[Knee], folds: Folds | None, fold: int | None
) -> TeacherNetworks:
    """The networks of a recipe's teacher that a run may learn from.

    Args:
        settings: by the recipe.
        knees: of the run, graded.
        folds: of the run; ``None``: nothing is held out.
        fold: that the run holds out.

    Raises:
        TrainingError: there is nothing of that name, its networks learnt from knees that the run
            holds out, or some of those that did not are not trained yet.
        BundleError: a bundle that is damaged.
    """
    source = Path(settings.source)
    if (source / CARD).is_file():
        return _from_bundle(open_bundle(source), folds, fold)
    held_out = data_hash(knees, folds, fold)
    if (source / PLAN).is_file():
        return _from_campaign(source, held_out, fold)
    if (source / FACTS).is_file():
        return _from_runs(source, [source], held_out, fold)
    raise TrainingError(
        source,
        f"holds no teacher: neither {CARD} nor {PLAN} nor {FACTS}",
        "Name the folder of a campaign, a finished run or a bundle as the recipe's teacher",
    )


def _from_campaign(source: Path, held_out: str, fold: int | None) -> TeacherNetworks:
    """Of a campaign, all jobs of the fold in question; each of them must be finished."""
    jobs = all_jobs(source)
    finished = [job for job in jobs if job.is_finished]
    teacher = _from_runs(source, [job.run for job in finished], held_out, fold)
    chosen = {network.run for network in teacher.networks}
    parts = {job.fold for job in finished if job.run in chosen}
    missing = [job.name for job in jobs if job.fold in parts and not job.is_finished]
    if missing:
        raise TrainingError(
            source,
            f"is not done with {_held_out_words(fold)}: {', '.join(missing)}",
            "Finish those jobs before a member learns from the campaign",
        )
    return teacher


def _from_runs(
    source: Path, runs: Sequence[Path], held_out: str, fold: int | None
) -> TeacherNetworks:
    facts = {run: _facts(run / FACTS) for run in runs}
    fitting = [run for run in runs if facts[run]["data"] == held_out]
    if not fitting:
        raise _would_leak(source, [facts[run]["held_out_fold"] for run in runs], fold)
    return TeacherNetworks(
        tuple(
            TeacherNetwork(
                model=run / MODEL,
                head=run / HEAD,
                preprocess=Preprocess.model_validate(facts[run]["preprocess"]),
                backbone=f"{facts[run]['recipe']['name']}-{facts[run]['preprocess']['size']}",
                run=run,
                sha256=file_checksum(run / MODEL),
            )
            for run in sorted(fitting)
        )
    )


def _from_bundle(bundle: Bundle, folds: Folds | None, fold: int | None) -> TeacherNetworks:
    """Of a bundle, the networks that did not learn from the run's held-out fold."""
    card = bundle.card
    members = card.members
    if fold is not None:
        same = folds is not None and card.data.folds_hash == folds.hash
        members = tuple(
            member
            for member in card.members
            if same and member.trained_folds and fold not in member.trained_folds
        )
    if not members:
        known = card.data.folds_hash[:8]
        raise TrainingError(
            bundle.folder,
            f"may not teach a run with {_held_out_words(fold)}: each of its networks learnt from "
            f"that fold, or from other folds (the bundle's are {known}, "
            f"the run's {folds.hash[:8] if folds else 'none'})",
            "Name a campaign of the same folds, or train without a held-out fold",
        )
    return TeacherNetworks(
        tuple(
            TeacherNetwork(
                model=bundle.path(member.model),
                head=bundle.path(member.head),
                preprocess=member.preprocess,
                backbone=member.backbone,
                run=None,
                sha256=card.files[member.model],
            )
            for member in members
        )
    )


def _would_leak(
    source: Path, held_out_folds: Sequence[int | None], fold: int | None
) -> TrainingError:
    """Other data, other folds, or another one of them."""
    known = (
        ", ".join(sorted({_held_out_words(their) for their in held_out_folds})) or "no finished run"
    )
    return TrainingError(
        source,
        f"may not teach a run with {_held_out_words(fold)}: of these knees and folds it has no "
        f"network with the same held out (it has {known}), and the others' predictions would give "
        "labels away",
        f"Train the teacher with {_held_out_words(fold)} on the same data and folds",
    )


def _held_out_words(fold: int | None) -> str:
    return "nothing held out" if fold is None else f"fold {fold} held out"


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return {key: facts[key] for key in ("data", "held_out_fold", "preprocess", "recipe")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            path, f"is not readable ({type(error).__name__})", "Restore the teacher's run"
        ) from None
