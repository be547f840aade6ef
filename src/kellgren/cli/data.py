"""`kellgren data`: index, check, folds; `cli/training/pack.py` adds packing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kellgren.imaging.search import Skipped

app = typer.Typer(no_args_is_help=True, help="Tables of graded knees: make, check, divide.")
Source = Annotated[Path, typer.Argument(help="Folder of knees, or a CSV with image and grade.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that holds something else.")]


@app.command(epilog="kellgren data index kneeKL299 -o knees.csv")
def index(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Manifest to write.")],
    force: Force = False,
) -> None:
    """Make a manifest: image, patient, side, grade, split, source."""
    from kellgren.cli import terminal
    from kellgren.cli.inputs import LEAK, nameless_warning, replaceable
    from kellgren.data.audit import count_grades
    from kellgren.data.manifest import index as list_knees
    from kellgren.data.manifest import manifest_text, write_manifest

    skipped: list[Skipped] = []
    knees = list_knees(source, skipped.extend)
    replaceable(output, manifest_text(knees, output), force=force)
    write_manifest(knees, output)
    counts = {split: sum(grades.values()) for split, grades in count_grades(knees).items()}
    by_split = ", ".join(f"{number} {split}" for split, number in counts.items())
    patients = len({knee.patient for knee in knees})
    summary = f"{len(knees)} knees of {patients} patients ({by_split}) -> {output}"
    terminal.out.print(summary, markup=False, soft_wrap=True)
    terminal.show_skipped(skipped)
    terminal.warn(nameless_warning(knees, LEAK))


@app.command(epilog="kellgren data check knees.csv")
def check(
    source: Source,
    json: Annotated[Path | None, typer.Option(help="Write the findings as JSON.")] = None,
) -> None:
    """Check every file; exit code 1 when the data are not fit for training."""
    from json import dumps

    from kellgren.atomic_files import written_whole
    from kellgren.cli import terminal
    from kellgren.cli.inputs import LEAK, nameless_warning, refuse_inputs
    from kellgren.data.audit import audit
    from kellgren.data.manifest import index as list_knees

    refuse_inputs([json], [source], tables=False)
    skipped: list[Skipped] = []
    knees = list_knees(source, skipped.extend)
    with terminal.progress("reading") as bar:
        task = bar.add_task("", total=len(knees), now="")
        findings = audit(knees, lambda done, of: bar.update(task, completed=done))
    terminal.show_audit(findings)
    terminal.show_skipped(skipped)
    terminal.warn(nameless_warning(knees, LEAK))
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
    force: Force = False,
) -> None:
    """Divide the patients into folds, each with the same share of every grade.

    Needs the extra train.
    """
    from kellgren.cli import terminal
    from kellgren.cli.extras import needs_train_extra
    from kellgren.cli.inputs import knees_to_learn_from, replaceable

    with needs_train_extra():
        from kellgren.data.splits import folds_text, leak_warning, make_folds, save_folds

        knees = knees_to_learn_from(source, splits or ())
        made = make_folds(knees, count, seed, by)
    replaceable(output, folds_text(made), force=force)
    save_folds(made, output)
    terminal.warn(leak_warning(made, knees))
    dealt = len(made.of_knee or made.of_patient)
    summary = f"{dealt} {made.by}s in {count} folds -> {output}"
    terminal.out.print(summary, markup=False, soft_wrap=True)
    terminal.out.print(f"hash {made.hash}", style="dim")
