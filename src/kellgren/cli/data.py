"""`kellgren data`: index, check, folds; `cli/training/pack.py` adds packing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from kellgren.cli.exit_codes import ExitCode

app = typer.Typer(no_args_is_help=True, help="Tables of graded knees: make, check, divide.")
Source = Annotated[Path, typer.Argument(help="Folder of knees, or a CSV with image and grade.")]


@app.command(epilog="kellgren data index kneeKL299 -o knees.csv")
def index(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Manifest to write.")],
) -> None:
    """Make a manifest: image, patient, side, grade, split, source."""
    from kellgren.cli import terminal
    from kellgren.data.audit import count_grades
    from kellgren.data.manifest import index as list_knees
    from kellgren.data.manifest import write_manifest

    knees = list_knees(source)
    write_manifest(knees, output)
    counts = {split: sum(grades.values()) for split, grades in count_grades(knees).items()}
    by_split = ", ".join(f"{number} {split}" for split, number in counts.items())
    patients = len({knee.patient for knee in knees})
    summary = f"{len(knees)} knees of {patients} patients ({by_split}) -> {output}"
    terminal.out.print(summary, markup=False, soft_wrap=True)


@app.command(epilog="kellgren data check knees.csv")
def check(
    source: Source,
    json: Annotated[Path | None, typer.Option(help="Write the findings as JSON.")] = None,
) -> None:
    """Check every file; exit code 1 when the data are not fit for training."""
    from json import dumps

    from kellgren.atomic_files import written_whole
    from kellgren.cli import terminal
    from kellgren.data.audit import audit
    from kellgren.data.manifest import index as list_knees

    knees = list_knees(source)
    with terminal.progress("reading") as bar:
        task = bar.add_task("", total=len(knees), now="")
        findings = audit(knees, lambda done, of: bar.update(task, completed=done))
    terminal.show_audit(findings)
    if json is not None:
        with written_whole(json) as stream:
            stream.write(dumps(findings.to_dict(), indent=2) + "\n")
    raise typer.Exit(ExitCode.of_check(findings.honest))


@app.command(epilog="kellgren data folds knees.csv -o folds.json")
def folds(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folds to write, JSON.")],
    count: Annotated[int, typer.Option(min=2, max=50)] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 42,
    by: Annotated[
        Literal["patient", "knee"],
        typer.Option(help="What is dealt; by knee, scores out of fold come out too good."),
    ] = "patient",
    splits: Annotated[
        list[str] | None, typer.Option(help="Only this of train and val; may be repeated.")
    ] = None,
) -> None:
    """Divide the patients into folds, each with the same share of every grade.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.data.manifest import for_training
    from kellgren.data.manifest import index as list_knees

    with needs_train_extra():
        from kellgren.data.splits import leak_warning, make_folds, save_folds

        knees = for_training(list_knees(source), source, splits or ())
        made = make_folds(knees, count, seed, by)
    save_folds(made, output)
    terminal.warn(leak_warning(made, knees))
    dealt = len(made.of_knee or made.of_patient)
    summary = f"{dealt} {made.by}s in {count} folds -> {output}"
    terminal.out.print(summary, markup=False, soft_wrap=True)
    terminal.out.print(f"hash {made.hash}", style="dim")
