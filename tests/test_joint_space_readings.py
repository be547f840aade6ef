"""Readings measure the joint space, on whichever side of the film the medial one lies."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bundle_factory import make_bundle
from command_line import EXAMPLES, kellgren
from dicom_factory import write_dicom
from dicom_headers import DX, complete
from kellgren.batch.journal import Journal
from kellgren.ensemble import Ensemble
from kellgren.explanation.overlay import KNEE
from kellgren.joint_space.telling.space_words import COLUMNS
from kellgren.reading import KneeReading
from kellgren.reading_schema import GradedRow, ModelRecord
from kellgren.reading_tables import csv_text
from kellgren.reading_tables.parquet_table import ParquetTable

KNEE_FILE = EXAMPLES / "9589486R.png"
FILM = Path(__file__).parent / "frames" / "both.png"


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Ensemble:
    return Ensemble(make_bundle(tmp_path_factory.mktemp("models") / "tiny"), threads=1)


@pytest.fixture(scope="module")
def reading(ensemble: Ensemble) -> KneeReading:
    return ensemble.read(KNEE_FILE)[0]


def pixels(png: bytes) -> np.ndarray:

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_graded_knee_is_measured_unless_it_is_not_to_be(
    ensemble: Ensemble, reading: KneeReading
) -> None:
    assert reading.joint_space is not None
    assert [one.name for one in reading.joint_space.compartments] == ["lateral", "medial"]
    [unmeasured] = Ensemble(ensemble.bundle, threads=1, joint_space=False).read(KNEE_FILE)
    assert unmeasured.joint_space is None
    assert "joint_space" not in unmeasured.to_dict()
    assert unmeasured.probabilities == reading.probabilities
    assert "joint-space width, medial" in reading._repr_html_()


def test_the_picture_has_the_margins_only_where_they_are_asked_for(reading: KneeReading) -> None:
    plain, with_space = (pixels(reading.overlay(joint_space=it)) for it in (False, True))
    changed = np.nonzero((plain != with_space).any(axis=(0, 2)))[0]
    assert 28 <= changed.min() < changed.max() < 28 + KNEE  # the left picture, not the map's
    assert np.array_equal(plain, pixels(reading.overlay()))


@pytest.mark.parametrize(
    ("orientation", "names"),
    [
        (("L", "F"), {"R": ["lateral", "medial"], "L": ["medial", "lateral"]}),
        (("R", "F"), {"R": ["medial", "lateral"], "L": ["lateral", "medial"]}),
        (("L", "H"), {"": ["left", "right"]}),
    ],
    ids=["usual", "mirrored", "contradicts the picture"],
)
def test_the_films_orientation_tells_the_medial_side(
    ensemble: Ensemble, tmp_path: Path, orientation: tuple[str, str], names: dict[str, Any]
) -> None:
    grey = np.asarray(Image.open(FILM).convert("L")).astype(np.uint16) * 16
    turned = grey[:, ::-1] if orientation[0] == "R" else grey
    header = complete(DX) | {"PatientOrientation": list(orientation)}
    header = {name: value for name, value in header.items() if "Laterality" not in name}
    path = write_dicom(tmp_path / "film.dcm", turned, bits=12, **header)
    readings = ensemble.read(path)
    assert len(readings) == 2
    for one in readings:
        assert one.joint_space is not None
        found = [compartment.name for compartment in one.joint_space.compartments]
        assert found == names[one.side.value]
        assert one.joint_space.mm_per_pixel is not None


def test_tables_and_documents_have_it_or_leave_it_out(
    tmp_path: Path, ensemble: Ensemble, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["grade", KNEE_FILE, "--model", ensemble.bundle.folder]
    for options, is_measured in (([], True), (["--joint-space", "off"], False)):
        table, document = tmp_path / f"{is_measured}.csv", tmp_path / f"{is_measured}.json"
        assert kellgren(*given, *options, "--csv", table, "--json", document) == 0
        [row] = csv.DictReader(io.StringIO(table.read_text("utf-8")))
        [entry] = json.loads(document.read_text("utf-8"))["readings"]
        assert ("joint_space" in entry) == is_measured
        assert bool(row["jsw_lateral"] or row["jsw_note"]) == is_measured
        assert set(COLUMNS) <= set(row)
        assert ("joint-space width, medial: " in capsys.readouterr().out) == is_measured


def test_a_parquet_file_has_the_numbers_of_the_csv(reading: KneeReading, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    row = GradedRow.of(reading.record())
    with ParquetTable.at(tmp_path / "t.parquet", row.model) as table:
        table.add(row)
        table.add(row.model_copy(update={"joint_space": None}))
    columns = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    [cells, _] = csv.DictReader(io.StringIO(csv_text([row, row])))
    for name in COLUMNS:
        measured, missing = columns[name]
        assert ("" if measured is None else str(measured)) == (
            cells[name] if isinstance(measured, str | None) else str(float(cells[name]))
        )
        assert missing is None


def test_a_resumed_batch_measures_what_it_lacks(
    ensemble: Ensemble, reading: KneeReading, tmp_path: Path
) -> None:
    """And takes over what has it: the interrupted batch may have been told to leave it out."""
    model = ModelRecord.model_validate(ensemble.model)
    row = GradedRow.of(reading.record())
    for place, space in enumerate((row.joint_space, None)):
        path = tmp_path / f"journal-{place}"
        kept = row.model_copy(update={"joint_space": space})
        begun = Journal(path, resume=False, model=model)
        begun.add([kept])
        begun.close()
        for is_measured in (space is None, space is not None):
            journal = Journal(path, resume=True, model=model, joint_space=is_measured)
            is_taken = is_measured == (space is not None)
            assert journal.rows == ([kept] if is_taken else [])
            journal.forget(set())
            journal.close()
            if not is_taken:  # what is not taken over is gone from the file
                begun = Journal(path, resume=True, model=model)
                begun.add([kept])
                begun.close()
