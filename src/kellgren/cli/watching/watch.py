"""`kellgren watch`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kellgren.grading.bundle import Bundle
    from kellgren.shift.sample import Sample, WatchedKnees
    from kellgren.shift.two_samples import Shift

EXAMPLES = (
    "kellgren watch july.csv --reference june.csv · "
    "kellgren watch films --html shift.html · "
    'kellgren watch first.json --write-reference ours.json --data-name "Our clinic, spring 2026"'
)


Readings = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="A table or document that grade wrote (.csv, .csv.gz, .json), or pictures.",
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        help="Compare with this table or document of grade, such as of earlier months, or with "
        "what --write-reference wrote; default: the held-out knees of the package's bundle."
    ),
]
FalseAlarms = Annotated[
    float,
    typer.Option(
        min=0.005, max=0.2, help="Rate at which changes may be noticed where there are none."
    ),
]


@dataclass(frozen=True)
class _Written:
    """Where the result goes."""

    json: Path | None
    html: Path | None
    picture: Path | None


def watch(
    readings: Readings,
    reference: Reference = None,
    model: Annotated[
        Path | None, typer.Option(envvar="KELLGREN_MODEL", help="Bundle that grades, or graded.")
    ] = None,
    false_alarms: FalseAlarms = 0.05,
    json: Annotated[Path | None, typer.Option(help="Write the result; - prints it.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page of the distributions; with the extra report."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write the distributions as PNG; with the extra report.")
    ] = None,
    write_reference: Annotated[
        Path | None,
        typer.Option(help="Keep the readings as a reference, without names; compare nothing."),
    ] = None,
    data_name: Annotated[
        str, typer.Option(help="Whose knees they are, for --write-reference.")
    ] = "not stated",
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Files graded at the same time; 0: one per core.")
    ] = 0,
) -> None:
    """Tell whether grades, certainty or pictures changed; ends with 1 where they did."""
    from kellgren.cli.inputs import refuse_inputs
    from kellgren.cli.watching.read import check_number, earlier, later
    from kellgren.grading.bundle import default_bundle, open_bundle
    from kellgren.shift.sample import one_per_patient
    from kellgren.shift.two_samples import compare

    written = (json, html, picture, write_reference)
    refuse_inputs(written, (*readings, reference), tables=False)
    _check_report_extra(html, picture)
    bundle = open_bundle(model or default_bundle())
    now = later(readings, bundle, workers)
    if write_reference is not None:
        _keep(now.knees, bundle, data_name, write_reference)
        return
    before = earlier(reference, now, bundle)
    sample = one_per_patient(now.knees)
    check_number(sample, before, now.knees.refused)
    shift = compare(sample, before, false_alarms=false_alarms)
    _show(readings[0], shift, sample, before, _Written(json, html, picture))
    raise typer.Exit(ExitCode.of_check(not shift.noticed))


def _check_report_extra(*pages: Path | None) -> None:
    """Tell of a missing library before the grading, which takes minutes."""
    from kellgren.cli.extras import needs_report_extra

    if any(page is not None for page in pages):
        with needs_report_extra():
            import kellgren.shift.shift_page  # noqa: F401


def _keep(knees: WatchedKnees, bundle: Bundle, words: str, path: Path) -> None:
    from kellgren.cli import terminal
    from kellgren.shift.reference import reference_of, write_reference

    kept = reference_of(knees, bundle.card, words)
    write_reference(kept, path)
    terminal.note(f"written: {path}, one knee of each of {kept.patients} patients")


def _show(source: str, shift: Shift, now: Sample, before: Sample, to: _Written) -> None:
    from kellgren.atomic_files import replaced_whole, written_whole
    from kellgren.cli import terminal
    from kellgren.cli.watching.shift_shown import json_text, show_shift

    if to.html is not None or to.picture is not None:
        from kellgren.shift.shift_page import page_and_picture

        page, picture = page_and_picture(Path(source).name, shift, now, before)
        if to.html is not None:
            with written_whole(to.html) as stream:
                stream.write(page)
        if to.picture is not None:
            with replaced_whole(to.picture) as temporary:
                temporary.write_bytes(picture)
    if str(to.json) == "-":
        typer.echo(json_text(shift), nl=False)
    else:
        show_shift(shift)
        if to.json is not None:
            with written_whole(to.json) as stream:
                stream.write(json_text(shift))
    kept = [str(it) for it in (to.json, to.html, to.picture) if it is not None and str(it) != "-"]
    if kept:
        terminal.note(f"written: {', '.join(kept)}")
