"""The report of both protocols on disk: page, figures, tables, and all of it as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from kellgren.atomic_files import replaced_whole, written_whole
from kellgren.errors import KellgrenError
from kellgren.evaluation import GradedKnees
from kellgren.evaluation.ranking import curves
from kellgren.evaluation_report import plots
from kellgren.evaluation_report.html_tables import number
from kellgren.explanation.overlay import png_bytes
from kellgren.training.reproduction import paper_figures
from kellgren.training.reproduction.both_ways import ChosenVote
from kellgren.training.reproduction.map_grid import Member, draw_grid, some_knees
from kellgren.training.reproduction.networks_table import SHOWN, Estimates
from kellgren.training.reproduction.paper_page import method, page
from kellgren.training.reproduction.paper_tables import PaperTables
from kellgren.training.selection.out_of_fold import OutOfFold, Run
from kellgren.training.selection.subsets import MEASURES, PAPER_RULES
from kellgren.training.selection.unseen import Unseen

Progress = Callable[[int, int], None]


def write_report(
    tables: PaperTables,
    predictions: OutOfFold,
    unseen: Unseen | None,
    runs: Sequence[Run],
    out: Path,
    *,
    map_knees: int,
    progress: Progress = lambda done, of: None,
) -> str | None:
    """Write ``report.html``, ``report.json``, three tables and seven or eight figures.

    Args:
        tables: all numbers.
        predictions: the out-of-fold predictions that they were made of.
        unseen: test knees, where there are any.
        runs: whose networks draw the maps.
        out: folder; what lies there under the same names is replaced.
        map_knees: how many knees are shown under their maps; 0: none.
        progress: called with how many networks of how many have drawn.

    Returns:
        Why there are no maps, where they were asked for.
    """
    maps, words, failed = _maps(tables, predictions, unseen, runs, map_knees, progress)
    with plots.kept_as_png() as pictures:
        figures = _figures(tables)
    for name, picture in zip(figures, pictures.values(), strict=True):
        _write(picture, out / f"{name}.png")
    if maps is None:
        (out / "maps.png").unlink(missing_ok=True)  # else an older one would pass for this one
    else:
        _write(maps, out / "maps.png")
    _write_table(out / "networks.csv", *_network_rows(tables))
    _write_table(out / "protocols.csv", *_protocol_rows(tables))
    _write_table(out / "subsets.csv", *_subset_rows(tables))
    content = tables.to_dict() | {"method": list(method(tables)), "boxes": _boxes(tables)}
    with written_whole(out / "report.json") as stream:
        stream.write(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with written_whole(out / "report.html") as stream:
        stream.write(page(tables, figures, maps, words))
    return failed


def _figures(tables: PaperTables) -> dict[str, str]:
    figures = {
        "candidates": paper_figures.candidates(tables),
        "protocols": paper_figures.protocols(tables.rows),
    }
    for name, vote in (("paper", tables.theirs), ("honest", tables.honest)):
        of = "chosen in the paper's way" if name == "paper" else "chosen honestly"
        figures[f"confusion-{name}"] = paper_figures.confusion(vote, f"Confusion, {of}")
        figures[f"roc-{name}"], figures[f"pr-{name}"] = _curves(vote, of)
    return figures


def _curves(vote: ChosenVote, of: str) -> tuple[str, str]:
    knees = GradedKnees.checked(
        vote.truth, vote.grades.astype(int), vote.probabilities, range(len(vote.truth))
    )
    drawn = [curves(*finding) for finding in knees.findings()]
    scores = vote.scores
    areas = [row.auc for row in scores.per_grade] + [scores.auc_grade2]
    precisions = [row.average_precision for row in scores.per_grade]
    precisions.append(scores.average_precision_grade2)
    one, two = ([number(it.value) for it in part] for part in (areas, precisions))
    return (
        plots.roc(drawn, one, f"ROC curves, {of}"),
        plots.precision_recall(drawn, two, f"Precision-recall curves, {of}"),
    )


def _maps(
    tables: PaperTables,
    predictions: OutOfFold,
    unseen: Unseen | None,
    runs: Sequence[Run],
    most: int,
    progress: Progress,
) -> tuple[bytes | None, str, str | None]:
    """The grid as a PNG file, what it shows, and why there is none where it was asked for."""
    if not most:
        return None, "No maps were asked for.", None
    knees = predictions.knees if unseen is None else unseen.knees
    chosen = some_knees(tables.honest.truth.tolist(), most)
    rows = [
        (knees[at], 0 if unseen is not None else int(predictions.folds[at]), grade)
        for at, grade in ((at, int(tables.honest.grades[at])) for at in chosen)
    ]
    by_fold = {(run.backbone, run.fold): run for run in runs}
    voting = {name for name, _ in tables.honest.members}
    members = []
    for name, picked in zip(tables.voting, tables.picked, strict=True):
        own: dict[int | None, Run] = {
            fold: run for (backbone, fold), run in by_fold.items() if backbone == name
        }
        if picked is not None:
            own = {None: own[picked.fold]}
        members.append(Member(name, own, name in voting))
    try:
        grid = draw_grid(members, rows, progress)
    except (KellgrenError, OSError) as error:
        return None, f"No maps: {error}", str(error)
    words = (
        f"{len(rows)} knees, each true grade in its turn, chosen by chance. Colour: the positive"
        " evidence of each network for the grade that the honest vote gives the knee"
        " (class-activation map), scaled to its own peak."
        " The number is the network's own grade; a dot marks the networks of the chosen vote, the"
        " mean of whose activations is the ensemble's map."
    )
    return png_bytes(grid), words, None


def _network_rows(tables: PaperTables) -> tuple[list[str], Iterable[list[Any]]]:
    kinds = ("mean", "best", "honest", "optimism")
    header = ["backbone", "size", "best_fold", "honest_fold", *_columns(kinds)]
    return header, [
        [
            *(row.backbone, row.size, row.best.words),
            "any" if row.honest is None else row.honest.words,
            *_numbers(row.mean, row.best.estimates, row.honest_estimates, row.optimism),
        ]
        for row in tables.networks
    ]


def _protocol_rows(tables: PaperTables) -> tuple[list[str], Iterable[list[Any]]]:
    header = ["what", *_columns(("paper", "honest", "optimism"))]
    header += ["paper_choice", "honest_choice", *(f"reported_{measure}" for measure in SHOWN)]
    return header, [
        [
            row.what,
            *_numbers(row.theirs, row.honest, row.optimism),
            *(row.their_choice, row.honest_choice, *(row.reported or ("", ""))),
        ]
        for row in tables.rows
    ]


def _subset_rows(tables: PaperTables) -> tuple[list[str], Iterable[list[Any]]]:
    """Every candidate, best first; of each subset the best rule is marked."""
    scores = {name: tables.subsets.scores(name).round(6) for name in MEASURES}
    header = ["members", "count", "rule", "best_rule_of_subset", *scores]
    if tables.tested:
        header += [f"out_of_fold_{name}" for name in MEASURES]
        scores |= {
            f"out_of_fold_{name}": tables.out_of_fold.scores(name).round(6)  # type: ignore[misc]
            for name in MEASURES
        }
    order = (-scores[tables.measure]).argsort(kind="stable").tolist()
    candidates = tables.subsets.candidates
    seen: set[tuple[int, ...]] = set()
    rows = []
    columns = [values.tolist() for values in scores.values()]
    for at in order:
        members = candidates[at].members
        named = " + ".join(tables.voting[member] for member in members)
        rule = candidates[at].rule if len(members) > 1 else "alone"
        best = "" if members in seen else "yes"
        seen.add(members)
        rows.append([named, len(members), rule, best, *(column[at] for column in columns)])
    return header, rows


def _boxes(tables: PaperTables) -> list[dict[str, Any]]:
    names = ("least", "lower_quartile", "median", "upper_quartile", "largest")
    return [
        {"measure": measure, "rule": rule, "members": members}
        | dict(zip(names, (round(float(it), 6) for it in five), strict=True))
        for measure in SHOWN
        for rule in PAPER_RULES
        for members, five in paper_figures.box_numbers(tables, measure, rule).items()
    ]


def _columns(kinds: Sequence[str]) -> list[str]:
    return [
        f"{kind}_{measure}{end}"
        for kind in kinds
        for measure in SHOWN
        for end in ("", "_low", "_high")
    ]


def _numbers(*kinds: Estimates | None) -> list[Any]:
    numbers: list[Any] = []
    for estimates in kinds:
        for measure in SHOWN:
            ends = {} if estimates is None else estimates[measure].to_dict()
            for name in ("value", "low", "high"):
                end = ends.get(name)
                numbers.append("" if end is None else round(float(end), 6))
    return numbers


def _write(content: bytes, path: Path) -> None:
    with replaced_whole(path) as temporary:
        temporary.write_bytes(content)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with written_whole(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
