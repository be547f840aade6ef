"""`kellgren evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kellgren.data.matching import Label
    from kellgren.ensemble import Ensemble
    from kellgren.evaluation import BandScore, Comparison, MatchedKnees, Scores
    from kellgren.evaluation_report import Case, MapTest

EXAMPLES = (
    "kellgren evaluate grades.csv --labels knees.csv --json scores.json · "
    "kellgren evaluate grades.csv --labels knees.csv --html report.html --against others.csv"
)

MapKnees = Annotated[
    int,
    typer.Option(
        min=0, help="On how many knees the report tries whether the maps matter; 0: none."
    ),
]


@dataclass(frozen=True)
class _Evaluated:
    """A table scored, and compared with another one where there is one."""

    name: str
    other: str
    matched: MatchedKnees
    scores: Scores
    words: tuple[BandScore, ...]
    comparison: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.scores.to_dict(),
            "certainty": [word.to_dict() for word in self.words],
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
        Path | None, typer.Option(help="Write a report as one self-contained HTML file.")
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
            min=100, max=100_000, help="Of patients, for the intervals; and permutations."
        ),
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of resampling and permutations.")] = 42,
) -> None:
    """Score predicted grades against true ones, each metric with its 95 % interval."""
    from kellgren.cli import terminal
    from kellgren.cli.score_tables import render

    ensemble = None if html is None else _ensemble(model)
    _refuse_folders(json, html)
    truth = _labels(labels)
    found = _evaluated(predictions, against, truth, {"resamples": resamples, "seed": seed})
    terminal.out.print(render(found.scores, found.matched.coverage, found.comparison))
    if json is not None:
        _write(dumps(found.to_dict(), indent=2, allow_nan=False) + "\n", json)
    if html is not None and ensemble is not None:
        cases, maps = _looked_at(found.matched, truth, ensemble, map_knees, seed)
        _write(_page(found, cases, maps, ensemble.model["name"]), html)


def _evaluated(
    predictions: Path, against: Path | None, truth: list[Label], chance: dict[str, Any]
) -> _Evaluated:
    from kellgren.evaluation import compare_matched

    matched = _matched(predictions, truth)
    scores, words, comparison = _scores(matched, chance), _words(matched, chance), None
    if against is not None:
        other = _matched(against, truth)
        comparison = compare_matched(matched, other, permutations=chance["resamples"], **chance)
    name, other_name = predictions.name, "" if against is None else against.name
    return _Evaluated(name, other_name, matched, scores, words, comparison)


def _ensemble(model: Path | None) -> Ensemble:
    """What draws the worst cases' maps; looked for first, as is matplotlib: scoring takes a while.

    Raises:
        BundleError: the bundle is missing or damaged.
        MissingExtra: matplotlib is not installed.
    """
    from kellgren.cli.extras import needs_report_extra
    from kellgren.ensemble import Ensemble
    from kellgren.grading.bundle import default_bundle

    with needs_report_extra():
        import kellgren.evaluation_report  # noqa: F401
    return Ensemble.open(model or default_bundle())


def _refuse_folders(*written: Path | None) -> None:
    for path in written:
        if path is not None and path.is_dir():
            raise typer.BadParameter(f"{path} is a folder; name a file in it")


def _looked_at(
    matched: MatchedKnees, labels: list[Label], ensemble: Ensemble, map_knees: int, seed: int
) -> tuple[list[Case], MapTest | None]:
    """The worst knees, and the test of the maps: all for which pictures are read again."""
    from kellgren.cli import terminal
    from kellgren.evaluation_report import map_test, worst_cases

    with terminal.progress("looking at the worst cases") as bar:
        bar.add_task("", total=None, now="")
        cases = worst_cases(matched, labels, ensemble)
    if not map_knees:
        return cases, None
    with terminal.progress("blurring knees to test the maps") as bar:
        task = bar.add_task("", total=min(map_knees, len(matched.truth)), now="")
        one_done = partial(bar.advance, task)
        maps = map_test(matched, labels, ensemble, most=map_knees, seed=seed, one_done=one_done)
    return cases, maps


def _page(found: _Evaluated, cases: list[Case], maps: MapTest | None, model: str) -> str:
    from kellgren.evaluation import GradedKnees
    from kellgren.evaluation_report import Report, html_page

    matched = found.matched
    report = Report(
        name=found.name,
        scores=found.scores,
        coverage=matched.coverage,
        knees=GradedKnees.checked(
            matched.truth, matched.predicted, matched.probabilities, matched.patients
        ),
        words=found.words,
        cases=cases,
        model=f"model {model}",
        map_test=maps,
        comparison=found.comparison,
        other=found.other,
    )
    return html_page(report)


def _labels(source: Path) -> list[Label]:
    from kellgren.data.manifest import index
    from kellgren.data.matching import Label

    return [
        Label(str(knee.image), knee.patient, int(knee.grade), knee.side)
        for knee in index(source)
        if knee.grade is not None
    ]


def _matched(table: Path, labels: list[Label]) -> MatchedKnees:
    from kellgren.data.matching import match
    from kellgren.data.predictions import read_predictions

    return match(read_predictions(table), labels)


def _scores(matched: MatchedKnees, chance: dict[str, Any]) -> Scores:
    from kellgren.evaluation import score

    return score(
        matched.truth, matched.predicted, matched.probabilities, matched.patients, **chance
    )


def _words(matched: MatchedKnees, chance: dict[str, Any]) -> tuple[BandScore, ...]:
    """How often each of our words for certainty is right, the surest first."""
    from kellgren.evaluation import score_words
    from kellgren.grading.calibration import CERTAINTY_WORDS, certainty

    if matched.probabilities is None:
        return ()
    words = [certainty(shares) for shares in matched.probabilities]
    order = [word for word, _ in CERTAINTY_WORDS]
    found = score_words(matched.truth, matched.predicted, words, matched.patients, **chance)
    return tuple(sorted(found, key=lambda band: order.index(band.word)))


def _write(text: str, path: Path) -> None:
    from kellgren.atomic_files import written_whole
    from kellgren.cli import terminal

    with written_whole(path) as stream:
        stream.write(text)
    terminal.err.print(f"written: {path}", style="dim", markup=False, soft_wrap=True)
