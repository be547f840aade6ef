"""`kellgren bench`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.exit_codes import ExitCode
from kellgren.cli.inputs import Fast, ModelFolder

if TYPE_CHECKING:
    from kellgren.engine_choice.engine_candidates import EngineChoice
    from kellgren.engine_choice.measuring import Measured
    from kellgren.grading.bundle import Bundle

EXAMPLES = "kellgren bench --remember · kellgren bench --images study --json bench.json"

MOST_FILMS = 1000
"""Of a folder: more of them make no engine faster, and an archive would be graded for days."""


def bench(
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of knee radiographs to grade, in place of the ten examples."),
    ] = None,
    model: ModelFolder = None,
    fast: Fast = False,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Files at a time; 0: one, half the cores, and all.")
    ] = 0,
    passes: Annotated[
        int, typer.Option(min=1, max=100, help="Times that all films are graded; the best counts.")
    ] = 2,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write it as JSON too; - prints that alone.")
    ] = None,
    remember: Annotated[
        bool, typer.Option("--remember", help="Let grade use the fastest from now on.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Let grade use ONNX Runtime again, and stop.")
    ] = False,
) -> None:
    """Measure which engine grades fastest on this machine, and whether its grades agree.

    Each grades the same films, as grade does many: each worker but the first is a process, whose
    start is not counted. The reference is ONNX Runtime in fp32;
    another engine is called the fastest only if at least 99.5 % of its grades are the reference's.
    """
    from kellgren.cli import terminal
    from kellgren.cli.benching.bench_table import document, show
    from kellgren.cli.inputs import chosen_bundle, refuse_inputs
    from kellgren.engine_choice.measuring import fastest
    from kellgren.engine_choice.remembered import remember as keep
    from kellgren.grading.bundle import open_bundle

    if remember and forget:
        raise typer.BadParameter("--remember and --forget exclude each other")
    bundle = open_bundle(chosen_bundle(model, fast))
    if forget:
        _forget(bundle)
        return
    films = _films(images)
    refuse_inputs([json], films)
    measured = _measured(bundle, films, workers, passes, joint_space=not fast)
    best = fastest(measured)
    if remember:
        keep(bundle.checksum, best, measured[0])
    if str(json) != "-":
        show(measured, best)
        terminal.note(
            f"remembered for {bundle.card.name} on this machine"
            if remember
            else "kellgren bench --remember lets kellgren grade use it"
        )
    if json is not None:
        _write(document(bundle, measured, best, remembered=remember), json)


def _forget(bundle: Bundle) -> None:
    from kellgren.cli import terminal
    from kellgren.engine_choice.remembered import forget

    found = forget(bundle.checksum)
    name = bundle.card.name
    terminal.note(f"forgotten: the engine for {name}" if found else f"none remembered for {name}")


def _films(folder: Path | None) -> list[Path]:
    """The files to grade: of a folder, or the examples that come with the package."""
    from kellgren.batch.collecting import Found, found_files
    from kellgren.cli import terminal

    if folder is None:
        from importlib import resources

        examples = Path(str(resources.files("kellgren"))) / "web" / "static" / "atlas"
        return sorted(examples.glob("*.png"))
    found = (Path(file.path) for file in found_files([str(folder)]) if isinstance(file, Found))
    films = list(islice(found, MOST_FILMS + 1))
    if not films:
        terminal.err.print("No PNG, JPEG, TIFF or DICOM files found there.", style="bold red")
        raise typer.Exit(ExitCode.NOTHING_GRADED)
    if len(films) > MOST_FILMS:
        terminal.note(f"the first {MOST_FILMS} films of {folder} are graded")
    return films[:MOST_FILMS]


def _measured(
    bundle: Bundle, films: list[Path], workers: int, passes: int, *, joint_space: bool
) -> list[Measured]:
    from kellgren.cli import terminal
    from kellgren.cli.inputs import cores
    from kellgren.engine_choice.engine_candidates import candidates
    from kellgren.engine_choice.measuring import measure_each

    choices: list[EngineChoice] = candidates(cores())
    if workers:
        choices = [choice.model_copy(update={"workers": workers}) for choice in choices]
        choices = list(dict.fromkeys(choices))
    with terminal.progress("measuring") as bar:
        task = bar.add_task("", total=len(choices), now=choices[0].words)

        def told(measured: Measured) -> None:
            done = choices.index(measured.choice) + 1
            following = choices[done].words if done < len(choices) else ""
            bar.update(task, completed=done, now=following)

        return measure_each(
            bundle, films, choices, joint_space=joint_space, passes=passes, on_measured=told
        )


def _write(text: str, path: Path) -> None:
    from kellgren.atomic_files import written_whole

    if str(path) == "-":
        typer.echo(text, nl=False)
        return
    with written_whole(path) as stream:
        stream.write(text)
