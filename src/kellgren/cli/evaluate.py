"""`kellgren evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kellgren.data.matching import Label
    from kellgren.ensemble import Ensemble
    from kellgren.evaluation import BandScore, Comparison, MatchedKnees, Scores, Selective
    from kellgren.evaluation_report import Case, MapTest
    from kellgren.imaging.search import Skipped

EXAMPLES = (
    "kellgren evaluate grades.csv --labels knees.csv --json scores.json · "
    "kellgren evaluate grades.csv --labels knees.csv --html report.html --against others.csv"
)

MapKnees = Annotated[
    int,
    typer.Option(min=0, help="Knees on which the report tests the maps by blurring; 0: no test."),
]


@dataclass(frozen=True)
class _Resampling:
    resamples: int
    seed: int


@dataclass(frozen=True)
class _Evaluated:
    """The scores of a table, and their comparison with another table where one is given."""

    name: str
    other: str
    matched: MatchedKnees
    scores: Scores
    certainty_scores: tuple[BandScore, ...]
    selective: Selective
    comparison: Comparison | None

    def to_dict(self) -> dict[str, object]:
        return {
            **self.scores.to_dict(),
            "certainty": [band.to_dict() for band in self.certainty_scores],
            "naming": self.selective.to_dict(),
            "coverage": self.matched.coverage.to_dict(),
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
        }


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Table with image and grade, and p0 to p4 if there are any.")
    ],
    labels: Annotated[
        Path, typer.Option(help="Manifest, or folder with a folder per grade: the true grades.")
    ],
    json: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a report as one self-contained HTML file; with the extra report."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another table of the same knees, to compare with.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            envvar="KELLGREN_MODEL", help="Bundle that draws the maps of the report's worst cases."
        ),
    ] = None,
    map_knees: MapKnees = 5,
    resamples: Annotated[
        int,
        typer.Option(
            min=100, max=100_000, help="Resamples of patients for the intervals; and permutations."
        ),
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of resampling and permutations.")] = 42,
) -> None:
    """Score predicted grades against true ones, each metric with its 95 % interval."""
    from kellgren.cli import terminal
    from kellgren.cli.inputs import refuse_inputs
    from kellgren.cli.manners.narrow import all_fitted
    from kellgren.cli.score_tables import render

    refuse_inputs((json, html), (predictions, labels, against), tables=False)
    ensemble = None if html is None else _ensemble(model)
    truth = _labels(labels)
    evaluated = _evaluated(predictions, against, truth, _Resampling(resamples, seed))
    tables = render(
        evaluated.scores,
        evaluated.matched.coverage,
        evaluated.comparison,
        evaluated.selective,
    )
    terminal.out.print(all_fitted(tables, terminal.out))
    if json is not None:
        _write(dumps(evaluated.to_dict(), indent=2, allow_nan=False) + "\n", json)
    if html is not None and ensemble is not None:
        cases, maps = _cases_and_maps(evaluated.matched, truth, ensemble, map_knees, seed)
        _write(_page(evaluated, cases, maps, ensemble.model["name"]), html)


def _evaluated(
    predictions: Path, against: Path | None, truth: list[Label], resampling: _Resampling
) -> _Evaluated:
    from kellgren.cli import terminal
    from kellgren.evaluation import compare_matched

    matched = _matched(predictions, truth)
    comparison = None
    if against is not None:
        other = _matched(against, truth)
        terminal.note(f"{against}: {other.coverage}")
        comparison = compare_matched(
            matched,
            other,
            permutations=resampling.resamples,
            resamples=resampling.resamples,
            seed=resampling.seed,
        )
    name, other_name = predictions.name, "" if against is None else against.name
    scores = _scores(matched, resampling)
    words = _certainty_scores(matched, resampling)
    return _Evaluated(
        name, other_name, matched, scores, words, _selective(matched, resampling), comparison
    )


def _ensemble(model: Path | None) -> Ensemble:
    """The ensemble for the worst cases' maps; opened before scoring, which takes long.

    Raises:
        BundleError: the bundle is missing or damaged.
        MissingExtra: matplotlib is not installed.
    """
    from kellgren.cli.extras import needs_report_extra
    from kellgren.ensemble import Ensemble
    from kellgren.grading.bundle import default_bundle

    with needs_report_extra():
        import kellgren.evaluation_report  # noqa: F401
    return Ensemble.open(model or default_bundle(), joint_space=False)


def _cases_and_maps(
    matched: MatchedKnees, labels: list[Label], ensemble: Ensemble, map_knees: int, seed: int
) -> tuple[list[Case], MapTest | None]:
    """The worst cases, and the test of the maps: both read pictures again."""
    from kellgren.cli import terminal
    from kellgren.evaluation_report import graded_by_another, map_test, worst_cases

    with terminal.progress("reading the worst cases") as bar:
        bar.add_task("", total=None, now="")
        cases = worst_cases(matched, labels, ensemble)
    if another := graded_by_another(cases):
        terminal.warn(f"warning: {another}")
    if not map_knees:
        return cases, None
    with terminal.progress("blurring knees to test the maps") as bar:
        task = bar.add_task("", total=min(map_knees, len(matched.truth)), now="")
        one_done = partial(bar.advance, task)
        maps = map_test(matched, labels, ensemble, most=map_knees, seed=seed, one_done=one_done)
    return cases, maps


def _page(evaluated: _Evaluated, cases: list[Case], maps: MapTest | None, model: str) -> str:
    from kellgren.evaluation import GradedKnees
    from kellgren.evaluation_report import Report, html_page

    matched = evaluated.matched
    report = Report(
        name=evaluated.name,
        scores=evaluated.scores,
        coverage=matched.coverage,
        knees=GradedKnees.checked(
            matched.truth, matched.predicted, matched.probabilities, matched.patients
        ),
        words=evaluated.certainty_scores,
        selective=evaluated.selective,
        cases=cases,
        model=f"model {model}",
        map_test=maps,
        comparison=evaluated.comparison,
        other=evaluated.other,
    )
    return html_page(report)


def _labels(source: Path) -> list[Label]:
    from kellgren.cli import terminal
    from kellgren.cli.inputs import nameless_warning, own_grades_warning
    from kellgren.data.manifest import index
    from kellgren.data.matching import Label

    skipped: list[Skipped] = []
    knees = index(source, skipped.extend)
    terminal.show_skipped(skipped)
    terminal.warn(own_grades_warning(source))
    terminal.warn(nameless_warning(knees, "intervals may come out too narrow"))
    return [
        Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
        for knee in knees
        if knee.grade is not None
    ]


def _matched(table: Path, labels: list[Label]) -> MatchedKnees:
    from kellgren.data.matching import match
    from kellgren.data.predictions import read_predictions

    return match(read_predictions(table), labels)


def _scores(matched: MatchedKnees, resampling: _Resampling) -> Scores:
    from kellgren.evaluation import score

    return score(
        matched.truth,
        matched.predicted,
        matched.probabilities,
        matched.patients,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )


def _selective(matched: MatchedKnees, resampling: _Resampling) -> Selective:
    """How right the named grades are, and what the doubt about the others is worth."""
    import numpy as np

    from kellgren.evaluation import selective

    return selective(
        matched.truth,
        matched.predicted,
        matched.probabilities,
        np.ones(len(matched.truth), np.bool_) if matched.named is None else matched.named,
        matched.patients,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )


def _certainty_scores(matched: MatchedKnees, resampling: _Resampling) -> tuple[BandScore, ...]:
    """The accuracy at each level of certainty, the highest first.

    By the table's words, which unusual detail of a picture lowers; else by the probabilities.
    """
    from kellgren.evaluation import score_words
    from kellgren.grading.calibration import CERTAINTY_WORDS, certainty

    if matched.probabilities is None:
        return ()
    order = [word for word, _ in CERTAINTY_WORDS]
    levels = matched.words
    if not levels or not {*levels} <= {*order}:
        levels = tuple(certainty(shares) for shares in matched.probabilities)
    scores = score_words(
        matched.truth,
        matched.predicted,
        levels,
        matched.patients,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    return tuple(sorted(scores, key=lambda band: order.index(band.word)))


def _write(text: str, path: Path) -> None:
    from kellgren.atomic_files import written_whole
    from kellgren.cli import terminal

    with written_whole(path) as stream:
        stream.write(text)
    terminal.note(f"written: {path}")
