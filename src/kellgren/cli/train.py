"""`kellgren train`: member, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kellgren.cli.localiser import EXAMPLES, localiser

if TYPE_CHECKING:
    from kellgren.evaluation import Scores
    from kellgren.manifest import Knee
    from kellgren.splits import Folds
    from kellgren.training.loop import Watcher
    from kellgren.training.member_run import MemberRun

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
    weights_dir: Annotated[
        Path | None, typer.Option(help="Where ImageNet weights lie, instead of a download.")
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
    """Train one member with one fold held out; end in its ONNX file and its predictions there."""
    from kellgren import terminal
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.training.loop import train

        held = None if fold < 0 else fold
        run, dealt = _prepare(recipe, data, out, held, folds, weights_dir, start_from)
        terminal.err.print(
            f"{run.recipe.name}: {len(run.knees) - int(run.held_out.sum())} knees to learn from, "
            f"{int(run.held_out.sum())} held out; {run.device}",
            style="dim",
        )
        with terminal.progress("") as bar:
            watcher = _bars(bar)
            finished = train(run, resume=resume, max_minutes=max_minutes, watcher=watcher)
        _finish(run, dealt, held, finished)


@app.command(epilog="kellgren train recipes")
def recipes() -> None:
    """List the shipped recipes."""
    from kellgren import terminal
    from kellgren.recipe import read_recipe, shipped_recipes

    for name in shipped_recipes():
        found = read_recipe(name)
        sizes = " then ".join(f"{s.epochs} epochs at {s.size}" for s in found.stages)
        terminal.out.print(f"{name}: {found.network.architecture}, {sizes}")


def _prepare(
    recipe: str,
    data: Path,
    out: Path,
    fold: int | None,
    folds: Path | None,
    weights_dir: Path | None,
    start_from: Path | None,
) -> tuple[MemberRun, Folds | None]:
    import numpy as np

    from kellgren.architectures import find
    from kellgren.grades import GRADE_COUNT
    from kellgren.manifest import for_training, index
    from kellgren.recipe import read_recipe
    from kellgren.splits import load_folds, make_folds, save_folds
    from kellgren.training.device import choose_device
    from kellgren.training.identity import data_hash
    from kellgren.training.member_run import MemberRun

    chosen = read_recipe(recipe)
    knees = for_training(index(data), data)
    dealt: Folds | None = None
    held_out = np.zeros(len(knees), dtype=bool)
    if fold is not None:
        dealt = load_folds(folds) if folds else make_folds(knees)
        held_out = dealt.held_out(knees, fold)
        if not (out / "checkpoint.safetensors").exists():  # else they are another run's, or equal
            save_folds(dealt, out / "folds.json")
    network = find(chosen.network.architecture).build(GRADE_COUNT)
    run = MemberRun(
        recipe=chosen,
        knees=knees,
        held_out=held_out,
        data_hash=data_hash(knees, dealt, fold),
        out=out,
        weights_dir=weights_dir,
        device=choose_device(chosen.precision, network),
        start_from=start_from,
    )
    return run, dealt


def _finish(run: MemberRun, dealt: Folds | None, fold: int | None, finished: bool) -> None:
    from kellgren import terminal
    from kellgren.evaluation import render
    from kellgren.training.checkpoint import read_history
    from kellgren.training.outcome import draw_curves, export_member, predict_held_out

    history = read_history(run.checkpoint, run.identity)
    draw_curves(history, run.out / "curves.png")
    if not finished:
        terminal.err.print(
            f"paused after epoch {len(history)} of {run.recipe.epochs}; --resume goes on",
            style="yellow",
        )
        return
    dealt_facts = {
        "folds": dealt.count if dealt else 1,
        "folds_hash": dealt.hash if dealt else "none",
    }
    export_member(run, fold, dealt_facts)
    if fold is not None:
        with terminal.progress("held-out knees") as bar:
            task = bar.add_task("", total=None, now="")
            found = predict_held_out(
                run, fold, lambda done, of: bar.update(task, completed=done, total=of)
            )
        terminal.out.print(render(_scores(run, found)))
    terminal.err.print(f"written: {run.out}", style="dim")


def _scores(run: MemberRun, probabilities: Any) -> Scores:
    from kellgren.evaluation import score

    judged: list[Knee] = [k for k, out in zip(run.knees, run.held_out, strict=True) if out]
    truth = [int(knee.grade or 0) for knee in judged]
    patients = [knee.patient for knee in judged]
    return score(truth, probabilities.argmax(axis=1), probabilities, patients)


def _bars(bar: Any) -> Watcher:
    from kellgren import terminal
    from kellgren.training.loop import Watcher

    class Bars(Watcher):
        """One bar for reading the knees, one for all epochs."""

        def __init__(self) -> None:
            self.reading = bar.add_task("", total=None, now="reading", visible=False)
            self.learning = bar.add_task("", total=None, now="", visible=False)
            self.now = ""

        def loading(self, done: int, total: int) -> None:
            bar.update(self.reading, completed=done, total=total, visible=done < total)

        def epoch_begins(self, epoch: int, epochs: int, size: int, steps: int) -> None:
            self.now = f"epoch {epoch + 1}/{epochs} at {size}"
            bar.update(self.learning, completed=epoch * steps, total=epochs * steps, visible=True)

        def step(self, loss: float) -> None:
            bar.update(self.learning, advance=1, now=f"{self.now}, loss {loss:.3f}")

        def epoch_ends(self, record: dict[str, Any]) -> None:
            scores = ", ".join(
                f"{name} {record[key]:.3f}"
                for name, key in (("accuracy", "accuracy"), ("QWK", "qwk"))
                if key in record
            )
            terminal.err.print(
                f"epoch {record['epoch']}: loss {record['loss']:.3f}"
                + (f", held out: {scores}" if scores else "")
                + f" ({record['minutes']:.1f} min)"
            )

    return Bars()
