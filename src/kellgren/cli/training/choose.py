"""`kellgren train choose` and `kellgren train publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kellgren.cli.inputs import Credit, DataLimits, DataName, Licence, Population

EXAMPLES = "kellgren train choose campaign --labels kneeKL299 --picture choice.png"
PUBLISHING = "kellgren train publish campaign --labels kneeKL299 --out my-results"


def choose(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Finished runs, or campaigns.")
    ],
    labels: Annotated[Path, typer.Option(help="Data they were trained on: manifest or folder.")],
    by: Annotated[
        Literal["qwk", "accuracy", "macro_f1", "paper"],
        typer.Option(help="What the best is best at; paper: rounded accuracy plus macro-F1."),
    ] = "qwk",
    rows: Annotated[int, typer.Option(min=1, help="Candidates to show.")] = 12,
    csv: Annotated[Path | None, typer.Option(help="Write all candidates as a table.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the candidates as a PNG.")] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Folder that train predict wrote, or a file in each run's folder: predictions of"
            " knees that no run learnt from."
        ),
    ] = None,
    test_labels: Annotated[
        Path | None,
        typer.Option(help="True grades of these knees; else those that train predict kept."),
    ] = None,
) -> None:
    """Compare all subsets and voting rules out of fold, and say what the best is worth.

    Needs the extra train.
    """
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from, refuse_inputs
    from kellgren.data.manifest import index

    refuse_inputs((csv, json, picture), (labels, test_labels), tables=False)
    if test is None and test_labels is not None:
        raise typer.BadParameter("is of no use without --test", param_hint="--test-labels")
    with needs_train_extra():
        from kellgren.cli.training.choice_shown import show_choice
        from kellgren.training.selection import choice
        from kellgren.training.selection.choice_plot import draw_choice
        from kellgren.training.selection.out_of_fold import find_runs, read_out_of_fold
        from kellgren.training.selection.unseen import grades_of, read_unseen

        finished, learnt = find_runs(runs), knees_to_learn_from(labels)
        unseen = None
        if test is not None:
            unseen = read_unseen(finished, test, index(grades_of(test, test_labels)), learnt)
        made = choice.choose(read_out_of_fold(finished, learnt), by)
        tested = None if unseen is None else choice.compare_protocols(made, unseen)
        show_choice(made, tested, rows)
        if csv is not None:
            choice.write_candidates(made, csv)
        if json is not None:
            choice.write_choice(made, tested, json)
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
    name: Annotated[str, typer.Option(help="Name of the ensemble; default: of --out.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the results that lie in the folder.")
    ] = False,
    data_name: DataName = "",
    licence: Licence = "",
    credit: Credit = "",
    population: Population = "",
    limits: DataLimits = "",
) -> None:
    """Write out-of-fold predictions of members and ensemble, folds and model card.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from

    if not force and out.is_dir() and any(out.iterdir()):
        raise typer.BadParameter(
            f"{out} holds results already; name another folder with --out, or replace them with "
            "--force"
        )
    with needs_train_extra():
        from kellgren.training.selection.cards.data_facts import StatedData
        from kellgren.training.selection.publish import publish_results

        stated = StatedData(data_name, licence, credit, population, limits)
        knees = knees_to_learn_from(labels)
        written = publish_results(runs, knees, out, name or out.resolve().name, by, stated)
    for path in written:
        terminal.note(f"written: {path}")
