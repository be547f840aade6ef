"""Tables that came from Windows, from spreadsheets or from many hands: read, or refused by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import kellgren
from kellgren.cli.inputs import expanded
from kellgren.data.manifest import Knee, index, read_manifest, without_patient
from kellgren.data.matching import Label, match
from kellgren.data.predictions import read_predictions
from kellgren.data.splits import make_folds
from kellgren.errors import InvalidManifest
from kellgren.file_names import named_path
from kellgren.grades import Grade, Side

PATIENTS = range(9001, 9041)
WRITTEN = {
    "posix": "data/knees/{patient}{side}.jpg",
    "windows": r"C:\data\knees\{patient}{side}.jpg",
    "share": r"\\server\data\{patient}{side}.jpg",
    "mixed": r"data\knees/{patient}{side}.jpg",
    "lower case": "data/knees/{patient}{lower}.jpg",
    "underscore": "data/knees/{patient}_{side}.jpg",
}


def manifest(path: Path, pattern: str) -> list[Knee]:
    lines = [
        pattern.format(patient=patient, side=side, lower=side.lower()) + f",{patient % 5}"
        for patient in PATIENTS
        for side in "LR"
    ]
    path.write_text("\n".join(["image,grade", *lines]) + "\n", encoding="utf-8")
    return read_manifest(path)


@pytest.mark.parametrize("pattern", WRITTEN.values(), ids=WRITTEN)
def test_a_patients_two_knees_are_of_one_patient_however_the_path_is_written(
    tmp_path: Path, pattern: str
) -> None:
    knees = manifest(tmp_path / "k.csv", pattern)
    assert {knee.patient for knee in knees} == {str(patient) for patient in PATIENTS}
    assert [knee.side for knee in knees] == [Side.LEFT, Side.RIGHT] * len(PATIENTS)
    assert without_patient(knees) == []
    reference = make_folds(manifest(tmp_path / "posix.csv", WRITTEN["posix"]))
    assert make_folds(knees).of_patient == reference.of_patient


def test_a_windows_path_finds_the_file_it_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / r"b\2.png").touch()  # a name that Linux allows
    (tmp_path / "k.csv").write_text("image,grade\n" + r"a\1.png,0" + "\n" + r"b\2.png,1" + "\n")
    assert [knee.image for knee in index(tmp_path / "k.csv")] == [
        tmp_path / "a" / "1.png",
        tmp_path / r"b\2.png",
    ]


def test_predictions_and_labels_of_two_systems_belong_together(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,grade\n" + r"C:\x\9001L.png,2" + "\n", "utf-8-sig")
    (tmp_path / "l.csv").write_text("image;grade\r\n9001L.png;2\r\n", "utf-16")
    knees = read_manifest(tmp_path / "l.csv")
    labels = [Label(str(k.image), k.patient, int(k.grade or 0), k.side) for k in knees]
    matched = match(read_predictions(tmp_path / "p.csv"), labels)
    assert matched.patients == ("9001",)


def test_accents_written_apart_as_on_a_mac_are_the_same_name(tmp_path: Path) -> None:
    one, other = "M\u00fcller.png", "Mu\u0308ller.png"
    for written, on_disk in ((one, other), (other, one)):
        (tmp_path / on_disk).touch()
        assert named_path(tmp_path, written) == tmp_path / on_disk
        (tmp_path / on_disk).unlink()
        (tmp_path / "p.csv").write_text(f"image,grade\na/{written},2\n")
        for image in (f"a/{on_disk}", f"b/{on_disk}", f"{on_disk[:-4]}.jpg"):
            matched = match(read_predictions(tmp_path / "p.csv"), [Label(image, "p", 2)])
            assert matched.coverage.scored == 1
    assert named_path(tmp_path, one) == tmp_path / one


def test_commas_are_decimal_points_where_semicolons_separate(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("Image;Grade;p0;p1;p2;p3;p4\na.png;1;0,1;0,6;0,1;0,1;0,1\n")
    found = read_predictions(path)
    assert found.probabilities is not None
    assert found.probabilities[0].tolist() == [0.1, 0.6, 0.1, 0.1, 0.1]


def test_data_frames_give_numbers_decimals_and_gaps_a_name(tmp_path: Path) -> None:
    rows = "image,patient,grade\na.png,12.0,2.0\n12L.png,12,NA\nc.png,NA,0.0\nd.png,nan,4\n"
    (tmp_path / "knees.csv").write_text(rows)
    knees = read_manifest(tmp_path / "knees.csv")
    assert [knee.patient for knee in knees] == ["12", "12", "c", "d"]
    assert [knee.grade for knee in knees] == [2, None, 0, 4]

    rows = "image;side;grade;most_probable\na.png;NA;2,0;2,0\nb.png;L;NA;1,0\nc.png;R;NA;NA\n"
    (tmp_path / "grades.csv").write_text(rows)
    read = read_predictions(tmp_path / "grades.csv")
    assert read.grades.tolist() == [2, 1]
    assert read.named == (True, False)
    assert [row.image for row in read.refused] == ["c.png"]


def test_guarded_cells_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_text("image,patient,grade\n'=1.png,'-p,2\n")
    assert read_manifest(path) == [
        Knee(tmp_path / "=1.png", "-p", Side.UNKNOWN, Grade.MINIMAL, "", "k")
    ]
    assert read_predictions(path).images == ("=1.png",)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "a.png,p,,1\na.png,p,,2",
            "lines 2 and 3 contradict each other: grade of a.png is 1 and 2",
        ),
        ("a.png,p,,1\nb.png,,,1\na.png,q,,1", "lines 2 and 4 .*: patient of a.png is p and q"),
        ("a.png,p,L,1\na.png,p,,1", "lines 2 and 3 .*: side of a.png is L and unknown"),
        ("a.png,p,L,1\na.png,q,R,1", "lines 2 and 3 .*: patient of a.png is p and q"),
        ("a.png,p,,1\n./a.png,p,,1", "lines 2 and 3 are the same knee, a.png"),
        ("a.png,p,,1\na.png,p,,", "lines 2 and 3 .*: grade of a.png is 1 and missing"),
        ("a.png,9.00E+06,,1", "line 2: patient is '9.00E\\+06', .* spreadsheet has rounded"),
    ],
)
def test_rows_that_cannot_both_be_true_are_named(tmp_path: Path, rows: str, said: str) -> None:
    path = tmp_path / "k.csv"
    path.write_text(f"image,patient,side,grade\n{rows}\n")
    with pytest.raises(InvalidManifest, match=said):
        read_manifest(path)


def test_a_film_of_both_knees_has_two_rows(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_text("image,patient,side,grade\nf.png,p,L,1\nf.png,p,R,2\n")
    assert [knee.side for knee in read_manifest(path)] == [Side.LEFT, Side.RIGHT]
    film = str(tmp_path / "f.png")  # is graded as a whole, and its picture tells the sides
    assert expanded([str(path)])[1:] == ({film: ("p", Side.UNKNOWN)}, {film: "p"})


@pytest.mark.parametrize(
    "words",
    [
        ("data", "index", "k.csv", "-o", "m.csv"),
        ("data", "folds", "k.csv", "-o", "f.json"),
        ("train", "ensemble", "paper-from-scratch", "--data", "k.csv", "--plan"),
        ("evaluate", "k.csv", "--labels", "k.csv", "--resamples", "100"),
    ],
)
def test_knees_whose_patient_nobody_names_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"scan {n}.png,{n % 2}\n" for n in range(10))
    Path("k.csv").write_text("image,grade\n1001L.png,0\n1001R.png,1\n" + rows)
    assert kellgren(*words) == 0
    said = capsys.readouterr().err
    assert "nothing names the patient of 10 of 12 knees, such as scan 0.png" in said
