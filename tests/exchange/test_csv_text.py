"""Cells that no spreadsheet takes for a formula, and tables as spreadsheets write them."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kellgren.exchange.csv_text import (
    decoded,
    delimiter,
    guarded,
    rounded_by_spreadsheet,
    table_text,
    unguarded,
)

CELLS = st.text(st.sampled_from("'=+-@\t\r1.5e a")) | st.text()


@given(CELLS)
def test_a_guarded_cell_is_no_formula_and_comes_back(cell: str) -> None:
    written = str(guarded(cell))
    assert unguarded(written) == cell
    if written[:1] in tuple("=+-@\t\r"):
        float(written)  # a number, which a spreadsheet may have


@pytest.mark.parametrize("cell", ["-3", "+0.5", "-1e-3", 7, -7.5, None])
def test_numbers_stay_numbers(cell: object) -> None:
    assert guarded(cell) == cell


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(A1).png", "'=HYPERLINK(A1).png"),
        ("+49 1.png", "'+49 1.png"),
        ("-x.png", "'-x.png"),
        ("@a", "'@a"),
        ("'=a", "''=a"),
        ("'a", "'a"),
        ("a=b", "a=b"),
    ],
)
def test_formulas_are_written_behind_an_apostrophe(cell: str, written: str) -> None:
    (row,) = csv.DictReader(io.StringIO(table_text(("image",), [{"image": cell}]), newline=""))
    assert row["image"] == written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_as_any_spreadsheet_saves_it(encoding: str, separator: str) -> None:
    text = separator.join(("image", "grade")) + "\r\n" + separator.join(("knee ä.png", "2"))
    again = decoded(text.encode(encoding))
    assert again == text
    assert delimiter(again) == separator


@pytest.mark.parametrize(
    ("cell", "rounded"),
    [("1.23E+06", True), ("9,00E+06", True), ("9E6", True), ("9001234", False), ("E+06", False)],
)
def test_a_rounded_number_is_told(cell: str, rounded: bool) -> None:
    assert rounded_by_spreadsheet(cell) is rounded
