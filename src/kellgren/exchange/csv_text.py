"""Tables as people and spreadsheets hand them over, and as spreadsheets may open them safely."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

# What a spreadsheet takes for a formula at the beginning of a cell, behind any number of guards.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
# What data frames and spreadsheets write where nothing is known; `none` is the name of a grade.
_MISSING = frozenset({"NA", "N/A", "#N/A", "NaN", "nan", "<NA>", "NULL", "null"})
_WHOLE = re.compile(r"(\d+)[.,]0*", re.ASCII)
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+?\d+", re.IGNORECASE | re.ASCII)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t"


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A CSV table as one text; see `TableLines`."""
    lines = TableLines(columns)
    return "".join([lines.header, *map(lines.of, rows)])


class TableLines:
    r"""Makes the lines of a CSV table, each with its line feed, for UTF-8.

    Text that a spreadsheet would take for a formula is written behind an apostrophe, numbers as
    they are. Bytes of a file's name that are no UTF-8, lone surrogates in Python, are written like
    ``\udcff``.

    Args:
        columns: of the header.

    Attributes:
        header: the first line.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._line = _Line()
        self._writer = csv.DictWriter(self._line, columns, lineterminator="\r\n")
        self._writer.writeheader()
        self.header = self._line.text

    def of(self, row: Mapping[str, object]) -> str:
        """The line of one row: cells by column; one that is missing or `None` stays empty."""
        self._writer.writerow({name: guarded(cell) for name, cell in row.items()})
        return self._line.text


class _Line:
    """The last line of a writer, which ends it in both characters to quote either in a cell."""

    text = ""

    def write(self, line: str) -> None:
        """Take a line."""
        line = line.removesuffix("\r\n") + "\n"
        self.text = line.encode("utf-8", "backslashreplace").decode("utf-8")


def guarded(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula: text behind an apostrophe, where it must."""
    if isinstance(cell, str) and _FORMULA.match(cell) and not _is_number(cell):
        return f"'{cell}"
    return cell


def unguarded(cell: str) -> str:
    """The cell that was guarded."""
    return cell[1:] if _GUARDED.match(cell) else cell


def cell_text(cell: str | None) -> str:
    """What a cell says, without blanks and guard; nothing where a data frame knew nothing.

    R and pandas write ``NA`` or ``nan``: as the name of a patient, it would make many knees one's.
    """
    text = unguarded((cell or "").strip())
    return "" if text in _MISSING else text


def whole_number(text: str) -> str:
    """A whole number without the decimals that data frames give a column with gaps: ``2.0``.

    Other text stays as it is.
    """
    found = _WHOLE.fullmatch(text)
    return found[1] if found else text


def decoded(content: bytes) -> str:
    """The text of a table: UTF-8 with or without its mark, or UTF-16 with one, as Excel saves it.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    return content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")


def delimiter(text: str) -> str:
    """What separates the columns: comma, semicolon or tab, whichever the first line has most."""
    header = text.lstrip("\r\n").partition("\n")[0]
    return max(_DELIMITERS, key=header.count)


def table_reader(text: str) -> csv.DictReader[str]:
    """A reader of a table whose columns are in lower case; none of them stands there twice.

    Raises:
        csv.Error: a column does: of two cells the last would count.
    """
    lines = io.StringIO(text, newline="")
    reader = csv.DictReader(lines, delimiter=delimiter(text), strict=True)
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise csv.Error(f"line 1: has twice the column {' and the column '.join(twice)}")
    reader.fieldnames = columns
    return reader


def numbered_rows(reader: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the number of its (last) line.

    Raises:
        csv.Error: a quotation mark stays open, which would swallow rows, or a cell stands behind
            the last column, so that those before it may have moved.
    """
    try:
        for row in reader:
            beyond: Sequence[str] = row.pop(None, ())
            if any(cell.strip() for cell in beyond):
                raise csv.Error("has more cells than there are columns")
            yield reader.line_num, row
    except csv.Error as error:
        raise csv.Error(f"line {reader.reader.line_num}: {error}") from None


def rounded_by_spreadsheet(cell: str) -> bool:
    """Whether a name was a number that a spreadsheet has shortened, such as ``1.23E+06``."""
    return _ROUNDED.fullmatch(cell) is not None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
