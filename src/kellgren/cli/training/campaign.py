"""`kellgren train`: ensemble, campaigns, status, sizes; epochs joins from its own file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.training.epochs import EPOCHS, epochs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kellgren.data.manifest import Knee
    from kellgren.training.campaign import Campaign
    from kellgren.training.runners.runner import CampaignResult

ENSEMBLE = "kellgren train ensemble processor --data kneeKL299 --out campaign --runners 2"
STATUS = "kellgren train status campaign"
SIZES = "kellgren train sizes campaign --picture sizes.png"
_Folder = Annotated[Path, typer.Argument(help="Folder of a campaign.")]

_Runners = Annotated[
    int, typer.Option(min=1, max=64, help="Processes that share this machine's device.")
]
_Ray = Annotated[
    str | None,
    typer.Option(
        metavar="auto|local|HOST:PORT",
        help="So many jobs at a time on a Ray cluster, each with a GPU or cores there.",
    ),
]


def ensemble(
    campaign: Annotated[str, typer.Argument(help="TOML file, or name of a shipped campaign.")],
    data: Annotated[Path, typer.Option(help="Folder of graded knees, or a manifest.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the campaign, new or begun.")] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Every member at these instead: 224,288,384.")
    ] = None,
    folds_by: Annotated[
        Literal["patient", "knee"] | None,
        typer.Option(help="What is dealt, whatever the file says; by knee, scores leak."),
    ] = None,
    splits: Annotated[
        list[str] | None, typer.Option(help="Only this of train and val; may be repeated.")
    ] = None,
    keep_epochs: Annotated[
        bool, typer.Option("--keep-epochs", help="Keep the epochs that patience tolerates.")
    ] = False,
    weights_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of ImageNet weights; what is not in it is downloaded."),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="For all runners; no job is begun that cannot end in it."),
    ] = None,
    runners: _Runners = 1,
    ray: _Ray = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show jobs and weights; train nothing.")
    ] = False,
) -> None:
    """Train every member at every size on every fold; the same command goes on where it stopped.

    Exit code 1: a job failed; the others are done. With --plan: some weights cannot be had.

    Needs the extra train.
    """
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.manners.endings import interrupted_leaves

    with needs_train_extra():
        from kellgren.cli.inputs import knees_to_learn_from
        from kellgren.cli.training.campaign_plan import show_plan
        from kellgren.training.campaign import read_campaign

        chosen = read_campaign(campaign, _sizes(sizes))
        chosen = chosen.changed(folds_by, splits or (), keep_epochs=keep_epochs)
        knees = knees_to_learn_from(data, chosen.splits)
        _warn_of_leak(chosen, knees)
        if plan:
            complete = show_plan(chosen, knees, out, weights_dir)
            raise typer.Exit(ExitCode.of_check(complete))
        if out is None:
            raise typer.BadParameter("is missing: the folder to train in", param_hint="--out")
        with interrupted_leaves(f"whole epochs are kept in {out}; the same command goes on"):
            result = _trained(chosen, knees, out, weights_dir, max_minutes, runners, ray)
    _print_summary(result, out)
    raise typer.Exit(ExitCode.of_check(not result.failed))


def _warn_of_leak(campaign: Campaign, knees: Sequence[Knee]) -> None:
    from kellgren.cli import terminal
    from kellgren.data.splits import leak_warning, make_folds

    if campaign.folds_by == "knee":
        folds = make_folds(knees, campaign.folds, campaign.seed, "knee")
        terminal.warn(leak_warning(folds, knees))


def _trained(
    campaign: Campaign,
    knees: Sequence[Knee],
    out: Path,
    weights_dir: Path | None,
    max_minutes: float | None,
    runners: int,
    ray: str | None,
) -> CampaignResult:
    """Train by one runner in this process, by several in their own, or on a cluster."""
    from kellgren.cli import terminal
    from kellgren.cli.training.campaign_bars import CampaignBars
    from kellgren.cli.training.campaign_team import shown
    from kellgren.training.runners.runner import run_campaign
    from kellgren.training.runners.session import RunnerSession
    from kellgren.training.runners.team import run_together

    session = RunnerSession.start(max_minutes, runners)
    if ray is not None:
        from kellgren.cli.inputs import cores
        from kellgren.cli.training.campaign_team import TeamLines
        from kellgren.cluster.ray_driver import connected
        from kellgren.cluster.training_jobs import train_on_cluster

        with connected(ray, cores()) as module:
            return train_on_cluster(
                module, campaign, knees, out, session, weights_dir=weights_dir, watcher=TeamLines()
            )
    if runners > 1:
        with shown(session) as team:
            return run_together(
                campaign, knees, out, session, weights_dir=weights_dir, watcher=team
            )
    with terminal.progress("") as bar:
        return run_campaign(
            campaign,
            knees,
            out,
            weights_dir=weights_dir,
            watcher=CampaignBars(bar),
            session=session,
        )


def campaigns() -> None:
    """List the shipped campaigns: what each trains, on which machine, from which weights.

    Needs the extra train.
    """
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.cli.training.campaign_plan import show_campaign
        from kellgren.training.campaign import read_campaign, shipped_campaigns

        for name in shipped_campaigns():
            show_campaign(name, read_campaign(name))


def status(
    folder: _Folder,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON.")] = None,
) -> None:
    """Where every job stands, how good it is, and what is left; looking disturbs nobody.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.manners.narrow import fitted
    from kellgren.cli.training.campaign_tables import show_failures, status_table, what_is_left

    with needs_train_extra():
        from kellgren.training.campaign.survey import minutes_left, survey

        statuses = survey(folder)
    terminal.out.print(fitted(status_table(statuses), terminal.out))
    problems = {one.job.name: one.problem for one in statuses if one.problem is not None}
    show_failures(problems, folder, terminal.out)
    terminal.out.print(what_is_left(statuses))
    minutes, more = minutes_left(statuses)
    content = {
        "jobs": [one.to_dict() for one in statuses],
        "minutes_left": round(minutes, 2),
        "minutes_left_is_complete": not more,
    }
    _write(content, json)


def sizes(
    folder: _Folder,
    picture: Annotated[Path | None, typer.Option(help="Draw scores and costs as PNG.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON.")] = None,
) -> None:
    """Compare input sizes: the smallest within one standard error of the best QWK is chosen.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.training.campaign_tables import sizes_table
    from kellgren.errors import TrainingError

    with needs_train_extra():
        from kellgren.training.campaign.size_picture import draw_sizes
        from kellgren.training.campaign.sizes import compare_sizes

        members = compare_sizes(folder)
        if not members:
            raise TrainingError(folder, "has no finished job yet", "Go on with train ensemble")
        if picture is not None:
            draw_sizes(members, picture)
    for member in members:
        terminal.out.print(sizes_table(member))
    _write({"members": [member.to_dict() for member in members]}, json)


def register(app: typer.Typer) -> None:
    """Add the campaign's commands to `kellgren train`."""
    app.command(epilog=ENSEMBLE)(ensemble)
    app.command(epilog="kellgren train campaigns")(campaigns)
    app.command(epilog=STATUS)(status)
    app.command(epilog=SIZES)(sizes)
    app.command(epilog=EPOCHS)(epochs)


def _sizes(given: str | None) -> list[int]:
    if given is None:
        return []
    try:
        return [int(size) for size in given.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{given!r} is not a list such as 224,288,384", param_hint="--sizes"
        ) from None


def _print_summary(result: CampaignResult, out: Path) -> None:
    from kellgren.cli import terminal
    from kellgren.cli.training.campaign_tables import show_failures

    show_failures(result.failed, out, terminal.err)
    if result.failed:
        terminal.err.print("The other jobs are not touched by this; the same command tries again.")
    for job in result.elsewhere:
        terminal.err.print(f"another runner is at {job.name}", style="yellow", markup=False)
    if result.paused:
        terminal.err.print("paused: the time is up; the same command goes on", style="yellow")
    done = len(result.finished)
    terminal.note(f"{done} job{'s' * (done != 1)} finished; kellgren train status {out}")


def _write(content: object, path: Path | None) -> None:
    from json import dumps

    from kellgren.atomic_files import written_whole

    if path is not None:
        with written_whole(path) as stream:
            stream.write(dumps(content, indent=2, allow_nan=False) + "\n")
