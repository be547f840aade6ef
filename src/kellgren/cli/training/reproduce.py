"""`kellgren train predict` and `kellgren train paper`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from kellgren.data.manifest import Knee
    from kellgren.training.reproduction.unseen_predictions import Predicted

PREDICT = "kellgren train predict campaign --data kneeKL299/test -o test-predictions"
PAPER = (
    "kellgren train paper campaign --data kneeKL299 -o report · "
    "kellgren train paper campaign --data kneeKL299 --test test-predictions -o report"
)
_Runs = Annotated[
    list[Path], typer.Argument(metavar="CAMPAIGN...", help="Campaigns, or finished runs.")
]


def predict(
    runs: _Runs,
    data: Annotated[
        Path, typer.Option(help="Knees that no run learnt from: folder, or table of images.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the tables; else predictions/ in the first."),
    ] = None,
) -> None:
    """Let every finished run predict knees that none learnt from; a table each.

    The same command goes on where it stopped. Exit code 1: a picture could not be read, or a
    network failed; the rest is done.
    """
    from kellgren.cli.extras import needs_train_extra

    with needs_train_extra():
        from kellgren.training.device import accelerator
        from kellgren.training.reproduction.unseen_predictions import predict_unseen
        from kellgren.training.selection.out_of_fold import find_finals, find_runs

        tables = out or runs[0] / "predictions"
        device = accelerator()
        finished = [*find_runs(runs), *find_finals(runs).values()]
        with _bar("predicting") as progress:
            outcome = predict_unseen(
                finished, _knees(data), tables, device=device, subject=data, progress=progress
            )
    _show(outcome, tables)
    raise typer.Exit(ExitCode.of_check(not outcome.unreadable and not outcome.failed))


def paper(
    runs: _Runs,
    data: Annotated[Path, typer.Option(help="Data they were trained on: manifest or folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")],
    test: Annotated[
        Path | None,
        typer.Option(help="Folder that train predict wrote; without it, all is out of fold."),
    ] = None,
    test_labels: Annotated[
        Path | None,
        typer.Option(help="True grades of these knees; else those that train predict kept."),
    ] = None,
    by: Annotated[
        Literal["paper", "accuracy", "macro_f1", "qwk"],
        typer.Option(help="What is chosen by; paper: rounded accuracy plus macro-F1."),
    ] = "paper",
    vote_among: Annotated[
        Literal["own", "all"],
        typer.Option(help="own: networks at 224 pixels do not vote where there are others."),
    ] = "own",
    map_knees: Annotated[
        int, typer.Option(min=0, max=25, help="Knees shown under their maps; 0: none.")
    ] = 5,
) -> None:
    """Write the paper's tables and figures, with the honest number beside each of theirs.

    Exit code 1: the maps could not be drawn; the rest is written.
    """
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from
    from kellgren.cli.training.paper_tables_shown import show_tables, show_written
    from kellgren.data.manifest import index

    if test is None and test_labels is not None:
        raise typer.BadParameter("is of no use without --test", param_hint="--test-labels")
    with needs_train_extra():
        from kellgren.training.reproduction.paper_report import write_report
        from kellgren.training.reproduction.paper_tables import paper_tables
        from kellgren.training.selection.out_of_fold import find_runs, read_out_of_fold
        from kellgren.training.selection.unseen import grades_of, read_unseen

        finished, learnt = find_runs(runs), knees_to_learn_from(data)
        unseen = None
        if test is not None:
            unseen = read_unseen(finished, test, index(grades_of(test, test_labels)), learnt)
        predictions = read_out_of_fold(finished, learnt)
        tables = paper_tables(predictions, unseen, by, vote_among)
        show_tables(tables)
        with _bar("drawing maps") as progress:
            failed = write_report(
                *(tables, predictions, unseen, finished, out),
                map_knees=map_knees,
                progress=partial(progress, ""),
            )
    show_written(out, failed)
    raise typer.Exit(ExitCode.of_check(failed is None))


def register(app: typer.Typer) -> None:
    """Add the commands to `kellgren train`."""
    app.command(epilog=PREDICT)(predict)
    app.command(epilog=PAPER)(paper)


def _knees(data: Path) -> list[Knee]:
    """Knees of a folder, or of a table, which need not have grades."""
    from kellgren.data.manifest import index, read_manifest

    return read_manifest(data, graded=False) if data.is_file() else index(data)


def _show(outcome: Predicted, out: Path) -> None:
    from kellgren.cli import terminal

    if outcome.unchecked:
        terminal.err.print(
            f"note: {outcome.unchecked} pictures that the runs learnt from are not where they were:"
            " copies of them are only known by their patients",
            style="dim",
            soft_wrap=True,
        )
    for image, reason in outcome.unreadable.items():
        line = f"not predicted: {image}: {reason}"
        terminal.err.print(line, style="red", markup=False, soft_wrap=True)
    for table, reason in outcome.failed.items():
        line = f"failed: {table}: {reason}"
        terminal.err.print(line, style="red", markup=False, soft_wrap=True)
    summary = f"{len(outcome.written)} tables written, {len(outcome.kept)} were there -> {out}"
    terminal.out.print(summary, markup=False, soft_wrap=True)


@contextmanager
def _bar(description: str) -> Iterator[Callable[[str, int, int], None]]:
    from kellgren.cli import terminal

    with terminal.progress(description) as bar:
        task = bar.add_task("", total=None, now="")
        yield lambda name, done, of: bar.update(task, completed=done, total=of, now=name)
