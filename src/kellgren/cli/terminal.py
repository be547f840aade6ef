"""Terminal output: tables on standard output, progress and messages on standard error."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kellgren.cli.manners.alike import MOST_ALONE, told_once
from kellgren.cli.manners.knee_table import MOST_ROWS, SIDES, readings_table
from kellgren.cli.manners.measured import elsewhere, joint_spaces, meanings, promises
from kellgren.cli.manners.narrow import fitted
from kellgren.cli.manners.progress_lines import ProgressLines
from kellgren.cli.manners.readings_summary import ReadingsSummary, place
from kellgren.cli.plain_text import without_commands
from kellgren.file_names import shown_name
from kellgren.grades import NOT_NAMED, NOTICE, Grade
from kellgren.grading.bundle import Card, LocalCalibration
from kellgren.reading_schema import ReadingRow

if TYPE_CHECKING:
    from kellgren.batch.locate import LocationRow
    from kellgren.data.audit import Audit
    from kellgren.imaging.search import Skipped

_NAMED = 5  # files of a kind that are skipped
_HEADLINES = {"accuracy": "accuracy", "qwk": "QWK", "macro_f1": "macro-F1", "mae": "MAE"}

_OFF_A_TERMINAL = 200  # columns: a file or pipe has no width, and file names are not broken


class _Console(Console):
    """A console on which no text, such as a file's name, is obeyed."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=without_commands(part.text))


class _Output(_Console):
    """A console that is as wide off a terminal as COLUMNS says, or else wide."""

    @property  # type: ignore[misc]  # rich's can be set, which nobody does here
    def size(self) -> ConsoleDimensions:
        if self.is_terminal:
            return super().size
        columns = os.environ.get("COLUMNS", "")
        width = int(columns) if columns.isdigit() else _OFF_A_TERMINAL
        return ConsoleDimensions(width, super().size.height)


out = _Output(highlight=False)
err = _Console(stderr=True, highlight=False)


def progress(description: str) -> Progress:
    """A bar with count and remaining time on standard error; off a terminal a line now and then."""
    return ProgressLines(
        TextColumn(description + " {task.fields[now]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        doing=description,
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


def warn(message: str) -> None:
    """A warning on standard error; nothing where there is none."""
    if message:
        err.print(message, style="yellow", markup=False, soft_wrap=True)


def note(message: str) -> None:
    """A remark on standard error, word for word."""
    err.print(message, style="dim", markup=False, soft_wrap=True)


def show_readings(rows: Iterable[ReadingRow], *, table: bool = True) -> None:
    """Print graded knees on standard output; what failed, and warnings, on standard error.

    Args:
        rows: of a batch.
        table: off where standard output carries CSV or JSON already.
    """
    summary = ReadingsSummary()
    for row in rows:
        summary.add(row)
    show_summary(summary, table=table)


def show_summary(summary: ReadingsSummary, *, table: bool = True, kept: str = "--csv FILE") -> None:
    """Print what was kept of a batch's rows; as `show_readings`.

    Args:
        summary: of the rows.
        table: as of `show_readings`.
        kept: what holds, or would hold, all that is not shown.
    """
    if summary.graded and table:
        _show_graded(summary, kept)
    for line in summary.warnings.lines():
        err.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)
    if summary.failed:
        err.print(Text(f"\nNot graded: {summary.failed}", style="bold red"))
    for count, first in summary.reasons.groups():
        if count <= MOST_ALONE:
            for image, reason in first:
                err.print(Text(f"  {image}: {reason}"), soft_wrap=True)
            continue
        err.print(Text(f"  {count} times: {first[0][1]}"), soft_wrap=True)
        for image, _ in first:
            err.print(Text(f"    {image}"), soft_wrap=True)
        if count > len(first):
            more = f"    and {count - len(first)} more; {kept} keeps all of them"
            err.print(Text(more), soft_wrap=True)
    if summary.reasons.beyond:
        beyond = f"  {summary.reasons.beyond} more for other reasons; {kept} keeps all"
        err.print(Text(beyond), soft_wrap=True)
    if summary.refused:
        err.print("What is refused is graded all the same with --force.")
    err.print(NOTICE, style="dim")


def _show_warnings(warnings: Iterable[tuple[str, str]]) -> None:
    for line in told_once(warnings):
        err.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)


def show_skipped(skipped: Iterable[Skipped]) -> None:
    """Print on standard error how many files were no radiographs, of which kind, and which."""
    counts: Counter[str] = Counter()
    first: dict[str, list[str]] = {}
    for file in skipped:
        counts[file.why] += 1
        if counts[file.why] <= _NAMED:
            first.setdefault(file.why, []).append(shown_name(file.path))
    for kind, count in counts.items():
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        named = ", ".join(first[kind])
        err.print(Text(f"skipped, {kind}: {count} ({named}{more})"), soft_wrap=True)


def _show_graded(summary: ReadingsSummary, kept: str) -> None:
    out.print(fitted(readings_table(summary.first, out.width), out))
    if summary.graded > MOST_ROWS:
        more = f"... and {summary.graded - MOST_ROWS} more; {kept} keeps all of them"
        out.print(Text(more), soft_wrap=True)
    if summary.graded > 1:
        out.print(f"\n{summary.graded} knees: {summary.grades}", style="dim")
    for calibrated in summary.calibrations:
        out.print(f"Calibrated to local readers: {calibrated}", style="dim", markup=False)
    for line in meanings(summary.kinds):
        out.print(line, style="dim")
    for line in joint_spaces(summary.first if summary.graded <= len(summary.first) else []):
        out.print(Text(line, style="dim"))
    for row in summary.unnamed_first:
        words = f"{row.image}: {NOT_NAMED}: {'; '.join(row.doubts)}"
        err.print(Text(words, style="yellow"), soft_wrap=True)
    if summary.unnamed > len(summary.unnamed_first):
        warn(f"and {summary.unnamed - len(summary.unnamed_first)} more; {kept} gives the reasons")


def show_locations(rows: Sequence[LocationRow], *, table: bool = True) -> None:
    """Print where knees lie on standard output; what was refused, and warnings, on standard error.

    Args:
        rows: of `kellgren.batch.locate.Location`.
        table: off where standard output carries CSV or JSON already.
    """
    from kellgren.batch.locate import KneeLocation

    located = [row for row in rows if isinstance(row, KneeLocation) and not row.note]
    if located and table:
        listing = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("film", "knee", "side", "centre", "width", "angle", "confidence"):
            listing.add_column(column, overflow="fold")
        for row in located[:MOST_ROWS]:
            x, y = row.region.centre
            listing.add_row(
                Text(without_commands(row.image)),
                str(row.knee),
                SIDES[row.side],
                f"{x:.0f}, {y:.0f}",
                f"{row.region.width:.0f}",
                f"{row.region.angle:.0f}",
                f"{row.confidence:.2f}",
            )
        out.print(fitted(listing, out))
    _show_warnings((row.image, warning) for row in located for warning in row.warnings)
    for refused in (row for row in rows if row.note):
        where = place(refused.region) if isinstance(refused, KneeLocation) else ""
        err.print(Text(f"no knee: {refused.image}{where}: {refused.note}"), soft_wrap=True)
    err.print(NOTICE, style="dim")


def show_card(card: Card, checksum: str) -> None:
    """Print the card of a bundle."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for backbone in card.combiner.members:
        networks = [member for member in card.members if member.backbone == backbone]
        member, count = networks[0], len(networks)
        times = f", {count} networks of different folds" if count > 1 else ""
        network = f"{member.architecture} at {member.preprocess.size} pixels"
        table.add_row("member", f"{backbone}: {network}{times}")
        table.add_row("learnt from", member.learnt_from(card.data.folds))
        table.add_row("started from", member.started_from)
        if member.int8 is not None:
            table.add_row("int8", member.int8.check.words)
    if card.storage is not None:
        table.add_row("weights", card.storage.words)
    if card.int8 is not None and len(card.members) > 1:
        table.add_row("int8, vote", card.int8.words)
    data = card.data
    table.add_row("data", f"{data.knees} knees of {data.patients} patients: {data.name}")
    for pictures in data.pictures:
        table.add_row("pictures", pictures.words)
    if data.population:
        table.add_row("population", data.population)
        table.add_row("limits of the data", data.limits)
    table.add_row("credit", ", ".join(dict.fromkeys((data.credit, data.licence))))
    for note in data.notes:
        table.add_row("note", note)
    if len(card.combiner.members) > 1:
        weights = zip(card.combiner.members, card.combiner.weights, strict=True)
        listed = ", ".join(f"{name} {weight:.3f}" for name, weight in weights)
        table.add_row("vote", f"{card.combiner.rule}: {listed}")
    for where, scores in (("", card.out_of_fold), (", paired", card.out_of_fold_paired or {})):
        for key, name in _HEADLINES.items():
            score = scores.get(key)
            if score is not None:
                table.add_row(f"out of fold{where}: {name}", _with_interval(score))
    for row in elsewhere(card):
        table.add_row(*row)
    if card.local_calibration is not None:
        _add_local(table, card.local_calibration)
    for row in promises(card):
        table.add_row(*row)
    table.add_row("looks", "two" if card.one_look is None else card.one_look.words)
    table.add_row("other knee", "is used" if card.both_knees else "is not used")
    table.add_row("grades", card.scale)
    table.add_row("use", card.intended_use)
    table.add_row("checksum", checksum)
    out.print(Text(f"{card.name}, written by kellgren {card.version}", style="bold"))
    out.print(table)


def _add_local(table: Table, local: LocalCalibration) -> None:
    data, shift = local.data, local.shift
    table.add_row("calibrated to", local.words)
    table.add_row("local credit", ", ".join(dict.fromkeys((data.credit, data.licence))))
    table.add_row("local limits", data.limits)
    shifts = ", ".join(f"{number:+.2f}" for number in shift.shifts)
    whole = f"temperature {shift.temperature:.2f}, pull of the mean log-odds {shift.pull:+.2f}"
    table.add_row("thresholds", f"shifted by {shifts}; {whole}")
    for key, name in _HEADLINES.items():
        before, after = (scores.get(key) for scores in (local.before, local.after))
        if before is not None and after is not None and before["value"] is not None:
            told = f"{before['value']:.3f} before, {_with_interval(after)} after"
            table.add_row(f"local knees: {name}", told)


def _with_interval(score: Mapping[str, Any]) -> str:
    """A score of a card with its interval; alone where too few knees were there for one.

    Kappa of knees that all have one grade is undefined.
    """
    if score["value"] is None:
        return "undefined"
    if score["low"] is None:
        return f"{score['value']:.3f}"
    return f"{score['value']:.3f} (95 % CI {score['low']:.3f} to {score['high']:.3f})"


def show_audit(audit: Audit) -> None:
    """Print the findings of `data check`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for grade in Grade:
        table.add_column(f"grade {int(grade)}", justify="right")
    table.add_column("knees", justify="right")
    table.add_column("published", justify="right", style="dim")
    for split, counts in audit.counts.items():
        published = sum(audit.published_counts.get(split, {}).values())
        numbers = [str(counts.get(int(grade), 0)) for grade in Grade]
        table.add_row(split, *numbers, str(sum(counts.values())), str(published or ""))
    out.print(table)
    out.print()
    marks = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "fine": ("✓", "green")}
    for finding in audit.findings:
        mark, style = marks[finding.severity]
        out.print(Text.assemble((mark, style), " ", finding.title))
        for example in finding.examples:
            out.print(Text(f"    {example}", style="dim"))
