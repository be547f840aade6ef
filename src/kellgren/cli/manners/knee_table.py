"""The table of graded knees: a line a knee, as wide as the screen allows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from kellgren.cli.manners.narrow import NARROW
from kellgren.cli.plain_text import without_commands
from kellgren.explanation.overlay import GRADE_COLOURS
from kellgren.grades import Grade
from kellgren.grading.judgement import set_name
from kellgren.reading_schema import GradedRow

MOST_ROWS = 60
SIDES = {"L": "left", "R": "right", "": "unknown"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ROOMY = 100  # columns from which the bars are drawn wide


def colour_of(grade: int) -> str:
    """The grade's colour, the same in terminal and picture."""
    red, green, blue = GRADE_COLOURS[grade]
    return f"rgb({red},{green},{blue})"


def probability_bar(probabilities: Sequence[float], *, slim: bool = False) -> Text:
    """Five blocks, one per grade, as high as its probability.

    Args:
        probabilities: shape (5,), 0 to 1.
        slim: blocks of one column side by side, in place of two with a gap.
    """
    blocks = [_BLOCKS[max(1, round(p * (len(_BLOCKS) - 1)))] for p in probabilities]
    parts = [(block if slim else block * 2, colour_of(g)) for g, block in enumerate(blocks)]
    return Text("" if slim else " ").join(Text(block, style=colour) for block, colour in parts)


def readings_table(rows: Sequence[GradedRow], width: int) -> Table:
    """One line per knee: file, side, grade with its name, probabilities, set, certainty.

    Args:
        rows: of graded knees.
        width: of the screen, columns; on a slim one bars and headers leave names their place.
    """
    slim = NARROW <= width < _ROOMY
    sets = ", ".join(set_name(level) for level in sorted({row.grade_set.level for row in rows}))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("knee", overflow="fold")
    table.add_column("side", no_wrap=True)
    table.add_column("grade", no_wrap=True)
    table.add_column("01234" if slim else "0  1  2  3  4", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column(sets.replace(" set", "\nset") if slim else sets, justify="center")
    table.add_column("certainty", no_wrap=True)
    for row in rows[:MOST_ROWS]:
        grade = Grade(row.grade)
        low, high = row.grade_set.lowest, row.grade_set.highest
        name = f"{int(grade)} {grade.label}" if row.named else f"not sure ({int(grade)}?)"
        table.add_row(
            Text(without_commands(row.image)),
            SIDES[row.side],
            Text(name, style=f"bold {colour_of(grade)}" if row.named else "dim"),
            probability_bar(row.probabilities, slim=slim),
            f"{row.probabilities[grade]:.0%}",
            str(low) if low == high else f"{low}-{high}",
            row.certainty if row.right_share is None else f"{row.certainty}, {row.right_share:.0%}",
        )
    return table
