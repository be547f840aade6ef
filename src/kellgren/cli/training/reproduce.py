"""`kellgren train predict` and `kellgren train paper`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from kellgren.data.manifest import Knee
    from kellgren.training.reproduction.unseen_predictions import Predicted

PREDICT = "kellgren train predict campaign --data kneeKL299/test -o test-predictions"
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
        import torch

        from kellgren.training.reproduction.unseen_predictions import predict_unseen
        from kellgren.training.selection.out_of_fold import find_finals, find_runs

        tables = out or runs[0] / "predictions"
        device = "cuda" if torch.cuda.is_available() else None
        finished = [*find_runs(runs), *find_finals(runs).values()]
        with _bar("predicting") as progress:
            outcome = predict_unseen(
                finished, _knees(data), tables, device=device, subject=data, progress=progress
            )
    _show(outcome, tables)
    raise typer.Exit(ExitCode.of_check(not outcome.unreadable and not outcome.failed))


def register(app: typer.Typer) -> None:
    """Add the commands to `kellgren train`."""
    app.command(epilog=PREDICT)(predict)


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
