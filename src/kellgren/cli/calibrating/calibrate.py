"""`kellgren calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kellgren.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kellgren.ensemble import Ensemble
    from kellgren.grading.bundle import Bundle
    from kellgren.grading.grade_sets import GradeSets
    from kellgren.local_calibration.estimate import LocalEstimate
    from kellgren.local_calibration.learning_curve import LearningCurve

EXAMPLES = (
    'kellgren calibrate knees --labels local.csv --data-name "Our clinic 2026" -o my-bundle · '
    "kellgren grade new-knees --model my-bundle"
)


def calibrate(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures as for grade, or one JSON document that grade --json wrote of them.",
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(help="Manifest, or folder with a folder per grade: your readers' grades."),
    ],
    data_name: Annotated[str, typer.Option(help="Name of your data, as every reading states it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the bundle.")],
    licence: Annotated[str, typer.Option(help="Of your data.")] = "not stated",
    credit: Annotated[str, typer.Option(help="Whom to cite for your data.")] = "not stated",
    limits: Annotated[str, typer.Option(help="What your data do not cover.")] = "not stated",
    model: Annotated[
        Path | None,
        typer.Option(envvar="KELLGREN_MODEL", help="Bundle to calibrate; default: the package's."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report as one HTML file; with the extra report.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for the report's plots as PNG; with --html.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=64, help="Files graded at the same time; 0: one per core.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of parts, draws and resamples.")] = 42,
) -> None:
    """Fit a bundle to your own readers' grades, and tell on other patients what that brings."""
    from kellgren.cli import terminal
    from kellgren.cli.calibrating.local_knees import graded_knees, read_labels
    from kellgren.cli.calibrating.shown import show_estimate
    from kellgren.cli.inputs import refuse_inputs
    from kellgren.local_calibration.estimate import estimate
    from kellgren.local_calibration.learning_curve import learning_curve

    refuse_inputs((html,), (labels, *pictures), tables=False)
    _check(output, data_name, html, plots)
    ensemble = _ensemble(model, html)
    knees = graded_knees(pictures, read_labels(labels), ensemble, workers)
    assert knees.probabilities is not None
    local = (knees.probabilities, knees.truth, knees.patients)
    made = estimate(*local, seed=seed)
    curve = learning_curve(*local, seed=seed)
    show_estimate(knees.coverage, made, curve)
    sets = _sets(made, ensemble.bundle)
    if html is not None:
        _write_report(data_name, made, curve, sets, html, plots)
    if sets is None:
        terminal.err.print("No bundle is written.", style="bold red")
        raise typer.Exit(ExitCode.SOME_FAILED)
    _write_bundle(ensemble.bundle, made, sets, (data_name, licence, credit, limits), output)


def _check(output: Path, data_name: str, html: Path | None, plots: Path | None) -> None:
    """Refuse before the grading, which takes minutes, what would fail after it."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise typer.BadParameter(f"{output} is not empty; name a new folder for the bundle")
    if not data_name.strip() or len(data_name) > 60:
        raise typer.BadParameter("--data-name must have 1 to 60 characters")
    if plots is not None and html is None:
        raise typer.BadParameter("--plots needs --html")


def _ensemble(model: Path | None, html: Path | None) -> Ensemble:
    from kellgren.cli.extras import needs_report_extra
    from kellgren.ensemble import Ensemble
    from kellgren.grading.bundle import default_bundle
    from kellgren.local_calibration.calibrated_bundle import check_uncalibrated

    if html is not None:
        with needs_report_extra():
            import kellgren.local_calibration.report  # noqa: F401
    ensemble = Ensemble.open(model or default_bundle(), threads=1, joint_space=False)
    check_uncalibrated(ensemble.bundle)
    return ensemble


def _sets(made: LocalEstimate, bundle: Bundle) -> GradeSets | None:
    """Grade sets of the local knees; ``None`` where nothing is to be changed."""
    from kellgren.local_calibration.local_sets import local_grade_sets

    if made.fit.verdict != "calibrated":
        return None
    return local_grade_sets(made.after, made.truth, made.patients, bundle.card.grade_sets)


def _write_report(
    name: str,
    made: LocalEstimate,
    curve: LearningCurve,
    sets: GradeSets | None,
    html: Path,
    plots: Path | None,
) -> None:
    from kellgren.atomic_files import replaced_whole, written_whole
    from kellgren.cli import terminal
    from kellgren.evaluation_report.plots import kept_as_png
    from kellgren.local_calibration.report import html_page

    with kept_as_png() as pictures:
        page = html_page(name, made, curve, sets)
    with written_whole(html) as stream:
        stream.write(page)
    terminal.note(f"written: {html}")
    if plots is None:
        return
    for title, png in pictures.items():
        target = plots / f"{title.lower().replace(' ', '-')}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with replaced_whole(target) as temporary:
            temporary.write_bytes(png)
        terminal.note(f"written: {target}")


def _write_bundle(
    bundle: Bundle,
    made: LocalEstimate,
    sets: GradeSets,
    named: tuple[str, str, str, str],
    output: Path,
) -> None:
    from kellgren.cli import terminal
    from kellgren.local_calibration.calibrated_bundle import (
        LocalNames,
        calibrated_card,
        write_calibrated,
    )

    card = calibrated_card(bundle, made, sets, LocalNames(*named))
    written = write_calibrated(bundle, card, output)
    terminal.note(f"written: {output}, bundle {written.checksum[:8]}; use it with --model {output}")
