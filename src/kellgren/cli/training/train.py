"""`kellgren train`: member, recipes; the campaign's commands join from their own file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.manners.endings import interrupted_leaves
from kellgren.cli.training import campaign
from kellgren.cli.training.localiser import EXAMPLES, localiser

if TYPE_CHECKING:
    from kellgren.data.manifest import Knee
    from kellgren.data.splits import Folds
    from kellgren.evaluation import Scores
    from kellgren.training.member.run import MemberRun

app = typer.Typer(no_args_is_help=True, help="Train networks on graded knees.")
app.command(epilog=EXAMPLES)(localiser)


@app.command(
    epilog="kellgren train member inception --data kneeKL299 --fold 0 --out runs/inception-0"
)
def member(
    recipe: Annotated[str, typer.Argument(help="TOML file, or the name of a shipped recipe.")],
    data: Annotated[Path, typer.Option(help="Folder of graded knees, or a manifest.")],
    out: Annotated[Path, typer.Option(help="Folder of this run.")],
    fold: Annotated[
        int, typer.Option(min=-1, help="Fold to hold out; -1 trains on everything.")
    ] = 0,
    folds: Annotated[
        Path | None, typer.Option(help="File of folds; without it, five are dealt (seed 42).")
    ] = None,
    splits: Annotated[
        list[str] | None, typer.Option(help="Only this of train and val; may be repeated.")
    ] = None,
    weights_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of ImageNet weights; what is not in it is downloaded."),
    ] = None,
    start_from: Annotated[
        Path | None, typer.Option(help="Another run of the same fold, whose weights to refine.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last whole epoch in --out.")
    ] = False,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after an epoch before this is exceeded.")
    ] = None,
) -> None:
    """Train one member with one fold held out; end in its ONNX file and its predictions there.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import alone_in, knees_to_learn_from

    with needs_train_extra(), alone_in(out):
        from kellgren.cli.training.training_bars import Bars
        from kellgren.training.member.checkpoint import read_history
        from kellgren.training.member.loop import train
        from kellgren.training.member.outcome import draw_curves, finish
        from kellgren.training.run_folder import CURVES

        knees = knees_to_learn_from(data, splits or ())
        run, all_folds = _chosen(recipe, knees, out, fold, folds, weights_dir, start_from)
        terminal.err.print(_words(run), style="dim")
        with _leaves(out), terminal.progress("") as bar:
            watcher = Bars(bar)
            finished = train(run, resume=resume, max_minutes=max_minutes, watcher=watcher)
            history = read_history(run.checkpoint, run.identity)
            draw_curves(history, run.out / CURVES)
            held_out = None if all_folds is None else fold
            scores = finish(run, all_folds, held_out, watcher.predicting) if finished else None
    if not finished:
        paused = f"paused after epoch {len(history)} of {run.recipe.epochs}; --resume goes on"
        terminal.err.print(paused, style="yellow")
        return
    _show_result(run, scores)


@app.command(epilog="kellgren train verify campaign --data kneeKL299")
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run, or of a campaign.")],
    data: Annotated[Path, typer.Option(help="Data it was trained with, wherever it lies now.")],
) -> None:
    """Grade held-out knees with the exported files on the processor; compare with torch.

    Exit code 1: a file's probabilities differ by more than 0.001, or a grade does.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from

    with needs_train_extra():
        from kellgren.training.member.verify import Verified, finished_runs
        from kellgren.training.member.verify import verify as graded_again

        knees, good = knees_to_learn_from(data), True

        def one(run: Path) -> Verified:
            with terminal.progress(run.name) as bar:
                task = bar.add_task("", total=None, now="")
                return graded_again(
                    run, knees, lambda n, of: bar.update(task, completed=n, total=of)
                )

        for run in finished_runs(folder):
            checked = one(run)
            agreement, scores, stored = checked.agreement, checked.scores, checked.stored
            good = good and agreement.holds
            terminal.out.print(
                f"{run.name}: {agreement.knees} knees, probabilities differ by at most "
                f"{agreement.difference:.1e}, grades of {agreement.other_grades}; "
                f"accuracy {scores.accuracy.value:.4f}, QWK {scores.qwk.value:.4f} "
                f"(torch {stored.accuracy.value:.4f}, {stored.qwk.value:.4f})",
                style=None if agreement.holds else "red",
                markup=False,
                soft_wrap=True,
            )
    raise typer.Exit(ExitCode.of_check(good))


@app.command(epilog="kellgren train recipes · kellgren train recipes --show inception")
def recipes(
    show: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print this recipe as its TOML file.")
    ] = None,
) -> None:
    """List the shipped recipes, or print one, to be changed and trained."""
    from kellgren.cli import terminal
    from kellgren.training.recipe import read_recipe, recipe_text, shipped_recipes

    if show is not None:
        typer.echo(recipe_text(show), nl=False)
        return
    for name in shipped_recipes():
        content = read_recipe(name)
        sizes = " then ".join(
            f"{s.epochs} epoch{'s' * (s.epochs != 1)} at {s.size}" for s in content.stages
        )
        terminal.out.print(f"{name}: {content.network.architecture}, {sizes}")


def _leaves(out: Path) -> AbstractContextManager[None]:
    return interrupted_leaves(f"whole epochs are kept in {out}; --resume goes on from there")


def _show_result(run: MemberRun, scores: Scores | None) -> None:
    """Print a finished run's scores, if knees were held out, and where it lies."""
    from kellgren.cli import terminal
    from kellgren.cli.score_tables import render

    if scores is not None:
        terminal.out.print(render(scores))
    terminal.err.print(f"written: {run.out}", style="dim")


def _words(run: MemberRun) -> str:
    """What a run learns from, and on what."""
    inner = int(run.inner.sum())
    also = f", {inner} to stop by" if inner else ""
    return (
        f"{run.recipe.name}: {len(run.learnt)} knees to learn from, "
        f"{int(run.held_out.sum())} held out{also}; {run.device}"
    )


def _chosen(
    recipe: str,
    knees: list[Knee],
    out: Path,
    fold: int,
    folds: Path | None,
    weights_dir: Path | None,
    start_from: Path | None,
) -> tuple[MemberRun, Folds | None]:
    from kellgren.cli import terminal
    from kellgren.data.splits import leak_warning, load_folds, make_folds
    from kellgren.training.member.prepare import prepare
    from kellgren.training.recipe import read_recipe

    content = read_recipe(recipe)
    all_folds = None if fold < 0 else load_folds(folds) if folds else make_folds(knees)
    if all_folds is not None:
        terminal.warn(leak_warning(all_folds, knees))
    run = prepare(
        content,
        knees,
        out,
        folds=all_folds,
        fold=None if all_folds is None else fold,
        weights_dir=weights_dir,
        start_from=start_from,
    )
    return run, all_folds


campaign.register(app)
