"""`kellgren train`: ensemble, campaigns, status, sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.training.campaign.runner import Ending

ENSEMBLE = "kellgren train ensemble default --data kneeKL299 --out campaign --max-minutes 480"
STATUS = "kellgren train status campaign"
SIZES = "kellgren train sizes campaign --picture sizes.png"
SOME_FAILED = 1
_Folder = Annotated[Path, typer.Argument(help="Folder of a campaign.")]


def ensemble(
    campaign: Annotated[str, typer.Argument(help="TOML file, or name of a shipped campaign.")],
    data: Annotated[Path, typer.Option(help="Folder of graded knees, or a manifest.")],
    out: Annotated[Path, typer.Option(help="Folder of the campaign, new or begun.")],
    sizes: Annotated[
        str | None, typer.Option(help="Every member at these instead: 224,288,384.")
    ] = None,
    weights_dir: Annotated[
        Path | None, typer.Option(help="Where ImageNet weights lie, instead of a download.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after an epoch before this is exceeded.")
    ] = None,
) -> None:
    """Train every member at every size on every fold; the same command goes on where it stopped.

    Exit code 1: a job failed; the others are done.
    """
    from kellgren import terminal
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.cli.campaign_bars import CampaignBars
        from kellgren.manifest import for_training, index
        from kellgren.training.campaign import read_campaign
        from kellgren.training.campaign.runner import run_campaign

        chosen = read_campaign(campaign, _sizes(sizes))
        knees = for_training(index(data), data)
        with terminal.progress("") as bar:
            ending = run_campaign(
                chosen,
                knees,
                out,
                weights_dir=weights_dir,
                max_minutes=max_minutes,
                watcher=CampaignBars(bar),
            )
    _tell(ending, out)
    raise typer.Exit(SOME_FAILED if ending.failed else 0)


def campaigns() -> None:
    """List the shipped campaigns."""
    from kellgren import terminal
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.training.campaign import read_campaign, shipped_campaigns

        for name in shipped_campaigns():
            found = read_campaign(name)
            members = ", ".join(f"{r.name} at {r.final_size}" for r in found.recipes)
            terminal.out.print(f"{name}: {found.folds} folds of {members}", soft_wrap=True)


def status(
    folder: _Folder,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON.")] = None,
) -> None:
    """Where every job stands, how good it is, and what is left; looking disturbs nobody."""
    from kellgren import terminal
    from kellgren.cli.campaign_tables import duration, status_table
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.training.campaign.survey import minutes_left, survey

        found = survey(folder)
    terminal.out.print(status_table(found))
    for one in found:
        if one.problem is not None:
            line = f"failed: {one.job.name}: {one.problem}"
            terminal.out.print(line, style="red", markup=False, soft_wrap=True)
    minutes, more = minutes_left(found)
    done = sum(one.state == "done" for one in found)
    left = f"{duration(minutes)} left" if minutes or more else "nothing left"
    unknown = ", and jobs of which nothing was measured yet" if more else ""
    terminal.out.print(f"{done} of {len(found)} jobs done, {left}{unknown}")
    content = {
        "jobs": [one.to_dict() for one in found],
        "minutes_left": round(minutes, 2),
        "minutes_left_is_complete": not more,
    }
    _write(content, json)


def sizes(
    folder: _Folder,
    picture: Annotated[Path | None, typer.Option(help="Draw scores and costs as PNG.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write it as JSON.")] = None,
) -> None:
    """Compare input sizes: the smallest within one standard error of the best QWK is chosen."""
    from kellgren import terminal
    from kellgren.cli.campaign_tables import sizes_table
    from kellgren.cli.extras import needs_train_extra
    from kellgren.errors import TrainingError

    with needs_train_extra():
        from kellgren.training.campaign.size_picture import draw_sizes
        from kellgren.training.campaign.sizes import compare_sizes

        found = compare_sizes(folder)
        if not found:
            raise TrainingError(folder, "has no finished job yet", "Go on with train ensemble")
        if picture is not None:
            draw_sizes(found, picture)
    for member in found:
        terminal.out.print(sizes_table(member))
    _write({"members": [member.to_dict() for member in found]}, json)


def register(app: typer.Typer) -> None:
    """Add the campaign's commands to `kellgren train`."""
    app.command(epilog=ENSEMBLE)(ensemble)
    app.command(epilog="kellgren train campaigns")(campaigns)
    app.command(epilog=STATUS)(status)
    app.command(epilog=SIZES)(sizes)


def _sizes(given: str | None) -> list[int]:
    if given is None:
        return []
    try:
        return [int(size) for size in given.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{given!r} is not a list such as 224,288,384", param_hint="--sizes"
        ) from None


def _tell(ending: Ending, out: Path) -> None:
    from kellgren import terminal

    for name, reason in ending.failed.items():
        line = f"failed: {name}: {reason}"
        terminal.err.print(line, style="red", markup=False, soft_wrap=True)
    if ending.failed:
        terminal.err.print("The other jobs are not touched by this; the same command tries again.")
    for job in ending.elsewhere:
        terminal.err.print(f"another runner is at {job.name}", style="yellow", markup=False)
    if ending.paused:
        terminal.err.print("paused: the time is up; the same command goes on", style="yellow")
    told = f"{len(ending.finished)} jobs finished; kellgren train status {out}"
    terminal.err.print(told, style="dim", markup=False, soft_wrap=True)


def _write(content: object, path: Path | None) -> None:
    from json import dumps

    from kellgren.files import written_whole

    if path is not None:
        with written_whole(path) as stream:
            stream.write(dumps(content, indent=2, allow_nan=False) + "\n")
