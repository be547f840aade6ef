"""`kellgren train choose` and `kellgren train publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

EXAMPLES = "kellgren train choose campaign --labels kneeKL299 --picture choice.png"
PUBLISHING = "kellgren train publish campaign --labels kneeKL299 --out my-results"


def choose(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Finished runs, or campaigns.")
    ],
    labels: Annotated[Path, typer.Option(help="Data they were trained on: manifest or folder.")],
    by: Annotated[
        Literal["qwk", "accuracy", "macro_f1"], typer.Option(help="What the best is best at.")
    ] = "qwk",
    rows: Annotated[int, typer.Option(min=1, help="Candidates to show.")] = 12,
    csv: Annotated[Path | None, typer.Option(help="Write all candidates as a table.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the candidates as a PNG.")] = None,
    test: Annotated[
        str | None,
        typer.Option(help="File in each run's folder: its predictions of knees no fold held."),
    ] = None,
    test_labels: Annotated[Path | None, typer.Option(help="True grades of these knees.")] = None,
) -> None:
    """Compare all subsets and voting rules out of fold, and say what the best is worth."""
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import refuse_inputs
    from kellgren.data.manifest import for_training, index

    refuse_inputs((csv, json, picture), (labels, test_labels), tables=False)
    if (test is None) != (test_labels is None):
        raise typer.BadParameter("--test and --test-labels go together")
    with needs_train_extra():
        from kellgren.training.selection import choice
        from kellgren.training.selection.choice_plot import draw_choice
        from kellgren.training.selection.out_of_fold import find_runs, read_out_of_fold

        finished = find_runs(runs)
        predictions = read_out_of_fold(finished, for_training(index(labels), labels))
        made = choice.choose(predictions, by)
        protocols = None
        if test is not None and test_labels is not None:
            protocols = choice.compare_protocols(made, finished, test, index(test_labels))
        terminal.show_choice(made, protocols, rows)
        if csv is not None:
            choice.write_candidates(made, csv)
        if json is not None:
            choice.write_choice(made, protocols, json)
        if picture is not None:
            draw_choice(made, picture)


def publish(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Finished runs, or campaigns.")
    ],
    labels: Annotated[Path, typer.Option(help="Data they were trained on: manifest or folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("results"),
    by: Annotated[
        Literal["qwk", "accuracy", "macro_f1"], typer.Option(help="What the best is best at.")
    ] = "qwk",
    name: Annotated[str, typer.Option(help="Of the ensemble.")] = "default",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the results that lie in the folder.")
    ] = False,
) -> None:
    """Write out-of-fold predictions of members and ensemble, folds and model card."""
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.data.manifest import for_training, index

    if not force and out.is_dir() and any(out.iterdir()):
        raise typer.BadParameter(
            f"{out} holds results already; name another folder with --out, or replace them with "
            "--force"
        )
    with needs_train_extra():
        from kellgren.training.selection.publish import publish_results

        written = publish_results(runs, for_training(index(labels), labels), out, name, by)
    for path in written:
        terminal.err.print(f"written: {path}", style="dim", markup=False, soft_wrap=True)
