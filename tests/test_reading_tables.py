"""Rows that go to CSV, JSON and the journal come back whole, whatever the files are called."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.batch import locate
from kellgren.batch.journal import Journal
from kellgren.exchange.csv_text import unguarded
from kellgren.reading_schema import (
    READING_ROW,
    GradedRow,
    ModelRecord,
    ReadingRow,
    ReadingsDocument,
    UngradedRow,
)
from kellgren.reading_tables import (
    COLUMNS,
    CsvTable,
    JsonDocument,
    csv_text,
    json_text,
)

MODEL = ModelRecord.model_validate(
    {
        **{"software": "kellgren 0.1.0", "name": "tiny", "checksum": "0" * 64},
        **{"engine": "onnxruntime", "precision": "fp32", "mirror": "off", "other_knee": "off"},
    }
)
WORDS = ("none", "doubtful", "minimal", "moderate", "severe")
ANY_TEXT = st.text(max_size=12)  # quotes, commas, line ends, control characters
ODD_NAMES = (
    *("a,b.png", 'say "no".png', "two\nlines.png", "carriage\rreturn.png", "both\r\n.png"),
    *(" spaces .png", "=SUM(A1).png", "Köln/Röntgen.png", "膝\u2028.png", "-"),
)


@st.composite
def graded_rows(draw: st.DrawFn) -> GradedRow:
    low, grade, high = sorted(draw(st.tuples(*[st.integers(0, 4)] * 3)))
    counts = draw(st.lists(st.integers(0, 10**6), min_size=5, max_size=5))
    content: dict[str, Any] = {
        "image": draw(st.one_of(ANY_TEXT, st.sampled_from(ODD_NAMES))),
        "side": draw(st.sampled_from(("L", "R", ""))),
        **{"grade": grade, "name": WORDS[grade]},
        "named": draw(st.booleans()),
        "doubts": draw(st.lists(ANY_TEXT, max_size=2)),
        "right_share": draw(st.none() | st.floats(0, 1)),
        "disagreement": draw(st.none() | st.floats(0, 1)),
        "grade_set": {"lowest": low, "highest": high, "level": 0.9, "coverage": 0.901},
        "probabilities": [count / 10**6 for count in counts],
        "certainty": draw(st.sampled_from(("high", "moderate", "low"))),
        "warnings": draw(st.lists(ANY_TEXT, max_size=2)),
        "mm_per_pixel": draw(st.none() | st.floats(0.01, 5)),
        "region": draw(st.none() | st.just({"centre": [1.5, 2.0], "width": 99.5, "angle": -3.0})),
        "read_with": draw(st.none() | ANY_TEXT),
        "checks": [],
        **{"model": MODEL, "note": ""},
    }
    patient = draw(st.sampled_from((None, "", "0" * 32)))
    return GradedRow.model_validate(content | ({} if patient is None else {"patient": patient}))


ungraded_rows = st.builds(
    UngradedRow,
    image=ANY_TEXT | st.sampled_from(ODD_NAMES),
    side=st.just(""),
    grade=st.none(),
    note=ANY_TEXT,
)
any_rows = st.lists(graded_rows() | ungraded_rows, max_size=4)


def shown(value: object) -> str:
    return "" if value is None else str(value)


@settings(deadline=None, max_examples=40)
@given(any_rows)
def test_a_csv_holds_every_row_as_it_is(rows: list[ReadingRow]) -> None:
    table = list(csv.DictReader(io.StringIO(csv_text(rows), newline="")))
    assert len(table) == len(rows)
    for written, row in zip(table, rows, strict=True):
        assert tuple(written) == COLUMNS
        cells = {name: unguarded(cell) for name, cell in written.items()}
        for name in ("image", "side", "patient"):
            assert cells[name] == shown(getattr(row, name))
        if isinstance(row, GradedRow):
            assert tuple(float(cells[f"p{n}"]) for n in range(5)) == row.probabilities
            held = row.grade_set
            assert (int(cells["set_low"]), int(cells["set_high"])) == (held.lowest, held.highest)
            assert (cells["set_level"], cells["certainty"]) == ("0.9", row.certainty)
            assert int(cells["most_probable"]) == row.grade
            named = (str(row.grade), row.name, "")
            unnamed = ("", "", "not sure enough to name a grade")
            said = (cells["grade"], cells["name"], cells["note"])
            assert said == (named if row.named else unnamed)
            assert cells["doubts"] == "; ".join(row.doubts)
            for name in ("right_share", "disagreement"):
                number = getattr(row, name)
                assert cells[name] == ("" if number is None else f"{number:.4f}")
            assert cells["warnings"] == "; ".join(row.warnings)
            assert cells["read_with"] == shown(row.read_with)
        else:
            assert (cells["grade"], cells["note"]) == ("", row.note)
            empty = ("p0", "p4", "name", "set_low", "most_probable", "warnings")
            assert {cells[name] for name in empty} == {""}


@settings(deadline=None, max_examples=40)
@given(any_rows)
def test_a_json_document_gives_back_the_rows(rows: list[ReadingRow]) -> None:
    document = json.loads(json_text(rows, MODEL))
    assert ReadingsDocument.model_validate(document).model == MODEL
    again = [
        READING_ROW.validate_python(
            entry if entry["grade"] is None else entry | {"model": document["model"]}
        )
        for entry in document["readings"]
    ]
    assert again == rows


@settings(deadline=None, max_examples=40)
@given(any_rows)
def test_rows_that_are_written_one_by_one_give_the_same_text(rows: list[ReadingRow]) -> None:
    printed, table = io.StringIO(), CsvTable(csv_stream := io.StringIO())
    document = JsonDocument(printed, MODEL, ReadingsDocument.of(rows, MODEL).counts)
    for row in rows:
        table.add(row)
        document.add(row)
    document.end()
    assert csv_stream.getvalue() == csv_text(rows)
    assert printed.getvalue() == json_text(rows, MODEL)


@settings(deadline=None, max_examples=15)  # each waits for the disk
@given(any_rows)
def test_a_journal_gives_back_graded_rows_and_drops_the_rest(
    tmp_path_factory: pytest.TempPathFactory, rows: list[ReadingRow]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    first = Journal(path, resume=False, model=MODEL)
    assert list(first.add(rows)) == rows
    first.close()
    second = Journal(path, resume=True, model=MODEL)
    second.close()
    assert second.rows == [row for row in rows if isinstance(row, GradedRow)]
    other = Journal(path, resume=True, model=MODEL.model_copy(update={"mirror": "averaged"}))
    other.discard()
    assert other.rows == []
    assert not path.exists()


def test_a_name_that_is_no_utf8_is_written_escaped(tmp_path: Path) -> None:
    """Linux allows any bytes: Python has a lone surrogate for each that is no UTF-8."""
    row = UngradedRow(image="knee\udcff.png", side="", grade=None, note="is empty. Copy it again.")
    with CsvTable.at(tmp_path / "t.csv") as table:
        table.add(row)
    with JsonDocument.at(
        tmp_path / "t.json", None, ReadingsDocument.of([row], None).counts
    ) as text:
        text.add(row)
    (cells,) = csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text("utf-8")))
    assert cells["image"] == "knee\\udcff.png"
    document = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert document["readings"][0]["image"] == row.image
    assert document["model"] == {}


def test_a_table_of_nothing_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    with CsvTable.at(Path("-")):
        pass
    assert capsys.readouterr().out == ",".join(COLUMNS) + "\n"
    assert not Path("-").exists()


def test_a_row_of_a_journal_can_be_forgotten(tmp_path: Path) -> None:
    rows = [UngradedRow(image=name, side="", grade=None, note="") for name in "abc"]
    journal = Journal(tmp_path / "j", resume=False, model=MODEL)
    journal.add(rows)
    journal.forget({"b", "unknown"})
    assert journal.done == {"a", "c"}
    journal.add(rows[1:2])
    journal.close()
    kept = [json.loads(line)["image"] for line in (tmp_path / "j").read_text().splitlines()]
    assert kept == ["a", "c", "b"]
    memory = Journal(None, resume=True, model=MODEL)
    memory.add(rows)
    memory.forget({"a"})
    memory.discard()
    assert memory.done == {"b", "c"}


def test_a_table_of_places_holds_odd_names_too() -> None:
    stream = io.StringIO(newline="")
    names = [*ODD_NAMES, "knee\udcff.png"]
    locate.write_csv([locate.Location(name, note="shows no knee") for name in names], stream)
    table = list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))
    assert [unguarded(row["image"]) for row in table] == [*ODD_NAMES, "knee\\udcff.png"]
    assert {row["note"] for row in table} == {"shows no knee"}
    assert tuple(table[0]) == locate.COLUMNS
