"""A reading in a program: compared by identity, shown in a notebook, saved whole or not at all."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import kellgren
from command_line import EXAMPLES
from kellgren import Grade, InvalidOption, KneeReading, Side

RIGHT = EXAMPLES / "9177337R.png"


@pytest.fixture(scope="module")
def reading() -> KneeReading:
    return kellgren.read(RIGHT, threads=1)[0]


def test_readings_are_compared_and_hashed_by_identity(reading: KneeReading) -> None:
    again = kellgren.read(RIGHT, threads=1)[0]
    assert reading == reading
    assert reading != again
    assert len({reading, again, reading}) == 2


def test_the_repr_is_one_short_line_without_the_folder(reading: KneeReading) -> None:
    shown = replace(reading, grade=Grade.MINIMAL, certainty="moderate")
    assert repr(shown) == "KneeReading(9177337R.png, right, grade 2 minimal, moderate certainty)"
    unsided = replace(shown, image="array", side=Side.UNKNOWN)
    assert repr(unsided) == "KneeReading(array, side unknown, grade 2 minimal, moderate certainty)"


def test_a_notebook_shows_picture_table_and_notice(reading: KneeReading) -> None:
    shown = reading._repr_html_()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    assert base64.b64decode(picture) == reading.overlay()
    cells = dict(re.findall(r"<tr><th>([^<]*)</th><td>([^<]*)</td></tr>", shown))
    assert cells["side"] == "right"
    assert cells["grade"] == f"{int(reading.grade)} {reading.grade.label}"
    assert [float(cells[f"p({g})"]) for g in range(5)] == [
        pytest.approx(p, abs=5e-4) for p in reading.probabilities
    ]
    assert cells["certainty"].startswith(f"{reading.certainty}, right in ")
    assert cells["90 % set"] == reading.grade_set.grades
    assert "<p>Research software, not a medical device.</p>" in shown


def test_text_in_a_notebook_is_escaped(reading: KneeReading) -> None:
    hostile = replace(
        reading,
        image='<script>alert("1")</script>.png',
        warnings=("<b>bold</b> & more",),
        read_with="<i>other</i>",
    )
    shown = hostile._repr_html_()
    assert not re.search(r"<(script|b|i)>", shown)
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in shown
    assert 'alt="' in shown
    assert 'alert("' not in shown


def test_a_reading_is_saved_by_its_suffix(reading: KneeReading, tmp_path: Path) -> None:
    for suffix in ("png", "json", "CSV"):
        reading.save(tmp_path / f"knee.{suffix}")
    reading.save(str(tmp_path / "new" / "knee.json"))

    assert (tmp_path / "knee.png").read_bytes() == reading.overlay()
    saved = json.loads((tmp_path / "knee.json").read_text("utf-8"))
    assert saved["notice"] == "Research software, not a medical device."
    assert saved["model"] == reading.model
    (one,) = saved["readings"]
    assert {**one, "model": reading.model} == {**reading.to_dict(), "note": ""}
    with (tmp_path / "knee.CSV").open(newline="") as table:
        (row,) = csv.DictReader(table)
    assert (row["image"], row["grade"]) == (str(RIGHT), str(int(reading.grade)))
    assert row["p4"] == f"{reading.probabilities[4]:.6f}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("knee.CSV", "knee.json", "knee.png", "new"),
    ]


@pytest.mark.parametrize("suffix", ["png", "json", "csv"])
def test_a_file_is_replaced_only_where_that_is_asked_for(
    reading: KneeReading, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"knee.{suffix}"
    path.write_text("kept")
    with pytest.raises(InvalidOption, match=f"knee.{suffix}: exists already.*overwrite=True"):
        reading.save(path)
    assert path.read_text() == "kept"
    reading.save(path, overwrite=True)
    assert path.read_bytes() != b"kept"


def test_the_radiograph_itself_is_never_replaced(tmp_path: Path) -> None:
    path = Path(shutil.copy(RIGHT, tmp_path))
    (reading,) = kellgren.read(path, threads=1)
    with pytest.raises(InvalidOption, match="is the radiograph itself"):
        reading.save(path, overwrite=True)
    assert path.read_bytes() == RIGHT.read_bytes()


@pytest.mark.parametrize("name", ["knee", "knee.jpg", "knee.dcm", ".png"])
def test_another_suffix_is_an_error_that_names_the_choices(
    reading: KneeReading, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidOption, match=r"\.png, \.json, \.csv"):
        reading.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    reading: KneeReading, tmp_path: Path
) -> None:
    broken = replace(reading, model={"name": "x"})  # the picture needs the checksum
    with pytest.raises(KeyError):
        broken.save(tmp_path / "knee.png")
    assert list(tmp_path.iterdir()) == []
