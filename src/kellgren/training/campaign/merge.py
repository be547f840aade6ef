"""Takes over what other machines finished of the same plan, from their folders or from packs."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import Timeout

from kellgren.archives import Advance, Pack, draft_in, extract, find_packs, is_pack, verify
from kellgren.data.splits import load_folds, save_folds
from kellgren.errors import InvalidPack, TrainingError
from kellgren.training.campaign.pack import SUFFIXES
from kellgren.training.campaign.plan import (
    FOLDS,
    JOBS,
    PLAN,
    Plan,
    TrainingJob,
    all_jobs,
    finished_jobs,
    job_lock,
    joined,
    plan_lock,
    read_plan,
    write_plan,
)
from kellgren.training.run_folder import FACTS

SET_ASIDE, INCOMPLETE = "set-aside", "incomplete"
_INCOMING = ".incoming-"
_RUN_FILE = re.compile(rf"{JOBS}/([a-z0-9][a-z0-9_.-]*)/([A-Za-z0-9][A-Za-z0-9_.-]*)")
_NO_PROGRESS: Advance = lambda done, of: None  # noqa: E731


@dataclass
class Merged:
    """What a merge did.

    Attributes:
        taken: jobs that were taken over whole.
        kept: jobs that the target had finished itself.
        busy: jobs that somebody is at in the target's folder; they stay as they are.
        set_aside: half-trained runs that a finished one replaced, now in ``set-aside/``.
        incomplete: jobs of which packs brought a part, now in ``incomplete/``; they are not
            finished until another pack brings the rest.
        other_runs: jobs of which a pack brought a part, while ``incomplete/`` holds a part of
            another run of the same job; that one stays.
    """

    taken: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    other_runs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    """A campaign's folder, or a pack unpacked into one.

    Attributes:
        folder: laid out as a campaign's.
        named: what the user named.
        listed: SHA-256 of every file of the pack's runs, also of those it does not hold;
            ``None``: not a pack.
    """

    folder: Path
    named: Path
    listed: Mapping[str, str] | None = None

    def jobs(self) -> list[TrainingJob]:
        """The jobs it brings: finished ones, and those of which a pack holds a part."""
        if self.listed is None:
            return finished_jobs(self.folder)
        return [job for job in all_jobs(self.folder) if job.run.is_dir()]


def merge(others: Sequence[Path], folder: Path, advance: Advance = _NO_PROGRESS) -> Merged:
    """Take over the finished jobs of other campaign folders and packs.

    The target's plan grows by jobs that it lacks; its own finished jobs stay. Nothing is taken
    before all packs are checked and all plans are known to fit, and each run appears whole or not
    at all. A job of which packs bring a part only is not finished: it is kept in ``incomplete/``
    until another pack of the same run brings the rest.

    Args:
        others: campaign folders, packs' folders, manifests and pieces; they stay as they are.
        folder: the target; a new one takes the first of the others' plan and folds.
        advance: called with how many bytes of a pack are read.

    Raises:
        TrainingError: a folder without a plan, of other folds, data, or recipes, or a run whose
            facts are not those of its job.
        InvalidPack: a pack with a piece missing or damaged, or with files that no campaign has.
    """
    campaigns = [path for path in others if (path / PLAN).exists() or not is_pack(path)]
    packed = [path for path in others if path not in campaigns]
    packs = find_packs(packed, "campaign") if packed else []
    for pack in packs:
        _check_names(pack)
        verify(pack)
    with draft_in(folder) as draft:
        sources = [_Source(path, path) for path in campaigns]
        for number, pack in enumerate(packs):
            extract(pack, draft / str(number), advance=advance)
            sources.append(_unpacked(pack, draft / str(number)))
        return _merge(sources, folder)


def _check_names(pack: Pack) -> None:
    """A pack holds a plan, folds, and files of runs: nothing else, and nowhere else."""
    names = [file.name for file in pack.contents.files]
    runs = [name for name in names if name not in (PLAN, FOLDS)]
    odd = [
        name for name in runs if not _RUN_FILE.fullmatch(name) or Path(name).suffix not in SUFFIXES
    ]
    if odd or not {PLAN, FOLDS} <= {file.name for file in pack.contents.packed}:
        problem = f"holds {odd[0]!r}, which is no file of a run" if odd else f"lacks {PLAN}"
        raise InvalidPack(pack.path, problem, "Make it with train pack")


def _unpacked(pack: Pack, folder: Path) -> _Source:
    known = {job.name for job in all_jobs(folder)}
    runs = {file.name.split("/")[1] for file in pack.contents.files if "/" in file.name}
    if runs - known:
        problem = f"holds {min(runs - known)}, which its plan does not have"
        raise InvalidPack(pack.path, problem, "Make it with train pack")
    return _Source(folder, pack.path, {f.name: f.sha256 for f in pack.contents.files})


def _merge(sources: Sequence[_Source], folder: Path) -> Merged:
    incoming = [(source, job) for source in sources for job in source.jobs()]
    _common_plan(sources, incoming, folder)  # what does not fit leaves no trace in a new folder
    with plan_lock(folder):
        first = sources[0].folder
        plan = _common_plan(sources, incoming, folder)
        if not (folder / FOLDS).exists():
            save_folds(load_folds(first / FOLDS), folder / FOLDS)
        write_plan(plan, folder)
    targets = {job.name: job for job in all_jobs(folder)}
    merged = Merged()
    for source, job in incoming:
        _take_over(job, targets[job.name], folder, source, merged)
    merged.incomplete = [
        name for name in dict.fromkeys(merged.incomplete) if (folder / INCOMPLETE / name).exists()
    ]
    return merged


def _common_plan(
    sources: Sequence[_Source], incoming: Sequence[tuple[_Source, TrainingJob]], folder: Path
) -> Plan:
    """The plan of the target and all sources, once they and their runs are known to fit."""
    plan = read_plan(folder if (folder / PLAN).exists() else sources[0].folder)
    for source in sources:
        plan = joined(plan, read_plan(source.folder), source.named)
    for source, job in incoming:
        _check_facts(job, plan, source)
    return plan


def _check_facts(job: TrainingJob, plan: Plan, source: _Source) -> None:
    """A run must be what its place in the plan says."""
    expected = {
        "recipe_hash": job.recipe_hash,
        "held_out_fold": job.fold,
        "folds_hash": plan.folds_hash,
    }
    where = source.named / JOBS / job.name / FACTS
    try:
        facts = json.loads((job.run / FACTS).read_text("utf-8"))
        different = [key for key, value in expected.items() if facts[key] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            where, f"cannot be read ({type(error).__name__})", "Copy the run once more"
        ) from None
    if different:
        raise TrainingError(
            where.parent,
            f"is not the run of its plan (different: {', '.join(different)})",
            "Copy the campaign's folder once more, or leave this run out",
        )


def _take_over(
    incoming: TrainingJob, target: TrainingJob, folder: Path, source: _Source, merged: Merged
) -> None:
    try:
        with job_lock(folder, target).acquire(timeout=0):
            if target.is_finished:
                merged.kept.append(target.name)
                return
            with _draft_of(incoming, folder) as draft:
                part = folder / INCOMPLETE / target.name
                is_same_run = _is_part_of(part, source.listed or {})
                if is_same_run:
                    _add_lacking(part, draft)
                if replace(target, run=draft).is_finished:
                    _replace_run(draft, target, folder, merged)
                    if is_same_run:
                        shutil.rmtree(part)  # every file of it is in the run
                elif is_same_run or not part.exists():
                    _keep_part(draft, part)
                    merged.incomplete.append(target.name)
                else:
                    merged.other_runs.append(target.name)
    except Timeout:
        merged.busy.append(target.name)


@contextmanager
def _draft_of(incoming: TrainingJob, folder: Path) -> Iterator[Path]:
    """A copy of a run beside the others; gone afterwards, unless it was moved into its place."""
    draft = folder / JOBS / f"{_INCOMING}{incoming.name}"
    shutil.rmtree(draft, ignore_errors=True)  # of a merge that was killed
    shutil.copytree(incoming.run, draft, ignore=shutil.ignore_patterns(".*"))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_part_of(part: Path, listed: Mapping[str, str]) -> bool:
    """Whether the part of a run that lies there is of the run that a pack lists."""
    return part.is_dir() and all(
        hashlib.sha256(path.read_bytes()).hexdigest()
        == listed.get(f"{JOBS}/{part.name}/{path.name}")
        for path in part.iterdir()
    )


def _add_lacking(part: Path, draft: Path) -> None:
    for path in part.iterdir():
        if not (draft / path.name).exists():
            shutil.copyfile(path, draft / path.name)


def _keep_part(draft: Path, part: Path) -> None:
    """Put the part of a run where it is kept, in place of a smaller part of the same run."""
    smaller = draft.with_name(f"{draft.name}.smaller")
    part.parent.mkdir(exist_ok=True)
    if part.exists():
        part.rename(smaller)
    draft.rename(part)
    shutil.rmtree(smaller, ignore_errors=True)


def _replace_run(draft: Path, target: TrainingJob, folder: Path, merged: Merged) -> None:
    """Move a finished run into its place; what lies there is kept aside."""
    if target.run.exists():
        aside = _free_name(folder / SET_ASIDE / target.name)
        aside.parent.mkdir(exist_ok=True)
        target.run.rename(aside)
        merged.set_aside.append(target.name)
    draft.rename(target.run)
    merged.taken.append(target.name)


def _free_name(path: Path) -> Path:
    """The path, or with a number where there is such a folder already."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in range(2, 10_000))
    return next(name for name in (path, *numbered) if not name.exists())
