"""Tables of predictions: read or refused, and matched to labels without guessing."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kellgren.data.matching import Label, Labels, match
from kellgren.data.predictions import read_predictions
from kellgren.errors import InvalidPredictions
from kellgren.evaluation import Coverage, score
from kellgren.grades import Side
from simulated_grades import graded_knees, pairs_of

HEADER = "image,side,grade,p0,p1,p2,p3,p4,certainty,note"


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "predictions.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def grades_only(folder: Path, *rows: tuple[str, str]) -> Path:
    return write(folder, *(f"{image},{grade}" for image, grade in rows), header="image,grade")


def test_a_table_is_read(tmp_path):
    table = read_predictions(
        write(
            tmp_path,
            "a.png,L,2,0.1,0.1,0.6,0.1,0.1,0.6,",
            "",
            "b.png,,,,,,,,,too dark",
            'c.png,right,4.0,0,0,0,0,1,1,"two\nlines"',
        )
    )
    assert table.images == ("a.png", "c.png")
    assert table.sides == (Side.LEFT, Side.RIGHT)
    assert table.grades.tolist() == [2, 4]
    assert table.probabilities.tolist() == [[0.1, 0.1, 0.6, 0.1, 0.1], [0, 0, 0, 0, 1]]
    assert table.rows == (2, 5)
    assert [(it.image, it.note, it.row) for it in table.refused] == [("b.png", "too dark", 4)]


@pytest.mark.parametrize("packed", [False, True])
def test_byte_order_mark_windows_line_ends_and_gzip(tmp_path, packed):
    content = "\ufeffImage, Side,grade\r\nä.png,L,3\r\n".encode()
    path = tmp_path / ("p.csv.gz" if packed else "p.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    table = read_predictions(path)
    assert (table.images, table.grades.tolist(), table.probabilities) == (("ä.png",), [3], None)


def test_probability_columns_may_be_empty_throughout(tmp_path):
    assert read_predictions(write(tmp_path, "a.png,L,2,,,,,,,")).probabilities is None


@pytest.mark.parametrize("shares", ["0.33,0.33,0.32,0.00,0.00", "0.5,0.51,0.01,0.,0.", "1,0,0,0,0"])
def test_shares_with_two_decimals_are_read(tmp_path, shares):
    """As `DataFrame.round(2)` leaves them."""
    table = read_predictions(write(tmp_path, f"a.png,L,1,{shares},,"))
    assert table.probabilities.tolist() == [[float(share) for share in shares.split(",")]]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["a.png,L,5,,,,,,,"], "row 2: grade is '5'"),
        (["a.png,L,1,,,,,,,", "a.png,L,2.5,,,,,,,"], "row 3: grade is '2.5'"),
        (["a.png,L,none,,,,,,,"], "row 2: grade is 'none'"),
        (["a.png,X,1,,,,,,,"], "row 2: side is 'X'"),
        ([",L,1,,,,,,,"], "row 2: no image"),
        (["a.png,L,1,0.2,0.2,0.2,0.2,nan,,"], "row 2: p4 is ''"),
        (["a.png,L,1,0.2,0.2,0.2,0.2,inf,,"], "row 2: p4 is 'inf'"),
        (["a.png,L,1,-0.2,0.4,0.4,0.2,0.2,,"], "row 2: p0 is '-0.2'"),
        (["a.png,L,1,0.2,0.2,0.2,0.4,,,"], "row 2: p4 is ''"),
        (["a.png,L,1,0.2,0.2,0.2,0.2,0.1,,"], "row 2: p0 to p4 add up to 0.900"),
        (["a.png,L,1,0.2,0.2,0.2,0.2,0.23,,"], "row 2: p0 to p4 add up to 1.030"),
        (["a.png,L"], "row 2: 2 fields for 10 columns"),
        (["a.png,L,1,,,,,,,,extra"], "row 2: 11 fields for 10 columns"),
        (["a.png,L,1,0,1,0,0,0,,", "b.png,L,1,,,,,,,"], "without probabilities in row 3"),
        ([], "a header but no rows"),
        (["a.png,L,9,,,,,,,"] * 8, "row 6: .*; and 3 more"),
    ],
)
def test_bad_rows_are_named(tmp_path, rows, problem):
    with pytest.raises(InvalidPredictions, match=problem):
        read_predictions(write(tmp_path, *rows))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"a.png,2\n", "no column image or grade; the columns are a.png, 2"),
        (b"image|grade\na.png|2\n", "no column image or grade; the columns are image|grade"),
        (b"image,grade,grade\n", "column grade occurs more than once"),
        (b"image,grade,p0,p1\n", "no column p2, p3, p4"),
        (b"image,grade\n\xff\xfe.png,2\n", "not UTF-8"),
        (b"image,grade\na\0.png,2\n", "NUL"),
        (b"image,grade\n" + b"a" * 200_000, "not a CSV table"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path, content, problem):
    path = tmp_path / "predictions.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidPredictions, match=problem) as refusal:
        read_predictions(path)
    assert refusal.value.subject == str(path)


@pytest.mark.parametrize(
    "content",
    [b"image,grade\na,1\n", gzip.compress(b"x" * 100)[:-20], gzip.compress(b"x") + b"y"],
    ids=["not packed", "cut off", "something after it"],  # the bytes hold the second of packing
)
def test_damaged_archives_are_refused(tmp_path, content):
    path = tmp_path / "predictions.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InvalidPredictions, match="cannot be read"):
        read_predictions(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidPredictions, match=r"cannot be read \(No such file"):
        read_predictions(tmp_path / "none.csv")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_table_or_a_clear_refusal(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"image,side,grade,note\n" + content)
    try:
        table = read_predictions(path)
    except InvalidPredictions:
        return
    assert len(table.images) + len(table.refused) > 0


# --- matching --------------------------------------------------------------------------------


def pair(folder: Path, rows: list[tuple[str, str]], labels: list[str]) -> dict[str, int]:
    """The predicted grade of each labelled image; patients are numbered."""
    known = [Label(image, f"p{index}", 0) for index, image in enumerate(labels)]
    matched = match(read_predictions(grades_only(folder, *rows)), known)
    assert [f"p{labels.index(image)}" for image in matched.images] == list(matched.patients)
    return dict(zip(matched.images, matched.predicted.tolist(), strict=True))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("x/a.png", "x/a.png"),
        ("./x/../x/a.png", "x/a.png"),
        ("/elsewhere/a.png", "x/a.png"),
        ("C:\\films\\a.png", "x/a.png"),
        ("out/a.png", "x/a.jpg"),
        ("a", "x/a.dcm"),
        ("1.2.840.113", "1.2.840.113.dcm"),
    ],
)
def test_rows_match_by_path_then_name_then_stem(tmp_path, image, label):
    assert pair(tmp_path, [(image, "3")], ["z.png", label]) == {label: 3}


def test_a_relative_label_matches_an_absolute_prediction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [(str(tmp_path / "1" / "L.png"), "1"), (str(tmp_path / "2" / "L.png"), "2")]
    assert pair(tmp_path, rows, ["1/L.png", "2/L.png"]) == {"1/L.png": 1, "2/L.png": 2}


@pytest.mark.parametrize("image", ["p1.right", "1.2.840.114", "b.png"])
def test_names_that_differ_do_not_match(tmp_path, image):
    with pytest.raises(InvalidPredictions, match="none of 1 predictions fits any of 3 labels"):
        pair(tmp_path, [(image, "1")], ["p1.left", "1.2.840.113", "a.png"])


def test_a_name_does_not_reach_a_knee_that_another_row_has_by_its_path(tmp_path):
    rows = [("1/L.png", "1"), ("2/L.png", "2")]
    assert pair(tmp_path, rows, ["1/L.png"]) == {"1/L.png": 1}
    # Nor the knee of a third patient, whose folder shows that L.png names nobody.
    assert pair(tmp_path, rows, ["1/L.png", "3/L.png"]) == {"1/L.png": 1}


@pytest.mark.parametrize(
    ("images", "labels", "problem"),
    [
        (["o/a.png"], ["x/a.png", "y/a.png"], r"row 2 \(o/a.png\) fits 2 labels"),
        (["a.bmp"], ["a.png", "a.jpg"], r"row 2 \(a.bmp\) fits 2 labels, such as a.png and a.jpg"),
        (["a.png", "a.png"], ["a.png"], "rows 2 and 3 predict the same knee, a.png"),
        (["a.png", "./a.png"], ["a.png"], "rows 2 and 3 predict the same knee, a.png"),
        (["x/a.png", "y/a.png"], ["a.png"], "rows 2 and 3 predict the same knee, a.png"),
        (["a.png", "a.jpg"], ["a.dcm"], "rows 2 and 3 predict the same knee, a.dcm"),
        (["a.png"], ["a.png", "a.png"], "fits 2 labels"),
        (["a.png"], [], "no labels to compare with"),
    ],
)
def test_doubt_is_refused(tmp_path, images, labels, problem):
    with pytest.raises(InvalidPredictions, match=problem):
        pair(tmp_path, [(image, "1") for image in images], labels)


def test_refused_and_unlabelled_rows_are_counted_not_scored(tmp_path):
    rows = [("a.png", "1"), ("b.png", ""), ("other.png", "2"), ("stray.png", ""), ("c.png", "")]
    rows.append(("./c.png", "3"))  # refused at first, graded later
    labels = [Label(f"{name}.png", name, 0) for name in "abcd"]
    matched = match(read_predictions(grades_only(tmp_path, *rows)), labels)
    assert matched.images == ("a.png", "c.png")
    assert matched.coverage == Coverage(labelled=4, scored=2, refused=1, unlabelled=1)
    assert matched.coverage.missing == 1
    assert str(matched.coverage) == (
        "2 of 4 labelled knees were predicted, 1 refused, 1 without a row,"
        " 1 prediction without a label"
    )


def test_only_refusals_are_nothing_to_score(tmp_path):
    with pytest.raises(InvalidPredictions, match="no row has a grade, 1 were refused"):
        pair(tmp_path, [("a.png", "")], ["a.png"])


def both_knees(folder: Path, *rows: str) -> Path:
    return write(folder, *rows, header="image,side,grade")


def test_sides_tell_the_two_knees_of_one_image_apart(tmp_path):
    labels = [Label("film.dcm", "p", 1, Side.LEFT), Label("film.dcm", "p", 3, Side.RIGHT)]
    table = read_predictions(both_knees(tmp_path, "film.dcm,R,3", "film.dcm,L,0"))
    matched = match(table, labels)
    assert (matched.truth.tolist(), matched.predicted.tolist()) == ([1, 3], [0, 3])
    assert match(table, labels[:1]).coverage == Coverage(1, 1, 0, 1)
    with pytest.raises(InvalidPredictions, match="fits 2 labels"):
        match(read_predictions(both_knees(tmp_path, "film.dcm,,3")), labels)
    of_both = [Label("film.png", "p", 1)]
    with pytest.raises(InvalidPredictions, match=r"2 and 3 are both knees of film\.png, whose"):
        match(table, of_both)
    assert Labels(of_both).sideless("elsewhere/film.dcm")
    assert not Labels(labels).sideless("film.dcm")
    assert not Labels(labels[:1]).sideless("film.dcm")
    assert not Labels(of_both).sideless("other.dcm")


def test_one_refused_image_stands_for_both_its_knees(tmp_path):
    labels = [Label("film.dcm", "p", 1, Side.LEFT), Label("film.dcm", "p", 3, Side.RIGHT)]
    labels.append(Label("a.png", "q", 2))
    table = read_predictions(both_knees(tmp_path, "film.dcm,,", "a.png,L,2"))
    assert match(table, labels).coverage == Coverage(labelled=3, scored=1, refused=2, unlabelled=0)


def test_matched_knees_score_like_the_arrays(tmp_path):
    truth, predicted, probabilities = graded_knees(0)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    text = io.StringIO()
    writer = csv.writer(text)
    order = np.random.default_rng(1).permutation(300)
    for knee in order:
        writer.writerow([f"out/{knee}.png", "", predicted[knee], *probabilities[knee], "", ""])
    labels = [
        Label(f"in/{knee}.jpg", patient, int(truth[knee]))
        for knee, patient in enumerate(pairs_of(300))
    ]
    matched = match(read_predictions(write(tmp_path, *text.getvalue().splitlines())), labels)
    assert (matched.probabilities == probabilities).all()
    found = score(
        matched.truth, matched.predicted, matched.probabilities, matched.patients, resamples=50
    )
    direct = score(truth, predicted, probabilities, pairs_of(300), resamples=50)
    assert found.to_dict() == direct.to_dict()
