"""A campaign before it is trained: its jobs, and where its members start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from kellgren.cli import terminal
from kellgren.data.manifest import Knee
from kellgren.data.splits import Folds
from kellgren.errors import KellgrenError
from kellgren.training.campaign import Campaign
from kellgren.training.campaign.job import fold_words
from kellgren.training.campaign.plan import jobs_of, planned
from kellgren.training.campaign.starts import starts_of, weights_wanted
from kellgren.training.member.run import inner_part
from kellgren.training.member.teachers import find_teacher
from kellgren.training.recipe import Recipe, Teacher


def show_plan(
    campaign: Campaign, knees: Sequence[Knee], folder: Path | None, weights_dir: Path | None
) -> bool:
    """Print what would be trained, in order, and from which weights; nothing is written.

    Args:
        campaign: to be planned.
        knees: graded.
        folder: whose plan the campaign would join; ``None``: a new one.
        weights_dir: with files of weights; what is not in it would be downloaded.

    Returns:
        Whether every member's weights can be had, and its teacher's networks are finished.
    """
    plan, folds, _ = planned(campaign, knees, folder)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "learns from", "held out", "epochs", "batch"):
        table.add_column(name, justify="right")
    table.add_column("job", overflow="fold")
    for number, job in enumerate(jobs_of(plan, folder or Path()), 1):
        held_out = np.zeros(len(knees), dtype=bool)
        if job.fold is not None:
            held_out = folds.held_out(knees, job.fold)
        learnt = ~(held_out | inner_part(job.recipe, knees, held_out))
        done = " (done)" if folder is not None and job.is_finished else ""
        counts = (number, learnt.sum(), held_out.sum(), job.recipe.epochs, job.recipe.batch)
        table.add_row(*map(str, counts), Text(job.name + done))
    terminal.out.print(table)
    starts = starts_of(campaign, weights_dir)
    for start in starts:
        terminal.out.print(
            f"{'missing' if start.missing else 'found'}: {start.recipe.name} at "
            f"{start.recipe.final_size}: {start.words}",
            style="red" if start.missing else None,
            markup=False,
            soft_wrap=True,
        )
    missing = sum(start.missing for start in starts)
    summary = f"{missing} of {len(starts)} cannot be had" if missing else f"all {len(starts)} found"
    terminal.out.print(f"{len(plan.jobs)} jobs; weights: {summary}")
    usable = [
        _show_teacher(recipe, recipe.teacher, knees, folds, campaign.finals)
        for recipe, _ in campaign.by_priority()
        if recipe.teacher is not None
    ]
    return not missing and all(usable)


def _show_teacher(
    recipe: Recipe, settings: Teacher, knees: Sequence[Knee], folds: Folds, finals: bool
) -> bool:
    """Print which teacher a member learns from, and how many of its networks for each job."""
    held_out: list[int | None] = [*range(folds.count), *([None] if finals else [])]
    counts, problem = [], ""
    for fold in held_out:
        try:
            teacher = find_teacher(settings, knees, folds, fold)
            counts.append(f"{fold_words(fold)} {len(teacher.networks)}")
        except KellgrenError as error:
            problem = problem or f"{fold_words(fold)}: {error}"
    teacher_words = (
        f"teacher of {recipe.name} at {recipe.final_size}: {settings.source}, "
        f"weight {settings.weight:g}"
    )
    terminal.out.print(
        f"missing: {teacher_words}, {problem}"
        if problem
        else f"{teacher_words}, networks: {', '.join(counts)}",
        style="red" if problem else None,
        markup=False,
        soft_wrap=True,
    )
    return not problem


def show_campaign(name: str, campaign: Campaign) -> None:
    """Print what a campaign trains, on what, and from which weights."""
    jobs = len(campaign.recipes) * (campaign.folds + campaign.finals)
    finals = " and a final" if campaign.finals else ""
    made_for = "an accelerator" if campaign.machine == "accelerator" else "a processor"
    by = " by knee" if campaign.folds_by == "knee" else ""
    of = f" of {' and '.join(campaign.splits)}" if campaign.splits else ""
    terminal.out.print(
        f"{name}: for {made_for}; {campaign.folds} folds{by}{of}{finals} of each member, "
        f"{jobs} jobs",
        soft_wrap=True,
    )
    for recipe, priority in campaign.by_priority():
        first = f", priority {priority}" if priority else ""
        terminal.out.print(
            f"  {recipe.name} at {recipe.final_size}{first}: {weights_wanted(recipe)}",
            markup=False,
            soft_wrap=True,
        )
