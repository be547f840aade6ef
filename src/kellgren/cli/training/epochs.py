"""`kellgren train epochs`: what it is worth to a score that its fold chose the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.evaluation import Comparison
    from kellgren.training.selection.epoch_choice import EpochChoice

EPOCHS = "kellgren train epochs campaign --data kneeKL299"
_SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1", "qwk": "QWK", "mae": "MAE"}


def epochs(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Finished runs, or campaigns.")
    ],
    data: Annotated[Path, typer.Option(help="Data they were trained on: manifest or folder.")],
    json: Annotated[Path | None, typer.Option(help="Write it as JSON.")] = None,
) -> None:
    """Compare the epoch that a fold chose itself with epochs chosen without the knee.

    For runs that kept their epochs (keep_epochs in the schedule). A difference that is not 0 is
    what the fold's score owes to choosing its own epoch.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from

    with needs_train_extra():
        from kellgren.training.selection.epoch_choice import compare_choices, write_choices
        from kellgren.training.selection.out_of_fold import find_runs

        choices = compare_choices(find_runs(runs), knees_to_learn_from(data))
        if json is not None:
            write_choices(choices, json)
    for choice in choices:
        for line in _folds(choice):
            terminal.out.print(line, markup=False, soft_wrap=True)
        _show("chosen by the fold's other patients (ten parts)", choice.cross_fitted)
        if choice.inner is not None:
            _show("chosen by the inner part", choice.inner)


def _folds(choice: EpochChoice) -> Iterator[str]:
    for fold, (itself, others, inner) in choice.epochs.items():
        without = ", ".join(f"{number} for {knees} knees" for number, knees in others.items())
        inner_words = "" if inner is None else f"; by the inner part: {inner}"
        yield (
            f"{choice.backbone}, fold {fold}: epoch {itself} by itself; {without} without them"
            f"{inner_words}"
        )


def _show(without: str, comparison: Comparison) -> None:
    from rich.table import Table

    from kellgren.cli import terminal

    knees = f"{comparison.knees} knees of {comparison.patients} patients"
    terminal.out.print(f"{knees}; epochs by itself, or {without}", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "by itself", "without the knee", "difference (95 % interval)"):
        table.add_column(name, justify="right")
    for key, shown in _SHOWN.items():
        row = comparison.metrics[key]
        difference, it = f"{row.difference.value:+.4f}", row.difference
        difference += f" ({it.reason or f'{it.low:+.4f} to {it.high:+.4f}'})"
        table.add_row(shown, f"{row.this:.4f}", f"{row.other:.4f}", difference)
    terminal.out.print(table)
